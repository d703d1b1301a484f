/* What the three files of POST /v1/trace share: the request on its way to a reply. */
#ifndef DM_V1_TRACE_PRIVATE_H
#define DM_V1_TRACE_PRIVATE_H

#include "server/v1/await.h"
#include "server/v1/edit_list.h"
#include "server/v1/fields.h"
#include "server/v1/prompts.h"

#define TRACE_READS_MAX 4096
#define TRACE_NAME_SIZE 200 /* with the NUL */

struct trace {
    struct await await; /* first, see await.h */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;
    char (*names)[TRACE_NAME_SIZE]; /* [n_reads] what each read is called in the reply */
    struct engine_read *reads;      /* [n_reads] until the job has them */
    size_t n_reads;
    int32_t *positions; /* [n_positions], NULL: all */
    size_t n_positions;
    size_t top;
    bool safetensors;
    struct edit_list edits; /* borrowed by the job */
};

/* Reads every field of t->fields.body into t; what is wrong stands in t->fields.st. */
void trace_request(struct trace *t, const struct app *app);

/* Writes what t->await.job has read, in the format that was asked for. */
enum http_next trace_reply(struct exchange *x, const struct trace *t);

#endif
