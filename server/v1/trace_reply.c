/* The reply of POST /v1/trace: one tensor a name as JSON, or all of them as a safetensors file. */
#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "server/v1/reply.h"
#include "server/v1/trace_private.h"

#include <string.h>

/* One tensor of the reply: a read, or one of the three that the best logits make. */
struct part {
    const char *name;
    const float *values; /* or, where it is NULL, */
    const int32_t *ids;
    int n_dims;
    size_t shape[3];
};

static size_t parts_of(const struct trace *t, const struct engine_read *read, const char *name,
                       struct part *out)
{
    struct part p = {.name = name, .values = read->data, .n_dims = read->n_dims};
    memcpy(p.shape, read->shape, sizeof p.shape);
    if (!(read->kind == READ_POINT && read->point == POINT_LOGITS && t->top)) {
        out[0] = p;
        return 1;
    }
    out[0] = out[1] = out[2] = p;
    out[0].name = "top_ids";
    out[0].ids = read->top_ids;
    out[0].values = NULL;
    out[1].name = "top_logits";
    out[2].name = "top_probs";
    out[2].values = read->top_probs;
    return 3;
}

static size_t part_elements(const struct part *p)
{
    size_t n = 1;
    for (int i = 0; i < p->n_dims; i++) {
        n *= p->shape[i];
    }
    return n;
}

static void write_part_json(struct emitter *w, const struct part *p)
{
    emit_key(w, p->name);
    emit_object(w);
    emit_key(w, "dtype");
    emit_string(w, p->values ? "F32" : "I32");
    emit_key(w, "shape");
    emit_array(w);
    for (int i = 0; i < p->n_dims; i++) {
        emit_int(w, (long long)p->shape[i]);
    }
    emit_end_array(w);
    emit_key(w, "data");
    if (p->ids) {
        emit_array(w);
        for (size_t i = 0; i < part_elements(p); i++) {
            emit_int(w, p->ids[i]);
        }
        emit_end_array(w);
    } else {
        emit_floats(w, p->values, part_elements(p));
    }
    emit_end_object(w);
}

static enum http_next reply_json(struct exchange *x, const struct trace *t,
                                 const struct part *parts, size_t n)
{
    const struct prompt *prompt = &t->prompts.items[0];
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "tokens");
    emit_array(&w);
    for (size_t i = 0; i < prompt->n_ids; i++) {
        emit_int(&w, prompt->ids[i]);
    }
    emit_end_array(&w);
    size_t mark = reply_begin(&w, "token_strings");
    prompts_emit_tokens(&w, x->app, prompt->ids, prompt->n_ids);
    reply_end(&w, "token_strings", mark);
    emit_key(&w, "positions");
    emit_array(&w);
    for (size_t i = 0; i < (t->positions ? t->n_positions : prompt->n_ids); i++) {
        emit_int(&w, t->positions ? t->positions[i] : (long long)i);
    }
    emit_end_array(&w);
    emit_key(&w, "tensors");
    emit_object(&w);
    for (size_t i = 0; i < n; i++) {
        write_part_json(&w, &parts[i]);
    }
    emit_end_object(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}

static enum http_next reply_safetensors(struct exchange *x, const struct trace *t,
                                        const struct part *parts, size_t n)
{
    const struct prompt *prompt = &t->prompts.items[0];
    struct status st = {0};
    struct safetensors_entry *entries = memory_zalloc(n + 1, sizeof *entries);
    if (!entries) {
        status_no_memory(&st, (n + 1) * sizeof *entries);
        return exchange_fail(x, &st);
    }
    entries[0] = (struct safetensors_entry){
        "tokens", {.dtype = DTYPE_I32, .n_dims = 1, .shape = {prompt->n_ids, 1, 1, 1}}};
    for (size_t i = 0; i < n; i++) {
        struct tensor *tensor = &entries[i + 1].tensor;
        entries[i + 1].name = parts[i].name;
        tensor->dtype = parts[i].values ? DTYPE_F32 : DTYPE_I32;
        tensor->n_dims = parts[i].n_dims;
        for (int d = 0; d < TENSOR_DIMENSIONS; d++) {
            tensor->shape[d] = d < parts[i].n_dims ? parts[i].shape[d] : 1;
        }
    }
    int code = safetensors_header(&x->response.body, entries, n + 1, NULL, &st);
    memory_free(entries);
    if (code) {
        text_clear(&x->response.body);
        return exchange_fail(x, &st);
    }
    text_append(&x->response.body, (const char *)prompt->ids, prompt->n_ids * sizeof *prompt->ids);
    for (size_t i = 0; i < n; i++) {
        const void *bytes =
            parts[i].values ? (const void *)parts[i].values : (const void *)parts[i].ids;
        text_append(&x->response.body, bytes, part_elements(&parts[i]) * sizeof(float));
    }
    x->response.content_type = "application/octet-stream";
    return HTTP_DONE;
}

enum http_next trace_reply(struct exchange *x, const struct trace *t)
{
    const struct engine_prompt *prompt = &t->await.job->prompts[0];
    struct part *parts = memory_zalloc(prompt->n_reads * 3, sizeof *parts);
    if (!parts) {
        struct status st;
        status_no_memory(&st, prompt->n_reads * 3 * sizeof *parts);
        return exchange_fail(x, &st);
    }
    size_t n = 0;
    for (size_t i = 0; i < prompt->n_reads; i++) {
        n += parts_of(t, &prompt->reads[i], t->names[i], parts + n);
    }
    enum http_next next =
        t->safetensors ? reply_safetensors(x, t, parts, n) : reply_json(x, t, parts, n);
    memory_free(parts);
    return next;
}
