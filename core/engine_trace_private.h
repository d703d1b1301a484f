/* What engine_trace.c (before and during the pass) and engine_trace_encode.c (after it) share. */
#ifndef DM_ENGINE_TRACE_PRIVATE_H
#define DM_ENGINE_TRACE_PRIVATE_H

#include "core/engine_private.h"

#include <string.h>

/* The rows of one prompt that any read of one source wants. */
struct slot {
    size_t prompt;
    size_t n_rows;
    int32_t *tokens;      /* [n_rows] which tokens */
    size_t *row_of_token; /* [n_ids] where in the slot */
    size_t first;         /* the slot's first row in the source run */
};

struct source_run {
    const struct sae_source *source;
    struct slot *slots;
    size_t n_slots, rows;
    bool wants_recon, wants_target;
    float *x;               /* [rows, d_in] */
    float *target;          /* [rows, d_out]; x itself unless the source is a transcoder */
    float *recon;           /* [rows, d_out] */
    struct sparse features; /* rows; with `named` only of those, numbered as they stand there */
    uint32_t *named; /* [n_named] the entries that are read where nobody reads more; else NULL */
    size_t n_named;
};

struct trace {
    struct engine *engine;
    struct engine_prompt *prompts;
    size_t n_prompts;
    struct source_run *runs;
    size_t n_runs;
    struct tap *taps;
    size_t n_taps;
    struct edits **edits;       /* [n_prompts] */
    struct edits_run run;       /* what they do in the pass */
    bool edited;                /* one of them is not NULL */
    struct sequence *sequences; /* [n_prompts] */
};

static inline bool trace_reads_source(const struct engine_read *r, const struct source_run *run)
{
    return r->kind != READ_POINT && strcmp(r->source, run->source->name) == 0;
}

/* Encodes what the run has gathered, reconstructs it where somebody reads that, and fills the reads
 * of the source. */
int trace_encode_run(struct trace *t, struct source_run *run, struct status *st);

#endif
