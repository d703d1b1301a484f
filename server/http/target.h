/* What stands behind the method in a request line: "/path?name=value&...". */
#ifndef DM_HTTP_TARGET_H
#define DM_HTTP_TARGET_H

#include "core/base/status.h"

#include <stddef.h>

/* Percent-decodes the target into one block, the caller's (memory_free): the path, then each name
 * and value of the query, a NUL behind each. '+' is a space in the query only. STATUS_INVALID if it
 * does not begin with '/' or holds a '%' without two hexadecimal digits, or %00. */
int target_decode(char **decoded, size_t *length, const char *target, struct status *st);

/* The value of the first query part of that name, "" if it has none, NULL if it is absent. */
const char *target_query(const char *decoded, size_t length, const char *name);

#endif
