/* Taps: what is copied out of a forward pass, and where to.
 *
 * The forward pass offers every point it reaches; a tap that asks for that point, layer and
 * sequence copies the rows it wants. A pass without taps costs nothing, and the deepest tap says
 * how far the pass has to go. */
#ifndef DM_GEMMA_TAPS_H
#define DM_GEMMA_TAPS_H

#include "core/gemma/point.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tap {
    enum point point;
    int layer;           /* where the point has one */
    size_t sequence;     /* of the batch */
    const int32_t *rows; /* [n_rows] tokens of that sequence in this run; NULL: all of them */
    size_t n_rows;
    float
        *out; /* [n_rows, width]; scores and pattern [H, n_rows, keys]; loss [T-1], rows ignored */

    /* POINT_LOGITS only: with top > 0 the best `top` of each row, out holding their logits. */
    size_t top;
    int32_t *top_ids; /* [n_rows, top] */
    float *top_probs; /* [n_rows, top] */
};

struct taps {
    const struct tap *taps;
    size_t n;
    const size_t *of_sequence; /* where each sequence's taps begin, and one more that is n: only
                                  they are looked at; NULL: they stand in any order */
};

/* How many layers have to run, and whether the final norm and the unembedding are needed. */
struct taps_depth {
    size_t layers;
    bool head;
};
struct taps_depth taps_depth(const struct taps *taps);

/* The rows of one sequence at a point: x is [n, width], its first row being token 0 of this run. */
void taps_offer(const struct taps *taps, enum point point, int layer, size_t sequence,
                const float *x, size_t n, size_t width);

/* True if a tap asks for this point of this sequence. */
bool taps_want(const struct taps *taps, enum point point, int layer, size_t sequence);

/* One row of attention: x [keys] for one head (of n_heads) and one token. Scores and pattern are
 * offered row by row, so that no [T, T] matrix is kept unless somebody asked for it. */
void taps_offer_attention(const struct taps *taps, enum point point, int layer, size_t sequence,
                          size_t head, size_t row, size_t n_rows, const float *x, size_t keys);

/* One row of capped logits [vocabulary] of a token; next is the id that follows it, -1 at the end.
 * Serves logits and loss. */
void taps_offer_logits(const struct taps *taps, size_t sequence, size_t row, size_t n_rows,
                       const float *logits, size_t vocabulary, int32_t next);

/* True if a tap needs the logits of this token. */
bool taps_want_logits(const struct taps *taps, size_t sequence, size_t row, size_t n_rows);

#endif
