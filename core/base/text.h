/* A byte buffer that grows, and the few questions about UTF-8 that more than one module asks. */
#ifndef DM_BASE_TEXT_H
#define DM_BASE_TEXT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Start with `struct text t = {0};`, end with text_free. data is NUL-terminated once anything was
 * appended and may hold NUL bytes inside. After a failed allocation `failed` is set and every later
 * append does nothing, so a long run of appends is checked once, at its end. */
struct text {
    char *data;
    size_t length;
    size_t capacity;
    bool failed;
};

void text_append(struct text *t, const char *bytes, size_t n);
void text_string(struct text *t, const char *s);
void text_char(struct text *t, char c);
void text_printf(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
bool text_reserve(struct text *t, size_t more); /* room for `more` bytes beyond length */
void text_clear(struct text *t);                /* length 0, memory kept */
void text_free(struct text *t);

/* The bytes, now the caller's (memory_free); t is empty afterwards. NULL if it failed. */
char *text_take(struct text *t, size_t *length);

/* Length (1..4) of the valid UTF-8 character at s, or 0 if the bytes there are not one
 * (overlong forms, surrogates and values over U+10FFFF are not). */
size_t text_utf8_length(const char *s, size_t n);

/* Where the first invalid byte is, or n if all n bytes are valid UTF-8. */
size_t text_utf8_valid(const char *s, size_t n);

/* Appends U+FFFD for each byte of s that is not part of a valid character, the rest as it is. */
void text_append_utf8(struct text *t, const char *s, size_t n);

bool text_starts_with(const char *s, const char *prefix);
bool text_ends_with(const char *s, const char *suffix);

#endif
