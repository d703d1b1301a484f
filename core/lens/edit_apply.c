/* The hook: what the edits do to the rows of a point as the forward pass reaches it. */
#include "core/base/memory.h"
#include "core/lens/edit_private.h"
#include "core/math/kernels.h"

#include <string.h>

/* The rows of one sequence at one point, in one run. */
struct site {
    float *rows; /* [n, width] */
    size_t n, width;
    size_t past; /* position of the first */
};

/* --- edits that look at one row and nothing else ---------------------------------------------- */

static void add_scaled(float *h, float a, const float *v, size_t width)
{
    for (size_t d = 0; d < width; d++) {
        h[d] += a * v[d];
    }
}

/* A neuron's decoder row is the entry itself: v = u = e_i, f = h_i. */
static void edit_neurons(const struct edit *e, float *h)
{
    float *one = h + (e->n ? e->indices[0] : 0);
    if (e->type == EDIT_ADD && e->strength != 0.0f) {
        *one += e->strength;
    } else if (e->type == EDIT_ORTHOGONAL && e->strength != 1.0f) {
        *one *= e->strength;
    } else if (e->type == EDIT_CAP) {
        *one = *one > e->strength ? e->strength : *one;
    }
    for (size_t j = 0; e->type == EDIT_CLAMP && j < e->n; j++) {
        h[e->indices[j]] = e->values[j];
    }
}

static void edit_row(const struct op *op, float *h, size_t width)
{
    const struct edit *e = op->edit;
    float c = e->strength;
    if (op->own_neurons && (edit_has_direction(e) || e->type == EDIT_CLAMP)) {
        edit_neurons(e, h);
        return;
    }
    if (e->type == EDIT_ADD && c != 0.0f) {
        add_scaled(h, c, op->direction, width);
    } else if (e->type == EDIT_ORTHOGONAL && c != 1.0f) {
        add_scaled(h, (c - 1.0f) * kernel_dot(h, op->direction, width), op->direction, width);
    } else if (e->type == EDIT_CAP) {
        float along = kernel_dot(h, op->direction, width);
        if (along > c) {
            add_scaled(h, c - along, op->direction, width);
        }
    } else if (e->type == EDIT_SET) {
        h[e->dim] = e->value;
    } else if (e->type == EDIT_ZERO) {
        memset(h, 0, width * sizeof *h);
    }
}

/* --- edits that encode ------------------------------------------------------------------------ */

/* The selected rows, brought together so that the SAE reads its weights once. */
struct gathered {
    size_t n;
    size_t *row;     /* [n] of the site */
    float *x;        /* [n, d_in] what the SAE reads */
    float *recon;    /* [n, d_out] */
    struct sparse f; /* n rows; of a CLAMP its indices alone, numbered as they stand there */
};

static void free_gathered(struct gathered *g)
{
    memory_free(g->row);
    memory_free(g->x);
    memory_free(g->recon);
    sparse_free(&g->f);
}

/* Row r of the site is row r of what was remembered: both are this run's. */
static int gather(struct gathered *g, const struct edits *edits, const struct op *op,
                  const struct site *site, struct status *st)
{
    const struct sae_source *s = op->source;
    *g = (struct gathered){0};
    g->row = memory_alloc(site->n, sizeof *g->row);
    g->x = memory_alloc(site->n * s->d_in, sizeof *g->x);
    g->recon = memory_alloc(site->n * s->d_out, sizeof *g->recon);
    if (!g->row || !g->x || !g->recon) {
        return status_no_memory(st, site->n * s->d_in * sizeof *g->x);
    }
    const float *from = s->input == s->output ? site->rows : op->input;
    for (size_t r = 0; r < site->n; r++) {
        if (edit_selects(op->edit, edits->prompt_length, site->past + r)) {
            memcpy(g->x + g->n * s->d_in, from + r * s->d_in, s->d_in * sizeof *g->x);
            g->row[g->n++] = r;
        }
    }
    if (g->n == 0) {
        return STATUS_OK;
    }
    return op->edit->type == EDIT_CLAMP
               ? sae_encode_named(op->sae, edits->threads, g->x, g->n, op->edit->indices,
                                  op->edit->n, &g->f, st)
               : sae_encode(op->sae, edits->threads, g->x, g->n, &g->f, st);
}

static int edit_encoded(const struct edits *edits, const struct op *op, const struct site *site,
                        struct status *st)
{
    const struct edit *e = op->edit;
    struct gathered g;
    int code = gather(&g, edits, op, site, st);
    if (code == STATUS_OK && g.n && e->type != EDIT_CLAMP) {
        code = sae_decode(op->sae, edits->threads, &g.f, g.x, g.recon, st);
    }
    for (size_t i = 0; i < g.n && code == STATUS_OK; i++) {
        float *h = site->rows + g.row[i] * site->width;
        const float *recon = g.recon + i * site->width;
        if (e->type == EDIT_SPLICE) {
            memcpy(h, recon, site->width * sizeof *h);
        } else if (e->type == EDIT_ERROR_ONLY) {
            for (size_t d = 0; d < site->width; d++) {
                h[d] -= recon[d];
            }
        } else {
            for (size_t j = 0; j < e->n; j++) {
                float change = e->values[j] - sparse_get(&g.f, i, (uint32_t)j);
                if (change != 0.0f) {
                    add_scaled(h, change, op->rows + j * site->width, site->width);
                }
            }
        }
    }
    free_gathered(&g);
    return code ? code : sae_check(op->sae, st);
}

/* --- the hook --------------------------------------------------------------------------------- */

static int apply(const struct edits *edits, const struct op *op, const struct site *site,
                 struct status *st)
{
    if (op->sae) {
        return edit_encoded(edits, op, site, st);
    }
    for (size_t r = 0; r < site->n; r++) {
        if (edit_selects(op->edit, edits->prompt_length, site->past + r)) {
            edit_row(op, site->rows + r * site->width, site->width);
        }
    }
    return STATUS_OK;
}

/* A transcoder reads elsewhere than it writes, earlier in the same layer. */
static int remember(struct op *op, const struct site *site, struct status *st)
{
    if (site->n > op->input_rows) {
        memory_free(op->input);
        op->input = memory_alloc(site->n * site->width, sizeof *op->input);
        op->input_rows = op->input ? site->n : 0;
        if (!op->input) {
            return status_no_memory(st, site->n * site->width * sizeof *op->input);
        }
    }
    memcpy(op->input, site->rows, site->n * site->width * sizeof *op->input);
    return STATUS_OK;
}

static bool is_here(enum point of, int of_layer, enum point point, int layer)
{
    return of == point && (of_layer == layer || !point_has_layer(point));
}

static void visit(void *user, enum point point, int layer, size_t sequence, float *rows, size_t n,
                  size_t width, size_t past)
{
    struct edits_run *run = user;
    struct edits *edits = sequence < run->n_sequences ? run->of_sequence[sequence] : NULL;
    const struct site site = {.rows = rows, .n = n, .width = width, .past = past};
    for (size_t i = 0; edits && i < edits->n && !run->st.code; i++) {
        if (is_here(edits->ops[i].point, edits->ops[i].layer, point, layer)) {
            (void)apply(edits, &edits->ops[i], &site, &run->st);
        }
    }
    for (size_t i = 0; edits && i < edits->n && !run->st.code; i++) {
        struct op *op = &edits->ops[i];
        if (op->sae && op->source->input != op->source->output &&
            is_here(op->source->input, op->layer, point, layer)) {
            (void)remember(op, &site, &run->st);
        }
    }
}

struct forward_hook edits_hook(struct edits_run *run)
{
    return (struct forward_hook){.visit = visit, .user = run};
}
