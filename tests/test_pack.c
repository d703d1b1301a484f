#include "core/formats/pack.h"

#include "core/base/memory.h"
#include "core/formats/model_folder.h"
#include "tests/engine_fixture.h"
#include "tests/scratch.h"

#include <dirent.h>
#include <stdlib.h>

#define SHARDED "tests/fixtures/oracle/gemma2-nano-f32-sharded"

static int pack(const char *in, const char *out, struct pack_report *r, struct status *st)
{
    const struct pack_options o = {.model = in, .out = out};
    status_clear(st);
    return pack_folder(&o, r, st);
}

static int n_files(const char *path)
{
    DIR *folder = opendir(path);
    int n = folder ? 0 : -1;
    while (folder && readdir(folder)) {
        n++;
    }
    if (folder) {
        closedir(folder);
    }
    return n - 2;
}

/* Half-way between two BF16 goes to the even one; written out for 16-bit halves of a float. */
static float nearest(float value)
{
    uint32_t bits, low;
    memcpy(&bits, &value, 4);
    low = bits & 0xFFFFu;
    bits &= 0xFFFF0000u;
    if (low > 0x8000u || (low == 0x8000u && (bits & 0x10000u))) {
        bits += 0x10000u;
    }
    memcpy(&value, &bits, 4);
    return value;
}

static void a_sharded_f32_model_becomes_the_nearest_bf16(void)
{
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    REQUIRE_OK(pack(SHARDED, scratch_path(&s, "out/"), &r, &st), st);
    struct model_folder in, out;
    REQUIRE_OK(model_folder_open(&in, SHARDED, NULL, &st), st);
    REQUIRE_OK(model_folder_open(&out, scratch_path(&s, "out"), NULL, &st), st);
    CHECK(out.n_shards == in.n_shards && out.n_shards == 3);
    CHECK_STRING(out.id, in.id); /* the same model */
    CHECK(r.bytes_in == in.weight_bytes && r.bytes_out == out.weight_bytes);
    CHECK(out.weight_bytes * 2 == in.weight_bytes);
    uint64_t values = 0, rounded = 0;
    double worst = 0.0, relative = 0.0;
    for (size_t i = 0; i < in.n_shards; i++) {
        for (size_t k = 0; k < safetensors_count(in.shards[i]); k++) {
            const struct tensor *a = safetensors_at(in.shards[i], k);
            const char *file;
            const struct tensor *b =
                model_folder_tensor(&out, safetensors_name(in.shards[i], k), &file);
            REQUIRE(b && b->dtype == DTYPE_BF16 && tensor_elements(a) == tensor_elements(b));
            for (size_t e = 0; e < tensor_elements(a); e++) {
                float x = tensor_get(a, e), y = tensor_get(b, e);
                double off = fabs((double)y - (double)x);
                if (y != nearest(x)) {
                    CHECK(y == nearest(x));
                }
                values++;
                rounded += y != x;
                worst = fmax(worst, off);
                relative = x != 0.0f ? fmax(relative, off / fabs((double)x)) : relative;
            }
        }
    }
    CHECK(r.n_values == values && r.n_rounded == rounded && rounded > values / 2);
    CHECK(r.absolute == worst && r.relative == relative && relative <= 1.0 / 256.0);
    CHECK_CONTAINS(r.absolute_tensor, "weight");
    CHECK(n_files(scratch_path(&s, "out.partial")) < 0); /* gone */
    model_folder_close(&in);
    model_folder_close(&out);
    scratch_close(&s);
}

/* The copy is a model: config says what it is, and the engine opens it under the same name. */
static void the_copy_opens_as_the_same_model(void)
{
    struct scratch s;
    struct pack_report r;
    struct status st;
    struct engine *a, *b;
    scratch_open(&s);
    char out[96];
    snprintf(out, sizeof out, "%s/small", s.root);
    REQUIRE_OK(pack(SHARDED, out, &r, &st), st);
    REQUIRE_OK(open_engine(&a, SHARDED, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(open_engine(&b, out, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    CHECK_STRING(engine_model_id(b), engine_model_id(a));
    struct hash of_a = engine_model_identity(a), of_b = engine_model_identity(b);
    CHECK(memcmp(&of_a, &of_b, sizeof of_a) != 0); /* but its values are never mixed up */
    engine_close(a);
    engine_close(b);
    cJSON *config;
    REQUIRE_OK(json_parse_file(&config, scratch_path(&s, "small/config.json"), 1 << 20, &st), st);
    const cJSON *dtype = json_get(config, "torch_dtype");
    CHECK_STRING(dtype ? dtype->valuestring : "bfloat16", "bfloat16");
    cJSON_Delete(config);
    CHECK(pack(out, scratch_path(&s, "again"), &r, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "expected weights in F32 or F16, found none");
    scratch_close(&s);
}

/* One F32 tensor of these values in model.safetensors, with a config and a tokenizer beside it. */
static void write_model(struct scratch *s, const float *values, size_t n)
{
    struct safetensors_entry entry = {"w",
                                      {.dtype = DTYPE_F32, .n_dims = 1, .shape = {n, 1, 1, 1}}};
    struct text file = {0};
    struct status st;
    (void)safetensors_header(&file, &entry, 1, NULL, &st);
    text_append(&file, (const char *)values, n * sizeof *values);
    scratch_write(s, "in/model.safetensors", file.data, file.length);
    scratch_text(s, "in/config.json",
                 "{\"torch_dtype\": \"float32\", \"text_config\": {\"dtype\": "
                 "\"float32\"}, \"hidden_size\": 48}");
    scratch_text(s, "in/tokenizer.json", "{\"a\": 1}");
    scratch_text(s, "in/weights.bin", "not copied");
    text_free(&file);
}

static int pack_values(struct scratch *s, const float *values, size_t n, struct pack_report *r,
                       struct status *st)
{
    char in[600], out[600];
    write_model(s, values, n);
    snprintf(in, sizeof in, "%s", scratch_path(s, "in"));
    snprintf(out, sizeof out, "%s", scratch_path(s, "out"));
    return pack(in, out, r, st);
}

static void says_when_every_weight_was_exact(void)
{
    static const float values[] = {1.0f, -0.5f, 0.0f, 3.0f, 1.0f / 65536.0f};
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    REQUIRE_OK(pack_values(&s, values, 5, &r, &st), st);
    CHECK(r.n_values == 5 && r.n_rounded == 0 && r.absolute == 0.0 && r.relative == 0.0);
    CHECK(r.n_files == 1 && access(scratch_path(&s, "out/tokenizer.json"), R_OK) == 0);
    CHECK(access(scratch_path(&s, "out/weights.bin"), F_OK) != 0);
    scratch_close(&s);
}

static void names_the_weights_that_lost_most(void)
{
    /* 1 + 2^-8 lies half-way: to the even neighbour; 100.3 becomes 100.5. */
    static const float values[] = {1.00390625f, 100.3f, 1e-30f, 1.0117187f};
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    REQUIRE_OK(pack_values(&s, values, 4, &r, &st), st);
    CHECK(r.n_values == 4 && r.n_rounded == 4);
    CHECK_NEAR(r.absolute, 0.2, 1e-5);
    CHECK_NEAR(r.absolute_value, 100.3, 1e-5);
    CHECK_NEAR(r.relative, 0.00390625 / 1.00390625, 1e-9);
    CHECK_NEAR(r.relative_value, 1.00390625, 1e-9);
    CHECK_STRING(r.absolute_tensor, "w");
    struct model_folder out;
    const char *file;
    REQUIRE_OK(model_folder_open(&out, scratch_path(&s, "out"), NULL, &st), st);
    const struct tensor *w = model_folder_tensor(&out, "w", &file);
    CHECK(w && tensor_get(w, 0) == 1.0f && tensor_get(w, 1) == 100.5f);
    model_folder_close(&out);
    cJSON *config;
    REQUIRE_OK(json_parse_file(&config, scratch_path(&s, "out/config.json"), 1 << 20, &st), st);
    CHECK_STRING(json_get(config, "torch_dtype")->valuestring, "bfloat16");
    CHECK_STRING(json_get(json_get(config, "text_config"), "dtype")->valuestring, "bfloat16");
    CHECK(json_get(config, "hidden_size")->valuedouble == 48);
    cJSON_Delete(config);
    scratch_close(&s);
}

static void a_number_too_large_is_refused_and_leaves_nothing(void)
{
    static const float values[] = {1.0f, 3.4e38f};
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    CHECK(pack_values(&s, values, 2, &r, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "does not fit BF16");
    CHECK(access(scratch_path(&s, "out"), F_OK) != 0);
    CHECK(access(scratch_path(&s, "out.partial"), F_OK) != 0);
    scratch_close(&s);
}

static void what_is_there_is_not_overwritten(void)
{
    static const float values[] = {1.5f};
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    scratch_text(&s, "out/mine", "x");
    CHECK(pack_values(&s, values, 1, &r, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "found one: remove it or name another");
    CHECK(n_files(scratch_path(&s, "out")) == 1);
    scratch_close(&s);
}

/* A killed run leaves OUT.partial: the next one begins afresh and ends well. */
static void starts_again_over_what_a_killed_run_left(void)
{
    static const float values[] = {1.5f};
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    scratch_text(&s, "out.partial/model-00001-of-00002.safetensors", "half");
    REQUIRE_OK(pack_values(&s, values, 1, &r, &st), st);
    CHECK(n_files(scratch_path(&s, "out")) == 4); /* weights, config, tokenizer, id */
    scratch_close(&s);
    scratch_open(&s); /* but never over what is somebody's */
    scratch_text(&s, "out.partial/thesis.tex", "x");
    CHECK(pack_values(&s, values, 1, &r, &st) == STATUS_IO);
    CHECK(access(scratch_path(&s, "out.partial/thesis.tex"), R_OK) == 0);
    scratch_close(&s);
}

static void stops_when_told_to_and_leaves_nothing(void)
{
    struct scratch s;
    struct pack_report r;
    struct status st = {0};
    atomic_bool cancel = true;
    scratch_open(&s);
    const struct pack_options o = {
        .model = SHARDED, .out = scratch_path(&s, "out"), .cancel = &cancel};
    CHECK(pack_folder(&o, &r, &st) == STATUS_CANCELLED);
    CHECK(n_files(s.root) == 0);
    scratch_close(&s);
}

static void a_folder_that_cannot_be_made_is_one_clear_line(void)
{
    struct pack_report r;
    struct status st;
    CHECK(pack(SHARDED, "/nowhere/at/all", &r, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "/nowhere/at/all.partial: cannot be written: No such file");
    CHECK(pack("no/such/model", "/tmp/x", &r, &st) == STATUS_NOT_FOUND);
}

static void runs_out_of_memory_cleanly(void)
{
    struct scratch s;
    struct pack_report r;
    struct status st;
    scratch_open(&s);
    for (long nth = 1; nth < 4000; nth += 1 + nth / 6) { /* each run that ends waits for the disk */
        char out[600];
        snprintf(out, sizeof out, "%s", scratch_path(&s, "out"));
        memory_fail_after(nth);
        int code = pack(SHARDED, out, &r, &st);
        memory_fail_after(0);
        if (code == STATUS_OK) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        CHECK(n_files(s.root) == 0);
    }
    CHECK(access(scratch_path(&s, "out/config.json"), R_OK) == 0);
    scratch_close(&s);
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(a_sharded_f32_model_becomes_the_nearest_bf16),
        TEST(the_copy_opens_as_the_same_model),
        TEST(says_when_every_weight_was_exact),
        TEST(names_the_weights_that_lost_most),
        TEST(a_number_too_large_is_refused_and_leaves_nothing),
        TEST(what_is_there_is_not_overwritten),
        TEST(starts_again_over_what_a_killed_run_left),
        TEST(stops_when_told_to_and_leaves_nothing),
        TEST(a_folder_that_cannot_be_made_is_one_clear_line),
        TEST(runs_out_of_memory_cleanly),
    };
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
