#include "server/v1/token_list.h"

#include "core/base/memory.h"

#include <string.h>

/* " Wikipedia", " is": what a text of several tokens is made of. */
static void name_parts(struct text *out, const struct app *app, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n && i < 4; i++) {
        text_string(out, i ? ", \"" : "\"");
        engine_token_text(app->engine, ids[i], out);
        text_string(out, "\"");
    }
    text_string(out, n > 4 ? ", ..." : "");
}

static int32_t read_text(struct fields *f, const struct app *app, const char *name, size_t i,
                         const char *s)
{
    if (!engine_has_tokenizer(app->engine)) {
        status_set(&f->st, STATUS_INVALID,
                   "%s[%zu]: this model's folder has no tokenizer.json or tokenizer.model, so text "
                   "cannot be read; send ids instead",
                   name, i);
        return 0;
    }
    int32_t *ids, id = 0;
    size_t n;
    if (engine_tokenize(app->engine, s, strlen(s), false, &ids, &n, &f->st)) {
        (void)status_prefix(&f->st, "%s[%zu]", name, i);
        return 0;
    }
    if (n == 1) {
        id = ids[0];
    } else {
        struct text parts = {0};
        name_parts(&parts, app, ids, n);
        status_set(
            &f->st, STATUS_INVALID,
            "%s[%zu]: expected an id or the text of one token, found \"%.80s\", which is %zu "
            "tokens (%.200s)",
            name, i, s, n, parts.data ? parts.data : "");
        text_free(&parts);
    }
    memory_free(ids);
    return id;
}

static int32_t read_id(struct fields *f, const struct app *app, const char *name, size_t i,
                       const cJSON *item)
{
    size_t V = engine_config(app->engine)->vocab_size;
    long long id = 0;
    if (!fields_is_whole(item)) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "%s[%zu]: expected an id or the text of one token, found %s", name, i,
                   fields_kind(item));
    } else if (!json_integer(item, 0, (long long)V - 1, &id)) {
        status_set(&f->st, STATUS_INVALID,
                   "%s[%zu]: expected an id of the vocabulary, 0 to %zu, found %.15g", name, i,
                   V - 1, item->valuedouble);
    }
    return (int32_t)id;
}

int32_t *token_list_read(struct fields *f, const struct app *app, const char *name, size_t most,
                         size_t *n)
{
    *n = 0;
    const cJSON *list = fields_array(f, name);
    size_t count = list ? (size_t)cJSON_GetArraySize(list) : 0;
    if (count > most) {
        status_set(&f->st, STATUS_INVALID, "%s: expected at most %zu tokens, found %zu", name, most,
                   count);
    }
    if (count == 0 || f->st.code) {
        return NULL;
    }
    int32_t *ids = memory_alloc(count, sizeof *ids);
    if (!ids) {
        status_no_memory(&f->st, count * sizeof *ids);
        return NULL;
    }
    for (const cJSON *item = list->child; item && !f->st.code; item = item->next, (*n)++) {
        const char *s = cJSON_GetStringValue(item);
        ids[*n] = s ? read_text(f, app, name, *n, s) : read_id(f, app, name, *n, item);
    }
    return ids;
}

void token_list_emit_text(struct emitter *w, const struct app *app, int32_t id)
{
    struct text token = {0};
    engine_token_text(app->engine, id, &token);
    emit_string_n(w, token.data ? token.data : "", token.length);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

void token_list_emit(struct emitter *w, const struct app *app, const int32_t *ids, size_t n)
{
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        emit_object(w);
        emit_key(w, "id");
        emit_int(w, ids[i]);
        emit_key(w, "token");
        token_list_emit_text(w, app, ids[i]);
        emit_end_object(w);
    }
    emit_end_array(w);
}
