/* Every route of the table, its example, and the first allocations that can fail: an answer that is
 * whole or an error in words, never a crash, and all is well again afterwards. */
#include "tests/v1.h"

#define FIRST 40 /* each of the first allocations */
#define STEP 13  /* then one in so many */
#define MOST 400

/* 0 if the example is not for this model (a chat template, an evaluation that was never made). */
static int ask(struct v1 *v, const struct route *route, long nth, long *asked)
{
    char target[200];
    static const char *const values[] = {"gemma-2-demo", "2-gemmascope-res-2k", "140"};
    size_t n = 0, value = 0;
    for (const char *p = route->pattern; *p && n + 32 < sizeof target; p++) {
        if (*p != '{') {
            target[n++] = *p;
            continue;
        }
        n += (size_t)snprintf(target + n, sizeof target - n, "%s", values[value++]);
        p = strchr(p, '}');
    }
    target[n] = '\0';
    const char *body = route->example;
    (void)memory_fail_after(nth);
    struct exchange *x =
        exchange_run(&v->router, route->method, target, NULL, body, body ? strlen(body) : 0);
    *asked = memory_fail_after(0);
    if (!x) {
        return 500; /* the exchange itself */
    }
    size_t length;
    const char *reply = exchange_reply(x, &length);
    int status = x->response.status;
    cJSON *root = NULL;
    struct status st = {0};
    bool json = strstr(x->response.content_type, "application/json") != NULL;
    if (json && json_parse(&root, reply, length, "reply", &st)) {
        printf("    %s %s, allocation %ld: %d with %s\n", route->method, target, nth, status,
               st.message);
        test_failures_++;
    }
    cJSON_Delete(root);
    exchange_close(x);
    return status;
}

static void every_route_bears_each_failing_allocation(void)
{
    struct v1 v;
    int routes = 0;
    REQUIRE(v1_open(&v, V1_DEMO));
    for (size_t i = 0; i < v.router.n_routes; i++) {
        const struct route *route = &v.router.routes[i];
        long asked;
        if (strcmp(route->pattern, "/api/index") == 0) {
            continue; /* runs on behind the answer: test_index.c */
        }
        int good = ask(&v, route, 0, &asked);
        routes += good == 200;
        for (long nth = 1, last = asked + 8; nth <= last && nth <= MOST;
             nth += nth < FIRST ? 1 : STEP) {
            int status = ask(&v, route, nth, &asked);
            bool changes = strstr(route->pattern, "/explanation/") != NULL; /* what is there */
            if (status != good && status != 500 && !(changes && status < 500)) {
                printf("    %s %s, allocation %ld: expected %d or 500, found %d\n", route->method,
                       route->pattern, nth, good, status);
                test_failures_++;
            }
        }
        int again = ask(&v, route, 0, &asked);
        if (again != good && good == 200 && !strstr(route->pattern, "/explanation/")) {
            printf("    %s %s: %d before, %d afterwards\n", route->method, route->pattern, good,
                   again);
            test_failures_++;
        }
    }
    CHECK(routes > 35);
    v1_close(&v);
}

static const struct test tests[] = {TEST(every_route_bears_each_failing_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
