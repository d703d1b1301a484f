#include "core/formats/model_folder.h"

#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

#define ORACLE "tests/fixtures/oracle/"

/* An empty weights file is enough for the questions of names and places. */
static void write_model(struct scratch *s, const char *folder)
{
    char name[256];
    (void)snprintf(name, sizeof name, "%s/config.json", folder);
    scratch_text(s, name, "{}");
    (void)snprintf(name, sizeof name, "%s/model.safetensors", folder);
    scratch_write(s, name, "\x02\0\0\0\0\0\0\0{}", 10);
}

static void check_id(struct scratch *s, const char *folder, const char *id, const char *expected)
{
    struct status st = {0};
    struct model_folder m;
    int code = model_folder_open(&m, scratch_path(s, folder), id, &st);
    if (code) {
        printf("    %s\n", st.message);
    }
    CHECK(code == 0);
    CHECK_STRING(m.id, expected);
    model_folder_close(&m);
}

static void opens_a_single_file_model(void)
{
    struct status st = {0};
    struct model_folder m;
    const char *file;
    REQUIRE_OK(model_folder_open(&m, ORACLE "gemma2-nano-bf16", NULL, &st), st);
    CHECK_STRING(m.id, "gemma2-nano-bf16");
    CHECK_STRING(m.path, ORACLE "gemma2-nano-bf16");
    CHECK_STRING(m.config, ORACLE "gemma2-nano-bf16/config.json");
    CHECK(!m.tokenizer_json && !m.tokenizer_model && !m.tokenizer_config && !m.generation_config);
    CHECK(m.n_shards == 1);
    CHECK(m.weight_bytes == 219560 - 8 - 4800); /* the file without its header */
    const struct tensor *t = model_folder_tensor(&m, "model.norm.weight", &file);
    REQUIRE(t != NULL);
    CHECK_STRING(file, ORACLE "gemma2-nano-bf16/model.safetensors");
    CHECK(tensor_get(t, 0) == 0.55859375f);
    CHECK(model_folder_tensor(&m, "lm_head.weight", &file) == NULL);
    CHECK_STRING(file, ORACLE "gemma2-nano-bf16");
    model_folder_close(&m);
    model_folder_close(&m);
}

static void opens_every_shard_of_a_sharded_model(void)
{
    struct status st = {0};
    struct model_folder m;
    const char *file;
    REQUIRE_OK(model_folder_open(&m, ORACLE "gemma2-nano-f32-sharded/", NULL, &st), st);
    CHECK_STRING(m.id, "gemma2-nano-f32-sharded");
    CHECK(m.n_shards == 3);
    CHECK(m.weight_bytes == 429504); /* total_size of the index */
    size_t n = 0;
    for (size_t i = 0; i < m.n_shards; i++) {
        n += safetensors_count(m.shards[i]);
    }
    CHECK(n == 4 * 11 + 2);
    const struct tensor *t =
        model_folder_tensor(&m, "model.layers.0.self_attn.q_proj.weight", &file);
    REQUIRE(t != NULL);
    CHECK_STRING(file, ORACLE "gemma2-nano-f32-sharded/model-00001-of-00003.safetensors");
    CHECK(tensor_get(t, 0) == 0.3284625709056854f);
    t = model_folder_tensor(&m, "model.layers.0.self_attn.v_proj.weight", &file);
    REQUIRE(t != NULL);
    CHECK_STRING(file, ORACLE "gemma2-nano-f32-sharded/model-00002-of-00003.safetensors");
    CHECK(tensor_get(t, 0) == -0.012700899504125118f);
    model_folder_close(&m);
}

static void finds_files_without_opening_the_weights(void)
{
    struct status st = {0};
    struct scratch s;
    struct model_folder m;
    scratch_open(&s);
    scratch_text(&s, "m/tokenizer.json", "{}");
    REQUIRE_OK(model_folder_find(&m, scratch_path(&s, "m"), NULL, &st), st);
    CHECK(m.config == NULL && m.n_shards == 0);
    CHECK_STRING(m.tokenizer_json, scratch_path(&s, "m/tokenizer.json"));
    model_folder_close(&m);
    CHECK(model_folder_open(&m, scratch_path(&s, "m"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "expected config.json, found none");
    scratch_text(&s, "m/config.json", "{}");
    scratch_text(&s, "m/generation_config.json", "{}");
    scratch_text(&s, "m/tokenizer.model", "");
    scratch_text(&s, "m/tokenizer_config.json", "{}");
    REQUIRE_OK(model_folder_find(&m, scratch_path(&s, "m"), NULL, &st), st);
    CHECK(m.config && m.generation_config && m.tokenizer_model && m.tokenizer_config);
    model_folder_close(&m);
    scratch_close(&s);
}

static void takes_the_id_from_the_first_place_that_has_one(void)
{
    struct scratch s;
    scratch_open(&s);
    write_model(&s, "plain");
    write_model(&s, "models--google--gemma-2-2b/snapshots/abc");
    write_model(&s, "models--gpt2/snapshots/abc");
    write_model(&s, "models--a--copied");
    scratch_link(&s, "linked", "models--google--gemma-2-2b/snapshots/abc");
    scratch_link(&s, "renamed", "plain");
    check_id(&s, "plain", NULL, "plain");
    check_id(&s, "plain///", NULL, "plain");
    check_id(&s, "plain/.", NULL, "plain");
    check_id(&s, "renamed", NULL, "renamed");
    check_id(&s, "models--google--gemma-2-2b", NULL, "gemma-2-2b");
    check_id(&s, "models--google--gemma-2-2b/", NULL, "gemma-2-2b");
    check_id(&s, "models--google--gemma-2-2b/snapshots/abc", NULL, "gemma-2-2b");
    check_id(&s, "models--google--gemma-2-2b/snapshots/abc/", NULL, "gemma-2-2b");
    check_id(&s, "models--gpt2", NULL, "gpt2");
    check_id(&s, "models--a--copied", NULL, "copied");
    check_id(&s, "linked", NULL, "gemma-2-2b");
    scratch_text(&s, "models--google--gemma-2-2b/snapshots/abc/darkmatter.json",
                 "{\"id\": \"mine\"}");
    check_id(&s, "linked", NULL, "mine");
    check_id(&s, "linked", "given", "given");
    scratch_text(&s, "plain/darkmatter.json", "{\"other\": 1}");
    check_id(&s, "plain", NULL, "plain");
    scratch_close(&s);
}

static void refuses_ids_that_cannot_stand_in_a_path(void)
{
    struct status st = {0};
    struct scratch s;
    struct model_folder m;
    scratch_open(&s);
    write_model(&s, "m");
    CHECK(model_folder_open(&m, scratch_path(&s, "m"), "google/gemma", &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "set one with --model-id");
    CHECK(m.path == NULL && m.shards == NULL);
    CHECK(model_folder_open(&m, scratch_path(&s, "m"), "", &st) == STATUS_INVALID);
    scratch_text(&s, "m/darkmatter.json", "{\"id\": 3}");
    CHECK(model_folder_open(&m, scratch_path(&s, "m"), NULL, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "darkmatter.json: expected an object with a string as \"id\"");
    CHECK(model_folder_open(&m, scratch_path(&s, "m"), "x", &st) == 0);
    model_folder_close(&m);
    scratch_close(&s);
}

static void follows_the_links_of_a_hub_cache(void)
{
    struct status st = {0};
    struct scratch s;
    struct model_folder m;
    scratch_open(&s);
    scratch_text(&s, "models--o--n/blobs/c0", "{}");
    scratch_write(&s, "models--o--n/blobs/w0", "\x02\0\0\0\0\0\0\0{}", 10);
    scratch_link(&s, "models--o--n/snapshots/new/config.json", "../../blobs/c0");
    scratch_link(&s, "models--o--n/snapshots/new/model.safetensors", "../../blobs/w0");
    scratch_text(&s, "models--o--n/refs/main", "new");
    REQUIRE_OK(model_folder_open(&m, scratch_path(&s, "models--o--n"), NULL, &st), st);
    CHECK_STRING(m.path, scratch_path(&s, "models--o--n/snapshots/new"));
    CHECK(m.n_shards == 1);
    model_folder_close(&m);
    CHECK(unlink(scratch_path(&s, "models--o--n/blobs/w0")) == 0);
    CHECK(model_folder_open(&m, scratch_path(&s, "models--o--n"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message,
                   "snapshots/new/model.safetensors: a symbolic link to a file that is not");
    CHECK(unlink(scratch_path(&s, "models--o--n/blobs/c0")) == 0);
    scratch_text(&s, "models--o--n/blobs/c0.incomplete", "{");
    CHECK(model_folder_open(&m, scratch_path(&s, "models--o--n"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "expected config.json, found a symbolic link that leads nowhere");
    CHECK_CONTAINS(st.message, "blobs/c0.incomplete");
    scratch_close(&s);
}

static void names_what_is_not_there(void)
{
    struct status st = {0};
    struct scratch s;
    struct model_folder m;
    scratch_open(&s);
    CHECK(model_folder_open(&m, scratch_path(&s, "none"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/none: expected a model's folder, found nothing there");
    scratch_text(&s, "file", "x");
    CHECK(model_folder_open(&m, scratch_path(&s, "file"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/file: expected a model's folder, found a file");
    scratch_link(&s, "loop", "loop");
    CHECK(model_folder_open(&m, scratch_path(&s, "loop"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "leads nowhere");
    scratch_text(&s, "empty/x", "");
    CHECK(model_folder_open(&m, scratch_path(&s, "empty"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/empty: expected config.json, found none");
    scratch_text(&s, "empty/config.json", "{}");
    CHECK(model_folder_open(&m, scratch_path(&s, "empty"), NULL, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message,
                   "expected model.safetensors or model.safetensors.index.json, found neither");
    CHECK(m.path == NULL);
    scratch_close(&s);
}

static void reports_every_failed_allocation(void)
{
    struct status st = {0};
    struct scratch s;
    scratch_open(&s);
    write_model(&s, "models--o--n/snapshots/h");
    scratch_text(&s, "models--o--n/refs/main", "h\n");
    scratch_text(&s, "models--o--n/snapshots/h/darkmatter.json", "{\"id\": \"x\"}");
    (void)scratch_path(&s, "models--o--n");
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 200 && code; nth++) {
        struct model_folder m;
        (void)memory_fail_after(nth);
        code = model_folder_open(&m, s.path, NULL, &st);
        (void)memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        model_folder_close(&m);
    }
    CHECK(code == 0);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(opens_a_single_file_model),
    TEST(opens_every_shard_of_a_sharded_model),
    TEST(finds_files_without_opening_the_weights),
    TEST(takes_the_id_from_the_first_place_that_has_one),
    TEST(refuses_ids_that_cannot_stand_in_a_path),
    TEST(follows_the_links_of_a_hub_cache),
    TEST(names_what_is_not_there),
    TEST(reports_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
