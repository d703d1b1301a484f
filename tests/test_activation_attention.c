#include "tests/v1.h"

#define PATH "/v1/activation/attention"

/* The value of the entry `index`, -1 if the list has none. */
static double value_of(const cJSON *json, const char *indices, const char *values, double index)
{
    const cJSON *value = v1_at(json, values) ? v1_at(json, values)->child : NULL;
    const cJSON *item;
    cJSON_ArrayForEach(item, v1_at(json, indices))
    {
        if (item->valuedouble == index) {
            return value ? value->valuedouble : -1;
        }
        value = value ? value->next : NULL;
    }
    return -1;
}

/* Every entry of `a` must stand in `b` with the same value; a close call (0.0050) may be missing.
 */
static int differences(const cJSON *a, const cJSON *b)
{
    int found = 0;
    const cJSON *index,
        *value = v1_at(a, "attention_values") ? v1_at(a, "attention_values")->child : NULL;
    cJSON_ArrayForEach(index, v1_at(a, "attention_indices"))
    {
        double wanted = value ? value->valuedouble : -1;
        double other = value_of(b, "attention_indices", "attention_values", index->valuedouble);
        bool close_call = other < 0 && fabs(wanted - 0.005) < 1e-4;
        found += !close_call && !(fabs(other - wanted) <= 1.5e-4);
        value = value ? value->next : NULL;
    }
    return found;
}

static void gives_the_lists_of_every_fixture(void)
{
    for (size_t i = 0; i < TEST_COUNT(v1_fixtures); i++) {
        char path[128];
        struct status st;
        struct v1 v;
        cJSON *lenses;
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s/cases-lenses.json", v1_fixtures[i]);
        REQUIRE_OK(json_parse_file(&lenses, path, 1 << 24, &st), st);
        (void)snprintf(path, sizeof path, V1_ORACLE "/%s", v1_fixtures[i]);
        REQUIRE(v1_open(&v, path));
        const cJSON *expected;
        int compared = 0;
        cJSON_ArrayForEach(expected, json_get(lenses, "attention"))
        {
            char after[64];
            (void)snprintf(after, sizeof after, ",\"layer\":%.0f,\"head\":%.0f}",
                           v1_number(expected, "layer"), v1_number(expected, "head"));
            struct v1_answer a = v1_ask_oracle(&v, v1_fixtures[i], v1_string(expected, "prompt"),
                                               PATH, "{\"tokens\":", after);
            CHECK(a.status == 200);
            CHECK_STRING(a.cache, "");
            CHECK(v1_number(a.json, "seq_len") == v1_number(expected, "seq_len"));
            CHECK(v1_size(expected, "attention_indices") > 100);
            CHECK(differences(expected, a.json) == 0);
            CHECK(differences(a.json, expected) == 0);
            CHECK_NEAR(v1_number(a.json, "max_activation"), v1_number(expected, "max_activation"),
                       1.5e-4);
            CHECK(v1_size(a.json, "tokens") == (int)v1_number(expected, "seq_len"));
            CHECK(v1_both_spellings(a.json) == 0);
            v1_free(&a);
            compared++;
        }
        CHECK(compared == 2);
        cJSON_Delete(lenses);
        v1_close(&v);
    }
}

static void has_rising_indices_and_at_most_eight_a_row(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(
        &v, PATH,
        "{\"prompt\":\"In the beginning God created the heaven and the earth, and the earth "
        "was without form\",\"layer\":1,\"head\":0}");
    REQUIRE(a.status == 200);
    int n = (int)v1_number(a.json, "seq_len");
    int rows[64] = {0};
    double before = -1;
    const cJSON *index;
    cJSON_ArrayForEach(index, v1_at(a.json, "attentionIndices"))
    {
        int row = (int)index->valuedouble / n;
        CHECK(index->valuedouble > before && row < n && row < 64);
        CHECK((int)index->valuedouble % n <= row);
        rows[row < 64 ? row : 0]++;
        before = index->valuedouble;
    }
    for (int i = 0; i < n && i < 64; i++) {
        CHECK(rows[i] >= 1 && rows[i] <= 8);
    }
    v1_free(&a);
    v1_close(&v);
}

static void a_single_token_has_no_entries(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH, "{\"prompt\":\"\",\"layer\":0,\"head\":0}");
    CHECK(a.status == 200 && v1_number(a.json, "seq_len") == 1);
    CHECK(v1_size(a.json, "attention_indices") == 0 && v1_size(a.json, "attention_values") == 0);
    CHECK(v1_number(a.json, "max_activation") == 0);
    v1_free(&a);
    v1_close(&v);
}

static void refuses_bad_requests(void)
{
    static const struct v1_bad bad[] = {
        {"{\"prompt\":\"a\",\"head\":0}", 422, "layer: this field is missing"},
        {"{\"prompt\":\"a\",\"layer\":0}", 422, "head: this field is missing"},
        {"{\"prompt\":\"a\",\"layer\":5,\"head\":0}", 400, "layer: expected 0 to 4"},
        {"{\"prompt\":\"a\",\"layer\":0,\"head\":4}", 400, "head: expected 0 to 3"},
        {"{\"prompt\":\"a\",\"layer\":\"0\",\"head\":0}", 422, "layer"},
        {"{\"prompt\":[\"a\"],\"layer\":0,\"head\":0}", 422, "prompt"},
        {"{\"layer\":0,\"head\":0}", 422, "prompt"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, TEST_COUNT(bad));
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(gives_the_lists_of_every_fixture), TEST(has_rising_indices_and_at_most_eight_a_row),
    TEST(a_single_token_has_no_entries), TEST(refuses_bad_requests)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
