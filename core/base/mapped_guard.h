/* A read of a mapped page that is not there any more (the file was truncated, the disk failed) is a
 * SIGBUS, which by default ends the process. For the mappings named here the handler puts pages of
 * zeros in their place and remembers it: the read goes on, whichever thread it is on, locks and
 * memory are where they were, and whoever asked finds out at the end (mapped_guard_broken) that
 * what was computed is worth nothing. Any other SIGBUS ends the process as before. */
#ifndef DM_BASE_MAPPED_GUARD_H
#define DM_BASE_MAPPED_GUARD_H

#include <stdbool.h>
#include <stddef.h>

/* Mappings guarded at a time: shards, open SAEs, and files that are just being read. */
#define MAPPED_GUARDS 4096

/* The mapping's place, from any thread; -1 if all are taken. n > 0. */
int mapped_guard_add(const void *data, size_t n);

/* Whether a page of it was lost. */
bool mapped_guard_broken(int place);

/* Before the mapping is removed; -1 is fine. */
void mapped_guard_remove(int place);

#endif
