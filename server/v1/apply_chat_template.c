/* POST /v1/apply-chat-template (neuronpedia.md 3.10): what the model reads of a conversation, and
 * which part of it every token belongs to. */
#include "core/base/memory.h"
#include "server/v1/conversation.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

static void write_span(struct emitter *w, const struct app *app, const struct conversation *c,
                       size_t i, const struct chat_span *span)
{
    struct text token = {0};
    engine_token_text(app->engine, c->ids[i], &token);
    emit_object(w);
    emit_key(w, "position");
    emit_int(w, (long long)i);
    reply_int(w, "token_id", c->ids[i]);
    reply_string(w, "token_str", token.data ? token.data : "");
    if (span->message < c->n) {
        reply_int(w, "message_index", (long long)span->message);
    } else {
        reply_null(w, "message_index");
    }
    emit_key(w, "role");
    if (span->message < c->n) {
        emit_string(w, c->messages[span->message].role);
    } else if (span->section == CHAT_PROMPT) {
        emit_string(w, "assistant");
    } else {
        emit_null(w);
    }
    emit_key(w, "channel");
    emit_null(w);
    emit_key(w, "section");
    emit_string(w, chat_template_section(span->section));
    emit_end_object(w);
    text_free(&token);
}

static enum http_next write_reply(struct exchange *x, const struct conversation *c)
{
    const struct app *app = x->app;
    size_t *offsets = conversation_offsets(c, app);
    if (!offsets) {
        return exchange_error(x, 500, "out of memory");
    }
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "prompt");
    emit_string_n(&w, c->text.data, c->text.length);
    emit_key(&w, "tokens");
    emit_array(&w);
    for (size_t i = 0; i < c->n_ids; i++) {
        emit_int(&w, c->ids[i]);
    }
    emit_end_array(&w);
    emit_key(&w, "spans");
    emit_array(&w);
    size_t s = 0;
    for (size_t i = 0; i < c->n_ids; i++) {
        while (s + 1 < c->n_spans && offsets[i] >= c->spans[s].end) {
            s++;
        }
        write_span(&w, app, c, i, &c->spans[s]);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    memory_free(offsets);
    return HTTP_DONE;
}

enum http_next apply_chat_template(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct conversation c;
    fields_model(&f);
    bool prompt = fields_bool(&f, "add_generation_prompt", true);
    conversation_read(&c, x->app, &f, "messages", prompt);
    (void)(f.st.code ? exchange_fail(x, &f.st) : write_reply(x, &c));
    conversation_free(&c);
    cJSON_Delete(body);
    return HTTP_DONE;
}
