#include "server/v1/reply.h"

#include "core/base/memory.h"
#include "tests/test.h"

static void writes_keys_of_several_words_twice(void)
{
    struct text out = {0};
    struct emitter w = {.out = &out};
    emit_object(&w);
    reply_int(&w, "seq_len", 3);
    reply_bool(&w, "prepend_bos", true);
    reply_null(&w, "dfa_values");
    reply_string(&w, "type", "x");
    emit_end_object(&w);
    CHECK_STRING(out.data, "{\"seq_len\":3,\"seqLen\":3,\"prepend_bos\":true,\"prependBos\":true,"
                           "\"dfa_values\":null,\"dfaValues\":null,\"type\":\"x\"}");
    text_free(&out);
}

static void repeats_a_long_array_under_the_other_spelling(void)
{
    struct text out = {0};
    struct emitter w = {.out = &out};
    emit_object(&w);
    size_t mark = reply_begin(&w, "top_features");
    emit_array(&w);
    for (int i = 0; i < 5000; i++) {
        emit_object(&w);
        reply_int(&w, "feature_index", i);
        emit_end_object(&w);
    }
    emit_end_array(&w);
    reply_end(&w, "top_features", mark);
    emit_key(&w, "last");
    emit_int(&w, 1);
    emit_end_object(&w);
    cJSON *root = cJSON_Parse(out.data);
    REQUIRE(root);
    const cJSON *snake = cJSON_GetObjectItem(root, "top_features");
    const cJSON *camel = cJSON_GetObjectItem(root, "topFeatures");
    CHECK(cJSON_GetArraySize(snake) == 5000 && cJSON_Compare(snake, camel, true));
    CHECK(cJSON_GetObjectItem(root, "last") != NULL);
    cJSON_Delete(root);
    text_free(&out);
}

static void says_where_the_first_maximum_is(void)
{
    struct text out = {0};
    struct emitter w = {.out = &out};
    const float values[] = {1, 2.5f, 2.5f, 0};
    emit_object(&w);
    reply_values(&w, values, 4);
    emit_end_object(&w);
    CHECK_STRING(out.data,
                 "{\"values\":[1,2.5,2.5,0],\"max_value\":2.5,\"maxValue\":2.5,"
                 "\"max_value_index\":1,\"maxValueIndex\":1,\"dfa_values\":null,\"dfaValues\":null,"
                 "\"dfa_max_value\":null,\"dfaMaxValue\":null,\"dfa_target_index\":null,"
                 "\"dfaTargetIndex\":null}");
    text_free(&out);
}

static void marks_the_text_when_memory_runs_out(void)
{
    for (long nth = 1; nth <= 4; nth++) {
        struct text out = {0};
        struct emitter w = {.out = &out};
        memory_fail_after(nth);
        emit_object(&w);
        for (int i = 0; i < 100; i++) {
            reply_int(&w, "feature_index", i);
        }
        emit_end_object(&w);
        memory_fail_after(0);
        CHECK(out.failed);
        text_free(&out);
    }
}

static const struct test tests[] = {
    TEST(writes_keys_of_several_words_twice), TEST(repeats_a_long_array_under_the_other_spelling),
    TEST(says_where_the_first_maximum_is), TEST(marks_the_text_when_memory_runs_out)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
