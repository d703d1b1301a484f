#include "server/v1/conversation.h"

#include "core/base/memory.h"
#include "server/v1/prompts.h"

#include <string.h>

#define MESSAGES_MAX 1024

void conversation_free(struct conversation *c)
{
    for (size_t i = 0; i < c->n; i++) {
        memory_free((void *)(uintptr_t)c->messages[i].content);
    }
    memory_free(c->messages);
    memory_free(c->spans);
    memory_free(c->ids);
    text_free(&c->text);
    *c = (struct conversation){0};
}

/* The texts of a list of parts, each trimmed, as the templates do. */
static void join_parts(struct text *out, const cJSON *list, const char *field, size_t at,
                       struct fields *f)
{
    for (const cJSON *part = list->child; part && !f->st.code; part = part->next) {
        const char *type = cJSON_GetStringValue(json_get(part, "type"));
        const char *text = cJSON_GetStringValue(json_get(part, "text"));
        if (!text || (type && strcmp(type, "text") != 0)) {
            status_set(&f->st, STATUS_UNPROCESSABLE,
                       "%s[%zu].content: expected parts of type \"text\" with a text", field, at);
            return;
        }
        size_t n = strlen(text);
        while (n > 0 && strchr(" \t\n\v\f\r", text[n - 1])) {
            n--;
        }
        size_t blanks = strspn(text, " \t\n\v\f\r");
        blanks = blanks < n ? blanks : n;
        text_append(out, text + blanks, n - blanks);
    }
}

static void read_message(struct conversation *c, const cJSON *item, const char *field,
                         struct fields *f)
{
    const cJSON *role = json_get(item, "role"), *content = json_get(item, "content");
    if (!cJSON_IsObject(item) || !cJSON_IsString(role) ||
        !(cJSON_IsString(content) || cJSON_IsArray(content))) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "%s[%zu]: expected {\"role\": a string, \"content\": a string}", field, c->n);
        return;
    }
    struct text joined = {0};
    if (cJSON_IsArray(content)) {
        join_parts(&joined, content, field, c->n, f);
    } else {
        text_string(&joined, content->valuestring);
    }
    text_string(&joined, "");
    if (!f->st.code && joined.failed) {
        status_no_memory(&f->st, joined.length);
    }
    if (f->st.code) {
        text_free(&joined);
        return;
    }
    char *copy = joined.data ? text_take(&joined, NULL) : memory_string("");
    if (!copy) {
        status_no_memory(&f->st, 1);
        return;
    }
    c->messages[c->n++] = (struct chat_message){.role = role->valuestring, .content = copy};
}

static void read_messages(struct conversation *c, struct fields *f, const char *field)
{
    (void)fields_need(f, field);
    const cJSON *list = fields_array(f, field);
    if (!list) {
        return;
    }
    size_t n = (size_t)cJSON_GetArraySize(list);
    if (n > MESSAGES_MAX) {
        status_set(&f->st, STATUS_INVALID, "%s: expected at most %d messages, found %zu", field,
                   MESSAGES_MAX, n);
        return;
    }
    c->messages = memory_zalloc(n, sizeof *c->messages);
    c->spans = memory_zalloc(CHAT_SPANS(n), sizeof *c->spans);
    if (!c->messages || !c->spans) {
        status_no_memory(&f->st, n * sizeof *c->messages);
        return;
    }
    for (const cJSON *item = list->child; item && !f->st.code; item = item->next) {
        read_message(c, item, field, f);
    }
}

void conversation_read(struct conversation *c, const struct app *app, struct fields *f,
                       const char *field, bool add_generation_prompt)
{
    *c = (struct conversation){0};
    if (!f->st.code && !engine_has_chat_template(app->engine)) {
        status_set(&f->st, STATUS_INVALID,
                   "model %s has no chat template: it is a base model, which continues text; use "
                   "/v1/steer/completion with a prompt",
                   engine_model_id(app->engine));
    }
    read_messages(c, f, field);
    if (f->st.code) {
        return;
    }
    struct status st = {0};
    if (chat_template_render(engine_config(app->engine)->family, c->messages, c->n,
                             add_generation_prompt, &c->text, c->spans, &c->n_spans, &st)) {
        const char *rest = text_starts_with(st.message, "messages") ? st.message + 8 : st.message;
        status_set(&f->st, st.code, "%s%s", rest == st.message ? "" : field, rest);
        return;
    }
    (void)prompts_tokenize(app, c->text.data, false, field, &c->ids, &c->n_ids, &f->st);
}

void conversation_emit(struct emitter *w, const struct conversation *c)
{
    for (size_t i = 0; i < c->n; i++) {
        emit_object(w);
        emit_key(w, "role");
        emit_string(w, c->messages[i].role);
        emit_key(w, "content");
        emit_string(w, c->messages[i].content);
        emit_end_object(w);
    }
}

/* A token's text is what stands there, but for byte pieces (U+FFFD for one byte) and a U+2581 that
 * was written out, which tokens show as a space. Returns how many bytes of `s` it stands for. */
static size_t token_bytes(const char *s, size_t n, const char *token, size_t n_token)
{
    static const char block[] = "\xE2\x96\x81", unknown[] = "\xEF\xBF\xBD";
    size_t at = 0;
    for (size_t i = 0; i < n_token && at < n; i++) {
        if (token[i] == s[at]) {
            at++;
        } else if (token[i] == ' ' && n - at >= 3 && memcmp(s + at, block, 3) == 0) {
            at += 3;
        } else {
            return n_token == 3 && memcmp(token, unknown, 3) == 0 ? 1 : at;
        }
    }
    return at;
}

size_t *conversation_offsets(const struct conversation *c, const struct app *app)
{
    size_t *offsets = memory_alloc(c->n_ids, sizeof *offsets);
    struct text token = {0};
    size_t at = 0;
    for (size_t i = 0; i < c->n_ids && offsets; i++) {
        offsets[i] = at;
        text_clear(&token);
        engine_token_text(app->engine, c->ids[i], &token);
        if (token.failed) {
            memory_free(offsets);
            offsets = NULL;
        } else if (token.data) {
            at += token_bytes(c->text.data + at, c->text.length - at, token.data, token.length);
        }
    }
    text_free(&token);
    return offsets;
}
