/* Replies of /v1: every key of more than one word stands there in snake_case and in camelCase,
 * because Neuronpedia's clients of either generation read them. Names are given in snake_case. */
#ifndef DM_V1_REPLY_H
#define DM_V1_REPLY_H

#include "server/app.h"
#include "server/http/emit.h"
#include "server/http/exchange.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void reply_int(struct emitter *w, const char *name, long long value);
void reply_float(struct emitter *w, const char *name, float value);
void reply_bool(struct emitter *w, const char *name, bool value);
void reply_null(struct emitter *w, const char *name);
void reply_string(struct emitter *w, const char *name, const char *value);

/* Around a value written with emit_*: reply_end repeats it under the other spelling.
 *     size_t mark = reply_begin(w, "top_features"); emit_array(w); ...; reply_end(w, name, mark);
 */
size_t reply_begin(struct emitter *w, const char *name);
void reply_end(struct emitter *w, const char *name, size_t mark);

/* values, max_value, max_value_index (the first of equal ones) and the dfa fields, which are null.
 * n >= 1. */
void reply_values(struct emitter *w, const float *values, size_t n);

/* min_value, min_value_index: for values that have a sign. */
void reply_minimum(struct emitter *w, const float *values, size_t n);

/* STATUS_TOO_LARGE (answered) if about `bytes` are more than --reply-limit. */
bool reply_fits(struct exchange *x, uint64_t bytes);

#endif
