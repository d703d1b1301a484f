/* What can be read: checks, shapes and room for the answers. */
#include "core/base/memory.h"
#include "core/engine_private.h"

static void point_shape(const struct gemma_config *c, const struct engine_prompt *p,
                        struct engine_read *r, size_t rows)
{
    r->n_dims = 2;
    r->shape[0] = rows;
    r->shape[1] = point_width(c, r->point);
    if (r->point == POINT_LOSS) {
        r->n_dims = 1;
        r->shape[0] = p->n_ids - 1;
    } else if (r->point == POINT_SCORES || r->point == POINT_PATTERN) {
        r->n_dims = 3;
        r->shape[0] = c->n_heads;
        r->shape[1] = rows;
        r->shape[2] = p->n_ids;
    } else if (r->point == POINT_Q || r->point == POINT_K || r->point == POINT_V) {
        r->n_dims = 3;
        r->shape[1] = r->point == POINT_Q ? c->n_heads : c->n_kv_heads;
        r->shape[2] = c->head_dim;
    } else if (r->point == POINT_LOGITS && r->top) {
        r->shape[1] = r->top;
    }
}

static size_t shape_elements(const struct engine_read *r)
{
    size_t n = 1;
    for (int i = 0; i < r->n_dims; i++) {
        n *= r->shape[i];
    }
    return n;
}

/* Checks a read and fills in its shape. */
static int check_read(const struct engine *e, const struct engine_prompt *p, struct engine_read *r,
                      struct status *st)
{
    const struct gemma_config *c = &e->config;
    size_t rows = r->positions ? r->n_positions : p->n_ids;
    for (size_t i = 0; r->positions && i < r->n_positions; i++) {
        if (r->positions[i] < 0 || (size_t)r->positions[i] >= p->n_ids) {
            return status_set(st, STATUS_INVALID, "positions: expected 0..%zu, found %d",
                              p->n_ids - 1, (int)r->positions[i]);
        }
    }
    if (r->kind == READ_POINT) {
        if (point_has_layer(r->point) && (r->layer < 0 || (size_t)r->layer >= c->n_layers)) {
            return status_set(st, STATUS_INVALID, "%s.%d: this model has the layers 0..%zu",
                              point_name(r->point), r->layer, c->n_layers - 1);
        }
        if (r->top > c->vocab_size) {
            return status_set(st, STATUS_INVALID, "top: expected at most %zu, found %zu",
                              c->vocab_size, r->top);
        }
        point_shape(c, p, r, rows);
        return STATUS_OK;
    }
    const struct sae_source *s = catalogue_find(&e->catalogue, r->source);
    if (!s) {
        return status_set(
            st, STATUS_NOT_FOUND,
            "source \"%.120s\" is not here; GET /v1/capabilities lists those that are", r->source);
    }
    if (s->is_neurons && (r->kind == READ_PRE || r->kind == READ_RECON || r->kind == READ_ERROR)) {
        return status_set(
            st, STATUS_INVALID,
            "%s: the model's own neurons have no encoder and no reconstruction; their "
            "values are %s.%d",
            s->name, point_name(s->input), s->layer);
    }
    if (r->only_one && r->entry >= s->d_sae) {
        return status_set(st, STATUS_INVALID, "index: expected 0..%zu for source %s, found %u",
                          s->d_sae - 1, s->name, (unsigned)r->entry);
    }
    r->n_dims = 2;
    r->shape[0] = rows;
    r->shape[1] = r->kind == READ_INPUT                            ? s->d_in
                  : r->kind == READ_RECON || r->kind == READ_ERROR ? s->d_out
                                                                   : s->d_sae;
    return STATUS_OK;
}

int engine_read_size(const struct engine *e, const struct engine_prompt *p,
                     const struct engine_read *read, uint64_t *bytes, struct status *st)
{
    struct engine_read copy = *read;
    int code = check_read(e, p, &copy, st);
    *bytes = 0;
    if (code == STATUS_OK && copy.kind != READ_FEATURES) {
        *bytes = (uint64_t)shape_elements(&copy) * sizeof(float) * (copy.top ? 3 : 1);
    }
    return code;
}

int engine_check_edits(const struct engine *e, const struct edit *edits, size_t n,
                       struct status *st)
{
    return edits_check(edits, n, &e->config, &e->catalogue, st);
}

void engine_read_free(struct engine_read *r)
{
    memory_free(r->data);
    memory_free(r->top_ids);
    memory_free(r->top_probs);
    sparse_free(&r->features);
    r->data = NULL;
    r->top_ids = NULL;
    r->top_probs = NULL;
}

static int allocate_read(struct engine_read *r, struct status *st)
{
    size_t n = shape_elements(r);
    if (r->kind == READ_FEATURES) {
        return STATUS_OK;
    }
    r->data = memory_zalloc(n, sizeof *r->data);
    bool ok = r->data != NULL;
    if (ok && r->kind == READ_POINT && r->point == POINT_LOGITS && r->top) {
        r->top_ids = memory_zalloc(n, sizeof *r->top_ids);
        r->top_probs = memory_zalloc(n, sizeof *r->top_probs);
        ok = r->top_ids && r->top_probs;
    }
    return ok ? STATUS_OK : status_no_memory(st, n * sizeof *r->data);
}

int engine_prepare_prompt(const struct engine *e, struct engine_prompt *p, struct status *st)
{
    size_t limit = e->config.max_positions;
    if (p->n_ids == 0 || p->n_ids > limit) {
        return status_set(st, STATUS_INVALID, "a prompt must have 1..%zu tokens, found %zu", limit,
                          p->n_ids);
    }
    for (size_t i = 0; i < p->n_ids; i++) {
        if (p->ids[i] < 0 || (size_t)p->ids[i] >= e->config.vocab_size) {
            return status_set(st, STATUS_INVALID, "token %zu: expected an id in 0..%zu, found %d",
                              i, e->config.vocab_size - 1, (int)p->ids[i]);
        }
    }
    int code = STATUS_OK;
    for (size_t i = 0; i < p->n_reads && code == STATUS_OK; i++) {
        code = check_read(e, p, &p->reads[i], st);
        if (code == STATUS_OK) {
            code = allocate_read(&p->reads[i], st);
        }
    }
    return code;
}
