/* What the three files of POST /v1/lens/prompt share: the request on its way to its frames. */
#ifndef DM_V1_LENS_PROMPT_PRIVATE_H
#define DM_V1_LENS_PROMPT_PRIVATE_H

#include "server/v1/conversation.h"
#include "server/v1/edit_list.h"
#include "server/v1/fields.h"
#include "server/v1/prompts.h"
#include "server/v1/stepper.h"

#define LENS_PROMPT_SITES 8 /* there are no more */

struct lens_prompt {
    struct stepper stepper; /* first */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;
    struct conversation chat;
    bool is_chat;
    size_t *offsets; /* [n_ids] chat: where each token begins in its text */
    struct edit_list edits;
    size_t reuse; /* positions at the front that the client has already */
    bool prepend_bos;
    int *layers; /* [n_layers] rising, the same for every site */
    size_t n_layers;
    struct lens_site sites[LENS_PROMPT_SITES];
    bool *wanted;   /* [n_ids] */
    int32_t *track; /* [options.n_track] */
    struct lens_options options;
    int32_t stop_ids[ENGINE_STOP_MAX];
    bool begun; /* without a stream: meta is written */
};

/* Reads every field of l->fields.body; what is wrong stands in l->fields.st. */
void lens_prompt_request(struct lens_prompt *l);

/* The frames, without the end of line. */
void lens_prompt_write_meta(struct text *out, const struct lens_prompt *l);
void lens_prompt_write_prompt(struct text *out, const struct lens_prompt *l);
void lens_prompt_write_position(struct text *out, const struct lens_prompt *l,
                                const struct lens_position *p);
void lens_prompt_write_done(struct text *out, const struct lens_prompt *l);

/* About how many bytes the reply has at most. */
uint64_t lens_prompt_reply_bytes(const struct lens_prompt *l);

#endif
