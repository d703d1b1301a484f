#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/weights.h"
#include "tests/oracle.h"
#include "tests/scratch.h"

#define NANO2 "tests/fixtures/oracle/gemma2-nano-bf16"

struct opened {
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
};

static int open_all(struct opened *o, const char *path, struct status *st)
{
    *o = (struct opened){0};
    int code = model_folder_open(&o->folder, path, NULL, st);
    code = code ? code : config_open(&o->config, o->folder.config, st);
    return code ? code
                : weights_open(&o->weights, &o->folder, &o->config, 2.5f, PRECISION_EXACT, st);
}

static void close_all(struct opened *o)
{
    weights_close(&o->weights);
    model_folder_close(&o->folder);
}

static bool has_shape(const struct tensor *t, size_t rows, size_t cols)
{
    return t->data && t->n_dims == 2 && t->shape[0] == rows && t->shape[1] == cols;
}

static void finds_every_tensor_of_every_kind_of_checkpoint(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct opened o;
        struct status st = {0};
        char path[128];
        snprintf(path, sizeof path, "tests/fixtures/oracle/%s", oracle_names[f]);
        REQUIRE_OK(open_all(&o, path, &st), st);
        const struct gemma_config *c = &o.config;
        size_t D = c->hidden_size, F = c->intermediate_size;
        size_t HK = c->n_heads * c->head_dim, GK = c->n_kv_heads * c->head_dim;
        CHECK(has_shape(&o.weights.embedding, c->vocab_size, D));
        CHECK(o.weights.unembedding.data == o.weights.embedding.data); /* tied */
        CHECK(o.weights.embed_scale == 2.5f);
        for (size_t i = 0; i < c->n_layers; i++) {
            const struct layer_weights *l = &o.weights.layers[i];
            CHECK(has_shape(&l->q_proj, HK, D) && has_shape(&l->k_proj, GK, D));
            CHECK(has_shape(&l->v_proj, GK, D) && has_shape(&l->o_proj, D, HK));
            CHECK(has_shape(&l->gate_proj, F, D) && has_shape(&l->up_proj, F, D));
            CHECK(has_shape(&l->down_proj, D, F));
            CHECK((l->q_gain != NULL) == (c->family == 3) &&
                  (l->k_gain != NULL) == (c->family == 3));
        }
        close_all(&o);
        close_all(&o); /* twice is fine */
    }
}

static void adds_one_to_the_norms_as_stored(void)
{
    struct opened o;
    struct status st = {0};
    const char *file;
    REQUIRE_OK(open_all(&o, "tests/fixtures/oracle/gemma3-nano-bf16", &st), st);
    const struct layer_weights *l = &o.weights.layers[5];
    const struct {
        const char *name;
        const float *gain;
    } norms[] = {{"model.norm.weight", o.weights.final_gain},
                 {"model.layers.5.input_layernorm.weight", l->input_gain},
                 {"model.layers.5.post_attention_layernorm.weight", l->post_attention_gain},
                 {"model.layers.5.pre_feedforward_layernorm.weight", l->pre_feedforward_gain},
                 {"model.layers.5.post_feedforward_layernorm.weight", l->post_feedforward_gain},
                 {"model.layers.5.self_attn.q_norm.weight", l->q_gain},
                 {"model.layers.5.self_attn.k_norm.weight", l->k_gain}};
    for (size_t k = 0; k < sizeof norms / sizeof norms[0]; k++) {
        const struct tensor *t = model_folder_tensor(&o.folder, norms[k].name, &file);
        REQUIRE(t && norms[k].gain);
        for (size_t i = 0; i < tensor_elements(t); i++) {
            CHECK(norms[k].gain[i] == tensor_get(t, i) + 1.0f);
        }
    }
    close_all(&o);
}

static char *read_all(const char *path, size_t *n)
{
    FILE *f = fopen(path, "rb");
    char *bytes = calloc(1, 1 << 20);
    *n = f ? fread(bytes, 1, 1 << 20, f) : 0;
    if (f) {
        fclose(f);
    }
    return bytes;
}

/* NANO2 with untied embeddings, and an lm_head of that name and shape if there is one: the
 * embedding's bytes with the first one changed. */
static void write_untied(struct scratch *s, const char *name, size_t rows)
{
    struct safetensors *file;
    struct status st = {0};
    struct text out = {0};
    struct safetensors_entry entries[80];
    REQUIRE_OK(safetensors_open(&file, NANO2 "/model.safetensors", &st), st);
    size_t n = safetensors_count(file);
    REQUIRE(n < 79);
    for (size_t i = 0; i < n; i++) {
        entries[i] =
            (struct safetensors_entry){safetensors_name(file, i), *safetensors_at(file, i)};
    }
    struct tensor head = *safetensors_find(file, "model.embed_tokens.weight");
    head.shape[0] = rows;
    if (name) {
        entries[n++] = (struct safetensors_entry){name, head};
    }
    REQUIRE_OK(safetensors_header(&out, entries, n, NULL, &st), st);
    for (size_t i = 0; i < n; i++) {
        size_t at = out.length;
        text_append(&out, entries[i].tensor.data, tensor_bytes(&entries[i].tensor));
        if (entries[i].name == name) {
            out.data[at] ^= 1;
        }
    }
    size_t length;
    char *config = read_all(NANO2 "/config.json", &length);
    char *tied = strstr(config, "\"tie_word_embeddings\": true");
    CHECK(tied == NULL); /* left out there, as on the hub */
    char *open = strchr(config, '{');
    struct text changed = {0};
    text_printf(&changed, "{\"tie_word_embeddings\": false,%s", open + 1);
    scratch_write(s, "config.json", changed.data, changed.length);
    scratch_write(s, "model.safetensors", out.data, out.length);
    text_free(&changed);
    text_free(&out);
    free(config);
    safetensors_close(file);
}

static void takes_an_lm_head_where_the_embeddings_are_not_tied(void)
{
    static const char *const names[] = {"lm_head.weight", "language_model.lm_head.weight"};
    for (int i = 0; i < 2; i++) {
        struct scratch s;
        struct opened o;
        struct status st = {0};
        scratch_open(&s);
        write_untied(&s, names[i], 300);
        REQUIRE_OK(open_all(&o, s.root, &st), st);
        CHECK(o.weights.unembedding.data != o.weights.embedding.data);
        CHECK(tensor_get(&o.weights.unembedding, 0) != tensor_get(&o.weights.embedding, 0));
        CHECK(tensor_get(&o.weights.unembedding, 1) == tensor_get(&o.weights.embedding, 1));
        close_all(&o);
        scratch_close(&s);
    }
}

static void names_an_lm_head_that_is_missing_or_has_another_shape(void)
{
    struct scratch s;
    struct opened o;
    struct status st = {0};
    scratch_open(&s);
    write_untied(&s, NULL, 300);
    CHECK(open_all(&o, s.root, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "lm_head.weight");
    CHECK_CONTAINS(st.message, "no such tensor");
    close_all(&o);
    write_untied(&s, "lm_head.weight", 299);
    CHECK(open_all(&o, s.root, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "model.safetensors");
    CHECK_CONTAINS(st.message, "lm_head.weight");
    CHECK_CONTAINS(st.message, "expected shape [300, 48], found [299, 48]");
    close_all(&o);
    scratch_close(&s);
}

static void names_the_norm_that_a_folder_lacks(void)
{
    struct scratch s;
    struct opened o;
    struct status st = {0};
    size_t n;
    scratch_open(&s);
    char *config = read_all(NANO2 "/config.json", &n);
    scratch_write(&s, "config.json", config, n);
    free(config);
    char *bytes = read_all(NANO2 "/model.safetensors", &n);
    char *name = memmem(bytes, n, "3.post_feedforward_layernorm", 28);
    REQUIRE(name);
    name[0] = '9';
    scratch_write(&s, "model.safetensors", bytes, n);
    free(bytes);
    CHECK(open_all(&o, s.root, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "\"model.layers.3.post_feedforward_layernorm.weight\"");
    CHECK_CONTAINS(st.message, "[48]");
    CHECK(!o.weights.layers && !o.weights.gains);
    close_all(&o);
    scratch_close(&s);
}

static void is_identified_by_its_contents(void)
{
    struct opened a, b, other;
    struct status st = {0};
    REQUIRE_OK(open_all(&a, NANO2, &st), st);
    REQUIRE_OK(open_all(&b, NANO2, &st), st);
    REQUIRE_OK(open_all(&other, "tests/fixtures/oracle/gemma2-nano-f32-sharded", &st), st);
    struct hash ha = weights_identity(&a.weights), hb = weights_identity(&b.weights);
    struct hash ho = weights_identity(&other.weights);
    CHECK(memcmp(&ha, &hb, sizeof ha) == 0 && memcmp(&ha, &ho, sizeof ha) != 0);
    float before = b.weights.layers[3].post_attention_gain[47];
    b.weights.layers[3].post_attention_gain[47] = nextafterf(before, 10);
    hb = weights_identity(&b.weights);
    CHECK(memcmp(&ha, &hb, sizeof ha) != 0);
    close_all(&a);
    close_all(&b);
    close_all(&other);
}

static void runs_out_of_memory_cleanly(void)
{
    struct opened o;
    struct status st = {0};
    REQUIRE_OK(open_all(&o, NANO2, &st), st);
    weights_close(&o.weights);
    for (long i = 1; i <= 2; i++) {
        memory_fail_after(i);
        CHECK(weights_open(&o.weights, &o.folder, &o.config, 1, PRECISION_EXACT, &st) ==
              STATUS_MEMORY);
        memory_fail_after(0);
        CHECK(!o.weights.layers && !o.weights.gains);
    }
    close_all(&o);
}

static const struct test tests[] = {
    TEST(finds_every_tensor_of_every_kind_of_checkpoint),
    TEST(adds_one_to_the_norms_as_stored),
    TEST(takes_an_lm_head_where_the_embeddings_are_not_tied),
    TEST(names_an_lm_head_that_is_missing_or_has_another_shape),
    TEST(names_the_norm_that_a_folder_lacks),
    TEST(is_identified_by_its_contents),
    TEST(runs_out_of_memory_cleanly),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
