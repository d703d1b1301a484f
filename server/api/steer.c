/* POST /api/steer and /api/steer-chat (neuronpedia.md section 2): steering as Neuronpedia's web
 * application offers it, always steered and default side by side, with the five likeliest tokens of
 * every step. */
#include "server/api/routes.h"
#include "server/v1/reply.h"
#include "server/v1/steering.h"

#include <string.h>

#define PROMPT_BYTES 8192 /* 2048 characters of up to four bytes */
#define PROMPT_CHARACTERS 2048
#define LOGPROBS 5

static const struct steering_limits limits = {.n_tokens = "n_tokens",
                                              .n_tokens_max = 256,
                                              .temperature_max = 2.0,
                                              .penalty_max = 2.0,
                                              .multiplier_max = 10.0};

/* The model must be the one that runs here. */
static void read_model(struct steering *s)
{
    struct fields *f = &s->fields;
    (void)fields_need(f, "model_id");
    const char *id = fields_string(f, "model_id");
    if (id && strcmp(id, engine_model_id(s->stepper.app->engine)) != 0) {
        status_set(&f->st, STATUS_NOT_FOUND, "modelId: this server runs %s, not \"%.80s\"",
                   engine_model_id(s->stepper.app->engine), id);
    }
}

static void check_prompt(struct steering *s)
{
    const char *prompt = fields_string(&s->fields, "prompt");
    size_t characters = 0;
    for (const char *c = prompt; c && *c && characters <= PROMPT_BYTES; c++) {
        characters += ((unsigned char)*c & 0xC0u) != 0x80u;
    }
    if (characters > PROMPT_CHARACTERS) {
        status_set(&s->fields.st, STATUS_INVALID, "prompt: expected at most %d characters",
                   PROMPT_CHARACTERS);
    }
}

static void emit_end(struct emitter *w)
{
    static const char *const nothing[] = {"id", "shareUrl", "limit"}; /* of a shared website */
    for (size_t i = 0; i < sizeof nothing / sizeof nothing[0]; i++) {
        emit_key(w, nothing[i]);
        emit_null(w);
    }
    emit_end_object(w);
}

static void write_completion(struct emitter *w, const struct steering *s)
{
    emit_object(w);
    emit_key(w, "STEERED");
    steering_emit_text(w, s, STEERING_STEERED);
    emit_key(w, "DEFAULT");
    steering_emit_text(w, s, STEERING_DEFAULT);
    steering_emit_logprobs(w, s, STEERING_STEERED, "steeredLogProbs", true);
    steering_emit_logprobs(w, s, STEERING_DEFAULT, "defaultLogProbs", true);
    emit_end(w);
}

static void write_chat(struct emitter *w, const struct steering *s)
{
    static const char *const names[] = {"STEERED", "DEFAULT"};
    emit_object(w);
    for (int type = 0; type < STEERING_TYPES; type++) {
        emit_key(w, names[type]);
        emit_object(w);
        steering_emit_chat(w, s, (enum steering_type)type);
        steering_emit_logprobs(w, s, (enum steering_type)type, "logprobs", true);
        emit_end_object(w);
    }
    emit_end(w);
}

static struct steering *begin(struct exchange *x,
                              void (*write)(struct emitter *w, const struct steering *s))
{
    struct steering *s = steering_create(x, write);
    if (s) {
        s->says_message = true;
        s->wants[STEERING_STEERED] = s->wants[STEERING_DEFAULT] = true;
        read_model(s);
    }
    return s;
}

static enum http_next finish(struct steering *s)
{
    steering_options(s, &limits);
    s->options.n_logprobs = LOGPROBS;
    steering_edits(s, "layer", limits.multiplier_max);
    return steering_run(s);
}

enum http_next api_steer(struct exchange *x)
{
    struct steering *s = begin(x, write_completion);
    if (!s) {
        return HTTP_DONE;
    }
    check_prompt(s);
    steering_prompt(s);
    return finish(s);
}

enum http_next api_steer_chat(struct exchange *x)
{
    static const char *const fields[] = {"steered_chat_messages", "default_chat_messages"};
    struct steering *s = begin(x, write_chat);
    if (!s) {
        return HTTP_DONE;
    }
    s->is_chat = true;
    for (int type = 0; type < STEERING_TYPES; type++) {
        conversation_read(&s->conversations[type], s->stepper.app, &s->fields, fields[type], true);
    }
    return finish(s);
}
