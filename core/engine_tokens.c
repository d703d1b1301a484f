/* Texts and ids, and what the model and its tokenizer say of single ones. */
#include "core/base/memory.h"
#include "core/engine_private.h"

#include <string.h>

bool engine_has_tokenizer(const struct engine *e)
{
    return e->tokenizer != NULL;
}

int32_t engine_bos(const struct engine *e)
{
    int32_t id = e->tokenizer ? tokenizer_bos(e->tokenizer) : -1;
    return id >= 0 ? id : e->config.bos_id;
}

static void add_uncounted(int32_t id, int32_t *ids, size_t *n)
{
    for (size_t i = 0; i < *n; i++) {
        if (ids[i] == id) {
            return;
        }
    }
    if (id >= 0) {
        ids[(*n)++] = id;
    }
}

size_t engine_uncounted(const struct engine *e, int32_t ids[ENGINE_UNCOUNTED])
{
    size_t n = 0;
    const struct gemma_config *c = &e->config;
    const struct tokenizer *t = e->tokenizer;
    add_uncounted(engine_bos(e), ids, &n);
    add_uncounted(t ? tokenizer_eos(t) : c->n_eos ? c->eos_ids[0] : -1, ids, &n);
    add_uncounted(t ? tokenizer_pad(t) : c->pad_id, ids, &n);
    return n;
}

int engine_tokenize(const struct engine *e, const char *text, size_t n, bool add_bos, int32_t **ids,
                    size_t *n_ids, struct status *st)
{
    *ids = NULL;
    *n_ids = 0;
    if (!e->tokenizer) {
        return status_set(st, STATUS_INVALID,
                          "model %s has no tokenizer files: give \"tokens\" (ids) instead of text",
                          e->folder.id);
    }
    int32_t *body;
    size_t length;
    int code = tokenizer_encode(e->tokenizer, text, n, &body, &length, st);
    if (code) {
        return code;
    }
    int32_t bos = engine_bos(e);
    bool front = add_bos && bos >= 0 && !(length > 0 && body[0] == bos);
    if (front) {
        int32_t *longer = memory_resize(body, length + 1, sizeof *body);
        if (!longer) {
            memory_free(body);
            return status_no_memory(st, (length + 1) * sizeof *body);
        }
        memmove(longer + 1, longer, length * sizeof *longer);
        longer[0] = bos;
        body = longer;
        length++;
    }
    *ids = body;
    *n_ids = length;
    return STATUS_OK;
}

void engine_token_text(const struct engine *e, int32_t id, struct text *out)
{
    if (e->tokenizer) {
        tokenizer_token(e->tokenizer, id, out);
    } else {
        text_printf(out, "<id:%d>", (int)id);
    }
}

bool engine_is_special(const struct engine *e, int32_t id)
{
    return e->tokenizer ? tokenizer_is_special(e->tokenizer, id) : id == e->config.bos_id;
}

int engine_decode(const struct engine *e, const int32_t *ids, size_t n, struct text *out,
                  struct status *st)
{
    if (e->tokenizer) {
        return tokenizer_decode(e->tokenizer, ids, n, false, out, st);
    }
    for (size_t i = 0; i < n; i++) {
        engine_token_text(e, ids[i], out);
    }
    return out->failed ? status_no_memory(st, out->length) : STATUS_OK;
}

int32_t engine_find_token(const struct engine *e, const char *content)
{
    return e->tokenizer ? tokenizer_find(e->tokenizer, content) : -1;
}

bool engine_has_chat_template(const struct engine *e)
{
    return e->has_chat_template;
}

size_t engine_stop_ids(const struct engine *e, bool chat, int32_t ids[ENGINE_STOP_MAX])
{
    int32_t turn_end = engine_find_token(e, "<end_of_turn>");
    int32_t eos = e->tokenizer ? tokenizer_eos(e->tokenizer) : -1;
    size_t n = 0;
    for (size_t i = 0; i < e->config.n_eos; i++) {
        if (e->config.eos_ids[i] != turn_end) { /* instruction-tuned models list it, too */
            ids[n++] = e->config.eos_ids[i];
        }
    }
    if (eos >= 0) {
        ids[n++] = eos;
    }
    if (chat && turn_end >= 0) {
        ids[n++] = turn_end;
    }
    return n;
}
