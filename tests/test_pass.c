/* Parts of several requests in one pass: the bits of each alone, forks among them, and hooks that
 * see their own sequences only. */
#include "core/gemma/pass.h"

#include "core/base/memory.h"
#include "core/formats/model_folder.h"
#include "tests/oracle.h"

struct model {
    struct model_folder folder;
    struct gemma_config config;
    struct weights weights;
    struct threads *threads;
    struct forward *forward;
};

static bool model_open(struct model *m, const char *folder)
{
    struct status st = {0};
    *m = (struct model){0};
    bool ok = model_folder_open(&m->folder, folder, NULL, &st) == 0 &&
              config_open(&m->config, m->folder.config, &st) == 0 &&
              weights_open(&m->weights, &m->folder, &m->config, sqrtf((float)m->config.hidden_size),
                           PRECISION_EXACT, &st) == 0 &&
              threads_create(&m->threads, 2, &st) == 0 &&
              forward_create(&m->forward, &m->weights, m->threads, &st) == 0;
    if (!ok) {
        printf("    %s: %s\n", folder, st.message);
        test_failures_++;
    }
    return ok;
}

static void model_close(struct model *m)
{
    forward_destroy(m->forward);
    threads_destroy(m->threads);
    weights_close(&m->weights);
    model_folder_close(&m->folder);
}

/* A part of up to four sequences whose last norms are read; the hook adds to resid_post of layer 2
 * in its sequences from `from` on. */
struct part {
    struct sequence sequences[4];
    struct tap taps[4];
    float *out; /* [4, 24, D] */
    size_t from, n, width, highest;
    struct kv_cache cache;
};

static void visit(void *user, enum point point, int layer, size_t sequence, float *rows, size_t n,
                  size_t width, size_t past)
{
    struct part *p = user;
    (void)past;
    p->highest = sequence > p->highest ? sequence : p->highest;
    CHECK(sequence < p->n && n == p->sequences[sequence].n);
    for (size_t i = 0; point == POINT_RESID_POST && layer == 2 && sequence >= p->from && i < n;
         i++) {
        rows[i * width + i % width] += (float)(1 + sequence);
    }
}

static struct pass_part as_part(struct part *p)
{
    struct pass_part part = {
        .sequences = p->sequences, .n_sequences = p->n, .taps = p->taps, .n_taps = p->n};
    if (p->from < p->n) {
        part.hook = (struct forward_hook){.visit = visit, .user = p};
    }
    return part;
}

/* kind 0: two texts; 1: a text and two forks of it, the second later; 2: a text with a cache; 3: a
 * text and a fork in between those of 1. */
static void make(struct part *p, int kind, const struct oracle_prompt *prompt, size_t D)
{
    static const size_t n[] = {2, 3, 1, 2}, forks[] = {0, 1, 3};
    *p = (struct part){.n = n[kind], .from = kind % 2 ? 1 : 9, .width = D};
    p->out = calloc(4 * prompt->n * D, sizeof *p->out);
    for (size_t i = 0; i < p->n; i++) {
        size_t skip = kind % 2 ? (size_t)kind : (size_t)kind + i;
        p->sequences[i] = (struct sequence){.ids = prompt->ids + skip, .n = prompt->n - 2 * skip};
        p->sequences[i].fork_layer = kind == 1 ? forks[i] : kind == 3 ? 2 * i : 0;
        p->taps[p->n - 1 - i] = (struct tap){
            .point = POINT_FINAL_NORM, .sequence = i, .out = p->out + i * prompt->n * D};
    }
}

static void parts_have_together_the_bits_they_have_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct model m;
        REQUIRE(oracle_open(&o, oracle_names[f]) && model_open(&m, o.folder));
        struct oracle_prompt prompt = oracle_prompt_named(&o, "window");
        size_t D = m.config.hidden_size;
        struct part alone[4], together[4];
        struct pass_part parts[5] = {{0}};
        struct status st = {0};
        for (int k = 0; k < 4; k++) {
            make(&alone[k], k, &prompt, D);
            make(&together[k], k, &prompt, D);
            if (k == 2) {
                REQUIRE_OK(kv_cache_create(&alone[k].cache, &m.config, 30, &st), st);
                REQUIRE_OK(kv_cache_create(&together[k].cache, &m.config, 30, &st), st);
                alone[k].sequences[0].cache = &alone[k].cache;
                together[k].sequences[0].cache = &together[k].cache;
            }
            struct pass_part part = as_part(&alone[k]);
            REQUIRE_OK(pass_run(m.forward, &part, 1, NULL, &st), st);
            parts[k + (k > 1)] = as_part(&together[k]); /* the third is empty */
        }
        REQUIRE_OK(pass_run(m.forward, parts, 5, NULL, &st), st);
        for (int k = 0; k < 4; k++) {
            size_t size = 4 * prompt.n * D * sizeof(float);
            CHECK(memcmp(alone[k].out, together[k].out, size) == 0);
            CHECK(alone[k].out[0] != 0.0f);
            CHECK(together[k].highest == (k == 1 ? 2 : k == 3 ? 1 : 0));
            CHECK(memcmp(alone[k].out, alone[k].out + prompt.n * D, D * sizeof(float)) != 0);
        }
        CHECK(pass_part_rows(&parts[0]) == 2 * prompt.n - 2 && pass_part_rows(&parts[2]) == 0);
        CHECK(together[2].cache.length == alone[2].cache.length);
        for (int k = 0; k < 4; k++) {
            free(alone[k].out);
            free(together[k].out);
        }
        kv_cache_free(&alone[2].cache);
        kv_cache_free(&together[2].cache);
        model_close(&m);
        oracle_close(&o);
    }
}

static void nothing_to_run_runs_nothing(void)
{
    struct pass_part parts[2] = {{0}};
    struct status st = {0};
    CHECK(pass_run(NULL, parts, 2, NULL, &st) == 0);
    CHECK(pass_run(NULL, parts, 0, NULL, &st) == 0);
}

static void survives_every_failed_allocation(void)
{
    struct oracle o;
    struct model m;
    REQUIRE(oracle_open(&o, oracle_names[0]) && model_open(&m, o.folder));
    struct oracle_prompt prompt = oracle_prompt_named(&o, "seven");
    struct part a;
    struct status st = {0};
    make(&a, 1, &prompt, m.config.hidden_size);
    struct pass_part part = as_part(&a);
    int code = STATUS_MEMORY;
    for (long nth = 1; code && nth < 50; nth++) {
        (void)memory_fail_after(nth);
        code = pass_run(m.forward, &part, 1, NULL, &st);
        (void)memory_fail_after(0);
        CHECK(code == 0 || (code == STATUS_MEMORY && nth < 20));
    }
    CHECK(code == 0);
    free(a.out);
    model_close(&m);
    oracle_close(&o);
}

static const struct test tests[] = {TEST(parts_have_together_the_bits_they_have_alone),
                                    TEST(nothing_to_run_runs_nothing),
                                    TEST(survives_every_failed_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
