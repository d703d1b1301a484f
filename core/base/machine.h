/* What the machine, or the container, leaves to this process: read from /proc and /sys. */
#ifndef DM_BASE_MACHINE_H
#define DM_BASE_MACHINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The rest of the first line of the file at `path` that begins with `name`, without the blanks and
 * the colon between them: "MemTotal:   24 kB" has "24 kB". False, and "", if there is none. */
bool machine_line(const char *path, const char *name, char *out, size_t size);

/* The whole number that such a rest begins with; -1: none ("max", say). */
int64_t machine_number(const char *path, const char *name);

/* Bytes of memory that this process may have: the machine's, or the limit of its control group or
 * of one above it, if that is less. 0: unknown. */
uint64_t machine_memory(void);

#endif
