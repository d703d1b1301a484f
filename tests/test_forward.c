/* The forward pass held against the oracle: every point, both families, every prompt, alone and
 * packed, with one thread and with two, and decoding against prefill,
 * bit by bit. */
#include "core/formats/model_folder.h"
#include "core/gemma/forward.h"
#include "core/gemma/weights.h"
#include "tests/oracle.h"

struct model {
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
    struct threads *threads;
    struct forward *forward;
};

static bool model_open_as(struct model *m, const struct oracle *o, int threads,
                          enum precision precision)
{
    struct status st = {0};
    *m = (struct model){0};
    bool ok = model_folder_open(&m->folder, o->folder, NULL, &st) == 0 &&
              config_open(&m->config, m->folder.config, &st) == 0 &&
              weights_open(&m->weights, &m->folder, &m->config, sqrtf((float)m->config.hidden_size),
                           precision, &st) == 0 &&
              threads_create(&m->threads, threads, &st) == 0 &&
              forward_create(&m->forward, &m->weights, m->threads, &st) == 0;
    if (!ok) {
        printf("    %s: %s\n", o->folder, st.message);
        test_failures_++;
    }
    return ok;
}

static bool model_open(struct model *m, const struct oracle *o, int threads)
{
    return model_open_as(m, o, threads, PRECISION_EXACT);
}

static void model_close(struct model *m)
{
    forward_destroy(m->forward);
    threads_destroy(m->threads);
    weights_close(&m->weights);
    model_folder_close(&m->folder);
}

/* A point of every layer, or of the model, for one sequence of a run. */
struct reading {
    float *data; /* [L or 1][size] */
    size_t size;
};

static void reading_add(struct reading *r, struct tap *all, size_t *n_all, enum point point,
                        size_t layers, size_t sequence, size_t size)
{
    r->size = size;
    r->data = calloc(layers * size + 1, sizeof(float));
    for (size_t l = 0; l < layers; l++) {
        all[(*n_all)++] = (struct tap){
            .point = point, .layer = (int)l, .sequence = sequence, .out = r->data + l * size};
    }
}

enum { MAX_TAPS = 4096 };

static const struct {
    enum point point;
    const char *name;
    bool layers;
    double tolerance;
} points[] = {
    {POINT_LOGITS, "logits", false, 1e-3},
    {POINT_RESID_POST, "resid_post", true, 1e-3},
    {POINT_LOSS, "loss", false, 1e-3},
    {POINT_EMBED, "embed", false, 1e-3},
    {POINT_FINAL_NORM, "final_norm", false, 1e-3},
    {POINT_RESID_MID, "resid_mid", true, 1e-3},
    {POINT_PATTERN, "pattern", true, 1e-4},
    {POINT_Z, "z", true, 1e-3},
    {POINT_ATTN_OUT, "attn_out", true, 1e-3},
    {POINT_MLP_OUT, "mlp_out", true, 1e-3},
    {POINT_NEURONS, "neurons", true, 1e-3},
    {POINT_Q, "q_rot", true, 1e-3},
    {POINT_K, "k_rot", true, 1e-3},
    {POINT_V, "v", true, 1e-3},
    {POINT_SCORES, "scores", true, 1e-3},
};
#define N_POINTS (sizeof points / sizeof points[0])

static size_t point_size(const struct gemma_config *c, enum point point, size_t T)
{
    switch (point) {
    case POINT_LOGITS:
        return T * c->vocab_size;
    case POINT_LOSS:
        return T - 1;
    case POINT_PATTERN:
    case POINT_SCORES:
        return c->n_heads * T * T;
    case POINT_Z:
    case POINT_Q:
        return T * c->n_heads * c->head_dim;
    case POINT_K:
    case POINT_V:
        return T * c->n_kv_heads * c->head_dim;
    case POINT_NEURONS:
        return T * c->intermediate_size;
    default:
        return T * c->hidden_size;
    }
}

/* Compares one prompt's readings with every array the oracle has of it; `long` keeps its last 8
 * positions. Returns how many arrays there were. */
static int compare_prompt(const struct oracle *o, const struct gemma_config *c,
                          const struct oracle_prompt *p, const struct reading *readings)
{
    int compared = 0;
    for (size_t k = 0; k < N_POINTS; k++) {
        const struct tensor *want = oracle_array(o, "%s.%s", p->name, points[k].name);
        if (!want) {
            continue;
        }
        const struct reading *r = &readings[k];
        size_t layers = points[k].layers ? c->n_layers : 1;
        size_t all = tensor_elements(want) / layers;
        char label[160];
        snprintf(label, sizeof label, "%s: %s.%s", o->folder, p->name, points[k].name);
        CHECK(all <= r->size);
        for (size_t l = 0; l < layers && all <= r->size; l++) {
            oracle_compare(r->data + l * r->size + (r->size - all), want, l * all, all,
                           points[k].tolerance, 1e-5, label);
        }
        compared++;
    }
    const struct tensor *last = oracle_array(o, "%s.pattern_last", p->name);
    const float *pattern = readings[6].data;
    for (size_t l = 0; last && l < c->n_layers; l++) {
        for (size_t h = 0; h < c->n_heads; h++) {
            const float *row = pattern + l * readings[6].size + (h * p->n + p->n - 1) * p->n;
            oracle_compare(row, last, (l * c->n_heads + h) * p->n, p->n, 1e-4, 0, "pattern_last");
        }
    }
    return compared + (last != NULL);
}

/* Runs the prompts first..first+n-1 together with every tap and compares. */
static int run_and_compare(struct model *m, const struct oracle *o, size_t first, size_t n)
{
    struct oracle_prompt prompts[8];
    struct sequence sequences[8] = {0};
    struct reading readings[8][N_POINTS] = {0};
    struct tap *all = calloc(MAX_TAPS, sizeof *all);
    size_t n_taps = 0;
    for (size_t i = 0; i < n; i++) {
        prompts[i] = oracle_prompt(o, first + i);
        sequences[i].ids = prompts[i].ids;
        sequences[i].n = prompts[i].n;
        for (size_t k = 0; k < N_POINTS; k++) {
            reading_add(&readings[i][k], all, &n_taps, points[k].point,
                        points[k].layers ? m->config.n_layers : 1, i,
                        point_size(&m->config, points[k].point, prompts[i].n));
        }
    }
    struct taps taps = {.taps = all, .n = n_taps};
    struct status st = {0};
    int compared = 0;
    if (forward_run(m->forward, sequences, n, &taps, NULL, NULL, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    } else {
        for (size_t i = 0; i < n; i++) {
            compared += compare_prompt(o, &m->config, &prompts[i], readings[i]);
        }
    }
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < N_POINTS; k++) {
            free(readings[i][k].data);
        }
    }
    free(all);
    return compared;
}

static void meets_every_array_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int threads = 1; threads <= 2; threads++) {
            struct oracle o;
            struct model m;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(model_open(&m, &o, threads));
            int compared = 0;
            for (size_t i = 0; i < oracle_prompts(&o); i++) {
                compared += run_and_compare(&m, &o, i, 1);
            }
            CHECK(compared >= (o.files[2] ? 40 : 25)); /* arrays of the first set */
            model_close(&m);
            oracle_close(&o);
        }
    }
}

static void meets_every_array_packed_with_others(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int threads = 1; threads <= 2; threads++) {
            struct oracle o;
            struct model m;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(model_open(&m, &o, threads));
            CHECK(run_and_compare(&m, &o, 0, oracle_prompts(&o)) >= 25);
            model_close(&m);
            oracle_close(&o);
        }
    }
}

/* Every prompt fed in pieces through a cache: token by token, and in pieces of three. */
static void decodes_like_prefill(enum precision precision)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct model m;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE(model_open_as(&m, &o, 2, precision));
        size_t V = m.config.vocab_size;
        for (size_t i = 0; i < oracle_prompts(&o); i++) {
            struct oracle_prompt p = oracle_prompt(&o, i);
            float *whole = calloc(p.n * V, sizeof *whole);
            float *pieces = calloc(p.n * V, sizeof *pieces);
            struct sequence s = {.ids = p.ids, .n = p.n};
            struct tap tap = {.point = POINT_LOGITS, .out = whole};
            struct taps taps = {.taps = &tap, .n = 1};
            struct status st = {0};
            REQUIRE_OK(forward_run(m.forward, &s, 1, &taps, NULL, NULL, &st), st);
            for (size_t step = 1; step <= 3; step += 2) {
                struct kv_cache cache;
                REQUIRE_OK(kv_cache_create(&cache, &m.config, p.n, &st), st);
                for (size_t t = 0; t < p.n; t += step) {
                    size_t n = p.n - t < step ? p.n - t : step;
                    struct sequence piece = {.ids = p.ids + t, .n = n, .cache = &cache};
                    tap.out = pieces + t * V;
                    REQUIRE_OK(forward_run(m.forward, &piece, 1, &taps, NULL, NULL, &st), st);
                }
                CHECK(cache.length == p.n);
                CHECK(memcmp(whole, pieces, p.n * V * sizeof *whole) == 0);
                struct sequence more = {.ids = p.ids, .n = 1, .cache = &cache};
                CHECK(forward_run(m.forward, &more, 1, &taps, NULL, NULL, &st) == STATUS_INVALID);
                CHECK_CONTAINS(st.message, "positions are taken");
                kv_cache_free(&cache);
            }
            free(whole);
            free(pieces);
        }
        model_close(&m);
        oracle_close(&o);
    }
}

static void decoding_has_the_bits_of_prefill(void)
{
    decodes_like_prefill(PRECISION_EXACT);
    decodes_like_prefill(PRECISION_BF16);
}

/* |got - want| / |want| of an array's layers together (lengths: roots of sums of squares). */
static double relative_error(const struct reading *r, const struct tensor *want, size_t layers)
{
    size_t all = tensor_elements(want) / layers;
    double difference = 0, length = 0;
    for (size_t i = 0; i < layers * all; i++) {
        double expected = (double)tensor_get(want, i);
        double got = (double)r->data[i / all * r->size + (r->size - all) + i % all];
        difference += (got - expected) * (got - expected);
        length += expected * expected;
    }
    return sqrt(difference / length);
}

/* The oracle's numbers are exact: rounded rows miss them by what docs/model.md says, and rounding
 * does take place. */
static void bf16_stays_near_every_array(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct model m;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE(model_open_as(&m, &o, 2, PRECISION_BF16));
        for (size_t i = 0; i < oracle_prompts(&o); i++) {
            struct oracle_prompt p = oracle_prompt(&o, i);
            struct tap *all = calloc(MAX_TAPS, sizeof *all);
            struct reading readings[N_POINTS] = {0};
            size_t n = 0;
            for (size_t k = 0; k < N_POINTS; k++) {
                reading_add(&readings[k], all, &n, points[k].point,
                            points[k].layers ? m.config.n_layers : 1, 0,
                            point_size(&m.config, points[k].point, p.n));
            }
            struct sequence s = {.ids = p.ids, .n = p.n};
            struct taps taps = {.taps = all, .n = n};
            struct status st = {0};
            REQUIRE_OK(forward_run(m.forward, &s, 1, &taps, NULL, NULL, &st), st);
            for (size_t k = 0; k < N_POINTS; k++) {
                const struct tensor *want = oracle_array(&o, "%s.%s", p.name, points[k].name);
                if (want) {
                    double error = relative_error(&readings[k], want,
                                                  points[k].layers ? m.config.n_layers : 1);
                    bool rounds = points[k].point == POINT_LOGITS;
                    if (!(error < 0.02) || (rounds && !(error > 1e-3))) {
                        printf("    %s: %s.%s is off by %.2g\n", o.folder, p.name, points[k].name,
                               error);
                        test_failures_++;
                    }
                }
                free(readings[k].data);
            }
            free(all);
        }
        model_close(&m);
        oracle_close(&o);
    }
}

/* Left alone, a fork goes on as its sequence does, from whichever layer it begins in. */
static void forks_have_the_bits_of_their_sequence(void)
{
    struct oracle o;
    struct model m;
    REQUIRE(oracle_open(&o, "gemma2-nano-bf16"));
    REQUIRE(model_open(&m, &o, 2));
    struct oracle_prompt p = oracle_prompt_named(&o, "window");
    size_t V = m.config.vocab_size, D = m.config.hidden_size, L = m.config.n_layers;
    struct sequence s[5];
    struct tap taps[10];
    float *logits = calloc(5 * p.n * V, sizeof *logits);
    float *stream = calloc(5 * p.n * D, sizeof *stream);
    for (size_t i = 0; i < 5; i++) { /* the second sequence is another text */
        s[i] = (struct sequence){.ids = p.ids + i % 2, .n = p.n - i % 2};
        s[i].fork_layer = i < 2 ? 0 : i - 1;
        s[i].fork_of = i % 2;
        taps[2 * i] =
            (struct tap){.point = POINT_LOGITS, .sequence = i, .out = logits + i * p.n * V};
        taps[2 * i + 1] = (struct tap){.point = POINT_RESID_MID,
                                       .layer = (int)L - 1,
                                       .sequence = i,
                                       .out = stream + i * p.n * D};
    }
    struct status st = {0};
    REQUIRE_OK(forward_run(m.forward, s, 5, &(struct taps){.taps = taps, .n = 10}, NULL, NULL, &st),
               st);
    for (size_t i = 2; i < 5; i++) {
        CHECK(memcmp(logits + i * p.n * V, logits + i % 2 * p.n * V, s[i].n * V * sizeof *logits) ==
              0);
        CHECK(memcmp(stream + i * p.n * D, stream + i % 2 * p.n * D, s[i].n * D * sizeof *stream) ==
              0);
    }
    oracle_compare(logits, oracle_array(&o, "window.logits"), 0, p.n * V, 1e-3, 1e-5, "logits");
    free(logits);
    free(stream);
    model_close(&m);
    oracle_close(&o);
}

static void sums_of_the_parts_are_the_stream(void)
{
    struct oracle o;
    struct model m;
    REQUIRE(oracle_open(&o, "gemma3-nano-bf16"));
    REQUIRE(model_open(&m, &o, 1));
    struct oracle_prompt p = oracle_prompt_named(&o, "window");
    size_t size = p.n * m.config.hidden_size;
    float *x[5];
    enum point at[] = {POINT_RESID_PRE, POINT_ATTN_OUT, POINT_RESID_MID, POINT_MLP_OUT,
                       POINT_RESID_POST};
    struct tap all[5];
    for (int i = 0; i < 5; i++) {
        x[i] = calloc(size, sizeof(float));
        all[i] = (struct tap){.point = at[i], .layer = 3, .out = x[i]};
    }
    struct taps taps = {.taps = all, .n = 5};
    struct sequence s = {.ids = p.ids, .n = p.n};
    struct status st = {0};
    REQUIRE_OK(forward_run(m.forward, &s, 1, &taps, NULL, NULL, &st), st);
    for (size_t i = 0; i < size; i++) {
        CHECK_NEAR(x[0][i] + x[1][i], x[2][i], 0);
        CHECK_NEAR(x[2][i] + x[3][i], x[4][i], 0);
    }
    for (int i = 0; i < 5; i++) {
        free(x[i]);
    }
    model_close(&m);
    oracle_close(&o);
}

static void stops_when_cancelled(void)
{
    struct oracle o;
    struct model m;
    REQUIRE(oracle_open(&o, "gemma2-nano-bf16"));
    REQUIRE(model_open(&m, &o, 1));
    int32_t id = 2;
    float out[300];
    struct tap tap = {.point = POINT_LOGITS, .out = out};
    struct taps taps = {.taps = &tap, .n = 1};
    struct sequence s = {.ids = &id, .n = 1};
    struct status st = {0};
    atomic_bool cancel = true;
    CHECK(forward_run(m.forward, &s, 1, &taps, NULL, &cancel, &st) == STATUS_CANCELLED);
    model_close(&m);
    oracle_close(&o);
}

static const struct test tests[] = {
    TEST(meets_every_array_alone),
    TEST(meets_every_array_packed_with_others),
    TEST(decoding_has_the_bits_of_prefill),
    TEST(bf16_stays_near_every_array),
    TEST(forks_have_the_bits_of_their_sequence),
    TEST(sums_of_the_parts_are_the_stream),
    TEST(stops_when_cancelled),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
