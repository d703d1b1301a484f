/* POST /v1/activation/source (neuronpedia.md 3.6): every active feature of a source on prompts, as
 * {"feature": [[position, value], ...]}, values rounded to 3 decimals, <bos> at 0 left out. */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <stdio.h>
#include <stdlib.h>

struct entry {
    uint32_t index;
    float value;
    size_t position;
};

static int by_feature(const void *a, const void *b)
{
    const struct entry *left = a, *right = b;
    if (left->index != right->index) {
        return left->index < right->index ? -1 : 1;
    }
    return left->position < right->position ? -1 : 1;
}

/* The entries of rows first.. by feature; NULL without memory. */
static struct entry *by_features(const struct sparse *rows, size_t first, size_t *n)
{
    size_t begin = rows->start[first];
    *n = rows->start[rows->rows] - begin;
    struct entry *entries = memory_alloc(*n, sizeof *entries);
    if (!entries) {
        return NULL;
    }
    for (size_t t = first; t < rows->rows; t++) {
        for (size_t e = rows->start[t]; e < rows->start[t + 1]; e++) {
            entries[e - begin] = (struct entry){rows->index[e], rows->value[e], t};
        }
    }
    qsort(entries, *n, sizeof *entries, by_feature);
    return entries;
}

static void write_entries(struct emitter *w, const struct entry *entries, size_t n)
{
    emit_object(w);
    for (size_t i = 0; i < n;) {
        char key[16];
        uint32_t index = entries[i].index;
        (void)snprintf(key, sizeof key, "%u", (unsigned)index);
        emit_key(w, key);
        emit_array(w);
        for (; i < n && entries[i].index == index; i++) {
            emit_array(w);
            emit_int(w, (long long)entries[i].position);
            emit_rounded(w, (double)entries[i].value, 3);
            emit_end_array(w);
        }
        emit_end_array(w);
    }
    emit_end_object(w);
}

static enum http_next reply_source(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "results");
    emit_array(&w);
    for (size_t p = 0; p < f->prompts.n; p++) {
        const struct prompt *prompt = &f->prompts.items[p];
        size_t n;
        struct entry *entries =
            by_features(features_rows(f, p, 0), prompts_has_bos(app, prompt), &n);
        if (!entries) {
            x->response.body.failed = true;
            return HTTP_DONE;
        }
        emit_object(&w);
        emit_key(&w, "tokens");
        prompts_emit_tokens(&w, app, prompt->ids, prompt->n_ids);
        size_t mark = reply_begin(&w, "active_features");
        write_entries(&w, entries, n);
        reply_end(&w, "active_features", mark);
        emit_end_object(&w);
        memory_free(entries);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}

enum http_next activation_source(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    prompts_read_batch(&f->prompts, x->app, &f->fields);
    features_add(f, features_source(f, x->app, "source"));
    return features_run(x, reply_source);
}
