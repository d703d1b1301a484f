/* Writes JSON into a text. Commas and quotes are kept right by the writer, so that handlers read
 * like the document they write. Output is always valid UTF-8 and valid JSON: invalid bytes become
 * U+FFFD, NaN and infinity become null. */
#ifndef DM_HTTP_EMIT_H
#define DM_HTTP_EMIT_H

#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define EMIT_DEPTH 32

/* Start with `struct emitter w = {.out = &text};` */
struct emitter {
    struct text *out;
    int depth;
    bool comma[EMIT_DEPTH]; /* a value stands before at this level */
    bool after_key;
};

void emit_object(struct emitter *w); /* { */
void emit_end_object(struct emitter *w);
void emit_array(struct emitter *w); /* [ */
void emit_end_array(struct emitter *w);
void emit_key(struct emitter *w, const char *key);

void emit_string(struct emitter *w, const char *s);
void emit_string_n(struct emitter *w, const char *s, size_t n);
void emit_int(struct emitter *w, long long value);
void emit_bool(struct emitter *w, bool value);
void emit_null(struct emitter *w);

/* The shortest decimal that reads back as the same float32 (or double). */
void emit_float(struct emitter *w, float value);
void emit_double(struct emitter *w, double value);

/* Rounded to `decimals` places, trailing zeros dropped, as Python's round() prints. */
void emit_rounded(struct emitter *w, double value, int decimals);

void emit_floats(struct emitter *w, const float *values, size_t n); /* [a, b, ...] */

/* Already valid JSON (used to repeat a value under a second spelling). */
void emit_raw(struct emitter *w, const char *json, size_t n);

#endif
