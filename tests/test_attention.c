/* attention_run against the formula written as loops in double. */
#include "core/gemma/attention.h"
#include "tests/test.h"

#include <stdlib.h>

enum { H = 4, G = 2, K = 6, ROWS = 230, KEYS = 200 };

static float rows_q[ROWS * H * K], rows_z[ROWS * H * K];
static float keys[3][KEYS * G * K], values[3][KEYS * G * K];

static unsigned seed;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / (float)(1u << 24) * 4.0f - 2.0f;
}

static void fill(void)
{
    seed = 7;
    for (size_t i = 0; i < ROWS * H * K; i++) {
        rows_q[i] = number();
        rows_z[i] = NAN;
    }
    for (int s = 0; s < 3; s++) {
        for (size_t i = 0; i < KEYS * G * K; i++) {
            keys[s][i] = number();
            values[s][i] = number();
        }
    }
}

/* Row `row` of span s and head h: its probabilities [past+n], its scores, and z [K]. */
static void naive(const struct gemma_config *c, bool local, const struct attention_span *s,
                  size_t row, size_t h, double *scores, double *pattern, double *z)
{
    size_t position = s->past + row, g = h / (H / G), n = s->past + s->n;
    const float *q = rows_q + (s->first_row + row) * H * K + h * K;
    double total = 0;
    for (size_t j = 0; j < n; j++) {
        double dot = 0;
        for (size_t k = 0; k < K; k++) {
            dot += (double)q[k] * (double)s->keys[j * G * K + g * K + k];
        }
        dot *= (double)c->attention_scale;
        if (c->attention_softcap > 0) {
            dot = (double)c->attention_softcap * tanh(dot / (double)c->attention_softcap);
        }
        bool seen = j <= position && (!local || j + c->sliding_window > position);
        scores[j] = dot;
        pattern[j] = seen ? exp(dot) : 0;
        total += pattern[j];
    }
    memset(z, 0, K * sizeof *z);
    for (size_t j = 0; j < n; j++) {
        pattern[j] /= total;
        for (size_t k = 0; k < K; k++) {
            z[k] += pattern[j] * (double)s->values[j * G * K + g * K + k];
        }
    }
}

/* Three sequences of the packed batch: two fresh ones (one over a block of 64 queries long) and one
 * that goes on after 30 positions of its cache. */
static const struct attention_span spans[] = {
    {.first_row = 0, .n = 150, .past = 0, .keys = keys[0], .values = values[0]},
    {.first_row = 150, .n = 1, .past = 0, .keys = keys[1], .values = values[1]},
    {.first_row = 151, .n = 70, .past = 30, .keys = keys[2], .values = values[2]},
};

static void check_all(const struct gemma_config *c, int threads, bool with_taps)
{
    struct status st = {0};
    struct threads *pool;
    float *pattern[3], *scores[3];
    struct tap list[6];
    fill();
    for (size_t s = 0; s < 3; s++) {
        size_t size = H * spans[s].n * (spans[s].past + spans[s].n);
        pattern[s] = calloc(size, sizeof(float));
        scores[s] = calloc(size, sizeof(float));
        list[2 * s] = (struct tap){.point = POINT_PATTERN, .sequence = s, .out = pattern[s]};
        list[2 * s + 1] = (struct tap){.point = POINT_SCORES, .sequence = s, .out = scores[s]};
    }
    struct taps taps = {.taps = list, .n = with_taps ? 6 : 0};
    REQUIRE_OK(threads_create(&pool, threads, &st), st);
    attention_run(pool, c, 0, spans, 3, rows_q, rows_z, &taps);
    double worst_z = 0, worst_pattern = 0, worst_scores = 0, s[KEYS], p[KEYS], z[K];
    for (size_t i = 0; i < 3; i++) {
        size_t n = spans[i].past + spans[i].n;
        for (size_t row = 0; row < spans[i].n; row++) {
            for (size_t h = 0; h < H; h++) {
                naive(c, c->local[0], &spans[i], row, h, s, p, z);
                const float *got = rows_z + (spans[i].first_row + row) * H * K + h * K;
                for (size_t k = 0; k < K; k++) {
                    double apart = fabs((double)got[k] - z[k]);
                    worst_z = apart <= worst_z ? worst_z : isnan(apart) ? (double)INFINITY : apart;
                }
                for (size_t j = 0; j < n && with_taps; j++) {
                    size_t at = (h * spans[i].n + row) * n + j;
                    worst_pattern = fmax(worst_pattern, fabs((double)pattern[i][at] - p[j]));
                    worst_scores = fmax(worst_scores, fabs((double)scores[i][at] - s[j]));
                    CHECK(p[j] > 0 || pattern[i][at] == 0); /* masked: exactly nothing */
                }
            }
        }
    }
    CHECK_NEAR(worst_z, 0, 1e-5);
    CHECK_NEAR(worst_pattern, 0, 1e-5);
    CHECK_NEAR(worst_scores, 0, 1e-5);
    for (int i = 0; i < 3; i++) {
        free(pattern[i]);
        free(scores[i]);
    }
    threads_destroy(pool);
}

static const struct gemma_config base = {
    .n_heads = H, .n_kv_heads = G, .head_dim = K, .n_layers = 1, .attention_scale = 0.4f};

static void sees_everything_before_it_in_a_full_layer(void)
{
    struct gemma_config c = base;
    c.sliding_window = 3; /* of no account there */
    check_all(&c, 1, false);
    check_all(&c, 2, true);
}

/* Windows of one token (itself), around a block of 64 queries, and longer than the text. */
static void sees_its_window_in_a_local_layer(void)
{
    static const size_t windows[] = {1, 2, 31, 63, 64, 65, 100, 101, 4096};
    for (size_t i = 0; i < sizeof windows / sizeof windows[0]; i++) {
        struct gemma_config c = base;
        c.local[0] = true;
        c.sliding_window = windows[i];
        c.attention_softcap = i % 2 ? 1.5f : 0.0f;
        check_all(&c, 1 + (int)i % 2, false);
        check_all(&c, 2 - (int)i % 2, true);
    }
}

static const struct test tests[] = {
    TEST(sees_everything_before_it_in_a_full_layer),
    TEST(sees_its_window_in_a_local_layer),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
