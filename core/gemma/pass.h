/* One pass of the model over what several requests bring: each brings a part - sequences, what is
 * copied out of them, and a hand on their rows - and all of them are laid out as one batch, so that
 * the weights are read once. A row has the same bits in whatever company. */
#ifndef DM_GEMMA_PASS_H
#define DM_GEMMA_PASS_H

#include "core/gemma/forward.h"

/* All of it is borrowed until the pass is over. A part counts its own sequences, from 0: in
 * fork_of, in its taps, and in what its hook is told. */
struct pass_part {
    const struct sequence *sequences; /* [n_sequences] */
    size_t n_sequences;
    const struct tap *taps; /* [n_taps] */
    size_t n_taps;
    struct forward_hook hook; /* visit NULL: nobody interferes */
};

/* Rows that the part adds to a pass. */
size_t pass_part_rows(const struct pass_part *part);

/* Runs all parts together; cancel and errors as forward_run's. A part without sequences is fine; if
 * none has any, nothing is run. */
int pass_run(struct forward *forward, const struct pass_part *parts, size_t n,
             const atomic_bool *cancel, struct status *st);

#endif
