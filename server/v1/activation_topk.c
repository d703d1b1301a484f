/* POST /v1/activation/topk-by-token and its batch (neuronpedia.md 3.5): the strongest features of
 * one source on every token. Where fewer than top_k are active, zeros follow, lowest index first.
 */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <stdlib.h>

#define TOP_K_DEFAULT 5
#define ENTRY_BYTES 120 /* one feature in the reply, both spellings, within 30 % */

struct topk {
    size_t k; /* 1..d_sae */
    bool ignore_bos;
};

struct entry {
    uint32_t index;
    float value;
};

static int by_value(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->value != right->value) {
        return left->value > right->value ? -1 : 1;
    }
    return left->index < right->index ? -1 : 1;
}

static void write_entry(struct emitter *w, uint32_t index, float value)
{
    emit_object(w);
    reply_int(w, "feature_index", index);
    reply_float(w, "activation_value", value);
    emit_end_object(w);
}

/* The k best of row t; false without memory. */
static bool write_top(struct emitter *w, const struct sparse *rows, size_t t, size_t k)
{
    size_t begin = rows->start[t], n = rows->start[t + 1] - begin;
    struct entry *active = memory_alloc(n, sizeof *active);
    if (!active) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        active[i] = (struct entry){rows->index[begin + i], rows->value[begin + i]};
    }
    qsort(active, n, sizeof *active, by_value);
    emit_array(w);
    size_t written = 0;
    for (; written < n && written < k; written++) {
        write_entry(w, active[written].index, active[written].value);
    }
    size_t next = 0; /* the row's indices rise, so those that are active are stepped over */
    for (uint32_t index = 0; written < k; index++) {
        if (next < n && rows->index[begin + next] == index) {
            next++;
        } else {
            write_entry(w, index, 0);
            written++;
        }
    }
    emit_end_array(w);
    memory_free(active);
    return true;
}

static bool write_token(struct emitter *w, const struct app *app, const struct features *f,
                        size_t p, size_t t)
{
    const struct topk *topk = f->options;
    int32_t id = f->prompts.items[p].ids[t];
    struct text token = {0};
    engine_token_text(app->engine, id, &token);
    emit_object(w);
    reply_int(w, "token_position", (long long)t);
    emit_key(w, "token");
    emit_string_n(w, token.data ? token.data : "", token.length);
    reply_bool(w, "is_special", engine_is_special(app->engine, id));
    size_t mark = reply_begin(w, "top_features");
    bool ok = write_top(w, features_rows(f, p, 0), t, topk->k) && !token.failed;
    reply_end(w, "top_features", mark);
    emit_end_object(w);
    text_free(&token);
    return ok;
}

static bool write_prompt(struct emitter *w, const struct app *app, const struct features *f,
                         size_t p)
{
    const struct topk *topk = f->options;
    const struct prompt *prompt = &f->prompts.items[p];
    bool ok = true;
    emit_object(w);
    emit_key(w, "results");
    emit_array(w);
    for (size_t t = topk->ignore_bos && prompts_has_bos(app, prompt); t < prompt->n_ids && ok;
         t++) {
        ok = write_token(w, app, f, p, t);
    }
    emit_end_array(w);
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, prompt->ids, prompt->n_ids);
    emit_end_object(w);
    return ok;
}

static enum http_next reply_topk(struct exchange *x, struct features *f)
{
    const struct topk *topk = f->options;
    size_t tokens = 0;
    for (size_t p = 0; p < f->prompts.n; p++) {
        tokens += f->prompts.items[p].n_ids;
    }
    if (!reply_fits(x, (uint64_t)tokens * topk->k * 2 * ENTRY_BYTES)) {
        return HTTP_DONE;
    }
    struct emitter w = {.out = &x->response.body};
    if (f->prompts.batch) {
        emit_object(&w);
        emit_key(&w, "results");
        emit_array(&w);
    }
    bool ok = true;
    for (size_t p = 0; p < f->prompts.n && ok; p++) {
        ok = write_prompt(&w, x->app, f, p);
    }
    if (f->prompts.batch) {
        emit_end_array(&w);
        emit_end_object(&w);
    }
    x->response.body.failed = x->response.body.failed || !ok;
    return HTTP_DONE;
}

static void read_options(struct features *f, const struct sae_source *source)
{
    long long k = fields_integer(&f->fields, "top_k", -(1LL << 53), 1LL << 53, TOP_K_DEFAULT);
    bool ignore_bos = fields_bool(&f->fields, "ignore_bos", false);
    if (f->fields.st.code || !source) {
        return;
    }
    struct topk *topk = memory_zalloc(1, sizeof *topk);
    f->options = topk;
    if (!topk) {
        status_no_memory(&f->fields.st, sizeof *topk);
        return;
    }
    long long most = (long long)source->d_sae;
    topk->k = (size_t)(k < 1 ? 1 : k > most ? most : k);
    topk->ignore_bos = ignore_bos;
}

static enum http_next run(struct exchange *x, bool batch)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    if (batch) {
        prompts_read_batch(&f->prompts, x->app, &f->fields);
    } else {
        prompts_read(&f->prompts, x->app, &f->fields);
    }
    const struct sae_source *source = features_source(f, x->app, "source");
    features_add(f, source);
    read_options(f, source);
    return features_run(x, reply_topk);
}

enum http_next activation_topk(struct exchange *x)
{
    return run(x, false);
}

enum http_next activation_topk_batch(struct exchange *x)
{
    return run(x, true);
}
