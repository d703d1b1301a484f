/* Attribution over the boundary: a trace that reads every part at one position. */
#include "core/base/memory.h"
#include "core/engine_attribution_private.h"

/* --- the request ------------------------------------------------------------------------------ */

static int check_source(const struct engine *e, const char *name, size_t i, struct status *st)
{
    const struct sae_source *s = catalogue_find(&e->catalogue, name);
    if (!s) {
        return status_set(st, STATUS_NOT_FOUND,
                          "sources[%zu]: there is no source \"%.120s\"; GET /v1/capabilities lists "
                          "those there are",
                          i, name);
    }
    if (s->is_neurons) {
        return status_set(st, STATUS_INVALID,
                          "sources[%zu]: \"%.120s\" is the model's own neurons; their parts are "
                          "asked for with neuron_layer: %d",
                          i, name, s->layer);
    }
    if (!direct_leads(s->output)) {
        return status_set(st, STATUS_INVALID,
                          "sources[%zu]: \"%.120s\" reconstructs %s, which is not added to the "
                          "residual stream",
                          i, name, point_name(s->output));
    }
    return STATUS_OK;
}

int attribution_check(const struct engine *e, const struct attribution *a, struct status *st)
{
    const struct generation_start start = {a->ids, a->n_ids, a->edits, a->n_edits};
    int code = engine_check_start(e, &start, false, st);
    if (!code && a->position >= a->n_ids) {
        code = status_set(st, STATUS_INVALID, "position: expected 0..%zu, found %zu", a->n_ids - 1,
                          a->position);
    }
    if (!code && a->neuron_layer >= (int)e->config.n_layers) {
        code = status_set(st, STATUS_INVALID,
                          "neuron_layer: this model has the layers 0..%zu, found %d",
                          e->config.n_layers - 1, a->neuron_layer);
    }
    for (size_t i = 0; i < a->n_targets && !code; i++) {
        if (a->targets[i] < 0 || (size_t)a->targets[i] >= e->config.vocab_size) {
            code =
                status_set(st, STATUS_INVALID, "targets[%zu]: expected an id in 0..%zu, found %d",
                           i, e->config.vocab_size - 1, (int)a->targets[i]);
        }
    }
    for (size_t i = 0; i < a->n_sources && !code; i++) {
        code = check_source(e, a->sources[i].name, i, st);
    }
    return code;
}

/* --- what is read
 * --------------------------------------------------------------------------------- */

static void set_read(struct attribution_work *w, size_t at, struct engine_read read)
{
    read.positions = &w->position;
    read.n_positions = 1;
    w->reads[at] = read;
}

static void set_reads(struct attribution_work *w)
{
    static const enum point points[OF_LAYER] = {[ATTN_OUT] = POINT_ATTN_OUT,
                                                [ATTN_RAW] = POINT_ATTN_OUT_RAW,
                                                [Z] = POINT_Z,
                                                [MLP_OUT] = POINT_MLP_OUT,
                                                [MLP_RAW] = POINT_MLP_OUT_RAW};
    static const enum read_kind kinds[OF_SOURCE] = {
        [INPUT] = READ_INPUT, [ACTS] = READ_ACTS, [RECON] = READ_RECON, [ERROR] = READ_ERROR};
    const struct attribution *a = w->a;
    int L = (int)w->engine->config.n_layers;
    size_t at = OF_MODEL;
    set_read(w, EMBED, (struct engine_read){.kind = READ_POINT, .point = POINT_EMBED});
    set_read(w, FINAL,
             (struct engine_read){.kind = READ_POINT, .point = POINT_RESID_POST, .layer = L - 1});
    set_read(w, FINAL_NORM, (struct engine_read){.kind = READ_POINT, .point = POINT_FINAL_NORM});
    for (int layer = 0; layer < L; layer++) {
        for (int i = 0; i < OF_LAYER; i++, at++) {
            set_read(w, at,
                     (struct engine_read){.kind = READ_POINT, .point = points[i], .layer = layer});
        }
    }
    for (size_t s = 0; s < a->n_sources; s++) {
        for (int i = 0; i < OF_SOURCE; i++, at++) {
            set_read(w, at, (struct engine_read){.kind = kinds[i], .source = a->sources[s].name});
        }
    }
    if (a->neuron_layer >= 0) {
        set_read(w, at++,
                 (struct engine_read){
                     .kind = READ_POINT, .point = POINT_NEURONS, .layer = a->neuron_layer});
    }
    if (a->n_targets == 0) {
        set_read(w, at++,
                 (struct engine_read){.kind = READ_POINT, .point = POINT_LOGITS, .top = 1});
    }
    w->n_reads = at;
}

/* --- the whole -------------------------------------------------------------------------------- */

void attribution_free(struct attribution *a)
{
    for (size_t i = 0; i < a->n_sources; i++) {
        memory_free(a->sources[i].features);
        a->sources[i].features = NULL;
    }
    memory_free(a->neurons);
    memory_free(a->block);
    a->neurons = NULL;
    a->block = NULL;
}

static void free_work(struct attribution *a)
{
    struct attribution_work *w = a->work;
    for (size_t i = 0; w->reads && i < w->n_reads; i++) {
        engine_read_free(&w->reads[i]);
    }
    memory_free(w->reads);
    memory_free(w->u);
    memory_free(w);
    a->work = NULL;
}

int attribution_prepare(struct engine *engine, struct attribution *a, struct pass_part *part,
                        struct status *st)
{
    int code = attribution_check(engine, a, st);
    struct attribution_work *w = a->work = code ? NULL : memory_zalloc(1, sizeof *w);
    if (!w) {
        return code ? code : status_no_memory(st, sizeof *w);
    }
    w->engine = engine;
    w->a = a;
    w->position = (int32_t)a->position;
    w->reads =
        memory_zalloc(OF_MODEL + engine->config.n_layers * OF_LAYER + a->n_sources * OF_SOURCE + 2,
                      sizeof *w->reads);
    if (!w->reads) {
        free_work(a);
        return status_no_memory(st, sizeof *w->reads);
    }
    set_reads(w);
    w->prompt = (struct engine_prompt){.ids = a->ids,
                                       .n_ids = a->n_ids,
                                       .reads = w->reads,
                                       .n_reads = w->n_reads,
                                       .edits = a->edits,
                                       .n_edits = a->n_edits};
    w->trace = (struct engine_task){.prompts = &w->prompt, .n_prompts = 1};
    code = trace_prepare(engine, &w->trace, part, st);
    if (code) {
        free_work(a);
    }
    return code;
}

int attribution_finish(struct engine *engine, struct attribution *a, struct status *st)
{
    struct attribution_work *w = a->work;
    int code = trace_finish(&w->trace, st);
    if (!code) {
        a->n = a->n_targets ? a->n_targets : 1;
        a->likeliest = a->n_targets ? 0 : w->reads[w->n_reads - 1].top_ids[0];
        a->target_ids = a->n_targets ? a->targets : &a->likeliest;
        code = attribution_split(w, st);
    }
    code = code ? code : engine_check_weights(engine, st);
    free_work(a);
    if (code) {
        attribution_free(a);
    }
    return code;
}

void attribution_drop(struct attribution *a)
{
    trace_drop(&a->work->trace);
    free_work(a);
}
