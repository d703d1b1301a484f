/* Writes JSON into a text. Commas and quotes are kept right by the writer, so that handlers read
 * like the document they write. Output is always valid UTF-8 and valid JSON: invalid bytes become
 * U+FFFD, NaN and infinity become null. */
#ifndef DM_HTTP_JSON_WRITER_H
#define DM_HTTP_JSON_WRITER_H

#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define JSON_WRITER_DEPTH 32

/* Start with `struct json_writer w = {.out = &text};` */
struct json_writer {
    struct text *out;
    int depth;
    bool comma[JSON_WRITER_DEPTH]; /* a value stands before at this level */
    bool after_key;
};

void json_object(struct json_writer *w); /* { */
void json_end_object(struct json_writer *w);
void json_array(struct json_writer *w); /* [ */
void json_end_array(struct json_writer *w);
void json_key(struct json_writer *w, const char *key);

void json_string(struct json_writer *w, const char *s);
void json_string_n(struct json_writer *w, const char *s, size_t n);
void json_int(struct json_writer *w, long long value);
void json_bool(struct json_writer *w, bool value);
void json_null(struct json_writer *w);

/* The shortest decimal that reads back as the same float32 (or double). */
void json_float(struct json_writer *w, float value);
void json_double(struct json_writer *w, double value);

/* Rounded to `decimals` places, trailing zeros dropped, as Python's round() prints. */
void json_rounded(struct json_writer *w, double value, int decimals);

void json_floats(struct json_writer *w, const float *values, size_t n); /* [a, b, ...] */

/* Already valid JSON (used to repeat a value under a second spelling). */
void json_raw(struct json_writer *w, const char *json, size_t n);

#endif
