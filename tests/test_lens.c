/* The logit lens and feature logits against the oracle. */
#include "core/formats/model_folder.h"
#include "core/lens/lens.h"
#include "core/sae/catalogue.h"
#include "core/sae/sae.h"
#include "tests/oracle.h"

struct model {
    struct oracle o;
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
    struct threads *threads;
};

static bool model_open(struct model *m, const char *name)
{
    struct status st = {0};
    bool ok = oracle_open(&m->o, name) &&
              model_folder_open(&m->folder, m->o.folder, NULL, &st) == 0 &&
              config_open(&m->config, m->folder.config, &st) == 0 &&
              weights_open(&m->weights, &m->folder, &m->config, 1.0f, PRECISION_EXACT, &st) == 0 &&
              threads_create(&m->threads, 2, &st) == 0;
    if (!ok) {
        printf("    %s: %s\n", name, st.message);
        test_failures_++;
    }
    return ok;
}

static void model_close(struct model *m)
{
    threads_destroy(m->threads);
    weights_close(&m->weights);
    model_folder_close(&m->folder);
    oracle_close(&m->o);
}

/* The five best tokens at every layer and position of two prompts: ids exactly, logits to 1e-3. */
static void reads_every_layer_as_the_oracle_does(void)
{
    static const char *const prompts[] = {"one", "window"};
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct model m = {0};
        REQUIRE(model_open(&m, oracle_names[f]));
        size_t D = m.config.hidden_size, V = m.config.vocab_size;
        for (int p = 0; p < 2; p++) {
            const struct tensor *x = oracle_array(&m.o, "%s.resid_post", prompts[p]);
            const struct tensor *ids = oracle_array(&m.o, "%s.lens_ids", prompts[p]);
            const struct tensor *want = oracle_array(&m.o, "%s.lens_logits", prompts[p]);
            REQUIRE(x && ids && want);
            size_t rows = x->shape[0] * x->shape[1];
            float *stream = calloc(rows * D, sizeof *stream);
            float *logits = calloc(rows * V, sizeof *logits);
            tensor_widen(x, 0, rows * D, stream);
            struct status st = {0};
            REQUIRE_OK(lens_logits(&m.weights, m.threads, stream, rows, logits, &st), st);
            for (size_t r = 0; r < rows; r++) {
                float *row = logits + r * V;
                for (size_t k = 0; k < 5; k++) {
                    size_t best = 0;
                    for (size_t v = 1; v < V; v++) {
                        best = row[v] > row[best] ? v : best;
                    }
                    CHECK(oracle_int(ids, r * 5 + k) == (int32_t)best);
                    CHECK_NEAR(row[best], tensor_get(want, r * 5 + k), 1e-3);
                    row[best] = -INFINITY;
                }
            }
            free(stream);
            free(logits);
        }
        model_close(&m);
    }
}

/* Decoder rows of the res SAE, of whichever format the fixture has it in. */
static void gives_the_logits_of_decoder_rows(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct model m = {0};
        struct status st = {0};
        struct catalogue catalogue;
        struct sae *sae;
        REQUIRE(model_open(&m, oracle_names[f]));
        const char *folder = m.o.saes;
        REQUIRE_OK(catalogue_scan(&catalogue, &folder, 1, &m.config, &st), st);
        const char *res = cJSON_GetStringValue(json_get(json_get(m.o.lenses, "names"), "res"));
        REQUIRE_OK(sae_open(&sae, catalogue_find(&catalogue, res), &st), st);
        const cJSON *features =
            json_get(json_get(json_get(m.o.cases, "scalars"), "feature_logits"), "features");
        size_t V = m.config.vocab_size, i = 0;
        const cJSON *feature;
        cJSON_ArrayForEach(feature, features)
        {
            float row[64], logits[300];
            REQUIRE_OK(sae_decoder_row(sae, (size_t)feature->valuedouble, row, &st), st);
            for (int folded = 0; folded < 2; folded++) {
                REQUIRE_OK(lens_vector_logits(&m.weights, m.threads, row, folded, logits, &st), st);
                oracle_compare(
                    logits, oracle_array(&m.o, "feature_logits.%s", folded ? "folded" : "unfolded"),
                    i * V, V, 1e-3, 1e-4, "feature_logits");
            }
            i++;
        }
        CHECK(i == 3);
        sae_close(sae);
        catalogue_free(&catalogue);
        model_close(&m);
    }
}

static const struct test tests[] = {TEST(reads_every_layer_as_the_oracle_does),
                                    TEST(gives_the_logits_of_decoder_rows)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
