/* A BF16 copy of a checkpoint: half the size of an F32 one, and half the memory to read for each
 * token. F32 and F16 tensors are rounded to the nearest BF16, ties to even; all others are copied.
 *
 * Everything is written into OUT.partial, read back, and renamed to OUT as the last step, so that
 * OUT is never half there; what an earlier run left in OUT.partial is removed. Memory does not grow
 * with the model. */
#ifndef DM_FORMATS_PACK_H
#define DM_FORMATS_PACK_H

#include "core/base/status.h"

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

struct pack_options {
    const char *model; /* folder or hub cache */
    const char *out;   /* a folder that does not exist yet */
    /* Called after every few megabytes; may be NULL. */
    void (*progress)(void *user, uint64_t done, uint64_t total);
    void *user;
    const atomic_bool *cancel; /* STATUS_CANCELLED once it is set, nothing left behind; may be NULL
                                */
};

#define PACK_NAME 160

/* What rounding did to the weights. */
struct pack_report {
    uint64_t n_values;     /* that were F32 or F16 */
    uint64_t n_rounded;    /* of these, not exactly a BF16 */
    double absolute;       /* the largest |rounded - value| ... */
    double absolute_value; /* ... the value it happened to, and its tensor */
    char absolute_tensor[PACK_NAME];
    double relative; /* the largest |rounded - value| / |value| over normal numbers; 2^-8 at most */
    double relative_value;
    char relative_tensor[PACK_NAME];
    uint64_t bytes_in, bytes_out; /* of the tensors */
    size_t n_files;               /* copied beside them */
};

/* STATUS_INVALID where OUT exists or nothing is wider than BF16, STATUS_IO where the disk is too
 * small (known before anything is written) or says no. */
int pack_folder(const struct pack_options *options, struct pack_report *report, struct status *st);

#endif
