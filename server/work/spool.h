/* A nameless temporary file: what is found out about a source's features before the database takes
 * it in one go. It keeps the memory that indexing needs from growing with the source. */
#ifndef DM_WORK_SPOOL_H
#define DM_WORK_SPOOL_H

#include "core/base/status.h"

#include <stddef.h>
#include <stdint.h>

struct spool;

int spool_open(struct spool **out, struct status *st); /* in TMPDIR, else /tmp */
void spool_close(struct spool *spool);                 /* the file is gone; NULL is fine */

/* Appends n bytes and says where they are. */
int spool_append(struct spool *spool, const void *bytes, size_t n, uint64_t *at, struct status *st);

int spool_read(struct spool *spool, uint64_t at, void *bytes, size_t n, struct status *st);

uint64_t spool_size(const struct spool *spool);

#endif
