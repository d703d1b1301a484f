/* POST /api/search-topk-by-token (neuronpedia.md 2): the strongest features of a source on every
 * token. Features denser than densityThreshold are left out before numResults are taken; there are
 * fewer where fewer fire. */
#include "core/base/memory.h"
#include "server/api/neuron.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/api/texts.h"
#include "server/v1/features.h"

#include <stdlib.h>
#include <string.h>

#define RESULTS_DEFAULT 10
#define RESULTS_MAX 20
#define NAME_MAX_LENGTH 50

struct topk {
    bool ignore_bos;
    double threshold;
    size_t results;
};

struct entry {
    uint32_t index;
    float value;
};

/* What a reply is written with. seen [d_sae]: the objects that were made already, as JSON. */
struct writer {
    struct emitter w;
    const struct app *app;
    const struct features *f;
    struct subject subject;
    char **seen;
};

static int by_value(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->value != right->value) {
        return left->value > right->value ? -1 : 1;
    }
    return left->index < right->index ? -1 : 1;
}

static int write_feature(struct writer *all, uint32_t index, struct status *st)
{
    char **json = &all->seen[index];
    int code = STATUS_OK;
    if (!*json) {
        struct text out = {0};
        struct emitter w = {.out = &out};
        struct neuron neuron;
        code = neuron_read(&neuron, all->app, &all->subject, index, false, st);
        code = code ? code : neuron_write_short(&w, &neuron, st);
        neuron_free(&neuron);
        size_t n;
        *json = text_take(&out, &n);
        if (!code && !*json) {
            code = status_no_memory(st, 1);
        }
    }
    if (!code) {
        emit_key(&all->w, "feature");
        emit_raw(&all->w, *json, strlen(*json));
    }
    return code;
}

static int write_top(struct writer *all, const struct sparse *rows, size_t t, struct status *st)
{
    const struct topk *topk = all->f->options;
    size_t begin = rows->start[t], n = 0;
    struct entry *active = memory_alloc(rows->start[t + 1] - begin, sizeof *active);
    if (!active) {
        return status_no_memory(st, (rows->start[t + 1] - begin) * sizeof *active);
    }
    for (size_t e = begin; e < rows->start[t + 1]; e++) {
        if (!subject_is_denser(&all->subject, rows->index[e], topk->threshold)) {
            active[n++] = (struct entry){rows->index[e], rows->value[e]};
        }
    }
    qsort(active, n, sizeof *active, by_value);
    int code = STATUS_OK;
    emit_array(&all->w);
    for (size_t i = 0; i < n && i < topk->results && !code; i++) {
        emit_object(&all->w);
        emit_key(&all->w, "activationValue");
        emit_float(&all->w, active[i].value);
        emit_key(&all->w, "featureIndex");
        emit_int(&all->w, active[i].index);
        code = write_feature(all, active[i].index, st);
        emit_end_object(&all->w);
    }
    emit_end_array(&all->w);
    memory_free(active);
    return code;
}

static int write_token(struct writer *all, size_t p, size_t t, struct status *st)
{
    int32_t id = all->f->prompts.items[p].ids[t];
    struct emitter *w = &all->w;
    struct text token = {0};
    engine_token_text(all->app->engine, id, &token);
    emit_object(w);
    emit_key(w, "position");
    emit_int(w, (long long)t);
    emit_key(w, "token");
    emit_string_n(w, token.data ? token.data : "", token.length);
    emit_key(w, "isSpecial");
    emit_bool(w, engine_is_special(all->app->engine, id));
    emit_key(w, "topFeatures");
    int code = write_top(all, features_rows(all->f, p, 0), t, st);
    emit_end_object(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
    return code;
}

/* With ignoreBos a single text also loses its special tokens, as upstream. */
static int write_text(struct writer *all, size_t p, struct status *st)
{
    const struct topk *topk = all->f->options;
    const struct prompt *prompt = &all->f->prompts.items[p];
    bool plain_only = topk->ignore_bos && !all->f->prompts.batch;
    int code = STATUS_OK;
    emit_object(&all->w);
    emit_key(&all->w, "source");
    emit_string(&all->w, all->subject.name);
    emit_key(&all->w, "results");
    emit_array(&all->w);
    for (size_t t = topk->ignore_bos && prompts_has_bos(all->app, prompt);
         t < prompt->n_ids && !code; t++) {
        if (!plain_only || !engine_is_special(all->app->engine, prompt->ids[t])) {
            code = write_token(all, p, t, st);
        }
    }
    emit_end_array(&all->w);
    emit_end_object(&all->w);
    return code;
}

static enum http_next reply_topk(struct exchange *x, struct features *f)
{
    struct writer all = {.w = {.out = &x->response.body}, .app = x->app, .f = f};
    struct status st = {0};
    size_t d_sae = f->sources[0]->d_sae;
    all.seen = memory_zalloc(d_sae, sizeof *all.seen);
    if (!all.seen) {
        status_no_memory(&st, d_sae * sizeof *all.seen);
        return exchange_fail(x, &st);
    }
    (void)subject_open(&all.subject, all.app, engine_model_id(all.app->engine), f->sources[0]->name,
                       &st);
    if (f->prompts.batch) {
        emit_object(&all.w);
        emit_key(&all.w, "results");
        emit_array(&all.w);
    }
    for (size_t p = 0; p < f->prompts.n && !st.code; p++) {
        (void)write_text(&all, p, &st);
    }
    if (f->prompts.batch) {
        emit_end_array(&all.w);
        emit_end_object(&all.w);
    }
    for (size_t i = 0; i < d_sae; i++) {
        memory_free(all.seen[i]);
    }
    memory_free(all.seen);
    subject_close(&all.subject);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}

/* --- requests -------------------------------------------------------------------------------- */

static void check_length(struct features *f, const char *field, const char *name)
{
    if (name && strlen(name) > NAME_MAX_LENGTH && !f->fields.st.code) {
        status_set(&f->fields.st, STATUS_INVALID, "%s: expected at most %d characters, found %zu",
                   field, NAME_MAX_LENGTH, strlen(name));
    }
}

static void read_options(struct features *f)
{
    bool ignore_bos = fields_bool(&f->fields, "ignore_bos", true);
    double threshold = subject_threshold_field(&f->fields, 0.01);
    long long results = fields_integer(&f->fields, "num_results", 1, RESULTS_MAX, RESULTS_DEFAULT);
    struct topk *topk = f->fields.st.code ? NULL : memory_zalloc(1, sizeof *topk);
    f->options = topk;
    if (topk) {
        *topk = (struct topk){ignore_bos, threshold, (size_t)results};
    } else if (!f->fields.st.code) {
        status_no_memory(&f->fields.st, sizeof *topk);
    }
}

enum http_next api_search_topk(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    check_length(f, "model_id", fields_string(&f->fields, "model_id"));
    subject_check_model_field(x->app, &f->fields);
    const char *name = subject_name_field(&f->fields);
    check_length(f, "source", name);
    if (name && !f->fields.st.code) {
        features_add(f, features_find(f, x->app, name, "source"));
    }
    texts_read(&f->prompts, x->app, &f->fields, "text", PROMPTS_MAX);
    read_options(f);
    return features_run(x, reply_topk);
}
