/* What is kept of a row of logits, against the same figures written down plainly in double. */
#include "core/lens/readout.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <math.h>
#include <stdlib.h>
#include <sys/resource.h>

enum { D = 8 };

/* A vocabulary of V random rows; weights that have nothing else. */
struct toy {
    struct gemma_config config;
    struct weights weights;
    struct threads *threads;
    float *unembedding;
    float gain[D];
};

static uint32_t state = 1;

static float noise(void)
{
    state = state * 1664525u + 1013904223u;
    return (float)(state >> 8) / (float)(1 << 23) - 1.0f;
}

static void toy_open(struct toy *t, size_t V, float softcap, int threads)
{
    struct status st;
    *t = (struct toy){0};
    t->config.hidden_size = D;
    t->config.vocab_size = V;
    t->config.final_softcap = softcap;
    t->config.rms_norm_eps = 1e-6f;
    t->unembedding = malloc(V * D * sizeof *t->unembedding);
    for (size_t i = 0; i < V * D; i++) {
        t->unembedding[i] = 3.0f * noise();
    }
    for (int i = 0; i < D; i++) {
        t->gain[i] = 1.0f + 0.5f * noise();
    }
    t->weights.config = &t->config;
    t->weights.final_gain = t->gain;
    t->weights.unembedding = (struct tensor){
        .data = t->unembedding, .dtype = DTYPE_F32, .n_dims = 2, .shape = {V, D, 1, 1}};
    REQUIRE(threads_create(&t->threads, threads, &st) == 0);
}

static void toy_close(struct toy *t)
{
    threads_destroy(t->threads);
    free(t->unembedding);
}

static void plain_logits(const struct toy *t, const float *x, bool norm, bool softcap, double *out)
{
    double square = 0;
    for (int i = 0; i < D; i++) {
        square += (double)x[i] * (double)x[i];
    }
    double r = 1 / sqrt(square / D + (double)t->config.rms_norm_eps);
    double cap = (double)t->config.final_softcap;
    for (size_t v = 0; v < t->config.vocab_size; v++) {
        out[v] = 0;
        for (int i = 0; i < D; i++) {
            out[v] += (double)t->unembedding[v * D + (size_t)i] * (double)x[i] *
                      (norm ? r * (double)t->gain[i] : 1.0);
        }
        out[v] = softcap && cap > 0 ? cap * tanh(out[v] / cap) : out[v];
    }
}

static double plain_softmax(const double *logits, size_t V, double *p)
{
    double total = 0, most = -INFINITY;
    for (size_t v = 0; v < V; v++) {
        most = fmax(most, logits[v]);
    }
    for (size_t v = 0; v < V; v++) {
        total += p[v] = exp(logits[v] - most);
    }
    for (size_t v = 0; v < V; v++) {
        p[v] /= total;
    }
    return most + log(total);
}

#define TOP 5
#define TRACK 3
struct kept {
    int32_t ids[TOP], ranks[TRACK];
    float logits[TOP], probs[TOP], track_logits[TRACK], track_probs[TRACK];
};

static struct readout_row row_of(struct kept *k)
{
    return (struct readout_row){.top_ids = k->ids,
                                .top_logits = k->logits,
                                .top_probs = k->probs,
                                .ranks = k->ranks,
                                .logits = k->track_logits,
                                .probs = k->track_probs};
}

static void check_row(const struct toy *t, const struct readout_options *o, const float *x,
                      const double *q, double q_total, const double *q_logits,
                      const struct readout_row *row)
{
    size_t V = t->config.vocab_size;
    double *logits = malloc(V * sizeof *logits), *p = malloc(V * sizeof *p);
    plain_logits(t, x, o->norm, o->softcap, logits);
    double total = plain_softmax(logits, V, p), entropy = 0, kl = 0;
    for (size_t v = 0; v < V; v++) {
        entropy -= p[v] * (logits[v] - total);
        kl += q[v] * ((q_logits[v] - q_total) - (logits[v] - total));
    }
    CHECK_NEAR(row->entropy, entropy, 2e-5);
    CHECK_NEAR(row->kl, kl, 2e-5 + 2e-6 * kl);
    CHECK(row->n_top == TOP);
    for (size_t k = 0; k < TOP; k++) {
        size_t best = 0;
        for (size_t v = 1; v < V; v++) {
            best = logits[v] > logits[best] ? v : best;
        }
        CHECK(row->top_ids[k] == (int32_t)best);
        CHECK_NEAR(row->top_logits[k], logits[best], 2e-5);
        CHECK_NEAR(row->top_probs[k], p[best], 2e-5);
        for (size_t i = 0; i < o->n_track; i++) {
            if (o->track[i] == (int32_t)best) {
                CHECK(row->ranks[i] == (int32_t)k + 1);
                CHECK(row->logits[i] == row->top_logits[k] && row->probs[i] == row->top_probs[k]);
            }
        }
        logits[best] = -INFINITY;
    }
    free(logits);
    free(p);
}

static void keeps_what_the_formulas_say(void)
{
    static const size_t sizes[] = {5, 300, 5000};
    for (size_t s = 0; s < 3; s++) {
        for (int kind = 0; kind < 8; kind++) {
            struct toy t;
            struct readout *r;
            struct status st;
            size_t V = sizes[s];
            toy_open(&t, V, kind & 4 ? 5.0f : 0.0f, 1 + (kind & 1));
            REQUIRE(readout_create(&r, &t.weights, t.threads, &st) == 0);
            const int32_t track[TRACK] = {0, 2, (int32_t)V - 1};
            struct readout_options o = {.norm = kind & 1,
                                        .softcap = kind & 2,
                                        .top_n = TOP,
                                        .track = track,
                                        .n_track = TRACK};
            enum { POSITIONS = 3, EACH = 4 };
            float last[POSITIONS * D], x[POSITIONS * EACH * D];
            struct kept kept[POSITIONS * EACH];
            struct readout_row rows[POSITIONS * EACH];
            for (int i = 0; i < POSITIONS * D; i++) {
                last[i] = noise();
            }
            for (int i = 0; i < POSITIONS * EACH * D; i++) {
                x[i] = noise();
            }
            for (int i = 0; i < POSITIONS * EACH; i++) {
                rows[i] = row_of(&kept[i]);
            }
            REQUIRE(readout_run(r, &o, last, x, POSITIONS, EACH, rows, &st) == 0);
            double *q = malloc(V * sizeof *q), *logits = malloc(V * sizeof *logits);
            for (int i = 0; i < POSITIONS; i++) {
                plain_logits(&t, last + i * D, false, true, logits);
                double total = plain_softmax(logits, V, q);
                for (int k = 0; k < EACH; k++) {
                    check_row(&t, &o, x + (i * EACH + k) * D, q, total, logits,
                              &rows[i * EACH + k]);
                }
            }
            free(q);
            free(logits);
            readout_destroy(r);
            toy_close(&t);
        }
    }
}

static void of_equal_logits_the_lower_id_comes_first(void)
{
    struct toy t;
    struct readout *r;
    struct status st;
    toy_open(&t, 7, 0, 1);
    for (int i = 0; i < 7 * D; i++) {
        t.unembedding[i] = i / D == 3 ? 2.0f : 1.0f;
    }
    REQUIRE(readout_create(&r, &t.weights, t.threads, &st) == 0);
    const int32_t track[TRACK] = {3, 0, 6};
    const uint64_t words = 1u << 1 | 1u << 5;
    struct readout_options o = {.top_n = 4, .track = track, .n_track = TRACK};
    float x[2 * D];
    for (int i = 0; i < 2 * D; i++) {
        x[i] = 1.0f;
    }
    struct kept kept[2];
    struct readout_row rows[2] = {row_of(&kept[0]), row_of(&kept[1])};
    REQUIRE(readout_run(r, &o, x, x, 1, 2, rows, &st) == 0);
    static const int32_t want[] = {3, 0, 1, 2};
    CHECK(test_same_bytes(kept[0].ids, want, sizeof want));
    CHECK(kept[0].ranks[0] == 1 && kept[0].ranks[1] == 2 && kept[0].ranks[2] == 7);
    CHECK(rows[0].kl == 0.0f);
    o.words = &words;
    rows[1].keeps_first = true;
    REQUIRE(readout_run(r, &o, x, x, 1, 2, rows, &st) == 0);
    CHECK(rows[0].n_top == 2 && kept[0].ids[0] == 1 && kept[0].ids[1] == 5);
    CHECK(rows[1].n_top == 3 && kept[1].ids[0] == 3 && kept[1].ids[2] == 5);
    CHECK(kept[0].ranks[0] == 1 && rows[0].top_probs[0] == rows[1].top_probs[1]);
    o.top_n = 0;
    REQUIRE(readout_run(r, &o, x, x, 1, 2, rows, &st) == 0);
    CHECK(rows[0].n_top == 0 && rows[1].n_top == 0);
    readout_destroy(r);
    toy_close(&t);
}

static long peak_kilobytes(void)
{
    struct rusage usage;
    (void)getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;
}

/* gemma-2-2b's vocabulary: 130 rows of 256,000 logits are 133 MB, and 64 MB of them are there at a
 * time (and the model's own answer, and one softmax a thread). The bits do not depend on how the
 * rows are cut. */
static void a_large_vocabulary_takes_no_more_memory_for_more_rows(void)
{
    struct toy t;
    struct readout *r;
    struct status st;
    toy_open(&t, 256000, 30.0f, 2);
    REQUIRE(readout_create(&r, &t.weights, t.threads, &st) == 0);
    CHECK(readout_positions(r, 26) == 2 && readout_positions(r, 200) == 1);
    enum { EACH = 130 };
    static float x[EACH * D];
    static struct kept kept[EACH], again[EACH];
    static struct readout_row rows[EACH];
    for (int i = 0; i < EACH * D; i++) {
        x[i] = noise();
    }
    struct readout_options o = {.norm = true, .softcap = true, .top_n = TOP};
    for (int i = 0; i < EACH; i++) {
        rows[i] = row_of(&kept[i]);
    }
    long before = peak_kilobytes();
    REQUIRE(readout_run(r, &o, x, x, 1, EACH, rows, &st) == 0);
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__) /* their shadow counts too */
    CHECK(peak_kilobytes() - before < 90000);
#else
    (void)before;
#endif
    for (int i = EACH - 1; i >= 0; i -= 43) {
        struct readout_row one = row_of(&again[i]);
        REQUIRE(readout_run(r, &o, x, x + i * D, 1, 1, &one, &st) == 0);
        CHECK(test_same_bytes(again[i].ids, kept[i].ids, sizeof kept[i].ids));
        CHECK(test_same_bytes(again[i].logits, kept[i].logits, sizeof kept[i].logits));
        CHECK(one.entropy == rows[i].entropy && one.kl == rows[i].kl);
    }
    readout_destroy(r);
    toy_close(&t);
}

static const struct test tests[] = {TEST(keeps_what_the_formulas_say),
                                    TEST(of_equal_logits_the_lower_id_comes_first),
                                    TEST(a_large_vocabulary_takes_no_more_memory_for_more_rows)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
