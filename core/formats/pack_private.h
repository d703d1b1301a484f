/* What pack.c (the folder and its files) and pack_weights.c (rounding, shards) share. */
#ifndef DM_FORMATS_PACK_PRIVATE_H
#define DM_FORMATS_PACK_PRIVATE_H

#include "core/base/text.h"
#include "core/formats/model_folder.h"
#include "core/formats/pack.h"

#include <stdio.h>

#define PACK_CHUNK ((size_t)1 << 20) /* values at a time */

struct packing {
    const struct pack_options *options;
    struct pack_report *report;
    struct model_folder folder;
    char *partial; /* OUT.partial */
    float *values; /* [PACK_CHUNK] */
    uint16_t *halves;
    uint64_t done;
};

/* One shard, under its name, into the partial folder. */
int pack_shard(struct packing *p, const struct safetensors *shard, struct status *st);

/* The tensor as it will be: F32 and F16 become BF16. */
struct tensor pack_tensor(const struct tensor *t);
bool pack_is_wide(const struct tensor *t);

int pack_join(const char *folder, const char *name, struct text *path, struct status *st);
const char *pack_base_name(const char *path);
int pack_no_write(const char *path, struct status *st); /* with errno's reason */

/* Closes a file once it is on the disk, so that the rename cannot come before the bytes; code is
 * what went wrong before, and comes back. */
int pack_close(FILE *f, const char *path, int code, struct status *st);

#endif
