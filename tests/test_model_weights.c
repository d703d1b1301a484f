#include "core/formats/model_weights.h"

#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

#define TENSOR_A "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
#define TENSOR_B "{\"b\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}"
#define INDEX "m/model.safetensors.index.json"

static void write_shard(struct scratch *s, const char *name, const char *header)
{
    char bytes[256] = {0};
    bytes[0] = (char)strlen(header);
    memcpy(bytes + 8, header, strlen(header));
    scratch_write(s, name, bytes, 8 + strlen(header) + 1);
}

/* m/ with two shards and their index. */
static void write_sharded(struct scratch *s)
{
    scratch_open(s);
    write_shard(s, "m/one.safetensors", TENSOR_A);
    write_shard(s, "m/two.safetensors", TENSOR_B);
    scratch_text(s, INDEX,
                 "{\"metadata\":{\"total_size\":2},"
                 "\"weight_map\":{\"b\":\"two.safetensors\",\"a\":\"one.safetensors\"}}");
}

static int code_of(struct scratch *s, size_t *n, struct status *st)
{
    struct safetensors **shards;
    int code = model_weights_open(scratch_path(s, "m"), &shards, n, st);
    CHECK((code == 0) == (shards != NULL));
    model_weights_close(shards, *n);
    return code;
}

static void prefers_a_whole_index_to_the_single_file(void)
{
    struct status st = {0};
    struct scratch s;
    size_t n;
    write_sharded(&s);
    CHECK(code_of(&s, &n, &st) == 0 && n == 2);
    write_shard(&s, "m/model.safetensors", TENSOR_A);
    CHECK(code_of(&s, &n, &st) == 0 && n == 2);
    CHECK(unlink(scratch_path(&s, "m/two.safetensors")) == 0);
    CHECK(code_of(&s, &n, &st) == 0 && n == 1);
    scratch_close(&s);
}

static void names_the_missing_shard(void)
{
    struct status st = {0};
    struct scratch s;
    size_t n;
    write_sharded(&s);
    CHECK(unlink(scratch_path(&s, "m/two.safetensors")) == 0);
    CHECK(code_of(&s, &n, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/m: expected two.safetensors, found no such file");
    scratch_link(&s, "m/two.safetensors", "../blobs/gone");
    CHECK(code_of(&s, &n, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message,
                   "expected two.safetensors, found a symbolic link that leads nowhere");
    scratch_text(&s, "m/.cache/huggingface/download/two.incomplete", "");
    CHECK(code_of(&s, &n, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "two.incomplete");
    scratch_close(&s);
}

static void refuses_an_index_that_leads_out_of_the_folder(void)
{
    static const char *const names[] = {"../one.safetensors", "/etc/passwd", "sub/one.safetensors",
                                        "..", ""};
    struct status st = {0};
    struct scratch s;
    size_t n;
    write_sharded(&s);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        char text[256];
        (void)snprintf(text, sizeof text, "{\"weight_map\":{\"a\":\"%s\"}}", names[i]);
        scratch_text(&s, INDEX, text);
        CHECK(code_of(&s, &n, &st) == STATUS_CORRUPT);
        CHECK_CONTAINS(st.message,
                       "index.json: tensor \"a\": expected the name of a file in the same folder");
    }
    scratch_close(&s);
}

static void refuses_an_index_that_lies(void)
{
    static const char *const texts[] = {"{\"weight_map\":{\"c\":\"one.safetensors\"}}",
                                        "{\"weight_map\":{\"b\":\"one.safetensors\"}}",
                                        "{\"weight_map\":{\"a\":3}}",
                                        "{\"weight_map\":[]}",
                                        "{\"weight_map\":{}}",
                                        "{}"};
    struct status st = {0};
    struct scratch s;
    size_t n;
    write_sharded(&s);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        scratch_text(&s, INDEX, texts[i]);
        CHECK(code_of(&s, &n, &st) == STATUS_CORRUPT);
        CHECK_CONTAINS(st.message, "index.json: ");
    }
    scratch_text(&s, INDEX, "{\"weight_map\"");
    CHECK(code_of(&s, &n, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "not valid JSON");
    scratch_close(&s);
}

static void passes_on_what_is_wrong_with_a_shard(void)
{
    struct status st = {0};
    struct scratch s;
    size_t n;
    write_sharded(&s);
    scratch_write(&s, "m/two.safetensors", "\x7f\0\0\0\0\0\0\0", 8);
    CHECK(code_of(&s, &n, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "/m/two.safetensors: expected a header of 127 bytes");
    scratch_close(&s);
}

static void reports_every_failed_allocation(void)
{
    struct status st = {0};
    struct scratch s;
    write_sharded(&s);
    (void)scratch_path(&s, "m");
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 100 && code; nth++) {
        struct safetensors **shards;
        size_t n;
        (void)memory_fail_after(nth);
        code = model_weights_open(s.path, &shards, &n, &st);
        (void)memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        model_weights_close(shards, n);
    }
    CHECK(code == 0);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(prefers_a_whole_index_to_the_single_file),      TEST(names_the_missing_shard),
    TEST(refuses_an_index_that_leads_out_of_the_folder), TEST(refuses_an_index_that_lies),
    TEST(passes_on_what_is_wrong_with_a_shard),          TEST(reports_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
