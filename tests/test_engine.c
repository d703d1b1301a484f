/* The engine as a whole: damaged folders, tokens, identities, and every allocation that can fail.
 * tests/test_engine_trace.c has engine_trace. */
#include "tests/engine_fixture.h"
#include "tests/scratch.h"

#include <fcntl.h>

/* A copy of a model folder's own files (no saes/, no expected numbers). */
static void copy_model(struct scratch *s, const char *folder)
{
    static const char *const names[] = {"config.json", "model.safetensors"};
    scratch_open(s);
    for (int i = 0; i < 2; i++) {
        char path[160];
        snprintf(path, sizeof path, "%s/%s", folder, names[i]);
        FILE *f = fopen(path, "rb");
        char *bytes = calloc(1, 1 << 22);
        size_t n = f ? fread(bytes, 1, 1 << 22, f) : 0;
        CHECK(n > 0);
        scratch_write(s, names[i], bytes, n);
        if (f) {
            fclose(f);
        }
        free(bytes);
    }
}

/* Replaces the first `from` in a file by `to`, of the same length. */
static void patch(struct scratch *s, const char *name, const char *from, const char *to)
{
    FILE *f = fopen(scratch_path(s, name), "r+b");
    char *bytes = calloc(1, 1 << 22);
    size_t n = f ? fread(bytes, 1, 1 << 22, f) : 0;
    char *at = memmem(bytes, n, from, strlen(from));
    CHECK(at && strlen(from) == strlen(to));
    if (at) {
        memcpy(at, to, strlen(to));
        rewind(f);
        CHECK(fwrite(bytes, 1, n, f) == n);
    }
    if (f) {
        fclose(f);
    }
    free(bytes);
}

/* --- what is refused -----------------------------------------------------------------------------
 */

static void names_file_tensor_expected_and_found_of_a_damaged_model(void)
{
    static const struct {
        const char *from, *to;
        const char *words[3];
    } damages[] = {
        {"model.layers.2.mlp.up_proj.weight",
         "model.layers.2.mlp.up_porj.weight",
         {"[96, 48]", "model.layers.2.mlp.up_proj.weight", "no such tensor"}},
        {"\"model.layers.1.self_attn.q_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[64,48]",
         "\"model.layers.1.self_attn.q_proj.weight\":{\"dtype\":\"BF16\",\"shape\":[48,64]",
         {"/model.safetensors: tensor \"model.layers.1.self_attn.q_proj.weight\"",
          "expected shape [64, 48]", "found [48, 64]"}},
    };
    for (int i = 0; i < 2; i++) {
        struct scratch s;
        struct engine *e;
        struct status st = {0};
        copy_model(&s, NANO2);
        REQUIRE_OK(open_engine(&e, s.root, EMBED_SCALE_AUTO, 1, NULL, &st), st); /* whole: fine */
        engine_close(e);
        patch(&s, "model.safetensors", damages[i].from, damages[i].to);
        CHECK(open_engine(&e, s.root, EMBED_SCALE_AUTO, 1, NULL, &st) == STATUS_CORRUPT && !e);
        for (int k = 0; k < 3; k++) {
            CHECK_CONTAINS(st.message, damages[i].words[k]);
        }
        scratch_close(&s);
    }
}

static void refuses_a_folder_that_is_not_there_and_a_tokenizer_it_cannot_read(void)
{
    struct engine *e;
    struct status st = {0};
    struct scratch s;
    CHECK(open_engine(&e, "no/such/folder", EMBED_SCALE_AUTO, 1, NULL, &st) != 0 && !e);
    CHECK_CONTAINS(st.message, "no/such/folder");
    copy_model(&s, NANO2);
    scratch_text(&s, "tokenizer.json", "{\"model\":");
    CHECK(open_engine(&e, s.root, EMBED_SCALE_AUTO, 1, NULL, &st) != 0 && !e);
    CHECK_CONTAINS(st.message, "tokenizer.json");
    scratch_close(&s);
}

/* --- tokens and notices --------------------------------------------------------------------------
 */

static void says_that_a_folder_has_no_tokenizer_and_takes_ids(void)
{
    struct engine *e;
    struct status st = {0};
    struct lines lines = {0};
    int32_t *ids;
    size_t n;
    struct text text = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, &lines, &st), st);
    CHECK_CONTAINS(lines.text, "tokenizer.json");
    CHECK_CONTAINS(lines.text, NANO2);
    CHECK(!engine_has_tokenizer(e) && engine_bos(e) == 2);
    CHECK(engine_is_special(e, 2) && !engine_is_special(e, 3));
    CHECK(engine_tokenize(e, "a", 1, true, &ids, &n, &st) == STATUS_INVALID && !ids && !n);
    CHECK_CONTAINS(st.message, "tokens");
    engine_token_text(e, 17, &text);
    CHECK_STRING(text.data, "<id:17>");
    text_free(&text);
    engine_close(e);
}

static void puts_bos_in_front_once(void)
{
    struct engine *e;
    struct status st = {0};
    struct engine_options o = {.model = "demo", .tokenizer_only = true};
    REQUIRE_OK(engine_open(&e, &o, &st), st);
    static const struct {
        const char *text;
        bool bos;
        int count; /* of <bos> at the front */
    } cases[] = {{"the whale", true, 1},       {"the whale", false, 0}, {"<bos>the whale", true, 1},
                 {"<bos>the whale", false, 1}, {"", true, 1},           {"", false, 0}};
    for (int i = 0; i < 6; i++) {
        int32_t *ids;
        size_t n;
        REQUIRE_OK(
            engine_tokenize(e, cases[i].text, strlen(cases[i].text), cases[i].bos, &ids, &n, &st),
            st);
        size_t front = 0;
        while (front < n && ids[front] == engine_bos(e)) {
            front++;
        }
        CHECK(front == (size_t)cases[i].count && (n > front) == (strlen(cases[i].text) > 0));
        memory_free(ids);
    }
    CHECK_STRING(engine_model_id(e), "gemma-2-demo");
    engine_close(e);
}

/* --- identities ----------------------------------------------------------------------------------
 */

static bool same(struct hash a, struct hash b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

static struct hash identity_of(const char *folder, enum embed_scale scale)
{
    struct engine *e;
    struct status st = {0};
    struct hash h = {0};
    if (open_engine(&e, folder, scale, 1, NULL, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        return h;
    }
    h = engine_model_identity(e);
    engine_close(e);
    return h;
}

/* Flips one bit of the first value of a tensor in the copy. */
static void flip(struct scratch *s, const char *tensor)
{
    struct safetensors *file;
    struct status st = {0};
    REQUIRE_OK(safetensors_open(&file, scratch_path(s, "model.safetensors"), &st), st);
    const struct tensor *t = safetensors_find(file, tensor);
    REQUIRE(t);
    unsigned char byte = *(const unsigned char *)t->data ^ 1;
    long end = 0;
    for (size_t i = 0; i < safetensors_count(file); i++) { /* the data end with the last tensor */
        const struct tensor *other = safetensors_at(file, i);
        long after = (const char *)other->data - (const char *)t->data + (long)tensor_bytes(other);
        end = after > end ? after : end;
    }
    safetensors_close(file);
    FILE *f = fopen(scratch_path(s, "model.safetensors"), "r+b");
    CHECK(f && fseek(f, -end, SEEK_END) == 0);
    CHECK(f && fwrite(&byte, 1, 1, f) == 1 && fclose(f) == 0);
}

static void has_another_identity_when_any_tensor_changes(void)
{
    static const char *const tensors[] = {"model.embed_tokens.weight",
                                          "model.norm.weight",
                                          "model.layers.3.self_attn.q_proj.weight",
                                          "model.layers.3.self_attn.k_proj.weight",
                                          "model.layers.3.self_attn.v_proj.weight",
                                          "model.layers.3.self_attn.o_proj.weight",
                                          "model.layers.3.self_attn.q_norm.weight",
                                          "model.layers.3.self_attn.k_norm.weight",
                                          "model.layers.3.mlp.gate_proj.weight",
                                          "model.layers.3.mlp.up_proj.weight",
                                          "model.layers.3.mlp.down_proj.weight",
                                          "model.layers.3.input_layernorm.weight",
                                          "model.layers.3.post_attention_layernorm.weight",
                                          "model.layers.3.pre_feedforward_layernorm.weight",
                                          "model.layers.3.post_feedforward_layernorm.weight"};
    struct scratch s;
    copy_model(&s, NANO3);
    struct hash before = identity_of(s.root, EMBED_SCALE_AUTO);
    CHECK(
        same(before, identity_of(NANO3, EMBED_SCALE_AUTO))); /* the folder's name does not count */
    for (size_t i = 0; i < sizeof tensors / sizeof tensors[0]; i++) {
        flip(&s, tensors[i]);
        struct hash after = identity_of(s.root, EMBED_SCALE_AUTO);
        if (same(before, after)) {
            printf("    %s changed unseen\n", tensors[i]);
            test_failures_++;
        }
        before = after;
    }
    patch(&s, "config.json", "\"query_pre_attn_scalar\": 24", "\"query_pre_attn_scalar\": 25");
    CHECK(!same(before, identity_of(s.root, EMBED_SCALE_AUTO)));
    scratch_close(&s);
}

static void embeds(const char *folder, enum embed_scale scale, float *out, size_t n)
{
    struct engine *e;
    struct session *session;
    struct status st = {0};
    static const int32_t ids[] = {2, 5, 7};
    REQUIRE_OK(open_engine(&e, folder, scale, 1, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    struct engine_read read = {.point = POINT_EMBED};
    struct engine_prompt p = {ids, 3, &read, 1};
    REQUIRE_OK(engine_trace(session, &p, 1, NULL, &st), st);
    REQUIRE(elements(&read) == n);
    memcpy(out, read.data, n * sizeof *out);
    engine_read_free(&read);
    session_destroy(session);
    engine_close(e);
}

/* sqrt(40) = 6.3245554 is 6.3125 in bf16; auto is fp32's. */
static void rounds_the_embedding_s_scale_only_when_told(void)
{
    float automatic[120], f32[120], bf16[120];
    embeds(NANO3, EMBED_SCALE_AUTO, automatic, 120);
    embeds(NANO3, EMBED_SCALE_F32, f32, 120);
    embeds(NANO3, EMBED_SCALE_BF16, bf16, 120);
    CHECK(memcmp(automatic, f32, sizeof f32) == 0);
    for (int i = 0; i < 120; i++) {
        CHECK_NEAR(bf16[i], (double)f32[i] * 6.3125 / sqrt(40.0),
                   1e-6 * (1 + fabs((double)f32[i])));
    }
    CHECK(memcmp(f32, bf16, sizeof f32) != 0);
    struct hash a = identity_of(NANO3, EMBED_SCALE_AUTO);
    CHECK(same(a, identity_of(NANO3, EMBED_SCALE_F32)));
    CHECK(!same(a, identity_of(NANO3, EMBED_SCALE_BF16)));
}

/* bf16 is another identity, so that values of both never mix; its scale is rounded unless fp32 is
 * asked for. */
static void precision_is_part_of_the_identity(void)
{
    struct hash h[2][3];
    for (int precision = 0; precision < 2; precision++) {
        for (int scale = 0; scale < 3; scale++) {
            struct engine_options o = {.model = NANO3,
                                       .threads = 1,
                                       .precision = (enum precision)precision,
                                       .embed_scale = (enum embed_scale)scale};
            struct engine *e;
            struct status st = {0};
            REQUIRE_OK(engine_open(&e, &o, &st), st);
            CHECK(engine_precision(e) == o.precision);
            h[precision][scale] = engine_model_identity(e);
            engine_close(e);
        }
    }
    for (int scale = 0; scale < 3; scale++) {
        CHECK(!same(h[PRECISION_EXACT][scale], h[PRECISION_BF16][scale]));
    }
    CHECK(same(h[PRECISION_EXACT][EMBED_SCALE_AUTO], h[PRECISION_EXACT][EMBED_SCALE_F32]));
    CHECK(same(h[PRECISION_BF16][EMBED_SCALE_AUTO], h[PRECISION_BF16][EMBED_SCALE_BF16]));
    CHECK(!same(h[PRECISION_BF16][EMBED_SCALE_AUTO], h[PRECISION_BF16][EMBED_SCALE_F32]));
}

static void a_source_s_identity_counts_the_model_and_the_sae(void)
{
    struct engine *e[2];
    struct status st = {0};
    struct hash h[16], other;
    REQUIRE_OK(open_engine(&e[0], NANO3, EMBED_SCALE_F32, 1, NULL, &st), st);
    REQUIRE_OK(open_engine(&e[1], NANO3, EMBED_SCALE_BF16, 1, NULL, &st), st);
    const struct catalogue *c = engine_catalogue(e[0]);
    REQUIRE(c->n_sources >= 5 && c->n_sources <= 16);
    for (size_t i = 0; i < c->n_sources; i++) {
        const char *name = c->sources[i].name;
        REQUIRE_OK(engine_source_identity(e[0], name, &h[i], &st), st);
        REQUIRE_OK(engine_source_identity(e[0], name, &other, &st), st);
        CHECK(same(h[i], other));
        REQUIRE_OK(engine_source_identity(e[1], name, &other, &st), st);
        CHECK(!same(h[i], other));
        for (size_t j = 0; j < i; j++) {
            /* saelens/nano-res is a copy of res with the same numbers */
            bool copy =
                strstr(c->sources[i].path, "saelens") || strstr(c->sources[j].path, "saelens");
            CHECK(copy || !same(h[i], h[j]));
        }
    }
    CHECK(engine_source_identity(e[0], "x", &other, &st) == STATUS_NOT_FOUND);
    engine_close(e[0]);
    engine_close(e[1]);
}

static void refuses_vectors_of_features_that_are_not_there(void)
{
    struct engine *e;
    struct status st = {0};
    float *vector, one = 1, cosine[2];
    size_t n, found;
    uint32_t index[2];
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    const struct sae_source *s = &engine_catalogue(e)->sources[0];
    CHECK(engine_encoder_vector(e, "x", 0, &vector, &n, &st) == STATUS_NOT_FOUND && !vector);
    CHECK(engine_decoder_vector(e, s->name, s->d_sae, &vector, &n, &st) == STATUS_INVALID);
    CHECK(!vector);
    CHECK_CONTAINS(st.message, s->name);
    CHECK(engine_nearest(e, s->name, &one, 1, 2, index, cosine, &found, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "found 1");
    CHECK(engine_nearest(e, "x", &one, 1, 2, index, cosine, &found, &st) == STATUS_NOT_FOUND);
    engine_close(e);
}

/* --- memory --------------------------------------------------------------------------------------
 */

static int open_and_trace(const char *folder, struct status *st)
{
    struct engine *e;
    struct session *session = NULL;
    static const int32_t ids[] = {2, 5, 7}, last[] = {2};
    int code = open_engine(&e, folder, EMBED_SCALE_AUTO, 2, NULL, st);
    if (code) {
        CHECK(e == NULL);
        return code;
    }
    struct engine_read reads[16] = {{.point = POINT_LOGITS, .top = 3}, {.point = POINT_SCORES}};
    size_t n = 2;
    const struct catalogue *c = engine_catalogue(e);
    for (size_t i = 0; i < c->n_sources && n + 3 <= 16; i += 3) {
        reads[n++] = (struct engine_read){.kind = READ_FEATURES, .source = c->sources[i].name};
        reads[n++] = (struct engine_read){.kind = READ_ERROR, .source = c->sources[i].name};
        reads[n++] = (struct engine_read){
            .kind = READ_PRE, .source = c->sources[i].name, .positions = last, .n_positions = 1};
    }
    struct engine_prompt prompts[] = {{ids, 3, reads, n}, {ids, 2, NULL, 0}};
    code = session_create(&session, e, st);
    if (!code) {
        code = engine_trace(session, prompts, 2, NULL, st);
    }
    for (size_t i = 0; i < n && code; i++) {
        CHECK(!reads[i].data && !reads[i].top_ids);
    }
    free_reads(reads, n);
    session_destroy(session);
    engine_close(e);
    return code;
}

static void fails_cleanly_wherever_memory_runs_out(void)
{
    static const char *const folders[] = {NANO2, "tests/fixtures/oracle/gemma3-nano-4b-style"};
    for (int f = 0; f < 2; f++) {
        struct status st = {0};
        memory_fail_after(0);
        REQUIRE_OK(open_and_trace(folders[f], &st), st);
        long n = memory_fail_after(0);
        int failed = 0;
        CHECK(n > 100);
        for (long i = 1; i <= n; i++) {
            status_clear(&st);
            memory_fail_after(i);
            int code = open_and_trace(folders[f], &st);
            memory_fail_after(0);
            if (code && (code != STATUS_MEMORY || !strstr(st.message, "memory"))) {
                printf("    allocation %ld of %ld: %d %s\n", i, n, code, st.message);
                test_failures_++;
            }
            failed += code != 0;
        }
        CHECK(failed > n / 2);
    }
}

static int loss(struct engine *e, float *out, struct status *st)
{
    static const int32_t ids[] = {2, 5, 6, 7};
    struct session *session;
    struct engine_read read = {.kind = READ_POINT, .point = POINT_LOSS};
    struct engine_prompt p = {.ids = ids, .n_ids = 4, .reads = &read, .n_reads = 1};
    int code = session_create(&session, e, st);
    code = code ? code : engine_trace(session, &p, 1, NULL, st);
    *out = code ? 0 : read.data[0];
    engine_read_free(&read);
    session_destroy(session);
    return code;
}

static void a_weight_file_that_changes_is_an_error_and_no_signal(void)
{
    struct scratch s;
    struct engine *e;
    struct status st = {0};
    struct stat info;
    float before, after;
    copy_model(&s, NANO3);
    REQUIRE_OK(open_engine(&e, s.root, EMBED_SCALE_AUTO, 3, NULL, &st), st);
    REQUIRE_OK(loss(e, &before, &st), st);
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    const char *path = scratch_path(&s, "model.safetensors");
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0); /* touched, and the same */
    CHECK(loss(e, &after, &st) == 0 && before == after);
    CHECK(stat(path, &info) == 0 && truncate(path, info.st_size / 2) == 0);
    CHECK(loss(e, &after, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "model.safetensors: the weights were cut short");
    CHECK(engine_check_weights(e, &st) == STATUS_CORRUPT);
    engine_close(e);
    scratch_close(&s);

    copy_model(&s, NANO3);
    REQUIRE_OK(open_engine(&e, s.root, EMBED_SCALE_AUTO, 3, NULL, &st), st);
    flip(&s, "model.layers.3.self_attn.q_proj.weight");
    CHECK(loss(e, &after, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "the weights were written to");
    engine_close(e);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(a_weight_file_that_changes_is_an_error_and_no_signal),
    TEST(names_file_tensor_expected_and_found_of_a_damaged_model),
    TEST(refuses_a_folder_that_is_not_there_and_a_tokenizer_it_cannot_read),
    TEST(says_that_a_folder_has_no_tokenizer_and_takes_ids),
    TEST(puts_bos_in_front_once),
    TEST(has_another_identity_when_any_tensor_changes),
    TEST(rounds_the_embedding_s_scale_only_when_told),
    TEST(precision_is_part_of_the_identity),
    TEST(a_source_s_identity_counts_the_model_and_the_sae),
    TEST(refuses_vectors_of_features_that_are_not_there),
    TEST(fails_cleanly_wherever_memory_runs_out),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
