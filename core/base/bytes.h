/* Values as bytes, one behind the other, in the machine's own order; reading them back, every
 * length is checked first. */
#ifndef DM_BASE_BYTES_H
#define DM_BASE_BYTES_H

#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>

void bytes_put(struct text *out, const void *from, size_t n);

/* What is left to be read; borrowed. */
struct bytes {
    const char *at;
    size_t left;
};

/* The next n bytes -> to; false, and nothing is taken, if there are not so many. */
bool bytes_get(struct bytes *bytes, void *to, size_t n);

#endif
