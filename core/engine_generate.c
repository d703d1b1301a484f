/* Generating: several continuations decoded together, each with its own cache, edits and sampler,
 * a token of each in one pass over the weights. */
#include "core/base/memory.h"
#include "core/engine_private.h"

#include <string.h>

/* One text on its way. */
struct strand {
    const struct generation_start *start;
    struct kv_cache cache; /* of all ids but the last ones chosen */
    struct edits *edits;
    struct sampler *sampler;
    int32_t *ids; /* [n_ids], room for the prompt and n_tokens more */
    size_t n_ids;
    struct generation_token *tokens; /* [n_ids - start->n_ids] */
    bool ended;
};

/* The strands that a pass runs, and where it puts what is read of them. */
struct strands_pass {
    size_t n;                   /* strands in this pass */
    struct strand **strands;    /* [n] */
    struct sequence *sequences; /* [n] */
    struct edits **edits;       /* [n] */
    struct edits_run run;       /* what they do */
    struct tap *taps;
    size_t n_taps;
    int32_t *last;  /* [n] the row whose logits are wanted */
    float *logits;  /* [n, V] */
    float **inputs; /* [n_sources][n, d_in], NULL in the pass over the prompts */
};

struct generation {
    struct engine *engine;
    struct generation_options options;
    size_t n_tokens; /* what fits of options.n_tokens */
    struct strand *strands;
    struct strands_pass pass;
    bool opened; /* every strand has what it needs */
    bool begun;  /* the prompts have been read */
    bool failed; /* what the caches hold is not to be trusted */
};

/* --- opening ---------------------------------------------------------------------------------- */

int engine_check_start(const struct engine *e, const struct generation_start *s, bool more,
                       struct status *st)
{
    if (s->n_ids == 0) {
        return status_set(st, STATUS_INVALID, "a prompt must have at least one token");
    }
    if (s->n_ids > e->config.max_positions || (more && s->n_ids == e->config.max_positions)) {
        return status_set(st, STATUS_INVALID,
                          "No room to generate: the prompt has %zu tokens and the model holds %zu",
                          s->n_ids, e->config.max_positions);
    }
    for (size_t i = 0; i < s->n_ids; i++) {
        if (s->ids[i] < 0 || (size_t)s->ids[i] >= e->config.vocab_size) {
            return status_set(st, STATUS_INVALID, "token %zu: expected an id in 0..%zu, found %d",
                              i, e->config.vocab_size - 1, (int)s->ids[i]);
        }
    }
    return engine_check_edits(e, s->edits, s->n_edits, st);
}

static int check_sources(const struct engine *e, const struct generation_options *o,
                         struct status *st)
{
    for (size_t i = 0; i < o->n_sources; i++) {
        const struct sae_source *s = catalogue_find(&e->catalogue, o->sources[i]);
        if (s && s->is_neurons) {
            return status_set(
                st, STATUS_INVALID,
                "sources[%zu]: \"%.120s\" is the model's own neurons, which are active "
                "on every token; expected an SAE",
                i, s->name);
        }
        if (!s) {
            return status_set(st, STATUS_NOT_FOUND,
                              "sources[%zu]: there is no source \"%.120s\"; GET /v1/capabilities "
                              "lists those there are",
                              i, o->sources[i]);
        }
    }
    return STATUS_OK;
}

int generation_open(struct generation **out, struct engine *engine,
                    const struct generation_options *options, struct status *st)
{
    *out = NULL;
    int code = check_sources(engine, options, st);
    size_t room = options->n_tokens;
    for (size_t i = 0; i < options->n_starts && code == STATUS_OK; i++) {
        code = engine_check_start(engine, &options->starts[i], true, st);
        size_t left = engine->config.max_positions - options->starts[i].n_ids;
        room = room < left ? room : left;
    }
    if (code) {
        return code;
    }
    struct generation *g = memory_zalloc(1, sizeof *g);
    if (!g) {
        return status_no_memory(st, sizeof *g);
    }
    g->engine = engine;
    g->options = *options;
    g->n_tokens = room;
    size_t vocabulary = engine->config.vocab_size;
    if (g->options.n_logprobs > vocabulary) {
        g->options.n_logprobs = vocabulary;
    }
    g->strands = memory_zalloc(options->n_starts, sizeof *g->strands);
    if (!g->strands) {
        generation_close(g);
        return status_no_memory(st, options->n_starts * sizeof *g->strands);
    }
    *out = g;
    return STATUS_OK;
}

/* What costs memory waits for the first step: a generation may wait its turn for long. */
static int begin_strand(struct generation *g, size_t i, struct status *st)
{
    struct engine *e = g->engine;
    struct strand *s = &g->strands[i];
    s->start = &g->options.starts[i];
    size_t n = s->start->n_ids, most = n + g->n_tokens;
    s->n_ids = n;
    s->ids = memory_alloc(most, sizeof *s->ids);
    s->tokens = memory_zalloc(g->n_tokens, sizeof *s->tokens);
    if (!s->ids || !s->tokens) {
        return status_no_memory(st, most * sizeof *s->tokens);
    }
    memcpy(s->ids, s->start->ids, n * sizeof *s->ids);
    s->ended = g->n_tokens == 0;
    int code = kv_cache_create(&s->cache, &e->config, most, st);
    (void)(code ||
           (code = edits_open(&s->edits, s->start->edits, s->start->n_edits, &e->weights, e->pool,
                              e->threads, n, st)) ||
           (code = sampler_create(&s->sampler, &g->options.sampler, e->config.vocab_size, st)));
    if (code == STATUS_OK) {
        sampler_count(s->sampler, s->ids, n);
        engine_find_prefix(e, s->start, &s->cache);
    }
    return code;
}

static void free_pass(struct generation *g)
{
    struct strands_pass *p = &g->pass;
    for (size_t i = 0; p->inputs && i < g->options.n_sources; i++) {
        memory_free(p->inputs[i]);
    }
    memory_free(p->inputs);
    memory_free(p->strands);
    memory_free(p->sequences);
    memory_free(p->edits);
    memory_free(p->taps);
    memory_free(p->last);
    memory_free(p->logits);
    *p = (struct strands_pass){0};
}

void generation_close(struct generation *g)
{
    if (!g) {
        return;
    }
    for (size_t i = 0; g->strands && i < g->options.n_starts; i++) {
        struct strand *s = &g->strands[i];
        for (size_t t = 0; s->start && s->tokens && t < s->n_ids - s->start->n_ids; t++) {
            memory_free(s->tokens[t].top_ids);
            memory_free(s->tokens[t].top_logprobs);
            memory_free(s->tokens[t].n_active);
            memory_free(s->tokens[t].feature_index);
            memory_free(s->tokens[t].feature_value);
        }
        if (!g->failed && s->cache.pages) {
            engine_keep_prefix(g->engine, s->start, s->ids, &s->cache);
        }
        kv_cache_free(&s->cache);
        edits_close(s->edits);
        sampler_destroy(s->sampler);
        memory_free(s->ids);
        memory_free(s->tokens);
    }
    free_pass(g);
    memory_free(g->strands);
    memory_free(g);
}

struct generation_text generation_text(const struct generation *g, size_t i)
{
    const struct strand *s = &g->strands[i];
    if (!s->ids) { /* nothing has begun */
        return (struct generation_text){0};
    }
    return (struct generation_text){
        .ids = s->ids + s->start->n_ids, .n = s->n_ids - s->start->n_ids, .tokens = s->tokens};
}

/* --- one pass --------------------------------------------------------------------------------- */

static bool wants_features(const struct generation *g)
{
    return g->options.n_sources > 0 && g->options.n_features > 0;
}

/* A text that has ended is read once more where features of its last token are wanted. */
static bool runs(const struct generation *g, const struct strand *s)
{
    return !s->ended || (wants_features(g) && s->cache.pages && s->cache.length < s->n_ids &&
                         s->n_ids > s->start->n_ids);
}

static const struct sae_source *source_at(const struct generation *g, size_t i)
{
    return catalogue_find(&g->engine->catalogue, g->options.sources[i]);
}

static int make_pass(struct generation *g, struct status *st)
{
    struct strands_pass *p = &g->pass;
    size_t n = g->options.n_starts, V = g->engine->config.vocab_size;
    p->strands = memory_zalloc(n, sizeof *p->strands);
    p->sequences = memory_zalloc(n, sizeof *p->sequences);
    p->edits = memory_zalloc(n, sizeof *p->edits);
    p->taps = memory_zalloc(n * (1 + g->options.n_sources), sizeof *p->taps);
    p->last = memory_zalloc(n, sizeof *p->last);
    p->logits = memory_alloc(n * V, sizeof *p->logits);
    p->inputs = memory_zalloc(g->options.n_sources, sizeof *p->inputs);
    if (!p->strands || !p->sequences || !p->edits || !p->taps || !p->last || !p->logits ||
        !p->inputs) {
        return status_no_memory(st, n * V * sizeof *p->logits);
    }
    for (size_t i = 0; i < n; i++) {
        struct strand *s = &g->strands[i];
        if (!runs(g, s)) {
            continue;
        }
        size_t fed = s->cache.length, k = p->n++;
        p->strands[k] = s;
        p->edits[k] = s->edits;
        p->sequences[k] =
            (struct sequence){.ids = s->ids + fed, .n = s->n_ids - fed, .cache = &s->cache};
        p->last[k] = (int32_t)(s->n_ids - fed - 1);
        if (!s->ended) {
            p->taps[p->n_taps++] = (struct tap){.point = POINT_LOGITS,
                                                .sequence = k,
                                                .rows = &p->last[k],
                                                .n_rows = 1,
                                                .out = p->logits + k * V};
        }
    }
    for (size_t i = 0; i < g->options.n_sources && wants_features(g) && g->begun; i++) {
        const struct sae_source *source = source_at(g, i);
        p->inputs[i] = memory_alloc(p->n * source->d_in, sizeof *p->inputs[i]);
        if (!p->inputs[i]) {
            return status_no_memory(st, p->n * source->d_in * sizeof *p->inputs[i]);
        }
        for (size_t k = 0; k < p->n; k++) {
            p->taps[p->n_taps++] = (struct tap){.point = source->input,
                                                .layer = source->layer,
                                                .sequence = k,
                                                .rows = &p->last[k],
                                                .n_rows = 1,
                                                .out = p->inputs[i] + k * source->d_in};
        }
    }
    return STATUS_OK;
}

/* The strongest of a row's active features, falling; equal ones by index. */
static void keep_strongest(const struct sparse *f, size_t row, size_t n, uint32_t *index,
                           float *value, size_t *found)
{
    for (size_t k = f->start[row]; k < f->start[row + 1]; k++) {
        size_t at = *found;
        while (at > 0 && f->value[k] > value[at - 1]) {
            at--;
        }
        if (at == n) {
            continue;
        }
        *found += *found < n;
        for (size_t j = *found - 1; j > at; j--) {
            index[j] = index[j - 1];
            value[j] = value[j - 1];
        }
        index[at] = f->index[k];
        value[at] = f->value[k];
    }
}

/* The token that this pass has just read. */
static struct generation_token *token_read(const struct strand *s)
{
    return &s->tokens[s->n_ids - s->start->n_ids - 1];
}

static int read_features(struct generation *g, size_t i, struct status *st)
{
    struct strands_pass *p = &g->pass;
    struct sae *sae;
    struct sparse f = {0};
    int code = pool_acquire(g->engine->pool, g->options.sources[i], &sae, st);
    if (code) {
        return code;
    }
    code = sae_encode(sae, g->engine->threads, p->inputs[i], p->n, &f, st);
    size_t n = g->options.n_features;
    for (size_t k = 0; k < p->n && code == STATUS_OK; k++) {
        struct generation_token *t = token_read(p->strands[k]);
        keep_strongest(&f, k, n, t->feature_index + i * n, t->feature_value + i * n,
                       &t->n_active[i]);
        t->has_features = true;
    }
    sparse_free(&f);
    return pool_release(g->engine->pool, sae, code, st);
}

static int allocate_token(const struct generation *g, struct generation_token *t, struct status *st)
{
    const struct generation_options *o = &g->options;
    size_t kept = o->n_sources * o->n_features;
    t->top_ids = memory_alloc(o->n_logprobs, sizeof *t->top_ids);
    t->top_logprobs = memory_alloc(o->n_logprobs, sizeof *t->top_logprobs);
    t->n_active = memory_zalloc(o->n_sources, sizeof *t->n_active);
    t->feature_index = memory_alloc(kept, sizeof *t->feature_index);
    t->feature_value = memory_alloc(kept, sizeof *t->feature_value);
    bool ok = t->top_ids && t->top_logprobs && t->n_active && t->feature_index && t->feature_value;
    return ok ? STATUS_OK : status_no_memory(st, kept * sizeof *t->feature_value);
}

static int choose(struct generation *g, struct strand *s, const float *logits, struct status *st)
{
    const struct generation_options *o = &g->options;
    struct generation_token *t = &s->tokens[s->n_ids - s->start->n_ids];
    int32_t id = sampler_pick(s->sampler, logits);
    s->ids[s->n_ids++] = id; /* counted first, so that generation_close frees the token's parts */
    int code = allocate_token(g, t, st);
    if (code) {
        return code;
    }
    sampler_count(s->sampler, &id, 1);
    t->id = id;
    t->logprob = sampler_logprob(logits, g->engine->config.vocab_size, id, o->n_logprobs,
                                 t->top_ids, t->top_logprobs);
    s->ended = s->n_ids - s->start->n_ids == g->n_tokens;
    for (size_t i = 0; i < o->n_stop_ids; i++) {
        s->ended = s->ended || o->stop_ids[i] == id;
    }
    return STATUS_OK;
}

int generation_prepare(struct generation *g, struct pass_part *part, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < g->options.n_starts && !g->opened && code == STATUS_OK; i++) {
        code = begin_strand(g, i, st);
    }
    g->opened = code == STATUS_OK;
    code = code ? code : make_pass(g, st);
    if (code) {
        free_pass(g);
        return code;
    }
    struct strands_pass *p = &g->pass;
    p->run = (struct edits_run){.of_sequence = p->edits, .n_sequences = p->n};
    *part = (struct pass_part){
        .sequences = p->sequences, .n_sequences = p->n, .taps = p->taps, .n_taps = p->n_taps};
    for (size_t k = 0; k < p->n; k++) {
        if (p->edits[k]) {
            part->hook = edits_hook(&p->run);
        }
    }
    return STATUS_OK;
}

void generation_drop(struct generation *g)
{
    struct status st;
    g->failed = g->failed || engine_check_weights(g->engine, &st) != STATUS_OK;
    free_pass(g);
}

int generation_finish(struct generation *g, bool *more, struct status *st)
{
    struct strands_pass *p = &g->pass;
    int code = (int)p->run.st.code;
    if (code) {
        *st = p->run.st;
    }
    for (size_t i = 0; i < g->options.n_sources && code == STATUS_OK; i++) {
        code = p->n && p->inputs[i] ? read_features(g, i, st) : STATUS_OK;
    }
    size_t V = g->engine->config.vocab_size;
    for (size_t k = 0; k < p->n && code == STATUS_OK; k++) {
        code = p->strands[k]->ended ? STATUS_OK : choose(g, p->strands[k], p->logits + k * V, st);
    }
    free_pass(g);
    g->begun = true;
    *more = false;
    for (size_t i = 0; i < g->options.n_starts && code == STATUS_OK; i++) {
        struct strand *s = &g->strands[i];
        *more = *more || runs(g, s);
        if (!runs(g, s) && s->cache.pages) { /* now: the next turn may come before the closing */
            engine_keep_prefix(g->engine, s->start, s->ids, &s->cache);
        }
    }
    g->failed = code != STATUS_OK && code != STATUS_CANCELLED;
    return code;
}

size_t generation_rows(const struct generation *g)
{
    size_t rows = 0;
    for (size_t i = 0; i < g->options.n_starts; i++) {
        const struct strand *s = &g->strands[i];
        rows += !g->opened   ? g->options.starts[i].n_ids
                : runs(g, s) ? s->n_ids - s->cache.length
                             : 0;
    }
    return rows;
}
