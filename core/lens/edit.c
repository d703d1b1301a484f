#include "core/base/memory.h"
#include "core/lens/edit_private.h"

#include <math.h>
#include <string.h>

/* --- checks ----------------------------------------------------------------------------------- */

static int check_indices(const struct edit *e, size_t i, const struct sae_source *s,
                         struct status *st)
{
    if (e->n == 0) {
        return status_set(st, STATUS_INVALID, "edits[%zu].index: expected an index of source %s", i,
                          s->name);
    }
    for (size_t j = 0; j < e->n; j++) {
        if (e->indices[j] >= s->d_sae) {
            return status_set(st, STATUS_INVALID,
                              "edits[%zu].index: expected 0 to %zu for source %s, found %u", i,
                              s->d_sae - 1, s->name, (unsigned)e->indices[j]);
        }
        for (size_t k = 0; k < j; k++) {
            if (e->indices[k] == e->indices[j]) {
                return status_set(st, STATUS_INVALID, "edits[%zu].indices: %u stands there twice",
                                  i, (unsigned)e->indices[j]);
            }
        }
        if (e->type == EDIT_CLAMP && !isfinite(e->values[j])) {
            return status_set(st, STATUS_INVALID, "edits[%zu].value: expected a finite number", i);
        }
    }
    return STATUS_OK;
}

static int check_site(const struct edit *e, size_t i, enum point point, int layer,
                      const struct gemma_config *config, struct status *st)
{
    switch (point) {
    case POINT_SCORES:
    case POINT_PATTERN:
    case POINT_LOGITS:
    case POINT_LOSS:
    case POINT_COUNT:
        return status_set(st, STATUS_INVALID, "edits[%zu].point: %s cannot be edited", i,
                          point < POINT_COUNT ? point_name(point) : "this");
    case POINT_MLP_IN_PREGAIN:
        return status_set(st, STATUS_INVALID,
                          "edits[%zu].point: the model does not read mlp_in_pregain, so an edit "
                          "there would change nothing; edit mlp_in or resid_mid",
                          i);
    default:
        break;
    }
    if (point_has_layer(point) && (layer < 0 || (size_t)layer >= config->n_layers)) {
        return status_set(st, STATUS_INVALID,
                          "edits[%zu].point: this model has the layers 0..%zu, found %d", i,
                          config->n_layers - 1, layer);
    }
    size_t width = point_width(config, point);
    if (edit_has_direction(e) && e->vector && e->n_vector != width) {
        return status_set(st, STATUS_INVALID,
                          "edits[%zu].vector: expected %zu numbers for %s, found %zu", i, width,
                          point_name(point), e->n_vector);
    }
    if (e->type == EDIT_SET && e->dim >= width) {
        return status_set(st, STATUS_INVALID, "edits[%zu].dim: expected 0 to %zu for %s, found %zu",
                          i, width - 1, point_name(point), e->dim);
    }
    return STATUS_OK;
}

static int check_numbers(const struct edit *e, size_t i, struct status *st)
{
    if (!isfinite(e->strength)) {
        return status_set(st, STATUS_INVALID, "edits[%zu].strength: expected a finite number", i);
    }
    if (e->type == EDIT_SET && !isfinite(e->value)) {
        return status_set(st, STATUS_INVALID, "edits[%zu].value: expected a finite number", i);
    }
    float largest = 0.0f;
    for (size_t j = 0; edit_has_direction(e) && e->vector && j < e->n_vector; j++) {
        if (!isfinite(e->vector[j])) {
            return status_set(st, STATUS_INVALID,
                              "edits[%zu].vector[%zu]: expected a finite number", i, j);
        }
        largest = fmaxf(largest, fabsf(e->vector[j]));
    }
    if (edit_has_direction(e) && e->vector && !(largest > 0.0f)) {
        return status_set(st, STATUS_INVALID, "edits[%zu].vector: all its numbers are 0", i);
    }
    for (size_t j = 0; e->where == EDIT_POSITIONS && j < e->n_positions; j++) {
        if (e->positions[j] < 0) {
            return status_set(st, STATUS_INVALID,
                              "edits[%zu].positions: expected 0 or more, found %d", i,
                              (int)e->positions[j]);
        }
    }
    return STATUS_OK;
}

/* s is the source that the edit names, NULL if it names none. */
static int check(const struct edit *e, size_t i, const struct sae_source *s,
                 const struct gemma_config *config, struct status *st)
{
    if (edit_needs_source(e) && !s) {
        return status_set(st, STATUS_INVALID, "edits[%zu].source: this edit needs one", i);
    }
    if (!s && edit_has_direction(e) && !e->vector) {
        return status_set(st, STATUS_INVALID,
                          "edits[%zu]: expected a source and an index, or a point and a vector", i);
    }
    if (s && s->is_neurons && (e->type == EDIT_SPLICE || e->type == EDIT_ERROR_ONLY)) {
        return status_set(st, STATUS_INVALID,
                          "edits[%zu].source: \"%.120s\" is the model's own neurons, which have no "
                          "reconstruction; expected an SAE",
                          i, s->name);
    }
    bool takes_indices = e->type == EDIT_CLAMP || (edit_has_direction(e) && s && !e->vector);
    int code = takes_indices ? check_indices(e, i, s, st) : STATUS_OK;
    if (code == STATUS_OK) {
        code = check_site(e, i, s ? edit_point(s) : e->point, s ? s->layer : e->layer, config, st);
    }
    return code ? code : check_numbers(e, i, st);
}

int edits_check(const struct edit *list, size_t n, const struct gemma_config *config,
                const struct catalogue *catalogue, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < n && code == STATUS_OK; i++) {
        const struct sae_source *s = NULL;
        if (list[i].source && !(s = catalogue_find(catalogue, list[i].source))) {
            return status_set(st, STATUS_NOT_FOUND,
                              "edits[%zu].source: there is no source \"%.120s\"; GET "
                              "/v1/capabilities lists those there are",
                              i, list[i].source);
        }
        code = check(&list[i], i, s, config, st);
    }
    return code;
}

/* --- opening ---------------------------------------------------------------------------------- */

/* v, or u where only its direction counts. */
static int make_direction(struct op *op, size_t i, const struct sae *sae, size_t width,
                          struct status *st)
{
    const struct edit *e = op->edit;
    op->direction = memory_alloc(width, sizeof *op->direction);
    if (!op->direction) {
        return status_no_memory(st, width * sizeof *op->direction);
    }
    if (e->vector) {
        memcpy(op->direction, e->vector, width * sizeof *op->direction);
    } else {
        int code = sae_decoder_row(sae, e->indices[0], op->direction, st);
        if (code) {
            return code;
        }
    }
    if (e->type == EDIT_ADD && !e->unit) {
        return STATUS_OK;
    }
    double square = 0.0;
    for (size_t d = 0; d < width; d++) {
        square += (double)op->direction[d] * (double)op->direction[d];
    }
    if (!(square > 0.0) || !isfinite(square)) {
        return status_set(st, STATUS_INVALID,
                          "edits[%zu]: the vector has no direction (its length is %g)", i,
                          sqrt(square));
    }
    for (size_t d = 0; d < width; d++) {
        op->direction[d] = (float)((double)op->direction[d] / sqrt(square));
    }
    return STATUS_OK;
}

static int read_rows(struct op *op, struct status *st)
{
    size_t width = op->source->d_out, n = op->edit->n;
    op->rows = memory_alloc(n * width, sizeof *op->rows);
    int code = op->rows ? STATUS_OK : status_no_memory(st, n * width * sizeof *op->rows);
    for (size_t j = 0; j < n && code == STATUS_OK; j++) {
        code = sae_decoder_row(op->sae, op->edit->indices[j], op->rows + j * width, st);
    }
    return code;
}

static int open_op(struct edits *edits, size_t i, const struct edit *e,
                   const struct gemma_config *config, struct status *st)
{
    struct op *op = &edits->ops[i];
    *op = (struct op){.edit = e, .point = e->point, .layer = e->layer};
    const struct sae_source *neurons =
        e->source ? catalogue_find(pool_catalogue(edits->pool), e->source) : NULL;
    if (neurons && neurons->is_neurons) {
        op->source = neurons;
    } else if (e->source && pool_acquire(edits->pool, e->source, &op->sae, st)) {
        return status_prefix(st, "edits[%zu].source", i);
    } else if (op->sae) {
        op->source = sae_source(op->sae);
    }
    if (op->source) {
        op->point = edit_point(op->source);
        op->layer = op->source->layer;
        op->own_neurons = op->source->is_neurons && !e->vector;
    }
    int code = check(e, i, op->source, config, st);
    if (code || op->own_neurons) {
        return code;
    }
    if (edit_has_direction(e)) {
        code = make_direction(op, i, op->sae, point_width(config, op->point), st);
    } else if (e->type == EDIT_CLAMP) {
        code = read_rows(op, st);
    }
    if (op->sae && !edit_encodes(e)) {
        code = pool_release(edits->pool, op->sae, code, st);
        op->sae = NULL;
    }
    return code;
}

int edits_open(struct edits **out, const struct edit *list, size_t n, const struct weights *weights,
               struct pool *pool, struct threads *threads, size_t prompt_length, struct status *st)
{
    *out = NULL;
    if (n == 0) {
        return STATUS_OK;
    }
    struct edits *edits = memory_zalloc(1, sizeof *edits);
    if (!edits) {
        return status_no_memory(st, sizeof *edits);
    }
    edits->pool = pool;
    edits->threads = threads;
    edits->prompt_length = prompt_length;
    edits->ops = memory_zalloc(n, sizeof *edits->ops);
    int code = edits->ops ? STATUS_OK : status_no_memory(st, n * sizeof *edits->ops);
    while (code == STATUS_OK && edits->n < n) {
        edits->n++; /* before, so that edits_close finds what a failed one holds */
        code = open_op(edits, edits->n - 1, &list[edits->n - 1], weights->config, st);
    }
    if (code) {
        edits_close(edits);
        return code;
    }
    *out = edits;
    return STATUS_OK;
}

void edits_close(struct edits *edits)
{
    if (!edits) {
        return;
    }
    for (size_t i = 0; edits->ops && i < edits->n; i++) {
        struct op *op = &edits->ops[i];
        if (op->sae) { /* checked after each use */
            (void)pool_release(edits->pool, op->sae, STATUS_CANCELLED, NULL);
        }
        memory_free(op->direction);
        memory_free(op->rows);
        memory_free(op->input);
    }
    memory_free(edits->ops);
    memory_free(edits);
}
