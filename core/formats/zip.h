/* The members of a ZIP archive in memory (PKWARE APPNOTE 6.3), as numpy writes them: stored or
 * deflated, ZIP64 or not, data descriptors or not. Checksums are not compared. */
#ifndef DM_FORMATS_ZIP_H
#define DM_FORMATS_ZIP_H

#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct zip_member {
    char *name;
    const uint8_t *data; /* [packed], inside the archive's bytes, unaligned */
    size_t packed, size; /* bytes as they lie there and once inflated */
    bool deflated;
};

struct zip {
    struct zip_member *members; /* in the order of the central directory, no name twice */
    size_t n;
};

/* The bytes must outlive the zip; path begins every message. */
int zip_read(struct zip *zip, const void *bytes, size_t n, const char *path, struct status *st);

/* The first `want` bytes of a member into out; want is at most its size. A stream that ends early,
 * or goes on where all of it was wanted, is STATUS_CORRUPT. */
int zip_extract(const struct zip_member *member, void *out, size_t want, const char *path,
                struct status *st);

void zip_free(struct zip *zip); /* safe on a zeroed struct */

#endif
