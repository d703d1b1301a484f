/* From the rows of a source back to its reads: encoded all together, given out prompt by prompt. */
#include "core/base/memory.h"
#include "core/engine_trace_private.h"

/* Row r of the read -> row of the source run. */
static size_t run_row(const struct slot *slot, const struct engine_read *r, size_t row)
{
    size_t token = r->positions ? (size_t)r->positions[row] : row;
    return slot->first + slot->row_of_token[token];
}

static void give_dense(const struct source_run *run, const struct slot *slot, struct engine_read *r)
{
    size_t width = r->shape[1];
    for (size_t i = 0; i < r->shape[0]; i++) {
        size_t row = run_row(slot, r, i);
        float *out = r->data + i * width;
        if (r->kind == READ_INPUT) {
            memcpy(out, run->x + row * width, width * sizeof *out);
        } else if (r->kind == READ_RECON) {
            memcpy(out, run->recon + row * width, width * sizeof *out);
        } else if (r->kind == READ_ERROR) {
            for (size_t d = 0; d < width; d++) {
                out[d] = run->target[row * width + d] - run->recon[row * width + d];
            }
        } else {
            const struct sparse *f = &run->features;
            for (size_t k = f->start[row]; k < f->start[row + 1]; k++) {
                out[f->index[k]] = f->value[k];
            }
        }
    }
}

static int give_pre(const struct engine *e, const struct sae *sae, const struct source_run *run,
                    const struct slot *slot, struct engine_read *r, struct status *st)
{
    size_t d_in = run->source->d_in;
    float *x = memory_alloc(r->shape[0] * d_in, sizeof *x);
    if (!x) {
        return status_no_memory(st, r->shape[0] * d_in * sizeof *x);
    }
    for (size_t i = 0; i < r->shape[0]; i++) {
        memcpy(x + i * d_in, run->x + run_row(slot, r, i) * d_in, d_in * sizeof *x);
    }
    int code = sae_pre(sae, e->threads, x, r->shape[0], r->data, st);
    memory_free(x);
    return code;
}

/* Where in the rows that were encoded a named feature stands. */
static uint32_t place_of(const struct source_run *run, uint32_t entry)
{
    uint32_t place = 0;
    while (run->named && run->named[place] != entry) {
        place++;
    }
    return run->named ? place : entry;
}

static int give_features(const struct source_run *run, const struct slot *slot,
                         struct engine_read *r, struct status *st)
{
    const struct sparse *f = &run->features;
    uint32_t place = r->only_one ? place_of(run, r->entry) : 0;
    for (size_t i = 0; i < slot->n_rows; i++) {
        if (r->only_one) {
            float value = sparse_get(f, slot->first + i, place);
            sparse_append(&r->features, &r->entry, &value, value != 0.0f);
            continue;
        }
        size_t from = f->start[slot->first + i];
        size_t to = f->start[slot->first + i + 1];
        sparse_append(&r->features, f->index + from, f->value + from, to - from);
    }
    return r->features.failed ? status_no_memory(st, f->rows * sizeof(float)) : STATUS_OK;
}

static int give_slot(struct trace *t, const struct sae *sae, const struct source_run *run,
                     const struct slot *slot, struct status *st)
{
    struct engine_prompt *p = &t->prompts[slot->prompt];
    int code = STATUS_OK;
    for (size_t i = 0; i < p->n_reads && code == STATUS_OK; i++) {
        struct engine_read *r = &p->reads[i];
        if (!trace_reads_source(r, run)) {
            continue;
        }
        if (r->kind == READ_FEATURES) {
            code = give_features(run, slot, r, st);
        } else if (r->kind == READ_PRE) {
            code = give_pre(t->engine, sae, run, slot, r, st);
        } else {
            give_dense(run, slot, r);
        }
    }
    return code;
}

/* Neurons: the values are those of the point; as features, every one of them. */
static int give_neurons(const struct source_run *run, const struct slot *slot,
                        struct engine_read *r, const uint32_t *all, struct status *st)
{
    size_t d = run->source->d_sae;
    if (r->kind != READ_FEATURES) {
        for (size_t i = 0; i < r->shape[0]; i++) {
            memcpy(r->data + i * d, run->x + run_row(slot, r, i) * d, d * sizeof *r->data);
        }
        return STATUS_OK;
    }
    for (size_t i = 0; i < slot->n_rows; i++) {
        const float *row = run->x + (slot->first + i) * d;
        if (r->only_one) {
            sparse_append(&r->features, &r->entry, row + r->entry, 1);
        } else {
            sparse_append(&r->features, all, row, d);
        }
    }
    return r->features.failed ? status_no_memory(st, slot->n_rows * d * sizeof(float)) : STATUS_OK;
}

static int give_all_neurons(struct trace *t, const struct source_run *run, struct status *st)
{
    size_t d = run->source->d_sae;
    uint32_t *all = memory_alloc(d, sizeof *all);
    int code = all ? STATUS_OK : status_no_memory(st, d * sizeof *all);
    for (size_t i = 0; all && i < d; i++) {
        all[i] = (uint32_t)i;
    }
    for (size_t i = 0; i < run->n_slots; i++) {
        struct engine_prompt *p = &t->prompts[run->slots[i].prompt];
        for (size_t k = 0; k < p->n_reads && code == STATUS_OK; k++) {
            if (trace_reads_source(&p->reads[k], run)) {
                code = give_neurons(run, &run->slots[i], &p->reads[k], all, st);
            }
        }
    }
    memory_free(all);
    return code;
}

/* Adds an entry to those that are named already, once. */
static bool add_name(struct source_run *run, uint32_t entry)
{
    for (size_t i = 0; i < run->n_named; i++) {
        if (run->named[i] == entry) {
            return true;
        }
    }
    uint32_t *grown = memory_resize(run->named, run->n_named + 1, sizeof *grown);
    if (grown) {
        grown[run->n_named++] = entry;
        run->named = grown;
    }
    return grown != NULL;
}

/* Where every read of the run names one feature, their list; no list where somebody reads more. */
static int collect_names(const struct trace *t, struct source_run *run, struct status *st)
{
    bool more = false;
    for (size_t i = 0; i < run->n_slots && !more; i++) {
        const struct engine_prompt *p = &t->prompts[run->slots[i].prompt];
        for (size_t k = 0; k < p->n_reads && !more; k++) {
            const struct engine_read *r = &p->reads[k];
            if (!trace_reads_source(r, run)) {
                continue;
            }
            more = r->kind != READ_FEATURES || !r->only_one;
            if (!more && !add_name(run, r->entry)) {
                return status_no_memory(st, (run->n_named + 1) * sizeof *run->named);
            }
        }
    }
    if (more) {
        memory_free(run->named);
        run->named = NULL;
    }
    return STATUS_OK;
}

static int encode(const struct trace *t, const struct sae *sae, struct source_run *run,
                  struct status *st)
{
    struct threads *threads = t->engine->threads;
    int code = collect_names(t, run, st);
    if (code) {
        return code;
    }
    return run->named ? sae_encode_named(sae, threads, run->x, run->rows, run->named, run->n_named,
                                         &run->features, st)
                      : sae_encode(sae, threads, run->x, run->rows, &run->features, st);
}

int trace_encode_run(struct trace *t, struct source_run *run, struct status *st)
{
    struct engine *e = t->engine;
    if (run->source->is_neurons) {
        return give_all_neurons(t, run, st);
    }
    struct sae *sae;
    int code = pool_acquire(e->pool, run->source->name, &sae, st);
    if (code) {
        return code;
    }
    code = encode(t, sae, run, st);
    if (code == STATUS_OK && run->wants_recon) {
        run->recon = memory_alloc(run->rows * run->source->d_out, sizeof *run->recon);
        code = run->recon
                   ? sae_decode(sae, e->threads, &run->features, run->x, run->recon, st)
                   : status_no_memory(st, run->rows * run->source->d_out * sizeof *run->recon);
    }
    for (size_t i = 0; i < run->n_slots && code == STATUS_OK; i++) {
        code = give_slot(t, sae, run, &run->slots[i], st);
    }
    return pool_release(e->pool, sae, code, st);
}
