/* Edits of the forward pass: what steering, trace, lens and attribution do to the rows on their
 * way.
 *
 * h is a row of the site, v = W_dec[index] as stored, u = v / |v|, c = strength, f the SAE's
 * activations of h (of the transcoder's own input, for a transcoder, whose edits act on mlp_out):
 *
 *     ADD         h + c v  (unit: h + c u); without a source v is the given vector
 *     ORTHOGONAL  h + (c - 1)(h . u) u
 *     CAP         h + (min(h . u, c) - h . u) u
 *     CLAMP       h + sum (value_j - f_j) v_j, all f from one encoding of h: the SAE's error stays
 *     SET         h[dim] = value
 *     ZERO        0
 *     SPLICE      the reconstruction; with keep_error h itself, because what is put in its place is
 *                 reconstruction + (h - reconstruction), a sum that is not rounded here
 *     ERROR_ONLY  h minus the reconstruction
 *
 * The model's own neurons as a source (L, L-mlp_out) act on their values, at neurons.L or
 * mlp_out.L: v = u = the i-th unit vector, f_i = h_i, so that CLAMP sets h_i; they have no SPLICE
 * and no ERROR_ONLY.
 *
 * Edits at one site act one after the other, each on the result of the one before (docs/api.md,
 * "edits"; tests/fixtures/oracle/README.md, section d). An edit that says "as it was" (ADD of
 * strength 0, ORTHOGONAL of strength 1, CLAMP to what f is, SPLICE with keep_error) touches no bit.
 */
#ifndef DM_LENS_EDIT_H
#define DM_LENS_EDIT_H

#include "core/gemma/forward.h"
#include "core/gemma/kv_prefixes.h"
#include "core/sae/pool.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum edit_type {
    EDIT_ADD,
    EDIT_ORTHOGONAL,
    EDIT_CAP,
    EDIT_CLAMP, /* ablate is a clamp to 0 */
    EDIT_SET,
    EDIT_ZERO,
    EDIT_SPLICE,
    EDIT_ERROR_ONLY
};

/* PROMPT: 0..prompt_length-1; LAST: the prompt's last token, also while text is generated;
 * GENERATED: prompt_length and on. */
enum edit_where { EDIT_ALL, EDIT_PROMPT, EDIT_GENERATED, EDIT_LAST, EDIT_POSITIONS };

struct edit {
    enum edit_type type;
    const char *source; /* a name of the catalogue: its site; NULL: point and layer */
    enum point point;   /* without a source */
    int layer;
    const uint32_t *indices; /* CLAMP: [n]; ADD, ORTHOGONAL, CAP with a source: the one at [0] */
    const float *values;     /* CLAMP: [n] */
    size_t n;
    const float *vector; /* ADD, ORTHOGONAL, CAP without a source: [n_vector] */
    size_t n_vector;
    float strength;  /* c */
    bool unit;       /* ADD */
    bool keep_error; /* SPLICE */
    size_t dim;      /* SET */
    float value;     /* SET */
    enum edit_where where;
    const int32_t *positions; /* EDIT_POSITIONS: [n_positions] */
    size_t n_positions;
    bool skip_bos; /* position 0 stays as it is */
};

struct edits;

/* What can be said without opening an SAE: the source is there (STATUS_NOT_FOUND), indices, layers,
 * lengths and values fit (STATUS_INVALID); messages begin with "edits[i].field". */
int edits_check(const struct edit *list, size_t n, const struct gemma_config *config,
                const struct catalogue *catalogue, struct status *st);

/* Checks the edits against the model and opens what they need; n = 0 gives NULL, which every
 * function here takes. prompt_length is where EDIT_PROMPT ends and EDIT_GENERATED begins. The edits
 * and what they point to must outlive the result. */
int edits_open(struct edits **out, const struct edit *list, size_t n, const struct weights *weights,
               struct pool *pool, struct threads *threads, size_t prompt_length, struct status *st);

/* The hook for a run whose sequence `sequence` is to be edited; several sequences of one run may
 * have edits of their own, and none may share them (a transcoder's input is remembered in them).
 * What goes wrong inside the pass is left in run->st, and nothing is edited after that. */
struct edits_run {
    struct edits *const *of_sequence; /* [n_sequences], NULL entries: unedited */
    size_t n_sequences;
    struct status st; /* code 0 if nothing went wrong */
};
struct forward_hook edits_hook(struct edits_run *run);

void edits_close(struct edits *edits);

/* marks [n_ids] of a text under these edits: equal where the id and what is done there are the
 * same, whichever edit says so. Only STATUS_MEMORY can go wrong. */
int edits_mark(const struct edit *list, size_t n, size_t prompt_length, const int32_t *ids,
               size_t n_ids, struct kv_mark *marks, struct status *st);

#endif
