/* The lens over a prompt and what follows it: the model runs a chunk of positions at a time, its
 * cache keeping the keys of those before, and every row that was asked for is read before the next
 * chunk takes its place. */
#include "core/base/letters.h"
#include "core/base/memory.h"
#include "core/engine_lens_private.h"

#include <string.h>

/* --- beginning: what costs memory waits for the first step --------------------------------------
 */

/* Which ids are words, found out once for the engine. */
static int find_words(struct engine *e, const uint64_t **words, struct status *st)
{
    uint64_t *mask = atomic_load(&e->words);
    if (!mask && e->tokenizer) {
        size_t V = e->config.vocab_size;
        struct text token = {0};
        mask = memory_zalloc((V + 63) / 64, sizeof *mask);
        for (size_t id = 0; id < V && mask; id++) {
            text_clear(&token);
            engine_token_text(e, (int32_t)id, &token);
            if (token.data && letters_word(token.data, token.length)) {
                mask[id / 64] |= (uint64_t)1 << (id % 64);
            }
        }
        bool failed = !mask || token.failed;
        text_free(&token);
        if (failed) {
            memory_free(mask);
            return status_no_memory(st, V / 8);
        }
        uint64_t *none = NULL;
        if (!atomic_compare_exchange_strong(&e->words, &none, mask)) {
            memory_free(mask); /* another session was quicker */
            mask = none;
        }
    }
    *words = mask;
    return STATUS_OK;
}

static int reserve_figures(struct lens_reading *r, struct status *st)
{
    size_t top = r->options.top_n, track = r->options.n_track, all = r->group * r->n_rows;
    size_t each = 3 * (top + track);
    r->ready = memory_zalloc(r->group, sizeof *r->ready);
    r->rows = memory_zalloc(all, sizeof *r->rows);
    r->figures = memory_alloc(all * each, sizeof(float));
    if (!r->ready || !r->rows || !r->figures) {
        return status_no_memory(st, all * (each * sizeof(float) + sizeof *r->rows));
    }
    for (size_t i = 0; i < all; i++) {
        float *floats = (float *)r->figures + i * each;
        int32_t *whole = (int32_t *)(void *)(floats + 2 * (top + track));
        r->rows[i].top_logits = floats;
        r->rows[i].top_probs = floats + top;
        r->rows[i].logits = floats + 2 * top;
        r->rows[i].probs = floats + 2 * top + track;
        r->rows[i].top_ids = whole;
        r->rows[i].ranks = whole + top;
    }
    return STATUS_OK;
}

/* The rows of the last layer's resid_post are what the model says. */
static void mark_last_layer(struct lens_reading *r)
{
    const struct lens_options *o = &r->options;
    size_t row = 0;
    for (size_t i = 0; i < o->n_sites; i++) {
        const struct lens_site *site = &o->sites[i];
        size_t n = point_has_layer(site->point) ? site->n_layers : 1;
        for (size_t k = 0; k < n; k++, row++) {
            bool last =
                lens_reading_is_last(r->engine, site->point, site->layers ? site->layers[k] : 0);
            for (size_t g = 0; g < r->group; g++) {
                r->rows[g * r->n_rows + row].keeps_first = last;
            }
        }
    }
}

static int begin(struct lens_reading *r, struct status *st)
{
    struct engine *e = r->engine;
    const struct lens_options *o = &r->options;
    size_t D = e->config.hidden_size, most = o->n_ids + r->n_tokens;
    r->ended = r->n_tokens == 0;
    r->ids = memory_alloc(most, sizeof *r->ids);
    r->logits = memory_alloc(r->ended ? 1 : e->config.vocab_size, sizeof *r->logits);
    r->tokens = memory_alloc(LENS_CHUNK, sizeof *r->tokens);
    r->taken = memory_alloc((r->n_rows + 1) * LENS_CHUNK * D, sizeof *r->taken);
    r->taps = memory_alloc(r->n_rows + 2, sizeof *r->taps);
    if (!r->ids || !r->logits || !r->tokens || !r->taken || !r->taps) {
        return status_no_memory(st, (r->n_rows + 1) * LENS_CHUNK * D * sizeof *r->taken);
    }
    memcpy(r->ids, o->ids, o->n_ids * sizeof *r->ids);
    r->n_ids = o->n_ids;
    int code = kv_cache_create(&r->cache, &e->config, most, st);
    (void)(code ||
           (code = edits_open(&r->edits, o->edits, o->n_edits, &e->weights, e->pool, e->threads,
                              o->n_ids, st)) ||
           (code = sampler_create(&r->sampler, &o->sampler, e->config.vocab_size, st)) ||
           (code = readout_create(&r->readout, &e->weights, e->threads, st)) ||
           (code = o->words_only ? find_words(e, &r->words, st) : STATUS_OK));
    if (code) {
        return code;
    }
    sampler_count(r->sampler, o->ids, o->n_ids);
    r->group = readout_positions(r->readout, r->n_rows);
    r->group = r->group < LENS_CHUNK ? r->group : LENS_CHUNK;
    r->x = memory_alloc(r->group * (r->n_rows + 1) * D, sizeof *r->x);
    code = r->x ? reserve_figures(r, st)
                : status_no_memory(st, r->group * (r->n_rows + 1) * D * sizeof *r->x);
    if (code == STATUS_OK) {
        mark_last_layer(r);
    }
    return code;
}

void lens_reading_close(struct lens_reading *r)
{
    if (!r) {
        return;
    }
    kv_cache_free(&r->cache);
    edits_close(r->edits);
    sampler_destroy(r->sampler);
    readout_destroy(r->readout);
    memory_free(r->ids);
    memory_free(r->logits);
    memory_free(r->tokens);
    memory_free(r->taken);
    memory_free(r->taps);
    memory_free(r->x);
    memory_free(r->ready);
    memory_free(r->rows);
    memory_free(r->figures);
    memory_free(r);
}

/* --- the model -------------------------------------------------------------------------------- */

static float *taken_rows(const struct lens_reading *r, size_t row)
{
    return r->taken + row * LENS_CHUNK * r->engine->config.hidden_size;
}

/* A tap for each row of a position, one for the last norm, one for the logits. */
static size_t set_taps(const struct lens_reading *r, const int32_t *last)
{
    const struct lens_options *o = &r->options;
    struct tap *taps = r->taps;
    size_t n = 0;
    for (size_t i = 0; i < o->n_sites; i++) {
        const struct lens_site *site = &o->sites[i];
        size_t layers = point_has_layer(site->point) ? site->n_layers : 1;
        for (size_t k = 0; k < layers; k++, n++) {
            taps[n] = (struct tap){.point = site->point,
                                   .layer = point_has_layer(site->point) ? site->layers[k] : 0,
                                   .rows = r->tokens,
                                   .n_rows = r->chunk,
                                   .out = taken_rows(r, n)};
        }
    }
    taps[n] = (struct tap){
        .point = POINT_FINAL_NORM, .rows = r->tokens, .n_rows = r->chunk, .out = taken_rows(r, n)};
    n++;
    if (last) {
        taps[n++] =
            (struct tap){.point = POINT_LOGITS, .rows = last, .n_rows = 1, .out = r->logits};
    }
    return n;
}

/* Rows at hand go through the maps of the tuned lens. */
static int tune(const struct lens_reading *r, struct status *st)
{
    const struct lens_options *o = &r->options;
    int code = STATUS_OK;
    for (size_t i = 0, row = 0; i < o->n_sites && r->tuned; i++) {
        const struct lens_site *site = &o->sites[i];
        size_t n = point_has_layer(site->point) ? site->n_layers : 1;
        for (size_t k = 0; k < n && !code; k++, row++) {
            code =
                tuned_apply(r->tuned, r->engine->threads, site->point,
                            site->layers ? site->layers[k] : 0, taken_rows(r, row), r->chunk, st);
        }
    }
    return code;
}

/* How many tokens the next chunk has. */
static size_t next_chunk(const struct lens_reading *r)
{
    size_t n = r->n_ids - r->cache.length;
    return n < LENS_CHUNK ? n : LENS_CHUNK;
}

/* A pass over the next tokens that the model has not read yet. */
static void set_pass(struct lens_reading *r, struct pass_part *part)
{
    size_t first = r->cache.length, n = next_chunk(r);
    r->chunk = r->chunk_read = 0;
    r->chunk_first = first;
    for (size_t i = 0; i < n; i++) {
        bool prompt = first + i < r->options.n_ids;
        if (!prompt || !r->options.wanted || r->options.wanted[first + i]) {
            r->tokens[r->chunk++] = (int32_t)i;
        }
    }
    bool chooses = !r->ended && first + n == r->n_ids;
    r->last = (int32_t)(n - 1);
    r->sequence = (struct sequence){.ids = r->ids + first, .n = n, .cache = &r->cache};
    r->run = (struct edits_run){.of_sequence = &r->edits, .n_sequences = 1};
    *part = (struct pass_part){.sequences = &r->sequence,
                               .n_sequences = 1,
                               .taps = r->taps,
                               .n_taps = set_taps(r, chooses ? &r->last : NULL)};
    if (r->edits) {
        part->hook = edits_hook(&r->run);
    }
}

static void choose(struct lens_reading *r)
{
    int32_t id = sampler_pick(r->sampler, r->logits);
    sampler_count(r->sampler, &id, 1);
    r->ids[r->n_ids++] = id;
    r->ended = r->n_ids - r->options.n_ids == r->n_tokens;
    for (size_t i = 0; i < r->options.n_stop_ids; i++) {
        r->ended = r->ended || r->options.stop_ids[i] == id;
    }
}

/* --- reading ---------------------------------------------------------------------------------- */

/* The next positions of the chunk, as many as are read together. */
static int read_group(struct lens_reading *r, struct status *st)
{
    const struct lens_options *o = &r->options;
    size_t D = r->engine->config.hidden_size;
    size_t n = r->chunk - r->chunk_read < r->group ? r->chunk - r->chunk_read : r->group;
    float *last = r->x + n * r->n_rows * D;
    for (size_t g = 0; g < n; g++) {
        size_t at = r->chunk_read + g;
        for (size_t row = 0; row < r->n_rows; row++) {
            memcpy(r->x + (g * r->n_rows + row) * D, taken_rows(r, row) + at * D, D * sizeof *r->x);
        }
        memcpy(last + g * D, taken_rows(r, r->n_rows) + at * D, D * sizeof *r->x);
        size_t position = r->chunk_first + (size_t)r->tokens[at];
        r->ready[g] = (struct lens_position){.position = position,
                                             .id = r->ids[position],
                                             .generated = position >= o->n_ids,
                                             .rows = r->rows + g * r->n_rows,
                                             .n_rows = r->n_rows};
    }
    struct readout_options options = {.norm = o->norm,
                                      .softcap = o->softcap,
                                      .top_n = o->top_n,
                                      .words = r->words,
                                      .track = o->track,
                                      .n_track = o->n_track};
    int code = readout_run(r->readout, &options, last, r->x, n, r->n_rows, r->rows, st);
    if (code == STATUS_OK) {
        r->chunk_read += n;
        r->n_ready = n;
    }
    return code;
}

int lens_reading_prepare(struct lens_reading *r, struct pass_part *part, struct status *st)
{
    r->n_ready = 0;
    int code = r->ids ? STATUS_OK : begin(r, st);
    r->n_sequences = code == STATUS_OK && r->chunk_read == r->chunk;
    if (r->n_sequences) {
        if (r->cache.length == r->n_ids) {
            choose(r);
        }
        set_pass(r, part);
    }
    return code;
}

void lens_reading_drop(struct lens_reading *r)
{
    if (r->n_sequences) {
        r->chunk = r->chunk_read = 0; /* its rows were not taken */
    }
}

int lens_reading_finish(struct lens_reading *r, bool *more, struct status *st)
{
    int code = STATUS_OK;
    *more = false;
    if (r->n_sequences && r->run.st.code) {
        *st = r->run.st;
        code = (int)st->code;
    } else if (r->n_sequences) {
        code = tune(r, st);
    }
    if (code == STATUS_OK && r->chunk_read < r->chunk) {
        code = read_group(r, st);
    }
    code = code ? code : engine_check_weights(r->engine, st);
    if (code == STATUS_OK) {
        *more = r->chunk_read < r->chunk || r->cache.length < r->n_ids || !r->ended;
    }
    return code;
}

size_t lens_reading_rows(const struct lens_reading *r)
{
    size_t all = r->options.n_ids;
    return !r->ids                       ? (all < LENS_CHUNK ? all : LENS_CHUNK)
           : r->chunk_read < r->chunk    ? 0
           : r->cache.length == r->n_ids ? 1
                                         : next_chunk(r);
}

const struct lens_position *lens_reading_ready(const struct lens_reading *r, size_t *n)
{
    *n = r->n_ready;
    return r->ready;
}

const int32_t *lens_reading_generated(const struct lens_reading *r, size_t *n)
{
    *n = r->ids ? r->n_ids - r->options.n_ids : 0;
    return r->ids ? r->ids + r->options.n_ids : NULL;
}
