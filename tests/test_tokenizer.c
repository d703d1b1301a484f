#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/tokenizer_tables.h"
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
#elif defined(__has_feature)
#define SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define SANITIZED false
#endif

static double seconds(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

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

/* A character by chance: mostly plain letters and spaces, some of everything that UTF-8 has. */
static size_t any_character(uint64_t *state, char out[4])
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    uint32_t chance = (uint32_t)(*state >> 33);
    uint32_t most = chance % 8 < 5   ? 0x7F
                    : chance % 8 < 6 ? 0x7FF
                    : chance % 8 < 7 ? 0xFFFF
                                     : 0x10FFFF;
    uint32_t c = chance / 8 % most + 1;
    if (chance % 8 < 2) {
        c = (uint32_t) " \n\tetaoinshr<>|_0"[chance / 8 % 17];
    }
    if ((c >= 0xD800 && c < 0xE000) || c == 0x2581) { /* no character; what stands for a space */
        c = 'x';
    }
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) {
        out[i] = (char)(0x80 | (c & 0x3F));
    }
    out[0] = (char)((0xF00u >> n & 0xF0) | c);
    return n;
}

static void decoding_what_was_encoded_gives_the_text_back(void)
{
    struct status st = {0};
    struct tokenizer *t[2];
    uint64_t state = 7;
    REQUIRE_OK(tokenizer_open_json(&t[0], DEMO_JSON, &st), st);
    REQUIRE_OK(tokenizer_open_model(&t[1], DEMO_MODEL, &st), st);
    for (int round = 0; round < 4000; round++) {
        char text[260];
        size_t n = 0;
        for (size_t most = (size_t)round % 256; n < most;) {
            n += any_character(&state, text + n);
        }
        for (int i = 0; i < 2; i++) {
            int32_t *ids = NULL;
            size_t n_ids;
            struct text back = {0};
            REQUIRE_OK(tokenizer_encode(t[i], text, n, &ids, &n_ids, &st), st);
            REQUIRE_OK(tokenizer_decode(t[i], ids, n_ids, false, &back, &st), st);
            CHECK(back.length == n && (n == 0 || memcmp(back.data, text, n) == 0));
            text_free(&back);
            memory_free(ids);
        }
    }
    tokenizer_close(t[0]);
    tokenizer_close(t[1]);
}

/* The strings of a cases file: text as hex, because cJSON cuts strings at U+0000. Cases with ids
 * from `beyond` on (-1: none) are left out, and there must be few of them. */
static void check_cases(const struct tokenizer *t, const char *path, int32_t beyond)
{
    struct status st = {0};
    struct mapped_file file;
    REQUIRE_OK(mapped_file_open(&file, path, &st), st);
    cJSON *root = cJSON_ParseWithLength((const char *)file.data, file.size);
    mapped_file_close(&file);
    REQUIRE(root != NULL);
    int count = 0, out = 0;
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
        bool left_out = false;
        size_t i = 0;
        const cJSON *id;
        cJSON_ArrayForEach(id, expected)
        {
            left_out = left_out || (beyond >= 0 && id->valueint >= beyond);
            same = same && id->valueint == ids[i++];
        }
        out += left_out;
        if (!same && !left_out) {
            printf("    %s: case %d, bytes %.80s: %zu ids differ\n", path, count, hex, n);
        }
        CHECK(same != left_out);
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
    CHECK(beyond < 0 ? out == 0 : out == 1);
    cJSON_Delete(root);
}

static struct tokenizer *open_timed(const char *path, bool model)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    double best = 1e9;
    for (int i = 0; i < 3 && (i == 0 || (!SANITIZED && best >= 0.5));
         i++) { /* others may be busy */
        tokenizer_close(t);
        double start = seconds();
        if (model ? tokenizer_open_model(&t, path, &st) : tokenizer_open_json(&t, path, &st)) {
            printf("    %s\n", st.message);
        }
        best = fmin(best, seconds() - start);
    }
    printf("    %s opened in %.3f s\n", path, best);
    CHECK(t != NULL);
    CHECK(SANITIZED || best < 0.5);
    return t;
}

#define REAL(generation, file) "build/npm/gemma" generation "/" file
#define CASES(generation) "tests/fixtures/oracle/tokenizer-cases-gemma" generation ".json"
#define NEEDS(path)                                     \
    do {                                                \
        if (access((path), R_OK) != 0) {                \
            SKIP("run tests/real_tokenizers.sh first"); \
        }                                               \
    } while (0)

static void gives_hugging_faces_ids_for_gemma_2(void)
{
    NEEDS(REAL("2", "tokenizer.json"));
    struct tokenizer *t = open_timed(REAL("2", "tokenizer.json"), false);
    REQUIRE(t != NULL);
    check_cases(t, CASES("2"), -1);
    CHECK(tokenizer_size(t) == 256000);
    CHECK(tokenizer_find(t, "<start_of_turn>") == 106 && tokenizer_find(t, "\t") == 226);
    CHECK(tokenizer_bos(t) == 2 && tokenizer_eos(t) == 1 && tokenizer_pad(t) == 0 &&
          tokenizer_unk(t) == 3);
    tokenizer_close(t);
}

static void gives_hugging_faces_ids_for_gemma_3(void)
{
    NEEDS(REAL("3", "tokenizer.json"));
    struct tokenizer *t = open_timed(REAL("3", "tokenizer.json"), false);
    REQUIRE(t != NULL);
    check_cases(t, CASES("3"), -1);
    CHECK(tokenizer_size(t) == 262145);
    CHECK(tokenizer_find(t, "<image_soft_token>") == 262144);
    CHECK(tokenizer_is_special(t, 262144) && !tokenizer_is_special(t, 6));
    tokenizer_close(t);
}

/* Every merge of one file, with its rank, in the other. */
static void check_same_merges(const struct tokenizer *json, const struct tokenizer *model)
{
    size_t merges = 0, different = 0, in_model = 0;
    for (size_t i = 0; i < json->n_merge_slots; i++) {
        const struct tokenizer_merge *a = &json->merge_slots[i];
        if (a->left >= 0) {
            const struct tokenizer_merge *b = tokenizer_find_merge(model, a->left, a->right);
            merges++;
            different += !b || b->rank != a->rank || b->result != a->result;
        }
    }
    for (size_t i = 0; i < model->n_merge_slots; i++) {
        in_model += model->merge_slots[i].left >= 0;
    }
    printf("    %zu merges, %zu different\n", merges, different);
    CHECK(merges > 500000 && merges == in_model && different == 0);
}

static void finds_gemma_2s_merges_in_a_model_file(void)
{
    NEEDS(REAL("2", "tokenizer.model"));
    struct tokenizer *model = open_timed(REAL("2", "tokenizer.model"), true);
    struct tokenizer *json = open_timed(REAL("2", "tokenizer.json"), false);
    REQUIRE(model != NULL && json != NULL);
    check_cases(model, CASES("2"), -1);
    check_same_merges(json, model);
    tokenizer_close(model);
    tokenizer_close(json);
}

/* <image_soft_token> is beyond the vocabulary: only tokenizer.json has it. */
static void finds_gemma_3s_merges_in_a_model_file(void)
{
    NEEDS(REAL("3", "tokenizer.model"));
    struct tokenizer *model = open_timed(REAL("3", "tokenizer.model"), true);
    struct tokenizer *json = open_timed(REAL("3", "tokenizer.json"), false);
    REQUIRE(model != NULL && json != NULL);
    CHECK(tokenizer_size(model) == 262144);
    check_cases(model, CASES("3"), 262144);
    check_same_merges(json, model);
    tokenizer_close(model);
    tokenizer_close(json);
}

static void encodes_a_megabyte_with_and_without_spaces_quickly(void)
{
    bool real = access(REAL("2", "tokenizer.json"), R_OK) == 0;
    struct status st = {0};
    struct tokenizer *t = NULL;
    struct mapped_file file;
    REQUIRE_OK(tokenizer_open_json(&t, real ? REAL("2", "tokenizer.json") : DEMO_JSON, &st), st);
    REQUIRE_OK(mapped_file_open(&file, SAMPLE, &st), st);
    for (int spaces = 1; spaces >= 0; spaces--) {
        struct text text = {0};
        while (text.length < 1000000) {
            text_append(&text, (const char *)file.data, file.size);
        }
        for (size_t i = 0; i < text.length; i++) {
            if (!spaces && (text.data[i] == ' ' || text.data[i] == '\n')) {
                text.data[i] = 'e';
            }
        }
        int32_t *ids = NULL;
        size_t n = 0;
        double start = seconds();
        REQUIRE_OK(tokenizer_encode(t, text.data, text.length, &ids, &n, &st), st);
        double took = seconds() - start;
        printf("    %s: %.1f MB/s\n", spaces ? "English" : "one word of a megabyte",
               (double)text.length / 1e6 / took);
        CHECK(SANITIZED || took < 3.0);
        struct text back = {0};
        REQUIRE_OK(tokenizer_decode(t, ids, n, true, &back, &st), st);
        CHECK(back.length == text.length && memcmp(back.data, text.data, text.length) == 0);
        memory_free(ids);
        text_free(&text);
        text_free(&back);
    }
    mapped_file_close(&file);
    tokenizer_close(t);
}

static void reports_every_allocation_that_fails(void)
{
    static const char *const paths[] = {DEMO_JSON, DEMO_MODEL};
    for (int p = 0; p < 2; p++) {
        struct status st = {0};
        long n = 1;
        for (int code = -1; code != 0 && n < 2000; n++) {
            struct tokenizer *t = NULL;
            int32_t *ids = NULL;
            size_t n_ids = 0;
            struct text out = {0};
            (void)memory_fail_after(n);
            code = p ? tokenizer_open_model(&t, paths[p], &st)
                     : tokenizer_open_json(&t, paths[p], &st);
            if (code == 0) {
                code = tokenizer_encode(t, "one two\n\xE4\xB8\xAD", 11, &ids, &n_ids, &st);
            }
            if (code == 0) {
                code = tokenizer_decode(t, ids, n_ids, true, &out, &st);
            }
            (void)memory_fail_after(0);
            CHECK(code == 0 || code == STATUS_MEMORY);
            memory_free(ids);
            text_free(&out);
            tokenizer_close(t);
        }
        CHECK(n > 20 && n < 2000);
    }
}

static void names_a_file_that_is_not_there(void)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    CHECK(tokenizer_open_json(&t, "/nowhere/tokenizer.json", &st) != 0);
    CHECK_CONTAINS(st.message, "/nowhere/tokenizer.json");
    CHECK(tokenizer_open_model(&t, "/nowhere/tokenizer.model", &st) != 0);
    CHECK_CONTAINS(st.message, "/nowhere/tokenizer.model");
    CHECK(t == NULL);
    tokenizer_close(NULL);
}

/* Encodes with and without cutting the text at spaces. */
static void cutting_at_spaces_changes_no_id(void)
{
    const char *paths[] = {DEMO_JSON, REAL("3", "tokenizer.json")};
    int n_paths = access(paths[1], R_OK) == 0 ? 2 : 1;
    for (int p = 0; p < n_paths; p++) {
        struct status st = {0};
        struct tokenizer *t = NULL;
        struct mapped_file file;
        REQUIRE_OK(tokenizer_open_json(&t, paths[p], &st), st);
        REQUIRE_OK(mapped_file_open(&file, SAMPLE, &st), st);
        struct text text = {0};
        text_append(&text, (const char *)file.data, file.size);
        text_string(&text, "<a> </a>\n<b> </b>> </ >\xE2\x96\x81</  >\xE2\x96\x81 </   x");
        CHECK(t->never_unk);
        int32_t *cut = NULL, *whole = NULL;
        size_t n_cut, n_whole;
        REQUIRE_OK(tokenizer_encode(t, text.data, text.length, &cut, &n_cut, &st), st);
        t->never_unk = false;
        REQUIRE_OK(tokenizer_encode(t, text.data, text.length, &whole, &n_whole, &st), st);
        CHECK(same_ids(cut, n_cut, whole, n_whole));
        memory_free(cut);
        memory_free(whole);
        text_free(&text);
        mapped_file_close(&file);
        tokenizer_close(t);
    }
}

static const struct test tests[] = {
    TEST(decoding_what_was_encoded_gives_the_text_back),
    TEST(both_demo_files_agree_on_a_sample_and_decode_back_to_it),
    TEST(gives_hugging_faces_ids_for_gemma_2),
    TEST(gives_hugging_faces_ids_for_gemma_3),
    TEST(finds_gemma_2s_merges_in_a_model_file),
    TEST(finds_gemma_3s_merges_in_a_model_file),
    TEST(encodes_a_megabyte_with_and_without_spaces_quickly),
    TEST(reports_every_allocation_that_fails),
    TEST(names_a_file_that_is_not_there),
    TEST(cutting_at_spaces_changes_no_id),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
