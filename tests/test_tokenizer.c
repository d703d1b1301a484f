#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/tokenizer.h"
#include "tests/test.h"

#include <cjson/cJSON.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define DEMO_JSON "demo/tokenizer.json"
#define DEMO_MODEL "demo/tokenizer.model"
#define SAMPLE "tests/fixtures/tokenizer-sample.txt"

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define SANITIZED true
#else
#define SANITIZED false
#endif

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* --- files ------------------------------------------------------------------------------------ */

static bool same_ids(const int32_t *a, size_t n_a, const int32_t *b, size_t n_b)
{
    return n_a == n_b && (n_a == 0 || memcmp(a, b, n_a * sizeof *a) == 0);
}

static void both_demo_files_agree_on_a_sample_and_decode_back_to_it(void)
{
    struct status st = {0};
    struct tokenizer *json = NULL, *model = NULL;
    struct mapped_file file;
    REQUIRE_OK(tokenizer_open_json(&json, DEMO_JSON, &st), st);
    REQUIRE_OK(tokenizer_open_model(&model, DEMO_MODEL, &st), st);
    REQUIRE_OK(mapped_file_open(&file, SAMPLE, &st), st);
    CHECK(tokenizer_size(json) == 4096 && tokenizer_size(model) == 4096);
    const char *text = (const char *)file.data;
    size_t lines = 0, tokens = 0;
    for (size_t from = 0, to; from < file.size; from = to) {
        const char *newline = memchr(text + from, '\n', file.size - from);
        to = newline ? (size_t)(newline - text) + 1 : file.size;
        int32_t *a = NULL, *b = NULL;
        size_t n_a, n_b;
        REQUIRE_OK(tokenizer_encode(json, text + from, to - from, &a, &n_a, &st), st);
        REQUIRE_OK(tokenizer_encode(model, text + from, to - from, &b, &n_b, &st), st);
        CHECK(same_ids(a, n_a, b, n_b));
        struct text back = {0};
        REQUIRE_OK(tokenizer_decode(model, a, n_a, false, &back, &st), st);
        CHECK(back.length == to - from && memcmp(back.data, text + from, to - from) == 0);
        text_free(&back);
        memory_free(a);
        memory_free(b);
        lines++;
        tokens += n_a;
    }
    CHECK(lines > 150 && tokens > 15000 && tokens < 25000);
    mapped_file_close(&file);
    tokenizer_close(json);
    tokenizer_close(model);
}

/* The strings of a cases file: text as hex, because cJSON cuts strings at U+0000. */
static void check_cases(const struct tokenizer *t, const char *path)
{
    struct status st = {0};
    struct mapped_file file;
    REQUIRE_OK(mapped_file_open(&file, path, &st), st);
    cJSON *root = cJSON_ParseWithLength((const char *)file.data, file.size);
    mapped_file_close(&file);
    REQUIRE(root != NULL);
    int count = 0;
    const cJSON *one;
    cJSON_ArrayForEach(one, cJSON_GetObjectItem(root, "cases"))
    {
        const char *hex = cJSON_GetObjectItem(one, "hex")->valuestring;
        struct text text = {0}, back = {0};
        for (size_t i = 0; hex[i]; i += 2) {
            char digits[3] = {hex[i], hex[i + 1], '\0'};
            text_char(&text, (char)strtoul(digits, NULL, 16));
        }
        const cJSON *expected = cJSON_GetObjectItem(one, "ids");
        const cJSON *special = cJSON_GetObjectItem(one, "ids_special");
        int32_t *ids = NULL;
        size_t n = 0;
        REQUIRE_OK(tokenizer_encode(t, text.data ? text.data : "", text.length, &ids, &n, &st), st);
        bool same = n == (size_t)cJSON_GetArraySize(expected) &&
                    n + 1 == (size_t)cJSON_GetArraySize(special) &&
                    cJSON_GetArrayItem(special, 0)->valueint == tokenizer_bos(t);
        size_t i = 0;
        const cJSON *id;
        cJSON_ArrayForEach(id, expected)
        {
            same = same && id->valueint == ids[i++];
        }
        if (!same) {
            printf("    %s: case %d, bytes %.80s: %zu ids differ\n", path, count, hex, n);
        }
        CHECK(same);
        REQUIRE_OK(tokenizer_decode(t, ids, n, false, &back, &st), st);
        /* U+2581 comes back as a space, everything else as it was. */
        struct text spaced = {0};
        for (size_t b = 0; b < text.length; b++) {
            bool marker = text.length - b >= 3 && memcmp(text.data + b, "\xE2\x96\x81", 3) == 0;
            text_char(&spaced, (char)(marker ? ' ' : text.data[b]));
            b += marker ? 2 : 0;
        }
        CHECK(back.length == spaced.length &&
              (back.length == 0 || memcmp(back.data, spaced.data, back.length) == 0));
        const cJSON *decoded = cJSON_GetObjectItem(one, "decoded");
        if (decoded && !memchr(text.data, '\0', text.length)) {
            CHECK_STRING(back.data, decoded->valuestring);
        }
        text_free(&spaced);
        memory_free(ids);
        text_free(&text);
        text_free(&back);
        count++;
    }
    CHECK(count == 293);
    cJSON_Delete(root);
}

static void open_and_check(const char *path, const char *cases, bool model)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    double start = seconds();
    REQUIRE_OK(model ? tokenizer_open_model(&t, path, &st) : tokenizer_open_json(&t, path, &st),
               st);
    double took = seconds() - start;
    printf("    %s opened in %.3f s\n", path, took);
    CHECK(SANITIZED || took < 0.5);
    check_cases(t, cases);
    tokenizer_close(t);
}

#define REAL(generation, file) "build/npm/gemma" generation "/" file
#define CASES(generation) "tests/fixtures/oracle/tokenizer-cases-gemma" generation ".json"

static void gives_hugging_faces_ids_for_gemma_2(void)
{
    if (access(REAL("2", "tokenizer.json"), R_OK) != 0) {
        SKIP("run tests/real_tokenizers.sh first");
    }
    open_and_check(REAL("2", "tokenizer.json"), CASES("2"), false);
}

static void gives_hugging_faces_ids_for_gemma_3(void)
{
    if (access(REAL("3", "tokenizer.json"), R_OK) != 0) {
        SKIP("run tests/real_tokenizers.sh first");
    }
    open_and_check(REAL("3", "tokenizer.json"), CASES("3"), false);
}

static const struct test tests[] = {
    TEST(both_demo_files_agree_on_a_sample_and_decode_back_to_it),
    TEST(gives_hugging_faces_ids_for_gemma_2),
    TEST(gives_hugging_faces_ids_for_gemma_3),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
