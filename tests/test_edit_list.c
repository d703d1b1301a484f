/* The field `edits` over HTTP: every edit of the oracle, in both spellings, and every refusal. */
#include "tests/edit_replies.h"

static void every_edit_of_the_oracle_is_met_over_http(void)
{
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[i]) && v1_open(&v, o.folder));
        const cJSON *edit;
        cJSON_ArrayForEach(edit, json_get(o.lenses, "edits"))
        {
            char *body = edit_body(&o, edit);
            struct v1_answer a = v1_post(&v, "/v1/trace", body);
            edit_compare_reply(&o, edit, &a);
            v1_free(&a);
            memory_free(body);
        }
        v1_close(&v);
        oracle_close(&o);
    }
}

static struct v1_answer ask(struct v1 *v, const char *edits)
{
    struct text body = {0};
    text_printf(&body,
                "{\"prompt\":\"In the beginning\",\"read\":[\"resid_post.2\",\"logits\"],"
                "\"edits\":[%s]}",
                edits);
    struct v1_answer a = v1_post(v, "/v1/trace", body.data);
    text_free(&body);
    return a;
}

static void an_edit_that_changes_nothing_gives_the_same_bytes(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char *const nothing[] = {
        "{\"type\":\"add\",\"source\":\"2-gemmascope-res-2k\",\"index\":251,\"strength\":0}",
        "{\"type\":\"add\",\"source\":\"2-gemmascope-res-2k\",\"index\":251,\"strength\":9,"
        "\"multiplier\":0,\"unit\":true}",
        "{\"type\":\"splice\",\"source\":\"2-gemmascope-res-2k\",\"keep_error\":true}",
        "{\"type\":\"zero\",\"point\":\"resid_post.2\",\"positions\":\"generated\"}",
        "{\"type\":\"zero\",\"point\":\"blocks.2.hook_resid_post\",\"positions\":[]}"};
    struct v1_answer clean = ask(&v, "");
    CHECK(clean.status == 200);
    for (size_t i = 0; i < TEST_COUNT(nothing); i++) {
        struct v1_answer a = ask(&v, nothing[i]);
        if (a.status != 200) {
            printf("    %s\n", a.text);
        }
        CHECK(a.status == 200 && a.length == clean.length &&
              memcmp(a.text, clean.text, a.length) == 0);
        v1_free(&a);
    }
    v1_free(&clean);
    v1_close(&v);
}

static void positions_and_points_choose_the_rows(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        ask(&v, "{\"type\":\"zero\",\"point\":\"resid_post.2\",\"positions\":[1,-1]},"
                "{\"type\":\"set\",\"point\":\"blocks.2.hook_resid_post\",\"dim\":1,\"value\":-2.5,"
                "\"positions\":\"last\"}");
    CHECK(a.status == 200);
    const cJSON *tensor = json_get(v1_at(a.json, "tensors"), "resid_post.2");
    const cJSON *data = json_get(tensor, "data");
    int width = (int)cJSON_GetArrayItem(json_get(tensor, "shape"), 1)->valuedouble;
    int rows = (int)cJSON_GetArrayItem(json_get(tensor, "shape"), 0)->valuedouble;
    for (int t = 0; t < rows; t++) {
        double first = cJSON_GetArrayItem(data, t * width)->valuedouble;
        double second = cJSON_GetArrayItem(data, t * width + 1)->valuedouble;
        CHECK((first == 0.0) == (t == 1 || t == rows - 1));
        CHECK((second == -2.5) == (t == rows - 1));
    }
    v1_free(&a);
    v1_close(&v);
}

static void names_the_edit_and_the_field_that_is_wrong(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
#define RES "\"source\":\"2-gemmascope-res-2k\""
    static const struct {
        const char *edits;
        int status;
        const char *part;
    } cases[] = {
        {"7", 422, "edits[0]: expected an object, found a number"},
        {"{}", 422, "edits[0].type: this field is missing"},
        {"{\"type\":\"melt\"}", 400, "edits[0].type: expected add"},
        {"{\"type\":3}", 422, "edits[0].type"},
        {"{\"type\":\"splice\"}", 422, "edits[0].source"},
        {"{\"type\":\"splice\",\"source\":\"9-none\"}", 404, "edits[0].source"},
        {"{\"type\":\"splice\",\"point\":\"z.1\"}", 400, "edits[0].source"},
        {"{\"type\":\"splice\"," RES ",\"keepError\":1}", 422, "edits[0].keep_error"},
        {"{\"type\":\"zero\",\"point\":\"z.1\"},{\"type\":\"zero\"}", 422, "edits[1].point"},
        {"{\"type\":\"zero\",\"point\":\"nowhere.1\"}", 400, "edits[0].point"},
        {"{\"type\":\"zero\",\"point\":\"z.5\"}", 400, "edits[0].point"},
        {"{\"type\":\"zero\",\"point\":\"logits\"}", 400, "edits[0].point"},
        {"{\"type\":\"zero\",\"point\":\"mlp_in_pregain.1\"}", 400, "edits[0].point"},
        {"{\"type\":\"zero\",\"point\":\"z.1\"," RES "}", 400, "not both"},
        {"{\"type\":\"add\"," RES ",\"index\":1}", 422, "edits[0].strength"},
        {"{\"type\":\"add\"," RES ",\"index\":1,\"strength\":\"1\"}", 422, "edits[0].strength"},
        {"{\"type\":\"add\"," RES ",\"index\":1,\"strength\":1e99}", 400, "edits[0].strength"},
        {"{\"type\":\"add\"," RES ",\"index\":1,\"strength\":1e30,\"multiplier\":1e30}", 400,
         "edits[0].strength"},
        {"{\"type\":\"add\"," RES ",\"strength\":1}", 422, "edits[0].index"},
        {"{\"type\":\"cap\"," RES ",\"strength\":1,\"index\":2048}", 400, "edits[0].index"},
        {"{\"type\":\"orthogonal\",\"point\":\"z.1\",\"strength\":1}", 422, "edits[0].vector"},
        {"{\"type\":\"add\",\"point\":\"z.1\",\"strength\":1,\"vector\":[1,2]}", 400,
         "edits[0].vector: expected 256 numbers"},
        {"{\"type\":\"clamp\"," RES ",\"index\":1}", 422, "edits[0].value"},
        {"{\"type\":\"clamp\"," RES ",\"index\":1,\"indices\":[2],\"value\":1}", 400, "not both"},
        {"{\"type\":\"clamp\"," RES ",\"indices\":[1,2],\"values\":[1]}", 400, "edits[0].values"},
        {"{\"type\":\"clamp\"," RES ",\"indices\":[1,1],\"values\":[1,2]}", 400, "twice"},
        {"{\"type\":\"ablate\"," RES ",\"indices\":[1,\"2\"]}", 422, "edits[0].indices[1]"},
        {"{\"type\":\"ablate\"," RES ",\"indices\":[]}", 400, "edits[0].index: expected an"},
        {"{\"type\":\"ablate\"," RES ",\"indices\":[-1]}", 400, "edits[0].indices[0]"},
        {"{\"type\":\"set\",\"point\":\"z.1\",\"value\":1}", 422, "edits[0].dim"},
        {"{\"type\":\"set\",\"point\":\"z.1\",\"dim\":1}", 422, "edits[0].value"},
        {"{\"type\":\"set\",\"point\":\"z.1\",\"dim\":256,\"value\":1}", 400, "edits[0].dim"},
        {"{\"type\":\"zero\",\"point\":\"z.1\",\"positions\":\"some\"}", 400, "edits[0].positions"},
        {"{\"type\":\"zero\",\"point\":\"z.1\",\"positions\":[9]}", 400, "edits[0].positions"},
        {"{\"type\":\"zero\",\"point\":\"z.1\",\"positions\":[0.5]}", 422, "edits[0].positions"},
        {"{\"type\":\"zero\",\"point\":\"z.1\",\"positions\":3}", 422, "edits[0].positions"},
        {"{\"type\":\"zero\",\"point\":\"z.1\",\"skip_bos\":\"yes\"}", 422, "edits[0].skip_bos"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct v1_answer a = ask(&v, cases[i].edits);
        if (a.status != cases[i].status) {
            printf("    %s: %d\n", cases[i].edits, a.status);
        }
        CHECK(a.status == cases[i].status);
        CHECK_CONTAINS(a.text, cases[i].part);
        v1_free(&a);
    }
    v1_close(&v);
}

static void no_more_edits_than_the_limit(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct text edits = {0};
    for (int i = 0; i < 257; i++) {
        text_printf(&edits, "%s{\"type\":\"zero\",\"point\":\"z.1\"}", i ? "," : "");
    }
    struct v1_answer a = ask(&v, edits.data);
    CHECK(a.status == 400);
    CHECK_CONTAINS(a.text, "at most 256");
    v1_free(&a);
    text_free(&edits);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(every_edit_of_the_oracle_is_met_over_http),
    TEST(an_edit_that_changes_nothing_gives_the_same_bytes),
    TEST(positions_and_points_choose_the_rows),
    TEST(names_the_edit_and_the_field_that_is_wrong),
    TEST(no_more_edits_than_the_limit),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
