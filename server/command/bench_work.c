/* The figures of `darkmatter bench` that the model makes: prefill, features, encode, decode,
 * index. */
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/math/peaks.h"
#include "core/sae/sae.h"
#include "server/command/bench.h"
#include "server/command/bench_peaks.h"
#include "server/work/indexer.h"

#include <stdio.h>
#include <string.h>

enum { PROMPTS_MAX = 16, PROMPT = 7, STEPS = 12, INDEXED = 1024, CONTEXT = 128, ENCODED = 512 };

/* What takes less than that is repeated: a small model's pass is over before a clock means much. */
#define LEAST_SECONDS 0.1

enum work { PREFILL, FEATURES, ENCODE, DECODE, DECODE_STEERED, INDEX };

static const struct figure {
    const char *name;
    enum work work;
    size_t prompts, n; /* decode: texts; encode: rows */
} figures[] = {
    {"prefill 1", PREFILL, 1, 1},          {"prefill 8", PREFILL, 1, 8},
    {"prefill 32", PREFILL, 1, 32},        {"prefill 128", PREFILL, 1, 128},
    {"prefill 512", PREFILL, 1, 512},      {"prefill 1024", PREFILL, 1, 1024},
    {"prefill 16 of 32", PREFILL, 16, 32}, {"features 7", FEATURES, 1, 7},
    {"features 512", FEATURES, 1, 512},    {"features 16 of 32", FEATURES, 16, 32},
    {"encode 512", ENCODE, 1, ENCODED},    {"decode 1", DECODE, 1, PROMPT},
    {"decode 2", DECODE, 2, PROMPT},       {"decode steered", DECODE_STEERED, 2, PROMPT},
    {"index", INDEX, 1, CONTEXT},
};

/* --- what there is to do ---------------------------------------------------------------------- */

struct cost {
    double operations, bytes; /* multiply-adds are two; of weights */
};

double bench_layer_weights(const struct gemma_config *c)
{
    double D = (double)c->hidden_size, K = (double)c->head_dim;
    return D * K * (double)(2 * c->n_heads + 2 * c->n_kv_heads) +
           3 * D * (double)c->intermediate_size;
}

/* `prompts` texts of n tokens in one pass, to the last one's logits or to the source's features;
 * in attention every token looks at itself and at what is before. */
static struct cost cost_of_pass(const struct bench *b, double prompts, double n, bool features)
{
    const struct gemma_config *c = engine_config(bench_engine(b));
    const struct sae_source *s = b->source;
    double layers = features ? (double)s->layer + 1 : (double)c->n_layers;
    double head = (double)c->vocab_size * (double)c->hidden_size;
    double attention = (double)(c->n_heads * c->head_dim) * n * (n + 1);
    struct cost cost = {2 * layers * prompts * (bench_layer_weights(c) * n + attention),
                        b->number_bytes * layers * bench_layer_weights(c)};
    if (features) {
        cost.operations += 2 * prompts * n * (double)s->d_in * (double)s->d_sae;
        cost.bytes += (double)s->bytes / 2; /* of W_enc and W_dec only the first is read */
    } else {
        cost.operations += 2 * prompts * head;
        cost.bytes += b->number_bytes * head;
    }
    return cost;
}

/* --- the work --------------------------------------------------------------------------------- */

/* Each of these: seconds that one go took. */

static int run_pass(struct bench *b, int precision, const struct figure *f, double *seconds,
                    struct status *st)
{
    struct engine_prompt p[PROMPTS_MAX] = {0};
    struct engine_read reads[PROMPTS_MAX] = {0};
    int32_t last = (int32_t)f->n - 1;
    int code = STATUS_OK;
    for (size_t i = 0; i < f->prompts && !code; i++) {
        int32_t *ids = NULL;
        code = bench_text(b, f->n, &ids, st);
        reads[i] = f->work == FEATURES
                       ? (struct engine_read){.kind = READ_FEATURES, .source = b->source->name}
                       : (struct engine_read){.kind = READ_POINT,
                                              .point = POINT_LOGITS,
                                              .positions = &last,
                                              .n_positions = 1,
                                              .top = 10};
        p[i] = (struct engine_prompt){.ids = ids, .n_ids = f->n, .reads = &reads[i], .n_reads = 1};
    }
    double start = clock_seconds();
    code = code ? code : engine_trace(b->models[precision].session, p, f->prompts, b->stop, st);
    *seconds = clock_seconds() - start;
    for (size_t i = 0; i < f->prompts; i++) {
        engine_read_free(&reads[i]);
        memory_free((void *)(uintptr_t)p[i].ids);
    }
    return code;
}

/* What the source reads of a text, once; then the SAE alone. */
static int take_rows(struct bench *b, int precision, struct status *st)
{
    struct engine_read read = {.kind = READ_INPUT, .source = b->source->name};
    struct engine_prompt p = {.n_ids = ENCODED, .reads = &read, .n_reads = 1};
    size_t positions = engine_config(bench_engine(b))->max_positions;
    int32_t *ids;
    p.n_ids = positions < ENCODED ? positions : ENCODED;
    if (bench_text(b, p.n_ids, &ids, st)) {
        return (int)st->code;
    }
    p.ids = ids;
    int code = engine_trace(b->models[precision].session, &p, 1, b->stop, st);
    if (!code) {
        b->rows = read.data;
        read.data = NULL;
        b->n_rows_encoded = p.n_ids;
    }
    engine_read_free(&read);
    memory_free(ids);
    return code ? code : sae_open(&b->sae, b->source, st);
}

static int run_encode(struct bench *b, int precision, double *seconds, struct status *st)
{
    struct sparse features = {0};
    if (!b->sae && take_rows(b, precision, st)) {
        return (int)st->code;
    }
    int code = STATUS_OK;
    double start = clock_seconds();
    for (size_t done = 0; done < ENCODED && !code; done += b->n_rows_encoded) {
        size_t left = ENCODED - done;
        size_t n = left < b->n_rows_encoded ? left : b->n_rows_encoded;
        code = sae_encode(b->sae, b->threads, b->rows, n, &features, st);
    }
    *seconds = clock_seconds() - start;
    sparse_free(&features);
    return code;
}

/* Steps once the prompts are read; steered: the second text is. */
static int run_decode(struct bench *b, int precision, const struct figure *f, double *seconds,
                      struct status *st)
{
    static const uint32_t feature = 3;
    struct engine *engine = b->models[precision].shop.engine;
    struct edit add = {.type = EDIT_ADD,
                       .source = b->source ? b->source->name : NULL,
                       .indices = &feature,
                       .n = 1,
                       .strength = 5};
    struct generation_start starts[2] = {0};
    int32_t *ids;
    if (bench_text(b, f->n, &ids, st)) {
        return (int)st->code;
    }
    for (size_t i = 0; i < f->prompts; i++) {
        starts[i] = (struct generation_start){.ids = ids, .n_ids = f->n};
    }
    if (f->work == DECODE_STEERED) {
        starts[1].edits = &add;
        starts[1].n_edits = 1;
    }
    struct generation_options o = {.starts = starts, .n_starts = f->prompts, .n_tokens = STEPS + 1};
    struct generation *g = NULL;
    bool more;
    int code = generation_open(&g, engine, &o, st);
    code = code ? code : generation_step(g, b->models[precision].session, b->stop, &more, st);
    double start = clock_seconds();
    for (int i = 0; i < STEPS && !code; i++) {
        code = generation_step(g, b->models[precision].session, b->stop, &more, st);
    }
    *seconds = clock_seconds() - start;
    generation_close(g);
    memory_free(ids);
    return code;
}

static int write_corpus(struct bench *b, const char *path, struct status *st)
{
    FILE *file = fopen(path, "we");
    if (!file) {
        return status_set(st, STATUS_IO, "%s: cannot be written", path);
    }
    int code = STATUS_OK;
    for (int i = 0; i < INDEXED / CONTEXT && !code; i++) {
        int32_t *ids = NULL;
        code = bench_text(b, CONTEXT, &ids, st);
        for (int t = 0; t < CONTEXT && !code; t++) {
            (void)fprintf(file, "%s%d", t ? ", " : "{\"tokens\": [", (int)ids[t]);
        }
        (void)fputs("]}\n", file);
        memory_free(ids);
    }
    return fclose(file) == 0 || code
               ? code
               : status_set(st, STATUS_IO, "%s: cannot be written to the end", path);
}

/* Contexts read, run, encoded, written and marked. */
static int run_index(struct bench *b, int precision, double *seconds, struct status *st)
{
    const struct workshop *shop = &b->models[precision].shop;
    char path[128], name[32];
    (void)snprintf(path, sizeof path, "%s/corpus.jsonl", b->folder);
    (void)snprintf(name, sizeof name, "bench %u", b->seed);
    if (write_corpus(b, path, st)) {
        return (int)st->code;
    }
    const struct indexer ix = {.engine = shop->engine,
                               .store = shop->store,
                               .sources = shop->sources,
                               .queue = shop->queue,
                               .names = (const char *const *)&b->source->name,
                               .n_names = 1,
                               .cancel = b->stop};
    const struct corpus_options options = {.path = path, .context = CONTEXT};
    struct corpus_figures read;
    double start = clock_seconds();
    int code = indexer_read(&ix, &options, name, &read, st);
    *seconds = clock_seconds() - start;
    return code;
}

static int run_once(struct bench *b, int precision, const struct figure *f, double *seconds,
                    struct status *st)
{
    switch (f->work) {
    case PREFILL:
    case FEATURES:
        return run_pass(b, precision, f, seconds, st);
    case ENCODE:
        return run_encode(b, precision, seconds, st);
    case DECODE:
    case DECODE_STEERED:
        return run_decode(b, precision, f, seconds, st);
    case INDEX:
        break;
    }
    return run_index(b, precision, seconds, st);
}

/* --- rows ------------------------------------------------------------------------------------- */

static bool needs_source(const struct figure *f)
{
    return f->work != PREFILL && f->work != DECODE;
}

static const struct figure *figure_of(const struct bench_row *row)
{
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (strcmp(figures[i].name, row->name) == 0) {
            return &figures[i];
        }
    }
    return NULL;
}

bool bench_is_work(const struct bench_row *row)
{
    return figure_of(row) != NULL;
}

static void add_row(struct bench *b, const struct figure *f, int precision)
{
    size_t positions = engine_config(bench_engine(b))->max_positions;
    struct bench_row *row = &b->table[b->n_rows++];
    bool steps = f->work == DECODE || f->work == DECODE_STEERED;
    *row = (struct bench_row){
        .name = f->name, .unit = steps ? "steps/s" : "tokens/s", .precision = precision};
    if (needs_source(f) && !b->source) {
        (void)snprintf(row->skipped, sizeof row->skipped, "needs an SAE: --saes FOLDER");
    } else if (f->work != ENCODE && f->n > positions) {
        (void)snprintf(row->skipped, sizeof row->skipped, "the model has %zu positions", positions);
    }
}

void bench_work_rows(struct bench *b)
{
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        if (figures[i].work == ENCODE) { /* SAEs are run in fp32, whatever the model is */
            add_row(b, &figures[i], -1);
            continue;
        }
        for (int p = 0; p < BENCH_PRECISIONS; p++) {
            if (b->models[p].session) {
                add_row(b, &figures[i], p);
            }
        }
    }
}

int bench_work_warm(struct bench *b, struct status *st)
{
    static const struct figure passes[] = {{"", PREFILL, 1, PROMPT}, {"", FEATURES, 1, PROMPT}};
    int code = STATUS_OK;
    for (int p = 0; p < BENCH_PRECISIONS; p++) {
        double seconds;
        for (size_t i = 0; i < (b->source ? 2 : 1) && b->models[p].session && !code; i++) {
            code = run_pass(b, p, &passes[i], &seconds, st);
        }
    }
    return code;
}

/* What one go makes (tokens, steps of decoding) and takes. */
static double go_of(const struct bench *b, const struct figure *f, struct cost *cost)
{
    double tokens = (double)(f->prompts * f->n);
    switch (f->work) {
    case PREFILL:
    case FEATURES:
        *cost = cost_of_pass(b, (double)f->prompts, (double)f->n, f->work == FEATURES);
        return tokens;
    case ENCODE:
        *cost = (struct cost){2 * tokens * (double)b->source->d_in * (double)b->source->d_sae,
                              (double)b->source->bytes / 2};
        return tokens;
    case DECODE:
    case DECODE_STEERED: /* one more token of each text */
        *cost = cost_of_pass(b, (double)f->prompts, 1, false);
        cost->operations *= STEPS;
        cost->bytes *= STEPS;
        return STEPS;
    case INDEX:
        break;
    }
    *cost = cost_of_pass(b, (double)INDEXED / CONTEXT, CONTEXT, true);
    return INDEXED;
}

int bench_work_run(struct bench *b, struct bench_row *row, struct status *st)
{
    const struct figure *f = figure_of(row);
    int precision = row->precision;
    if (precision < 0) {
        precision = b->models[PRECISION_EXACT].session ? PRECISION_EXACT : PRECISION_BF16;
    }
    double before = bench_peaks_take(b), seconds = 0, goes = 0;
    while (goes == 0 || (seconds < LEAST_SECONDS && f->work != INDEX)) {
        double once = 0;
        int code = run_once(b, precision, f, &once, st);
        if (code) {
            return code;
        }
        seconds += once;
        goes++;
    }
    double reads = (before + bench_peaks_take(b)) / 2;
    struct cost cost;
    double made = go_of(b, f, &cost);
    row->value[row->n] = made * goes / seconds;
    row->operations[row->n] = cost.operations * goes / seconds;
    row->reads[row->n] = b->in_cache || reads <= 0 ? 0 : cost.bytes * goes / seconds / reads;
    row->n++;
    bench_peaks_keep(b, reads);
    return STATUS_OK;
}
