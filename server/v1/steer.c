/* POST /v1/steer/completion and /v1/steer/completion-chat (neuronpedia.md 3.15, 3.16). */
#include "server/v1/reply.h"
#include "server/v1/routes.h"
#include "server/v1/steering.h"

#include <math.h>
#include <string.h>

static const struct steering_limits limits = {.n_tokens = "n_completion_tokens",
                                              .n_tokens_max = INT32_MAX,
                                              .temperature_max = 1e6,
                                              .penalty_max = 1e6,
                                              .multiplier_max = 1e30};

static const char *const type_names[] = {"STEERED", "DEFAULT"};

static void read_types(struct steering *s)
{
    struct fields *f = &s->fields;
    (void)fields_need(f, "types");
    const cJSON *list = fields_array(f, "types");
    if (!list) {
        return;
    }
    const size_t most = sizeof s->order / sizeof s->order[0];
    for (const cJSON *item = list->child; item && !f->st.code; item = item->next) {
        const char *name = cJSON_GetStringValue(item);
        int type = 0;
        while (type < STEERING_TYPES && (!name || strcmp(name, type_names[type]) != 0)) {
            type++;
        }
        if (type == STEERING_TYPES || s->n_order == most) {
            status_set(&f->st, STATUS_UNPROCESSABLE,
                       "types: expected a list of at most %zu \"STEERED\" and \"DEFAULT\", found "
                       "%s",
                       most, name ? name : fields_kind(item));
            return;
        }
        s->wants[type] = true;
        s->order[s->n_order++] = (enum steering_type)type;
    }
    if (s->n_order == 0) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "types: expected at least one of \"STEERED\" and \"DEFAULT\"");
    }
}

/* --- completion ------------------------------------------------------------------------------- */

static void write_completion(struct emitter *w, const struct steering *s)
{
    emit_object(w);
    emit_key(w, "outputs");
    emit_array(w);
    for (size_t i = 0; i < s->n_order; i++) {
        enum steering_type type = s->order[i];
        emit_object(w);
        emit_key(w, "type");
        emit_string(w, type_names[type]);
        emit_key(w, "output");
        steering_emit_text(w, s, type);
        steering_emit_logprobs(w, s, type, "logprobs", false);
        steering_emit_tokens(w, s, type);
        emit_end_object(w);
    }
    emit_end_array(w);
    emit_end_object(w);
}

enum http_next steer_completion(struct exchange *x)
{
    struct steering *s = steering_create(x, write_completion);
    if (!s) {
        return HTTP_DONE;
    }
    fields_model(&s->fields);
    read_types(s);
    steering_prompt(s);
    steering_options(s, &limits);
    steering_edits(s, "source", limits.multiplier_max);
    return steering_run(s);
}

/* --- chat ------------------------------------------------------------------------------------- */

static void write_chat(struct emitter *w, const struct steering *s)
{
    const struct conversation *c = &s->conversations[s->order[0]];
    emit_object(w);
    emit_key(w, "outputs");
    emit_array(w);
    for (size_t i = 0; i < s->n_order; i++) {
        enum steering_type type = s->order[i];
        emit_object(w);
        emit_key(w, "type");
        emit_string(w, type_names[type]);
        steering_emit_chat(w, s, type);
        steering_emit_logprobs(w, s, type, "logprobs", false);
        steering_emit_tokens(w, s, type);
        emit_end_object(w);
    }
    emit_end_array(w);
    emit_key(w, "input");
    emit_object(w);
    size_t mark = reply_begin(w, "chat_template");
    emit_array(w);
    conversation_emit(w, c);
    emit_end_array(w);
    reply_end(w, "chat_template", mark);
    emit_key(w, "raw");
    emit_string_n(w, c->text.data, c->text.length);
    emit_end_object(w);
    emit_end_object(w);
}

enum http_next steer_completion_chat(struct exchange *x)
{
    struct steering *s = steering_create(x, write_chat);
    if (!s) {
        return HTTP_DONE;
    }
    s->is_chat = true;
    fields_model(&s->fields);
    read_types(s);
    for (int type = 0; type < STEERING_TYPES; type++) {
        if (s->wants[type]) {
            conversation_read(&s->conversations[type], s->stepper.app, &s->fields, "prompt", true);
        }
    }
    if (fields_bool(&s->fields, "is_assistant_axis", false)) {
        status_set(&s->fields.st, STATUS_UNSUPPORTED,
                   "is_assistant_axis: there is no assistant axis here; leave the field out");
    }
    steering_options(s, &limits);
    steering_edits(s, "source", limits.multiplier_max);
    return steering_run(s);
}
