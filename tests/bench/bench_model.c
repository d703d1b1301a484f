/* How near whole passes over a model come to what this machine can do: prefill, features, decode.
 * Every turn measures the machine's own peaks beside the figure, so that the fractions stand where
 * the speed of the machine changes from minute to minute.
 *
 *     build/release/tests/bench/bench_model MODEL [--saes FOLDER] [--source NAME] [--turns N]
 *                                           [--precision exact|bf16] [--threads N] [WORD...]
 *
 * Only figures whose name contains a WORD are measured. Models of any size with random weights:
 * tests/tools/make_weights.c. */
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/threads.h"
#include "core/engine.h"
#include "core/math/peaks.h"
#include "tests/bench/median.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_TURNS 99
#define MAX_PROMPTS 16
#define FOOTPRINT ((size_t)768 << 20)
#define DECODED 12

static struct engine *engine;
static struct session *session;
static struct threads *threads;
static const char *source;
static unsigned char *memory;
static size_t turns = 5;

static _Noreturn void stop(const struct status *st)
{
    fprintf(stderr, "bench_model: %s\n", st->message);
    exit(1);
}

/* --- work --------------------------------------------------------------------------------------
 */

static int32_t *make_ids(size_t n)
{
    int32_t *ids = malloc(n * sizeof *ids);
    uint32_t seed = 7;
    for (size_t i = 0; ids && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[i] = (int32_t)((seed >> 8) % (engine_config(engine)->vocab_size - 8) + 4);
    }
    return ids;
}

/* Seconds for `prompts` texts of n tokens in one packed pass: to the last token's ten strongest
 * logits, or to every active feature of the source. */
static double prefill(size_t prompts, size_t n, bool features)
{
    struct status st = {0};
    struct engine_prompt p[MAX_PROMPTS] = {0};
    struct engine_read reads[MAX_PROMPTS] = {0};
    int32_t *ids = make_ids(n), last = (int32_t)n - 1;
    for (size_t i = 0; i < prompts; i++) {
        reads[i] = features ? (struct engine_read){.kind = READ_FEATURES, .source = source}
                            : (struct engine_read){.kind = READ_POINT,
                                                   .point = POINT_LOGITS,
                                                   .positions = &last,
                                                   .n_positions = 1,
                                                   .top = 10};
        p[i] = (struct engine_prompt){.ids = ids, .n_ids = n, .reads = &reads[i], .n_reads = 1};
    }
    double start = clock_seconds();
    if (engine_trace(session, p, prompts, NULL, &st)) {
        stop(&st);
    }
    double seconds = clock_seconds() - start;
    for (size_t i = 0; i < prompts; i++) {
        engine_read_free(&reads[i]);
    }
    free(ids);
    return seconds;
}

/* Seconds a step, once the prompts of 7 tokens are read; with edit: the second text is steered. */
static double decode(size_t streams, bool edit, double *first)
{
    struct status st = {0};
    static const uint32_t feature = 3;
    struct edit add = {
        .type = EDIT_ADD, .source = source, .indices = &feature, .n = 1, .strength = 5};
    struct generation_start starts[2] = {0};
    int32_t *ids = make_ids(7);
    for (size_t i = 0; i < streams; i++) {
        starts[i] = (struct generation_start){.ids = ids, .n_ids = 7};
    }
    if (edit) {
        starts[1].edits = &add;
        starts[1].n_edits = 1;
    }
    struct generation_options o = {.starts = starts, .n_starts = streams, .n_tokens = DECODED + 1};
    struct generation *g;
    bool more;
    double start = clock_seconds();
    if (generation_open(&g, engine, &o, &st) || generation_step(g, session, NULL, &more, &st)) {
        stop(&st);
    }
    double begun = clock_seconds();
    for (int i = 0; i < DECODED; i++) {
        if (generation_step(g, session, NULL, &more, &st)) {
            stop(&st);
        }
    }
    double seconds = (clock_seconds() - begun) / DECODED;
    *first = begun - start;
    generation_close(g);
    free(ids);
    return seconds;
}

/* --- what it comes to --------------------------------------------------------------------------
 */

/* Numbers in the matrices of one layer, and in the unembedding. */
static double layer_weights(void)
{
    const struct gemma_config *c = engine_config(engine);
    double D = (double)c->hidden_size, K = (double)c->head_dim;
    return D * K * (double)(2 * c->n_heads + 2 * c->n_kv_heads) +
           3 * D * (double)c->intermediate_size;
}

static double head_weights(void)
{
    return (double)engine_config(engine)->vocab_size * (double)engine_config(engine)->hidden_size;
}

/* Multiply-adds of attention over n tokens that each look at themselves and what is before. */
static double attention_of(size_t n)
{
    const struct gemma_config *c = engine_config(engine);
    return (double)(c->n_heads * c->head_dim) * (double)n * (double)(n + 1);
}

static double read_peak(void)
{
    (void)peak_read(threads, memory, FOOTPRINT / 8); /* every thread is awake */
    return peak_read(threads, memory + FOOTPRINT / 8, FOOTPRINT - FOOTPRINT / 8);
}

struct figure {
    const char *name;
    size_t prompts, n;
    bool features;
};

static void measure_prefill(const struct figure *f)
{
    const struct gemma_config *c = engine_config(engine);
    const struct sae_source *s =
        f->features ? catalogue_find(engine_catalogue(engine), source) : NULL;
    double layers = s ? (double)s->layer + 1 : (double)c->n_layers;
    double tokens = (double)(f->prompts * f->n);
    double operations =
        2 * layers * (layer_weights() * tokens + attention_of(f->n) * (double)f->prompts);
    operations += s ? 2 * tokens * (double)s->d_in * (double)s->d_sae
                    : 2 * (double)f->prompts * head_weights();
    double bytes = 2 * (layers * layer_weights() + (s ? 0 : head_weights()));
    double time[MAX_TURNS], fp32[MAX_TURNS], bf16[MAX_TURNS], reads[MAX_TURNS];
    (void)prefill(f->prompts, f->n, f->features);
    for (size_t t = 0; t < turns; t++) {
        double a = peak_fp32(threads), b = peak_bf16(threads), r = read_peak();
        time[t] = prefill(f->prompts, f->n, f->features);
        a = (a + peak_fp32(threads)) / 2;
        b = (b + peak_bf16(threads)) / 2;
        r = (r + read_peak()) / 2;
        fp32[t] = operations / time[t] / a;
        bf16[t] = b > 0 ? operations / time[t] / b : 0;
        reads[t] = bytes / time[t] / r;
    }
    double seconds = median(time, turns);
    printf("%-24s %8.1f ms %7.1f tokens/s %6.1f GFLOP/s; %5.1f %% of fp32, %5.1f %% of bf16, "
           "%5.1f %% of reads\n",
           f->name, 1e3 * seconds, tokens / seconds, operations / seconds / 1e9,
           100 * median(fp32, turns), 100 * median(bf16, turns), 100 * median(reads, turns));
    (void)fflush(stdout);
}

static void measure_decode(const char *name, size_t streams, bool edit)
{
    double bytes = 2 * ((double)engine_config(engine)->n_layers * layer_weights() + head_weights());
    double time[MAX_TURNS], reads[MAX_TURNS], of_one[MAX_TURNS], first;
    for (size_t t = 0; t < turns; t++) {
        double one = streams > 1 ? decode(1, false, &first) : 0, r = read_peak();
        time[t] = decode(streams, edit, &first);
        reads[t] = bytes / time[t] / ((r + read_peak()) / 2);
        of_one[t] = one > 0 ? time[t] / one : 1;
    }
    double seconds = median(time, turns);
    printf("%-24s %8.1f ms %7.2f steps/s; %5.1f GB/s, %5.1f %% of reads, %.3f of one stream\n",
           name, 1e3 * seconds, 1 / seconds, bytes / seconds / 1e9, 100 * median(reads, turns),
           median(of_one, turns));
    (void)fflush(stdout);
}

/* --- the line ----------------------------------------------------------------------------------
 */

static bool wanted(const char *name, char **words, int n)
{
    bool found = n == 0;
    for (int i = 0; i < n; i++) {
        found = found || strstr(name, words[i]);
    }
    return found;
}

static void say(void *user, const char *line)
{
    (void)user;
    fprintf(stderr, "%s\n", line);
}

static void measure_all(char **words, int n)
{
    static const struct figure figures[] = {
        {"prefill 1", 1, 1, false},          {"prefill 8", 1, 8, false},
        {"prefill 32", 1, 32, false},        {"prefill 128", 1, 128, false},
        {"prefill 512", 1, 512, false},      {"prefill 1024", 1, 1024, false},
        {"prefill 16 of 32", 16, 32, false}, {"features 7", 1, 7, true},
        {"features 512", 1, 512, true},      {"features 16 of 32", 16, 32, true},
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (wanted(figures[i].name, words, n) && (source || !figures[i].features)) {
            measure_prefill(&figures[i]);
        }
    }
    if (wanted("decode 1", words, n)) {
        measure_decode("decode 1", 1, false);
    }
    if (wanted("decode 2", words, n)) {
        measure_decode("decode 2", 2, false);
    }
    if (source && wanted("decode steered", words, n)) {
        measure_decode("decode steered + default", 2, true);
    }
}

int main(int argc, char **argv)
{
    struct status st = {0};
    struct engine_options o = {.notice = say};
    const char *saes = NULL;
    int first = 2;
    o.model = argc > 1 ? argv[1] : NULL;
    for (; first + 1 < argc && strncmp(argv[first], "--", 2) == 0; first += 2) {
        const char *flag = argv[first], *value = argv[first + 1];
        saes = strcmp(flag, "--saes") == 0 ? value : saes;
        source = strcmp(flag, "--source") == 0 ? value : source;
        o.threads = strcmp(flag, "--threads") == 0 ? (int)strtol(value, NULL, 10) : o.threads;
        bool bf16 = strcmp(flag, "--precision") == 0 && strcmp(value, "bf16") == 0;
        o.precision = bf16 ? PRECISION_BF16 : o.precision;
        turns = strcmp(flag, "--turns") == 0 ? strtoul(value, NULL, 10) : turns;
    }
    turns = turns < 1 ? 1 : turns > MAX_TURNS ? MAX_TURNS : turns;
    o.sae_folders = &saes;
    o.n_sae_folders = saes ? 1 : 0;
    if (!o.model) {
        fprintf(stderr, "usage: bench_model MODEL [--saes FOLDER] [--source NAME] [--turns N] "
                        "[--precision exact|bf16] [--threads N] [WORD...]\n");
        return 2;
    }
    double start = clock_seconds();
    if (threads_create(&threads, o.threads, &st) || engine_open(&engine, &o, &st) ||
        session_create(&session, engine, &st)) {
        stop(&st);
    }
    printf("opened in %.0f ms\n", 1e3 * (clock_seconds() - start));
    const struct catalogue *catalogue = engine_catalogue(engine);
    if (!source && catalogue->n_sources) {
        source = catalogue->sources[0].name;
    }
    memory = aligned_alloc(4096, FOOTPRINT);
    if (!memory) {
        (void)status_no_memory(&st, FOOTPRINT);
        stop(&st);
    }
    memset(memory, 1, FOOTPRINT);
    printf("peaks: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, reads %.1f GB/s; %d threads\n",
           peak_fp32(threads) / 1e9, peak_bf16(threads) / 1e9, read_peak() / 1e9,
           threads_count(threads));
    measure_all(argv + first, argc - first);
    free(memory);
    session_destroy(session);
    engine_close(engine);
    threads_destroy(threads);
    return 0;
}
