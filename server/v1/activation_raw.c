/* POST /v1/activation/raw (neuronpedia.md 3.7): the residual stream after layers, at the last token
 * of each prompt. */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <string.h>

#define NUMBER_BYTES 8 /* a float32 in the reply, at least that on average */

static void write_layer(struct emitter *w, const struct engine_read *read)
{
    emit_object(w);
    emit_key(w, "layer");
    emit_int(w, read->layer);
    size_t mark = reply_begin(w, "token_indices");
    emit_array(w);
    emit_int(w, read->positions[0]);
    emit_end_array(w);
    reply_end(w, "token_indices", mark);
    emit_key(w, "values");
    emit_array(w);
    emit_floats(w, read->data, read->shape[1]);
    emit_end_array(w);
    emit_end_object(w);
}

static void write_prompt(struct emitter *w, const struct app *app,
                         const struct engine_prompt *prompt)
{
    emit_object(w);
    size_t mark = reply_begin(w, "token_strings");
    prompts_emit_tokens(w, app, prompt->ids, prompt->n_ids);
    reply_end(w, "token_strings", mark);
    mark = reply_begin(w, "token_ids");
    emit_array(w);
    for (size_t i = 0; i < prompt->n_ids; i++) {
        emit_int(w, prompt->ids[i]);
    }
    emit_end_array(w);
    reply_end(w, "token_ids", mark);
    emit_key(w, "activations");
    emit_array(w);
    for (size_t r = 0; r < prompt->n_reads; r++) {
        write_layer(w, &prompt->reads[r]);
    }
    emit_end_array(w);
    emit_end_object(w);
}

static enum http_next reply_raw(struct exchange *x)
{
    const struct features *f = x->state;
    const struct job *job = f->await.job;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    reply_string(&w, "hook_point", "residual_stream");
    emit_key(&w, "type");
    emit_string(&w, "final_output_token");
    emit_key(&w, "dtype");
    emit_string(&w, "float32");
    emit_key(&w, "device");
    emit_string(&w, "cpu");
    emit_key(&w, "results");
    emit_array(&w);
    for (size_t p = 0; p < job->n_prompts; p++) {
        write_prompt(&w, x->app, &job->prompts[p]);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}

/* Marks the layers that are asked for, all of them by default; a layer twice is given once. */
static void read_layers(struct fields *f, size_t n_layers, bool wanted[CONFIG_LAYERS_MAX])
{
    const cJSON *layers = fields_array(f, "layers");
    size_t i = 0;
    for (const cJSON *item = layers ? layers->child : NULL; item && !f->st.code;
         item = item->next, i++) {
        long long layer;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE,
                       "layers[%zu]: expected a whole number, found %s", i, fields_kind(item));
        } else if (!json_integer(item, 0, (long long)n_layers - 1, &layer)) {
            status_set(&f->st, STATUS_INVALID,
                       "Layers [%.15g] are out of range; this model has %zu layers (0-%zu). "
                       "(layers[%zu])",
                       item->valuedouble, n_layers, n_layers - 1, i);
        } else {
            wanted[layer] = true;
        }
    }
    for (size_t layer = 0; layer < n_layers && i == 0; layer++) {
        wanted[layer] = true;
    }
}

static void expect(struct fields *f, const char *name, const char *expected)
{
    const char *found = fields_string(f, name);
    if (found && strcmp(found, expected) != 0) {
        status_set(&f->st, STATUS_INVALID,
                   "%s: expected \"%s\", the only one served here, found \"%.80s\"; POST /v1/trace "
                   "reads every other point and position",
                   name, expected, found);
    }
}

/* A read for each layer that is asked for, as the handler's options; NULL if something is wrong. */
static struct engine_read *make_reads(struct features *f, const struct gemma_config *config,
                                      size_t *n)
{
    bool wanted[CONFIG_LAYERS_MAX] = {false};
    read_layers(&f->fields, config->n_layers, wanted);
    struct engine_read *reads = memory_zalloc(config->n_layers, sizeof *reads);
    f->options = reads;
    if (!reads) {
        status_no_memory(&f->fields.st, config->n_layers * sizeof *reads);
        return NULL;
    }
    for (size_t layer = 0; layer < config->n_layers; layer++) {
        if (wanted[layer]) {
            reads[*n].kind = READ_POINT;
            reads[*n].point = POINT_RESID_POST;
            reads[(*n)++].layer = (int)layer;
        }
    }
    return reads;
}

enum http_next activation_raw(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    const struct app *app = x->app;
    const struct gemma_config *config = engine_config(app->engine);
    size_t n = 0;
    prompts_read_batch(&f->prompts, app, &f->fields);
    expect(&f->fields, "hook_point", "residual_stream");
    expect(&f->fields, "type", "final_output_token");
    const struct engine_read *reads = make_reads(f, config, &n);
    if (!f->fields.st.code &&
        !reply_fits(x, (uint64_t)f->prompts.n * n * config->hidden_size * NUMBER_BYTES)) {
        return HTTP_DONE;
    }
    return features_read(x, reads, n, true, reply_raw);
}
