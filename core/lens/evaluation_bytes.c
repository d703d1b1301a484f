/* An evaluation as bytes, to go on from. Native byte order and sizes: what is kept here is made
 * anew when in doubt. */
#include "core/base/memory.h"
#include "core/lens/evaluation.h"

#include <string.h>

#define VERSION 1u

struct header {
    uint32_t version, sums_bytes;
    uint64_t d_in, d_out, vocabulary, n_tokens, n_worst;
};

static void put(struct text *out, const void *from, size_t n)
{
    text_append(out, from, n);
}

void evaluation_save(const struct evaluation *e, struct text *out)
{
    struct header h = {.version = VERSION,
                       .sums_bytes = sizeof e->sums,
                       .d_in = e->d_in,
                       .d_out = e->d_out,
                       .vocabulary = e->vocabulary,
                       .n_worst = e->n_worst};
    for (size_t id = 0; id < e->vocabulary; id++) {
        h.n_tokens += e->tokens[id].count > 0;
    }
    put(out, &h, sizeof h);
    put(out, &e->sums, sizeof e->sums);
    put(out, e->x, e->d_out * sizeof *e->x);
    put(out, e->error_bins, sizeof e->error_bins);
    put(out, e->l0_bins, sizeof e->l0_bins);
    for (size_t id = 0; id < e->vocabulary; id++) {
        if (e->tokens[id].count) {
            put(out, &e->tokens[id], sizeof e->tokens[id]);
        }
    }
    for (size_t i = 0; i < e->n_worst; i++) {
        const struct evaluation_context *c = &e->worst[i];
        const int64_t whole[] = {c->number, c->line, (int64_t)c->n};
        put(out, &c->rel_err, sizeof c->rel_err);
        put(out, whole, sizeof whole);
        put(out, c->ids, c->n * sizeof *c->ids);
        put(out, c->rel_errs, c->n * sizeof *c->rel_errs);
    }
    put(out, e->linear.block, e->linear.doubles * sizeof *e->linear.block);
}

struct bytes {
    const char *at;
    size_t left;
};

static bool get(struct bytes *b, void *to, size_t n)
{
    if (n > b->left) {
        return false;
    }
    memcpy(to, b->at, n);
    b->at += n;
    b->left -= n;
    return true;
}

static bool get_token(struct bytes *b, struct evaluation *e)
{
    struct evaluation_token t;
    if (!get(b, &t, sizeof t) || t.id >= e->vocabulary) {
        return false;
    }
    e->tokens[t.id] = t;
    return true;
}

static bool get_context(struct bytes *b, struct evaluation *e)
{
    struct evaluation_context c = {0};
    int64_t whole[3];
    if (!get(b, &c.rel_err, sizeof c.rel_err) || !get(b, whole, sizeof whole) || whole[2] < 1 ||
        (uint64_t)whole[2] > b->left) {
        return false;
    }
    c.number = whole[0];
    c.line = whole[1];
    c.n = (size_t)whole[2];
    c.ids = memory_alloc(c.n, sizeof *c.ids);
    c.rel_errs = memory_alloc(c.n, sizeof *c.rel_errs);
    bool ok = c.ids && c.rel_errs && get(b, c.ids, c.n * sizeof *c.ids) &&
              get(b, c.rel_errs, c.n * sizeof *c.rel_errs);
    for (size_t i = 0; ok && i < c.n; i++) {
        ok = c.ids[i] >= 0 && (size_t)c.ids[i] < e->vocabulary;
    }
    if (ok) {
        e->worst[e->n_worst++] = c;
        return true;
    }
    memory_free(c.ids);
    memory_free(c.rel_errs);
    return false;
}

int evaluation_load(struct evaluation *e, const void *bytes, size_t n, struct status *st)
{
    struct bytes b = {bytes, n};
    struct header h;
    bool ok = get(&b, &h, sizeof h) && h.version == VERSION && h.sums_bytes == sizeof e->sums &&
              h.d_in == e->d_in && h.d_out == e->d_out && h.vocabulary == e->vocabulary &&
              h.n_tokens <= e->vocabulary && h.n_worst <= EVALUATION_WORST &&
              get(&b, &e->sums, sizeof e->sums) && get(&b, e->x, e->d_out * sizeof *e->x) &&
              get(&b, e->error_bins, sizeof e->error_bins) &&
              get(&b, e->l0_bins, sizeof e->l0_bins);
    for (uint64_t i = 0; ok && i < h.n_tokens; i++) {
        ok = get_token(&b, e);
    }
    for (uint64_t i = 0; ok && i < h.n_worst; i++) {
        ok = get_context(&b, e);
    }
    ok = ok && get(&b, e->linear.block, e->linear.doubles * sizeof *e->linear.block) && !b.left;
    return ok ? STATUS_OK
              : status_set(st, STATUS_CORRUPT,
                           "the kept state of an evaluation is not one of this source and version");
}
