/* POST /v1/lens/prompt through the file of a tuned lens: on every fixture, its maps held against
 * the plain lens of the rows that they make. */
#include "tests/oracle.h"
#include "tests/v1.h"

#define PATH "/v1/lens/prompt"

static char folder[32];

/* resid_post.0 becomes 1.25 x, resid_post.1 x + b. Returns the file's path, which is static. */
static const char *write_lens(size_t D, const float *b)
{
    static char path[64];
    struct safetensors_entry entries[3] = {{.name = "resid_post.0.weight"},
                                           {.name = "resid_post.1.weight"},
                                           {.name = "resid_post.1.bias"}};
    struct text out = {0};
    struct status st = {0};
    for (int i = 0; i < 3; i++) {
        entries[i].tensor = (struct tensor){
            .dtype = DTYPE_F32, .n_dims = i < 2 ? 2 : 1, .shape = {D, i < 2 ? D : 1, 1, 1}};
    }
    CHECK(safetensors_header(&out, entries, 3, NULL, &st) == 0);
    for (size_t i = 0; i < 2 * D * D; i++) {
        float value = i < D * D && i / D == i % D ? 0.25f : 0.0f;
        text_append(&out, (const char *)&value, sizeof value);
    }
    text_append(&out, (const char *)b, D * sizeof *b);
    (void)snprintf(path, sizeof path, "%s/mine.safetensors", folder);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(out.data, 1, out.length, f) == out.length);
    if (f) {
        (void)fclose(f);
    }
    text_free(&out);
    return path;
}

/* The row of one layer, by token; NULL where there is none. */
static const cJSON *row(const struct v1_answer *a, int token, const char *what, int at)
{
    char path[64];
    (void)snprintf(path, sizeof path, "tokens.%d.results.0.%s.%d", token, what, at);
    return v1_at(a->json, path);
}

static struct v1_answer ask(struct v1 *v, const char *fixture, const char *after)
{
    return v1_ask_oracle(v, fixture, "seven", PATH, "{\"tokens\":", after);
}

/* Without norm and softcap the logits of 1.25 x are 1.25 times those of x. */
static void scales(struct v1 *v, const char *fixture)
{
    static const char rest[] = ",\"layers\":[0],\"norm\":\"none\",\"softcap\":false,"
                               "\"top_n\":4,\"stream\":false";
    char after[200];
    (void)snprintf(after, sizeof after, "%s}", rest);
    struct v1_answer plain = ask(v, fixture, after);
    (void)snprintf(after, sizeof after, "%s,\"tuned\":\"mine\"}", rest);
    struct v1_answer tuned = ask(v, fixture, after);
    CHECK(plain.status == 200 && tuned.status == 200);
    CHECK_STRING(v1_string(tuned.json, "meta.tuned"), "mine");
    for (int t = 0; t < 7; t++) {
        CHECK(cJSON_GetArraySize(row(&tuned, t, "top_ids", 0)) == 4);
        CHECK(cJSON_Compare(row(&plain, t, "top_ids", 0), row(&tuned, t, "top_ids", 0), true));
        for (int k = 0; k < 4; k++) {
            double x = cJSON_GetArrayItem(row(&plain, t, "top_logits", 0), k)->valuedouble;
            double y = cJSON_GetArrayItem(row(&tuned, t, "top_logits", 0), k)->valuedouble;
            CHECK_NEAR(y, 1.25 * x, 1e-5 + 1e-5 * fabs(x));
        }
    }
    v1_free(&plain);
    v1_free(&tuned);
}

/* x + b is what an edit puts there that adds b: the same figures to the bit. The last layer needs
 * no map. */
static void adds(struct v1 *v, const char *fixture, const float *b, size_t D)
{
    int last = (int)engine_config(v->app.engine)->n_layers - 1;
    struct text after = {0};
    text_printf(&after,
                ",\"layers\":[1,%d],\"top_n\":5,\"track\":[3],\"stream\":false,\"tuned\":\"mine\"}",
                last);
    struct v1_answer tuned = ask(v, fixture, after.data);
    text_clear(&after);
    text_printf(&after,
                ",\"layers\":[1,%d],\"top_n\":5,\"track\":[3],\"stream\":false,\"edits\":[{"
                "\"type\":\"add\",\"point\":\"resid_post.1\",\"strength\":1,\"vector\":[",
                last);
    for (size_t i = 0; i < D; i++) {
        text_printf(&after, "%s%.9g", i ? "," : "", (double)b[i]);
    }
    text_string(&after, "]}]}");
    struct v1_answer edited = ask(v, fixture, after.data);
    text_clear(&after);
    text_printf(&after, ",\"layers\":[1,%d],\"top_n\":5,\"track\":[3],\"stream\":false}", last);
    struct v1_answer plain = ask(v, fixture, after.data);
    text_free(&after);
    CHECK(tuned.status == 200 && edited.status == 200 && plain.status == 200);
    static const char *const same[] = {"top_ids", "top_logits", "top_probs"};
    int differ = 0;
    for (int t = 0; t < 7; t++) {
        for (int i = 0; i < 3; i++) {
            const cJSON *got = row(&tuned, t, same[i], 0);
            CHECK(got && cJSON_Compare(got, row(&edited, t, same[i], 0), true));
            differ += !cJSON_Compare(got, row(&plain, t, same[i], 0), true);
            got = row(&tuned, t, same[i], 1);
            CHECK(got && cJSON_Compare(got, row(&plain, t, same[i], 1), true));
        }
    }
    CHECK(differ > 10);
    v1_free(&tuned);
    v1_free(&edited);
    v1_free(&plain);
}

static void reads_through_the_file_on_every_fixture(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        float b[64];
        for (int i = 0; i < 64; i++) {
            b[i] = (float)((i * 37) % 11 - 5) * 0.25f;
        }
        REQUIRE(v1_open(&v, o.folder));
        size_t D = engine_config(v.app.engine)->hidden_size;
        v1_close(&v);
        REQUIRE(D <= 64);
        const char *const files[] = {write_lens(D, b)};
        REQUIRE(v1_open_tuned(&v, o.folder, 2, files, 1));
        scales(&v, oracle_names[f]);
        adds(&v, oracle_names[f], b, D);
        struct v1_answer a = ask(&v, oracle_names[f], ",\"layers\":[2],\"tuned\":\"mine\"}");
        CHECK(a.status == 400);
        CHECK_CONTAINS(v1_string(a.json, "error"), "resid_post.2");
        v1_free(&a);
        struct exchange *x = exchange_run(&v.router, "GET", "/v1/capabilities", NULL, "", 0);
        REQUIRE(x);
        CHECK_CONTAINS(x->response.body.data, "\"tuned_lenses\":[\"mine\"]");
        exchange_close(x);
        v1_close(&v);
        oracle_close(&o);
    }
}

static const struct test tests[] = {TEST(reads_through_the_file_on_every_fixture)};

int main(int argc, char **argv)
{
    strcpy(folder, "/tmp/lens_XXXXXX");
    if (!mkdtemp(folder)) {
        return 1;
    }
    int code = test_main(tests, TEST_COUNT(tests), argc, argv);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) == 0 ? code : 1;
}
