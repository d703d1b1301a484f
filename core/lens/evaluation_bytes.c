/* An evaluation as bytes, to go on from. Native byte order and sizes: what is kept here is made
 * anew when in doubt. */
#include "core/base/bytes.h"
#include "core/base/memory.h"
#include "core/lens/evaluation.h"

#include <string.h>

#define VERSION 2u

struct header {
    uint32_t version, sums_bytes;
    uint64_t d_in, d_out, vocabulary, hidden, leads, n_tokens, n_worst;
};

void evaluation_save(const struct evaluation *e, struct text *out)
{
    struct header h = {.version = VERSION,
                       .sums_bytes = sizeof e->sums,
                       .d_in = e->d_in,
                       .d_out = e->d_out,
                       .vocabulary = e->vocabulary,
                       .hidden = e->hidden,
                       .leads = e->leads,
                       .n_worst = e->n_worst};
    for (size_t id = 0; id < e->vocabulary; id++) {
        h.n_tokens += e->tokens[id].count > 0;
    }
    bytes_put(out, &h, sizeof h);
    bytes_put(out, &e->sums, sizeof e->sums);
    bytes_put(out, e->x, e->d_out * sizeof *e->x);
    bytes_put(out, e->arrives, e->hidden * sizeof *e->arrives);
    bytes_put(out, e->error_bins, sizeof e->error_bins);
    bytes_put(out, e->l0_bins, sizeof e->l0_bins);
    for (size_t id = 0; id < e->vocabulary; id++) {
        if (e->tokens[id].count) {
            bytes_put(out, &e->tokens[id], sizeof e->tokens[id]);
        }
    }
    for (size_t i = 0; i < e->n_worst; i++) {
        const struct evaluation_context *c = &e->worst[i];
        const int64_t whole[] = {c->number, c->line, (int64_t)c->n};
        bytes_put(out, &c->rel_err, sizeof c->rel_err);
        bytes_put(out, whole, sizeof whole);
        bytes_put(out, c->ids, c->n * sizeof *c->ids);
        bytes_put(out, c->rel_errs, c->n * sizeof *c->rel_errs);
    }
    bytes_put(out, e->linear.block, e->linear.doubles * sizeof *e->linear.block);
}

static bool get_token(struct bytes *b, struct evaluation *e)
{
    struct evaluation_token t;
    if (!bytes_get(b, &t, sizeof t) || t.id >= e->vocabulary) {
        return false;
    }
    e->tokens[t.id] = t;
    return true;
}

static bool get_context(struct bytes *b, struct evaluation *e)
{
    struct evaluation_context c = {0};
    int64_t whole[3];
    if (!bytes_get(b, &c.rel_err, sizeof c.rel_err) || !bytes_get(b, whole, sizeof whole) ||
        whole[2] < 1 || (uint64_t)whole[2] > b->left) {
        return false;
    }
    c.number = whole[0];
    c.line = whole[1];
    c.n = (size_t)whole[2];
    c.ids = memory_alloc(c.n, sizeof *c.ids);
    c.rel_errs = memory_alloc(c.n, sizeof *c.rel_errs);
    bool ok = c.ids && c.rel_errs && bytes_get(b, c.ids, c.n * sizeof *c.ids) &&
              bytes_get(b, c.rel_errs, c.n * sizeof *c.rel_errs);
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
    bool ok = bytes_get(&b, &h, sizeof h) && h.version == VERSION &&
              h.sums_bytes == sizeof e->sums && h.d_in == e->d_in && h.d_out == e->d_out &&
              h.vocabulary == e->vocabulary && h.hidden == e->hidden && h.leads <= 1 &&
              h.n_tokens <= e->vocabulary && h.n_worst <= EVALUATION_WORST &&
              bytes_get(&b, &e->sums, sizeof e->sums) &&
              bytes_get(&b, e->x, e->d_out * sizeof *e->x) &&
              bytes_get(&b, e->arrives, e->hidden * sizeof *e->arrives) &&
              bytes_get(&b, e->error_bins, sizeof e->error_bins) &&
              bytes_get(&b, e->l0_bins, sizeof e->l0_bins);
    e->leads = ok && h.leads;
    for (uint64_t i = 0; ok && i < h.n_tokens; i++) {
        ok = get_token(&b, e);
    }
    for (uint64_t i = 0; ok && i < h.n_worst; i++) {
        ok = get_context(&b, e);
    }
    ok = ok && bytes_get(&b, e->linear.block, e->linear.doubles * sizeof *e->linear.block) &&
         !b.left;
    return ok ? STATUS_OK
              : status_set(st, STATUS_CORRUPT,
                           "the kept state of an evaluation is not one of this source and version");
}
