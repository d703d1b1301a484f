/* The parts of a steering reply. */
#include "server/v1/reply.h"
#include "server/v1/steering.h"
#include "server/v1/token_list.h"

#include "core/base/memory.h"

static struct generation_text text_of(const struct steering *s, enum steering_type type)
{
    return generation_text(s->stepper.job->generation, s->start_of[type]);
}

/* Memory that runs out here makes the whole reply fail. */
static void decode(struct text *out, const struct steering *s, enum steering_type type,
                   struct emitter *w)
{
    struct generation_text text = text_of(s, type);
    struct status st;
    if (engine_decode(s->stepper.app->engine, text.ids, text.n, out, &st)) {
        w->out->failed = true;
    }
}

void steering_emit_text(struct emitter *w, const struct steering *s, enum steering_type type)
{
    struct text text = {0};
    decode(&text, s, type, w);
    emit_string_n(w, text.data ? text.data : "", text.length);
    text_free(&text);
}

static void emit_logprob(struct emitter *w, const struct steering *s, int32_t id, float logprob)
{
    emit_key(w, "token");
    token_list_emit_text(w, s->stepper.app, id);
    emit_key(w, "logprob");
    emit_float(w, logprob);
}

void steering_emit_logprobs(struct emitter *w, const struct steering *s, enum steering_type type,
                            const char *name, bool or_null)
{
    struct generation_text text = text_of(s, type);
    if (s->options.n_logprobs == 0) {
        if (or_null) {
            emit_key(w, name);
            emit_null(w);
        }
        return;
    }
    emit_key(w, name);
    emit_array(w);
    for (size_t t = 0; t < text.n; t++) {
        const struct generation_token *token = &text.tokens[t];
        emit_object(w);
        emit_logprob(w, s, token->id, token->logprob);
        size_t mark = reply_begin(w, "top_logprobs");
        emit_array(w);
        for (size_t i = 0; i < s->options.n_logprobs; i++) {
            emit_object(w);
            emit_logprob(w, s, token->top_ids[i], token->top_logprobs[i]);
            emit_end_object(w);
        }
        emit_end_array(w);
        reply_end(w, "top_logprobs", mark);
        emit_end_object(w);
    }
    emit_end_array(w);
}

static void emit_features(struct emitter *w, const struct steering *s,
                          const struct generation_token *token)
{
    size_t n = s->options.n_features;
    emit_array(w);
    for (size_t i = 0; i < s->options.n_sources; i++) {
        for (size_t k = 0; k < token->n_active[i]; k++) {
            emit_object(w);
            emit_key(w, "source");
            emit_string(w, s->sources[i]);
            reply_int(w, "feature_index", token->feature_index[i * n + k]);
            reply_float(w, "activation_value", token->feature_value[i * n + k]);
            emit_end_object(w);
        }
    }
    emit_end_array(w);
}

void steering_emit_tokens(struct emitter *w, const struct steering *s, enum steering_type type)
{
    if (s->options.n_sources == 0) {
        return;
    }
    struct generation_text text = text_of(s, type);
    size_t first = s->starts[s->start_of[type]].n_ids;
    emit_key(w, "tokens");
    emit_array(w);
    for (size_t t = 0; t < text.n; t++) {
        emit_object(w);
        long long position = (long long)first + (long long)t;
        reply_int(w, "token_position", position);
        reply_int(w, "token_id", text.ids[t]);
        emit_key(w, "token");
        token_list_emit_text(w, s->stepper.app, text.ids[t]);
        if (text.tokens[t].has_features) {
            size_t mark = reply_begin(w, "top_features");
            emit_features(w, s, &text.tokens[t]);
            reply_end(w, "top_features", mark);
        } else {
            reply_null(w, "top_features"); /* the model has not read this token yet */
        }
        emit_end_object(w);
    }
    emit_end_array(w);
}

void steering_emit_chat(struct emitter *w, const struct steering *s, enum steering_type type)
{
    const struct conversation *c = &s->conversations[type];
    struct text text = {0}, raw = {0};
    decode(&text, s, type, w);
    size_t begin = 0;
    size_t n = text.data ? chat_template_reply(text.data, text.length, &begin) : 0;
    size_t mark = reply_begin(w, "chat_template");
    emit_array(w);
    conversation_emit(w, c);
    emit_object(w);
    emit_key(w, "role");
    emit_string(w, "assistant");
    emit_key(w, "content");
    emit_string_n(w, n ? text.data + begin : "", n);
    emit_end_object(w);
    emit_end_array(w);
    reply_end(w, "chat_template", mark);
    emit_key(w, "raw");
    text_append(&raw, c->text.data, c->text.length);
    text_append(&raw, text.data ? text.data : "", text.length);
    emit_string_n(w, raw.data ? raw.data : "", raw.length);
    w->out->failed = w->out->failed || raw.failed;
    text_free(&raw);
    text_free(&text);
}
