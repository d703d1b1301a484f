/* The way of every steering route, of /v1 and of /api: a request becomes one or two texts (STEERED
 * and DEFAULT) that are continued together, a token of each in one pass over the weights, and the
 * reply says what they have become: once at the end, or after every token as server-sent events
 * that repeat the whole reply so far.
 *
 * A handler calls steering_create, reads its fields (errors stay in fields.st) and returns
 * steering_run. */
#ifndef DM_V1_STEERING_H
#define DM_V1_STEERING_H

#include "server/v1/conversation.h"
#include "server/v1/edit_list.h"
#include "server/v1/fields.h"
#include "server/v1/prompts.h"
#include "server/v1/stepper.h"

enum steering_type { STEERING_STEERED, STEERING_DEFAULT, STEERING_TYPES };

struct steering {
    struct stepper stepper; /* first */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;                            /* of a completion */
    struct conversation conversations[STEERING_TYPES]; /* of a chat */
    bool is_chat;
    bool wants[STEERING_TYPES];
    struct edit_list edits; /* of STEERED */

    struct generation_options options;
    struct generation_start starts[STEERING_TYPES];
    size_t start_of[STEERING_TYPES]; /* where wants says so */
    int32_t stop_ids[ENGINE_STOP_MAX];
    const char **sources;

    /* What the route is about: the reply as it is now, in an empty text. */
    void (*write)(struct emitter *w, const struct steering *steering);
    bool says_message;           /* errors also as {"message"}, as the /api routes do */
    enum steering_type order[8]; /* of the outputs, as the request had them */
    size_t n_order;
};

/* Bounds and names that differ between /v1 and /api. */
struct steering_limits {
    const char *n_tokens; /* the field's name */
    long long n_tokens_max;
    double temperature_max, penalty_max, multiplier_max; /* the last two of either sign */
};

/* Parses the body and makes the state; NULL when the response is filled already. */
struct steering *steering_create(struct exchange *x,
                                 void (*write)(struct emitter *w, const struct steering *s));

/* `prompt` or `tokens`, for both types. */
void steering_prompt(struct steering *s);

/* `features` [{source, index, strength, steering_vector}] or `vectors` [{steering_vector, strength,
 * hook}], what the method and the multiplier make of them, and `edits`: all become s->edits. Only
 * where nothing is steered may all be absent. source: the name that `source` has. Prompts must have
 * been read. */
void steering_edits(struct steering *s, const char *source, double multiplier_max);

/* Everything else: how many tokens, sampling, logprobs, sources, stream. */
void steering_options(struct steering *s, const struct steering_limits *limits);

enum http_next steering_run(struct steering *s);

/* --- for `write` ------------------------------------------------------------------------------ */

/* The text generated so far, as a string. */
void steering_emit_text(struct emitter *w, const struct steering *s, enum steering_type type);

/* {"logprobs": [{token, logprob, top_logprobs: [{token, logprob}]}]} under that name; where none
 * were asked for nothing, or null with or_null. */
void steering_emit_logprobs(struct emitter *w, const struct steering *s, enum steering_type type,
                            const char *name, bool or_null);

/* "tokens": every token with its strongest features, where sources were asked for. */
void steering_emit_tokens(struct emitter *w, const struct steering *s, enum steering_type type);

/* "chat_template": the conversation and the reply, "raw": all of it as the model reads it. */
void steering_emit_chat(struct emitter *w, const struct steering *s, enum steering_type type);

#endif
