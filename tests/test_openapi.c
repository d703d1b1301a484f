#include "server/api/routes.h"
#include "tests/v1.h"

#include <ctype.h>

static cJSON *document(struct v1 *v)
{
    struct exchange *x = exchange_run(&v->router, "GET", "/openapi.json", NULL, NULL, 0);
    struct status st = {0};
    cJSON *root = NULL;
    /* our own parser: it refuses a key twice in one object */
    if (!x || x->response.status != 200 ||
        json_parse(&root, x->response.body.data, x->response.body.length, "document", &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    if (x) {
        exchange_close(x);
    }
    return root;
}

static void lower(const char *method, char out[16])
{
    size_t n = 0;
    for (; method[n] && n < 15; n++) {
        out[n] = (char)tolower((unsigned char)method[n]);
    }
    out[n] = '\0';
}

static void has_every_route_and_no_other(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    cJSON *root = document(&v);
    REQUIRE(root);
    CHECK_STRING(v1_string(root, "openapi"), "3.1.0");
    CHECK_STRING(v1_string(root, "info.version"), APP_VERSION);
    const cJSON *paths = json_get(root, "paths");
    size_t operations = 0;
    for (size_t i = 0; i < v.app.n_routes; i++) {
        const struct route *r = &v.app.routes[i];
        char method[16];
        lower(r->method, method);
        const cJSON *operation = cJSON_GetObjectItemCaseSensitive(
            cJSON_GetObjectItemCaseSensitive(paths, r->pattern), method);
        REQUIRE(operation);
        CHECK_STRING(v1_string(operation, "summary"), r->summary);
        CHECK(v1_at(operation, "responses.200") && v1_at(operation, "responses.default"));
        const cJSON *example = cJSON_GetObjectItemCaseSensitive(
            v1_at(operation, "requestBody.content.application/json"), "example");
        cJSON *expected = r->example ? cJSON_Parse(r->example) : NULL;
        CHECK((example != NULL) == (r->example != NULL));
        CHECK(!example || cJSON_Compare(example, expected, true));
        cJSON_Delete(expected);
    }
    const cJSON *path;
    cJSON_ArrayForEach(path, paths)
    {
        operations += (size_t)cJSON_GetArraySize(path);
    }
    CHECK(operations == v.app.n_routes);
    cJSON_Delete(root);
    v1_close(&v);
}

static enum http_next nothing(struct exchange *x)
{
    (void)x;
    return HTTP_DONE;
}

/* Routes of one pattern share a path, wherever they stand; {names} are parameters. */
static void groups_methods_and_names_parameters(void)
{
    static const struct route table[] = {
        {"GET", "/api/feature/{model}/{index}", nothing, "one", NULL},
        {"GET", "/openapi.json", api_openapi, "this", NULL},
        {"POST", "/api/feature/{model}/{index}", nothing, "two", "{\"a\":1}"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v.app.routes = v.router.routes = table;
    v.app.n_routes = v.router.n_routes = 3;
    cJSON *root = document(&v);
    const cJSON *paths = json_get(root, "paths");
    CHECK(cJSON_GetArraySize(paths) == 2);
    const cJSON *both = cJSON_GetObjectItemCaseSensitive(paths, "/api/feature/{model}/{index}");
    CHECK_STRING(v1_string(both, "get.summary"), "one");
    CHECK_STRING(v1_string(both, "post.summary"), "two");
    CHECK(v1_size(both, "get.parameters") == 2);
    CHECK_STRING(v1_string(both, "get.parameters.0.name"), "model");
    CHECK_STRING(v1_string(both, "post.parameters.1.name"), "index");
    CHECK_STRING(v1_string(both, "get.parameters.1.in"), "path");
    CHECK(cJSON_IsTrue(v1_at(both, "get.parameters.1.required")));
    CHECK(!v1_at(both, "get.requestBody") && v1_at(both, "post.requestBody"));
    cJSON_Delete(root);
    v1_close(&v);
}

/* What the document shows as an example is answered, on the model that everyone has. */
static void every_example_works_on_the_demo(void)
{
    struct v1 v;
    int bodies = 0;
    REQUIRE(v1_open(&v, V1_DEMO));
    for (size_t i = 0; i < v.app.n_routes; i++) {
        const struct route *r = &v.app.routes[i];
        if (strchr(r->pattern, '{')) {
            continue;
        }
        struct exchange *x = exchange_run(&v.router, r->method, r->pattern, NULL, r->example,
                                          r->example ? strlen(r->example) : 0);
        REQUIRE(x);
        bool chat = x->response.status == 400 && strstr(r->pattern, "chat");
        bool none = x->response.status == 404 && strcmp(r->pattern, "/api/activation/get") == 0;
        if (chat) { /* the demo is a base model */
            CHECK_CONTAINS(x->response.body.data, "has no chat template");
        } else if (none) { /* a fresh database has no texts yet */
            CHECK_CONTAINS(x->response.body.data, "has not been indexed");
        } else if (x->response.status != 200 || x->response.body.length < 2) {
            printf("    %s %s: %d %.300s\n", r->method, r->pattern, x->response.status,
                   x->response.body.data ? x->response.body.data : "");
            test_failures_++;
        }
        bodies += r->example != NULL;
        CHECK(strcmp(r->method, "POST") != 0 || r->example);
        exchange_close(x);
    }
    CHECK(bodies >= 13);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(has_every_route_and_no_other),
    TEST(groups_methods_and_names_parameters),
    TEST(every_example_works_on_the_demo),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
