/* POST /v1/attribution: which parts of the residual stream make the logits of chosen tokens
 * (docs/api.md, "attribution"; docs/model.md, "Lenses").
 *
 * {prompt | tokens, position, targets, sources, neuron_layer, top, edits} -> the parts of section c
 * of the oracle's README, one value a target. */
#include "core/base/memory.h"
#include "server/v1/await.h"
#include "server/v1/edit_list.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"
#include "server/v1/token_list.h"

enum { TOP_DEFAULT = 10, TOP_MAX = 1000, TARGETS_MAX = 32, SOURCES_MAX = 16 };

struct attribution_request {
    struct await await; /* first, see await.h */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;
    struct edit_list edits;
    int32_t *targets;
    struct attribution attribution;
};

static void free_state(void *state)
{
    struct attribution_request *r = state;
    attribution_free(&r->attribution);
    job_free(r->await.job);
    memory_free(r->attribution.sources);
    memory_free(r->targets);
    edit_list_free(&r->edits);
    prompts_free(&r->prompts);
    cJSON_Delete(r->body);
    memory_free(r);
}

/* --- the request ------------------------------------------------------------------------------ */

static void read_sources(struct attribution_request *r)
{
    struct fields *f = &r->fields;
    const cJSON *list = fields_array(f, "sources");
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0;
    struct attribution *a = &r->attribution;
    if (n > SOURCES_MAX) {
        status_set(&f->st, STATUS_INVALID, "sources: expected at most %d, found %zu", SOURCES_MAX,
                   n);
    }
    if (n == 0 || f->st.code) {
        return;
    }
    a->sources = memory_zalloc(n, sizeof *a->sources);
    if (!a->sources) {
        status_no_memory(&f->st, n * sizeof *a->sources);
        return;
    }
    for (const cJSON *item = list->child; item; item = item->next) {
        const char *name = cJSON_GetStringValue(item);
        if (!name) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "sources[%zu]: expected a string, found %s",
                       a->n_sources, fields_kind(item));
            return;
        }
        a->sources[a->n_sources++].name = name;
    }
}

static void read_request(struct attribution_request *r, const struct app *app)
{
    struct fields *f = &r->fields;
    struct attribution *a = &r->attribution;
    fields_model(f);
    prompts_read(&r->prompts, app, f);
    r->targets = token_list_read(f, app, "targets", TARGETS_MAX, &a->n_targets);
    a->targets = r->targets;
    read_sources(r);
    a->top = (size_t)fields_integer(f, "top", 1, TOP_MAX, TOP_DEFAULT);
    long long last = (long long)engine_config(app->engine)->n_layers - 1;
    a->neuron_layer = (int)fields_integer(f, "neuron_layer", 0, last, -1);
    if (f->st.code) {
        return;
    }
    const struct prompt *prompt = &r->prompts.items[0];
    long long T = (long long)prompt->n_ids;
    long long position = fields_integer(f, "position", -T, T - 1, -1);
    a->position = (size_t)(position < 0 ? position + T : position);
    edit_list_read(&r->edits, app, f, prompt, prompt->n_ids);
    a->ids = prompt->ids;
    a->n_ids = prompt->n_ids;
    a->edits = r->edits.items;
    a->n_edits = r->edits.n;
    if (!f->st.code) {
        (void)attribution_check(app->engine, a, &f->st);
    }
}

/* --- the reply -------------------------------------------------------------------------------- */

static void write_floats(struct emitter *w, const char *name, const float *values, size_t n)
{
    size_t mark = reply_begin(w, name);
    emit_floats(w, values, n);
    reply_end(w, name, mark);
}

/* [rows][n] */
static void emit_rows(struct emitter *w, const float *values, size_t rows, size_t n)
{
    emit_array(w);
    for (size_t i = 0; i < rows; i++) {
        emit_floats(w, values + i * n, n);
    }
    emit_end_array(w);
}

static void write_model(struct emitter *w, const struct app *app, const struct attribution *a)
{
    const struct gemma_config *c = engine_config(app->engine);
    size_t n = a->n, L = c->n_layers;
    write_floats(w, "logit", a->logit, n);
    write_floats(w, "precap", a->precap, n);
    write_floats(w, "slope", a->slope, n);
    write_floats(w, "embed", a->embed, n);
    emit_key(w, "attn");
    emit_rows(w, a->attn, L, n);
    emit_key(w, "mlp");
    emit_rows(w, a->mlp, L, n);
    write_floats(w, "rest", a->rest, n);
    emit_key(w, "heads");
    emit_array(w);
    for (size_t l = 0; l < L; l++) {
        emit_rows(w, a->heads + l * c->n_heads * n, c->n_heads, n);
    }
    emit_end_array(w);
}

/* A list a target of its largest parts. */
static void emit_parts(struct emitter *w, const struct direct_part *parts, size_t targets,
                       size_t each)
{
    emit_array(w);
    for (size_t i = 0; i < targets; i++) {
        emit_array(w);
        for (size_t k = 0; k < each; k++) {
            const struct direct_part *part = &parts[i * each + k];
            emit_object(w);
            emit_key(w, "index");
            emit_int(w, part->index);
            emit_key(w, "activation");
            emit_float(w, part->activation);
            emit_key(w, "value");
            emit_float(w, part->value);
            emit_end_object(w);
        }
        emit_end_array(w);
    }
    emit_end_array(w);
}

static void write_neurons(struct emitter *w, const struct attribution *a)
{
    if (a->neuron_layer < 0) {
        reply_null(w, "neuron_layer");
        reply_null(w, "neurons_top");
        reply_null(w, "neurons_sum");
        return;
    }
    reply_int(w, "neuron_layer", a->neuron_layer);
    size_t mark = reply_begin(w, "neurons_top");
    emit_parts(w, a->neurons, a->n, a->n_neurons);
    reply_end(w, "neurons_top", mark);
    write_floats(w, "neurons_sum", a->neurons_sum, a->n);
}

enum sum { FEATURES_SUM, BIAS, ERROR };

/* {source: one value a target} */
static void write_sums(struct emitter *w, const char *name, const struct attribution *a,
                       enum sum which)
{
    size_t mark = reply_begin(w, name);
    emit_object(w);
    for (size_t i = 0; i < a->n_sources; i++) {
        const struct attribution_source *s = &a->sources[i];
        emit_key(w, s->name);
        emit_floats(w,
                    which == FEATURES_SUM ? s->features_sum
                    : which == BIAS       ? s->bias
                                          : s->error,
                    a->n);
    }
    emit_end_object(w);
    reply_end(w, name, mark);
}

static enum http_next reply(struct exchange *x)
{
    const struct attribution_request *r = x->state;
    const struct attribution *a = &r->attribution;
    const struct app *app = x->app;
    struct emitter writer = {.out = &x->response.body}, *w = &writer;
    emit_object(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, a->ids, a->n_ids);
    emit_key(w, "position");
    emit_int(w, (long long)a->position);
    emit_key(w, "targets");
    token_list_emit(w, app, a->target_ids, a->n);
    write_model(w, app, a);
    write_neurons(w, a);
    emit_key(w, "features");
    emit_object(w);
    for (size_t i = 0; i < a->n_sources; i++) {
        emit_key(w, a->sources[i].name);
        emit_parts(w, a->sources[i].features, a->n, a->sources[i].n_features);
    }
    emit_end_object(w);
    write_sums(w, "features_sum", a, FEATURES_SUM);
    write_sums(w, "sae_bias", a, BIAS);
    write_sums(w, "sae_error", a, ERROR);
    emit_end_object(w);
    return HTTP_DONE;
}

/* --- the job ---------------------------------------------------------------------------------- */

static int make_job(struct attribution_request *r)
{
    struct job *job = job_create(0);
    r->await.job = job;
    if (!job) {
        return status_no_memory(&r->fields.st, sizeof *job);
    }
    job->attribution = &r->attribution;
    job->work_tokens = r->attribution.n_ids;
    return STATUS_OK;
}

enum http_next attribution(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct attribution_request *r = memory_zalloc(1, sizeof *r);
    if (!r) {
        cJSON_Delete(body);
        return exchange_error(x, 500, "out of memory");
    }
    r->body = body;
    r->fields.body = body;
    r->await.reply = reply;
    x->state = r;
    x->free_state = free_state;
    read_request(r, x->app);
    return r->fields.st.code || make_job(r) ? exchange_fail(x, &r->fields.st) : await_job(x);
}
