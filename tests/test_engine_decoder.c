#include "tests/engine_fixture.h"

static const char *const models[] = {"gemma2-nano-bf16", "gemma3-nano-bf16"};

struct model {
    struct oracle o;
    struct engine *engine;
    struct session *session;
    struct safetensors *weights;
};

static bool open_model(struct model *m, const char *name)
{
    struct status st = {0};
    char path[256];
    *m = (struct model){0};
    if (!oracle_open(&m->o, name)) {
        return false;
    }
    snprintf(path, sizeof path, "%s/model.safetensors", m->o.folder);
    bool ok = !open_engine(&m->engine, m->o.folder, EMBED_SCALE_AUTO, 2, NULL, &st) &&
              !session_create(&m->session, m->engine, &st) &&
              !safetensors_open(&m->weights, path, &st);
    if (!ok) {
        printf("    %s: %s\n", name, st.message);
        test_failures_++;
    }
    return ok;
}

static void close_model(struct model *m)
{
    safetensors_close(m->weights);
    session_destroy(m->session);
    engine_close(m->engine);
    oracle_close(&m->o);
}

static double inverse_rms(const struct model *m, const float *x, size_t n)
{
    double square = 0;
    for (size_t i = 0; i < n; i++) {
        square += (double)x[i] * (double)x[i];
    }
    return 1 / sqrt(square / (double)n + (double)engine_config(m->engine)->rms_norm_eps);
}

/* U[id] * (1 + w of the final norm) . v */
static double logit(const struct model *m, int id, const float *v, size_t D)
{
    const struct tensor *U = safetensors_find(m->weights, "model.embed_tokens.weight");
    const struct tensor *w = safetensors_find(m->weights, "model.norm.weight");
    double sum = 0;
    for (size_t d = 0; d < D; d++) {
        sum += (double)tensor_get(U, (size_t)id * D + d) * (1 + (double)tensor_get(w, d)) *
               (double)v[d];
    }
    return sum;
}

/* Attribution's shares of every neuron (oracle/README.md c) from the neuron's value, its direction
 * and the two rms that the direction leaves out. */
static void a_neurons_direction_and_value_give_the_oracles_share_of_the_logit(void)
{
    for (size_t i = 0; i < TEST_COUNT(models); i++) {
        struct model m;
        struct status st = {0};
        REQUIRE(open_model(&m, models[i]));
        const cJSON *dla = json_get(json_get(m.o.lenses, "dla"), "window");
        const struct tensor *want = oracle_array(&m.o, "window.dla.neurons");
        struct oracle_prompt p = oracle_prompt_named(&m.o, "window");
        const struct gemma_config *c = engine_config(m.engine);
        size_t F = c->intermediate_size, D = c->hidden_size;
        int layer = (int)json_get(dla, "neuron_layer")->valuedouble;
        int32_t last = (int32_t)p.n - 1;
        struct engine_read reads[] = {{.kind = READ_POINT,
                                       .point = POINT_NEURONS,
                                       .layer = layer,
                                       .positions = &last,
                                       .n_positions = 1},
                                      {.kind = READ_POINT,
                                       .point = POINT_MLP_OUT_RAW,
                                       .layer = layer,
                                       .positions = &last,
                                       .n_positions = 1},
                                      {.kind = READ_POINT,
                                       .point = POINT_RESID_POST,
                                       .layer = (int)c->n_layers - 1,
                                       .positions = &last,
                                       .n_positions = 1}};
        struct engine_prompt prompt = {.ids = p.ids, .n_ids = p.n, .reads = reads, .n_reads = 3};
        REQUIRE_OK(engine_trace(m.session, &prompt, 1, NULL, &st), st);
        double scale = inverse_rms(&m, reads[1].data, D) * inverse_rms(&m, reads[2].data, D);
        char name[16];
        snprintf(name, sizeof name, "%d", layer);
        for (size_t t = 0; t < 3; t++) {
            int id = cJSON_GetArrayItem(json_get(dla, "targets"), (int)t)->valueint;
            for (size_t n = 0; n < F; n++) {
                float *direction;
                size_t width;
                REQUIRE_OK(engine_decoder_vector(m.engine, name, n, &direction, &width, &st), st);
                CHECK(width == D);
                float share =
                    (float)(scale * (double)reads[0].data[n] * logit(&m, id, direction, D));
                oracle_compare(&share, want, t * F + n, 1, 1e-4, 1e-4, "neuron");
                memory_free(direction);
            }
        }
        free_reads(reads, 3);
        close_model(&m);
    }
}

static void an_entry_of_mlp_out_writes_itself(void)
{
    struct model m;
    struct status st = {0};
    REQUIRE(open_model(&m, models[0]));
    float *direction;
    size_t D;
    REQUIRE_OK(engine_decoder_vector(m.engine, "2-mlp_out", 7, &direction, &D, &st), st);
    for (size_t d = 0; d < D; d++) {
        CHECK(direction[d] == (d == 7 ? 1.0f : 0.0f));
    }
    memory_free(direction);
    CHECK(engine_decoder_vector(m.engine, "2-mlp_out", D, &direction, &D, &st) == STATUS_INVALID);
    CHECK(engine_decoder_vector(m.engine, "9-mlp_out", 0, &direction, &D, &st) == STATUS_NOT_FOUND);
    CHECK(engine_encoder_vector(m.engine, "2", 0, &direction, &D, &st) == STATUS_INVALID);
    CHECK(!direction && D == 0); /* callers may loop over what there is */
    CHECK_CONTAINS(st.message, "neurons.2");
    close_model(&m);
}

/* The logits are U times the direction, as for a feature: the best and the worst of them, anew. */
static void neurons_vote_with_their_direction(void)
{
    struct model m;
    struct status st = {0};
    REQUIRE(open_model(&m, models[0]));
    const struct tensor *U = safetensors_find(m.weights, "model.embed_tokens.weight");
    static const char *const names[] = {"1", "1-mlp_out"};
    for (size_t s = 0; s < 2; s++) {
        struct engine_logits logits;
        float *v;
        size_t D, V = engine_config(m.engine)->vocab_size;
        bool known;
        REQUIRE_OK(engine_feature_logits(m.engine, names[s], 5, 1, &logits, &known, NULL, &st), st);
        REQUIRE_OK(engine_decoder_vector(m.engine, names[s], 5, &v, &D, &st), st);
        double best = -1e9, worst = 1e9;
        for (size_t id = 0; id < V; id++) {
            double sum = 0;
            for (size_t d = 0; d < D; d++) {
                sum += (double)tensor_get(U, id * D + d) * (double)v[d];
            }
            best = sum > best ? sum : best;
            worst = sum < worst ? sum : worst;
        }
        CHECK(known);
        CHECK_NEAR(logits.top[0], best, 1e-4);
        CHECK_NEAR(logits.bottom[0], worst, 1e-4);
        memory_free(v);
    }
    close_model(&m);
}

static void the_nearest_neuron_is_the_neuron_itself(void)
{
    struct model m;
    struct status st = {0};
    REQUIRE(open_model(&m, models[0]));
    static const char *const names[] = {"1", "1-mlp_out"};
    for (size_t s = 0; s < 2; s++) {
        float *v, cosine[4];
        size_t D, found;
        uint32_t index[4];
        REQUIRE_OK(engine_decoder_vector(m.engine, names[s], 9, &v, &D, &st), st);
        REQUIRE_OK(engine_nearest(m.engine, names[s], v, D, 4, index, cosine, &found, &st), st);
        CHECK(found == 4 && index[0] == 9);
        CHECK_NEAR(cosine[0], 1, 1e-5);
        CHECK(cosine[1] < 0.999f);
        memory_free(v);
    }
    close_model(&m);
}

static const struct test tests[] = {
    TEST(a_neurons_direction_and_value_give_the_oracles_share_of_the_logit),
    TEST(an_entry_of_mlp_out_writes_itself), TEST(neurons_vote_with_their_direction),
    TEST(the_nearest_neuron_is_the_neuron_itself)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
