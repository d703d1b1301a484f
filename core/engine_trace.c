/* From what is to be read to what the forward pass and the SAEs have to do, and back.
 *
 * Every prompt becomes a sequence of one packed batch, every read of a point a tap. Reads of one
 * source on one prompt share a slot: the rows that any of them wants, encoded once; all slots of a
 * source are encoded together, so that its weights are read once however many prompts there are. */
#include "core/base/memory.h"
#include "core/engine_trace_private.h"

#include <string.h>

/* --- sources: slots and runs
 * ------------------------------------------------------------------------ */

static struct source_run *run_of(struct trace *t, const char *name)
{
    const struct sae_source *source = catalogue_find(&t->engine->catalogue, name);
    for (size_t i = 0; i < t->n_runs; i++) {
        if (t->runs[i].source == source) {
            return &t->runs[i];
        }
    }
    struct source_run *run = &t->runs[t->n_runs];
    run->slots = memory_zalloc(t->n_prompts, sizeof *run->slots);
    run->source = source;
    t->n_runs += run->slots != NULL;
    return run->slots ? run : NULL;
}

/* The tokens of a prompt that any read of the source wants, in order. */
static int fill_slot(struct slot *slot, const struct source_run *run, const struct engine_prompt *p,
                     struct status *st)
{
    enum { UNWANTED = -1 };
    slot->tokens = memory_alloc(p->n_ids, sizeof *slot->tokens);
    slot->row_of_token = memory_alloc(p->n_ids, sizeof *slot->row_of_token);
    if (!slot->tokens || !slot->row_of_token) {
        return status_no_memory(st, p->n_ids * sizeof *slot->row_of_token);
    }
    for (size_t i = 0; i < p->n_ids; i++) {
        slot->tokens[i] = UNWANTED;
    }
    for (size_t i = 0; i < p->n_reads; i++) {
        const struct engine_read *r = &p->reads[i];
        if (!trace_reads_source(r, run)) {
            continue;
        }
        bool all = r->kind == READ_FEATURES || !r->positions;
        for (size_t j = 0; j < (all ? p->n_ids : r->n_positions); j++) {
            int32_t token = all ? (int32_t)j : r->positions[j];
            slot->tokens[token] = token;
        }
    }
    for (size_t i = 0; i < p->n_ids; i++) {
        slot->row_of_token[i] = slot->n_rows;
        if (slot->tokens[i] != UNWANTED) {
            slot->tokens[slot->n_rows++] = (int32_t)i;
        }
    }
    return STATUS_OK;
}

static int collect_runs(struct trace *t, struct status *st)
{
    size_t most = 0;
    for (size_t i = 0; i < t->n_prompts; i++) {
        most += t->prompts[i].n_reads;
    }
    t->runs = memory_zalloc(most, sizeof *t->runs);
    t->taps = memory_zalloc(2 * most, sizeof *t->taps);
    if (!t->runs || !t->taps) {
        return status_no_memory(st, 2 * most * sizeof *t->taps);
    }
    for (size_t i = 0; i < t->n_prompts; i++) {
        const struct engine_prompt *p = &t->prompts[i];
        for (size_t j = 0; j < p->n_reads; j++) {
            const struct engine_read *r = &p->reads[j];
            if (r->kind == READ_POINT) {
                continue;
            }
            struct source_run *run = run_of(t, r->source);
            if (!run || !run->slots) {
                return status_no_memory(st, t->n_prompts * sizeof *run->slots);
            }
            run->wants_recon = run->wants_recon || r->kind == READ_RECON || r->kind == READ_ERROR;
            run->wants_target = run->wants_target || r->kind == READ_ERROR;
            struct slot *slot = run->n_slots ? &run->slots[run->n_slots - 1] : NULL;
            if (slot && slot->prompt == i) {
                continue; /* fill_slot has looked at all reads of this prompt */
            }
            slot = &run->slots[run->n_slots++];
            slot->prompt = i;
            slot->first = run->rows;
            int code = fill_slot(slot, run, p, st);
            if (code) {
                return code;
            }
            run->rows += slot->n_rows;
        }
    }
    return STATUS_OK;
}

/* --- taps
 * ------------------------------------------------------------------------------------------- */

static void add_tap(struct trace *t, enum point point, int layer, size_t prompt,
                    const int32_t *rows, size_t n_rows, float *out)
{
    t->taps[t->n_taps++] = (struct tap){.point = point,
                                        .layer = layer,
                                        .sequence = prompt,
                                        .rows = rows,
                                        .n_rows = n_rows,
                                        .out = out};
}

static int add_source_taps(struct trace *t, struct source_run *run, struct status *st)
{
    const struct sae_source *s = run->source;
    bool own_target = run->wants_target && s->output != s->input;
    run->x = memory_alloc(run->rows * s->d_in, sizeof *run->x);
    run->target = own_target ? memory_alloc(run->rows * s->d_out, sizeof *run->target) : run->x;
    if (!run->x || !run->target) {
        return status_no_memory(st, run->rows * s->d_in * sizeof *run->x);
    }
    for (size_t i = 0; i < run->n_slots; i++) {
        const struct slot *slot = &run->slots[i];
        add_tap(t, s->input, s->layer, slot->prompt, slot->tokens, slot->n_rows,
                run->x + slot->first * s->d_in);
        if (own_target) {
            add_tap(t, s->output, s->layer, slot->prompt, slot->tokens, slot->n_rows,
                    run->target + slot->first * s->d_out);
        }
    }
    return STATUS_OK;
}

static int add_taps(struct trace *t, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < t->n_prompts; i++) {
        for (size_t j = 0; j < t->prompts[i].n_reads; j++) {
            const struct engine_read *r = &t->prompts[i].reads[j];
            if (r->kind == READ_POINT) {
                add_tap(t, r->point, r->layer, i, r->positions, r->n_positions, r->data);
                struct tap *tap = &t->taps[t->n_taps - 1];
                tap->top = r->point == POINT_LOGITS ? r->top : 0;
                tap->top_ids = r->top_ids;
                tap->top_probs = r->top_probs;
            }
        }
    }
    for (size_t i = 0; i < t->n_runs && code == STATUS_OK; i++) {
        code = add_source_taps(t, &t->runs[i], st);
    }
    return code;
}

/* --- the whole
 * ---------------------------------------------------------------------------------------- */

/* The edits of every prompt, opened: [n_prompts], NULL where a prompt has none. */
static int open_edits(struct trace *t, struct status *st)
{
    struct engine *e = t->engine;
    t->edits = memory_zalloc(t->n_prompts, sizeof *t->edits);
    int code = t->edits ? STATUS_OK : status_no_memory(st, t->n_prompts * sizeof *t->edits);
    for (size_t i = 0; i < t->n_prompts && code == STATUS_OK; i++) {
        const struct engine_prompt *p = &t->prompts[i];
        code = edits_open(&t->edits[i], p->edits, p->n_edits, &e->weights, e->pool, e->threads,
                          p->n_ids, st);
        t->edited = t->edited || t->edits[i];
    }
    return code;
}

static int add_sequences(struct trace *t, struct status *st)
{
    t->sequences = memory_zalloc(t->n_prompts, sizeof *t->sequences);
    if (!t->sequences) {
        return status_no_memory(st, t->n_prompts * sizeof *t->sequences);
    }
    for (size_t i = 0; i < t->n_prompts; i++) {
        t->sequences[i].ids = t->prompts[i].ids;
        t->sequences[i].n = t->prompts[i].n_ids;
    }
    return STATUS_OK;
}

static void free_trace(struct trace *t)
{
    for (size_t i = 0; i < t->n_runs; i++) {
        struct source_run *run = &t->runs[i];
        for (size_t j = 0; j < run->n_slots; j++) {
            memory_free(run->slots[j].tokens);
            memory_free(run->slots[j].row_of_token);
        }
        memory_free(run->slots);
        if (run->target != run->x) {
            memory_free(run->target);
        }
        memory_free(run->x);
        memory_free(run->recon);
        sparse_free(&run->features);
        memory_free(run->named);
    }
    for (size_t i = 0; t->edits && i < t->n_prompts; i++) {
        edits_close(t->edits[i]);
    }
    memory_free(t->edits);
    memory_free(t->sequences);
    memory_free(t->runs);
    memory_free(t->taps);
    memory_free(t);
}

/* Ends a trace; after an error no read is filled. */
static int close_trace(struct engine_task *task, int code)
{
    free_trace(task->trace);
    task->trace = NULL;
    for (size_t i = 0; i < task->n_prompts && code != STATUS_OK; i++) {
        for (size_t j = 0; j < task->prompts[i].n_reads; j++) {
            engine_read_free(&task->prompts[i].reads[j]);
        }
    }
    return code;
}

int trace_prepare(struct engine *engine, struct engine_task *task, struct pass_part *part,
                  struct status *st)
{
    struct trace *t = task->trace = memory_zalloc(1, sizeof *t);
    if (!t) {
        return status_no_memory(st, sizeof *t);
    }
    t->engine = engine;
    t->prompts = task->prompts;
    t->n_prompts = task->n_prompts;
    int code = STATUS_OK;
    for (size_t i = 0; i < t->n_prompts && code == STATUS_OK; i++) {
        code = engine_prepare_prompt(engine, &t->prompts[i], st);
    }
    if (code == STATUS_OK) {
        (void)((code = collect_runs(t, st)) || (code = add_taps(t, st)) ||
               (code = open_edits(t, st)) || (code = add_sequences(t, st)));
    }
    if (code) {
        return close_trace(task, code);
    }
    t->run = (struct edits_run){.of_sequence = t->edits, .n_sequences = t->n_prompts};
    *part = (struct pass_part){.sequences = t->sequences,
                               .n_sequences = t->n_prompts,
                               .taps = t->taps,
                               .n_taps = t->n_taps};
    if (t->edited) {
        part->hook = edits_hook(&t->run);
    }
    return STATUS_OK;
}

int trace_finish(struct engine_task *task, struct status *st)
{
    struct trace *t = task->trace;
    int code = (int)t->run.st.code;
    if (code) {
        *st = t->run.st;
    }
    for (size_t i = 0; i < t->n_runs && code == STATUS_OK; i++) {
        code = trace_encode_run(t, &t->runs[i], st);
    }
    return close_trace(task, code);
}

void trace_drop(struct engine_task *task)
{
    (void)close_trace(task, STATUS_CANCELLED);
}
