/* Small JSON documents (config files, request bodies) as cJSON trees, with the checks that cJSON
 * leaves out. Large ones (tokenizer.json) have a reader of their own in core/gemma/. */
#ifndef DM_BASE_JSON_H
#define DM_BASE_JSON_H

#include "core/base/status.h"

#include <cjson/cJSON.h>
#include <stdbool.h>
#include <stddef.h>

#define JSON_NESTING_LIMIT 64

/* Parses all n bytes; *root is the caller's (cJSON_Delete). `name` (a path, or "body") begins every
 * message. STATUS_INVALID for a syntax error (with its line and column), bytes after the document,
 * invalid UTF-8, nesting over JSON_NESTING_LIMIT, a key twice in one object, and U+0000 in a
 * string, which cJSON would silently cut there. */
int json_parse(cJSON **root, const char *bytes, size_t n, const char *name, struct status *st);

/* Reads and parses a file of at most limit bytes. */
int json_parse_file(cJSON **root, const char *path, size_t limit, struct status *st);

/* The member, NULL if it is absent or null. Case-sensitive. */
const cJSON *json_get(const cJSON *object, const char *key);

/* A whole number in low..high; false if it is anything else. */
bool json_integer(const cJSON *value, long long low, long long high, long long *out);

#endif
