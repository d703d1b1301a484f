#include "core/formats/safetensors.h"

#include "core/base/memory.h"
#include "test.h"

#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>

#define ORACLE "tests/fixtures/oracle/"

/* A file of that header, then `data` zero bytes. */
static char *file_of(const char *header, size_t data, size_t *n)
{
    uint64_t length = strlen(header);
    *n = 8 + (size_t)length + data;
    char *bytes = calloc(1, *n);
    if (bytes) {
        memcpy(bytes, &length, 8);
        memcpy(bytes + 8, header, (size_t)length);
    }
    return bytes;
}

/* The code for such a file; st keeps the message. */
static int code_of(const char *header, size_t data, struct status *st)
{
    size_t n;
    char *bytes = file_of(header, data, &n);
    struct safetensors *f = NULL;
    int code = safetensors_open_bytes(&f, bytes, n, "x.safetensors", st);
    CHECK((code == 0) == (f != NULL));
    safetensors_close(f);
    free(bytes);
    return code;
}

static void refuses(const char *header, size_t data, const char *part)
{
    struct status st = {0};
    CHECK(code_of(header, data, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, part);
    CHECK_CONTAINS(st.message, "x.safetensors: ");
}

static void reads_a_bf16_checkpoint(void)
{
    struct status st = {0};
    struct safetensors *f;
    REQUIRE_OK(safetensors_open(&f, ORACLE "gemma2-nano-bf16/model.safetensors", &st), st);
    CHECK(safetensors_count(f) == 46);
    CHECK_STRING(safetensors_name(f, 0), "model.embed_tokens.weight");
    CHECK_STRING(safetensors_name(f, 45), "model.norm.weight");
    const struct tensor *t = safetensors_find(f, "model.embed_tokens.weight");
    REQUIRE(t != NULL);
    CHECK(t == safetensors_at(f, 0));
    CHECK(t->dtype == DTYPE_BF16 && t->n_dims == 2 && t->shape[0] == 300 && t->shape[1] == 48);
    CHECK(t->shape[2] == 1 && t->shape[3] == 1);
    /* Values and sum as Python's struct reads them. */
    double sum = 0;
    for (size_t i = 0; i < tensor_elements(t); i++) {
        sum += (double)tensor_get(t, i);
    }
    CHECK(tensor_get(t, 0) == 2.125f && tensor_get(t, 14399) == -0.1689453125f);
    CHECK_NEAR(sum, 92.15083599090576, 1e-9);
    CHECK(safetensors_find(f, "model.norm") == NULL);
    CHECK(safetensors_find(f, "zzz") == NULL);
    for (size_t i = 0; i < safetensors_count(f); i++) {
        CHECK(safetensors_find(f, safetensors_name(f, i)) == safetensors_at(f, i));
    }
    safetensors_release_pages(f);
    CHECK(tensor_get(t, 0) == 2.125f);
    safetensors_close(f);
}

static void reads_f32_f16_and_i32(void)
{
    struct status st = {0};
    struct safetensors *f;
    REQUIRE_OK(safetensors_open(
                   &f, ORACLE "gemma2-nano-f32-sharded/model-00002-of-00003.safetensors", &st),
               st);
    const struct tensor *t = safetensors_find(f, "model.layers.2.mlp.up_proj.weight");
    REQUIRE(t != NULL);
    CHECK(t->dtype == DTYPE_F32 && t->shape[0] == 96 && t->shape[1] == 48);
    CHECK(tensor_get(t, 0) == -0.01694141887128353f);
    CHECK(tensor_get(t, 96 * 48 - 1) == 0.2821680009365082f);
    safetensors_close(f);

    REQUIRE_OK(
        safetensors_open(
            &f, ORACLE "gemma2-nano-bf16/saes/saelens/nano-f16/sae_weights.safetensors", &st),
        st);
    t = safetensors_find(f, "W_enc");
    REQUIRE(t != NULL);
    double sum = 0;
    for (size_t i = 0; i < tensor_elements(t); i++) {
        sum += (double)tensor_get(t, i);
    }
    CHECK(t->dtype == DTYPE_F16);
    CHECK_NEAR(sum, -20.54352331161499, 1e-9);
    safetensors_close(f);

    REQUIRE_OK(safetensors_open(&f, ORACLE "gemma2-nano-bf16/expected.safetensors", &st), st);
    t = safetensors_find(f, "feature_logits.unfolded.bottom");
    REQUIRE(t != NULL);
    int32_t first;
    memcpy(&first, t->data, sizeof first);
    CHECK(t->dtype == DTYPE_I32 && first == 252);
    safetensors_close(f);
}

static void accepts_padding_metadata_scalars_and_empty_tensors(void)
{
    struct status st = {0};
    CHECK(code_of("{}", 0, &st) == 0);
    CHECK(code_of("{\"__metadata__\":{\"format\":\"pt\"}}   ", 0, &st) == 0);
    CHECK(code_of("{\"s\":{\"dtype\":\"F64\",\"shape\":[],\"data_offsets\":[0,8]}}", 8, &st) == 0);
    CHECK(code_of(
              "{\"e\":{\"dtype\":\"U8\",\"shape\":[4611686018427387904,0],\"data_offsets\":[8,8]}}",
              8, &st) == STATUS_CORRUPT); /* no such dimension can be read exactly from JSON */
    CHECK(code_of("{\"e\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,4503599627370496,0],"
                  "\"data_offsets\":[8,8]},\"a\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":"
                  "[0,8]}}",
                  8, &st) == 0);
    CHECK(code_of("{\"f\":{\"dtype\":\"F8_E4M3\",\"shape\":[3],\"data_offsets\":[0,3]}}", 3, &st) ==
          0);
}

static void sorts_by_place_in_the_file(void)
{
    struct status st = {0};
    size_t n;
    char *bytes = file_of("{\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]},"
                          "\"c\":{\"dtype\":\"U8\",\"shape\":[0],\"data_offsets\":[4,4]},"
                          "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}",
                          8, &n);
    struct safetensors *f;
    REQUIRE_OK(safetensors_open_bytes(&f, bytes, n, "x", &st), st);
    CHECK_STRING(safetensors_name(f, 0), "a");
    CHECK_STRING(safetensors_name(f, 1), "c");
    CHECK_STRING(safetensors_name(f, 2), "b");
    CHECK_STRING(safetensors_path(f), "x");
    CHECK(safetensors_at(f, 2)->data == (const void *)(bytes + n - 4));
    safetensors_close(f);
    free(bytes);
}

static void refuses_lengths_that_do_not_match_the_shape(void)
{
    refuses("{\"w\":{\"dtype\":\"F32\",\"shape\":[4,6],\"data_offsets\":[0,92]}}", 96,
            "tensor \"w\": expected 96 bytes for F32 [4, 6], found 92");
    refuses("{\"w\":{\"dtype\":\"F32\",\"shape\":[4503599627370496,4503599627370496],"
            "\"data_offsets\":[0,0]}}",
            0, "fits into memory");
    refuses("{\"w\":{\"dtype\":\"F64\",\"shape\":[4503599627370496,512],\"data_offsets\":[0,0]}}",
            0, "fits into memory");
}

static void refuses_offsets_outside_the_file(void)
{
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 8,
            "up to byte 9 behind the header, found a file that ends at 8; it looks truncated");
    refuses("{\"w\":{\"dtype\":\"BF8\",\"shape\":[9],\"data_offsets\":[0,9]}}", 8, "truncated");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[5,4]}}", 8, "begin <= end");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[-1,0]}}", 8, "begin <= end");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1e300]}}", 8,
            "begin <= end");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0]}}", 8, "begin <= end");
}

static void refuses_bytes_behind_the_last_tensor(void)
{
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]}}", 5,
            "expected 4 bytes behind the header, where the last tensor ends, found 5");
    refuses("{}", 1, "expected 0 bytes behind the header");
}

static void refuses_overlap_and_duplicates(void)
{
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"b\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[3,7]}}",
            8, "tensor \"b\": expected data of its own, found bytes 3 to 4 shared with \"a\"");
    refuses("{\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[0,4]},"
            "\"a\":{\"dtype\":\"U8\",\"shape\":[4],\"data_offsets\":[4,8]}}",
            8, "the key \"a\" stands twice");
}

static void refuses_headers_that_are_not_one(void)
{
    refuses("[]", 0, "expected a JSON object");
    refuses("{\"w\":3}", 0, "tensor \"w\"");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1]}}", 8, "data_offsets");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1],\"x\":1}}", 8,
            "data_offsets");
    refuses("{\"w\":{\"dtype\":7,\"shape\":[1],\"data_offsets\":[0,1]}}", 8, "dtype");
    refuses("{\"w\":{\"dtype\":\"U8\",\"shape\":[1.5],\"data_offsets\":[0,1]}}", 8,
            "whole numbers");
    refuses("{\"w\":", 0, "header: not valid JSON");
    refuses("", 0, "header: not valid JSON");
    struct status st = {0};
    CHECK(code_of("{\"w\":{\"dtype\":\"U8\",\"shape\":[1,1,1,1,1],\"data_offsets\":[0,1]}}", 8,
                  &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "at most 4 dimensions, found 5");
}

static void refuses_a_header_longer_than_the_file(void)
{
    struct status st = {0};
    struct safetensors *f;
    const unsigned char bytes[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'};
    CHECK(safetensors_open_bytes(&f, bytes, sizeof bytes, "x", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "x: expected a header of 18446744073709551615 bytes, found only 2");
    CHECK(f == NULL);
    CHECK(safetensors_open_bytes(&f, bytes, 7, "x", &st) == STATUS_CORRUPT);
    CHECK(safetensors_open_bytes(&f, bytes, 0, "x", &st) == STATUS_CORRUPT);
    CHECK(safetensors_open(&f, "tests/no-such-file", &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "tests/no-such-file");
}

static void survives_every_truncation_and_every_flipped_byte(void)
{
    struct status st = {0};
    size_t n;
    char *bytes = file_of("{\"a\":{\"dtype\":\"F32\",\"shape\":[1,2],\"data_offsets\":[0,8]},"
                          "\"b\":{\"dtype\":\"BF16\",\"shape\":[2],\"data_offsets\":[8,12]}}",
                          12, &n);
    REQUIRE(bytes != NULL);
    struct safetensors *f;
    for (size_t cut = 0; cut < n; cut++) {
        char *part = malloc(cut ? cut : 1); /* a block of its own, so that asan sees its end */
        REQUIRE(part != NULL);
        memcpy(part, bytes, cut);
        CHECK(safetensors_open_bytes(&f, part, cut, "x", &st) == STATUS_CORRUPT);
        free(part);
    }
    for (size_t i = 0; i < n; i++) {
        for (int bit = 0; bit < 8; bit++) {
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
            if (safetensors_open_bytes(&f, bytes, n, "x", &st) == 0) {
                for (size_t k = 0; k < safetensors_count(f); k++) {
                    const struct tensor *t = safetensors_at(f, k);
                    const char *end = (const char *)t->data + tensor_bytes(t);
                    CHECK(end >= bytes && end <= bytes + n);
                }
                safetensors_close(f);
            }
            bytes[i] = (char)(bytes[i] ^ (1 << bit));
        }
    }
    free(bytes);
}

static void reports_every_failed_allocation(void)
{
    struct status st = {0};
    size_t n;
    char *bytes = file_of("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}", 1, &n);
    struct safetensors *f = NULL;
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 50 && code; nth++) {
        (void)memory_fail_after(nth);
        code = safetensors_open_bytes(&f, bytes, n, "x", &st);
        CHECK(code == 0 || code == STATUS_MEMORY);
    }
    (void)memory_fail_after(0);
    CHECK(code == 0);
    safetensors_close(f);
    free(bytes);
}

static const struct test tests[] = {
    TEST(reads_a_bf16_checkpoint),
    TEST(reads_f32_f16_and_i32),
    TEST(accepts_padding_metadata_scalars_and_empty_tensors),
    TEST(sorts_by_place_in_the_file),
    TEST(refuses_lengths_that_do_not_match_the_shape),
    TEST(refuses_offsets_outside_the_file),
    TEST(refuses_bytes_behind_the_last_tensor),
    TEST(refuses_overlap_and_duplicates),
    TEST(refuses_headers_that_are_not_one),
    TEST(refuses_a_header_longer_than_the_file),
    TEST(survives_every_truncation_and_every_flipped_byte),
    TEST(reports_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
