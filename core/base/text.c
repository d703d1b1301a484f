#include "core/base/text.h"

#include "core/base/memory.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

/* Whether `more` bytes and a NUL have room already: what nearly every call of a long reply finds.
 */
static inline bool has_room(const struct text *t, size_t more)
{
    return !t->failed && t->length < t->capacity && more < t->capacity - t->length;
}

bool text_reserve(struct text *t, size_t more)
{
    size_t need;
    if (t->failed || !memory_add(t->length, more, &need) || !memory_add(need, 1, &need)) {
        t->failed = true;
        return false;
    }
    if (need <= t->capacity) {
        return true;
    }
    size_t capacity = t->capacity ? t->capacity : 64;
    while (capacity < need) {
        if (!memory_multiply(capacity, 2, &capacity)) {
            capacity = need;
        }
    }
    char *data = memory_resize(t->data, capacity, 1);
    if (!data) {
        t->failed = true;
        return false;
    }
    t->data = data;
    t->capacity = capacity;
    return true;
}

void text_append(struct text *t, const char *bytes, size_t n)
{
    if (!has_room(t, n) && !text_reserve(t, n)) {
        return;
    }
    if (n) {
        memcpy(t->data + t->length, bytes, n);
    }
    t->length += n;
    t->data[t->length] = '\0';
}

void text_string(struct text *t, const char *s)
{
    text_append(t, s, strlen(s));
}

void text_char(struct text *t, char c)
{
    if (has_room(t, 1) || text_reserve(t, 1)) {
        t->data[t->length++] = c;
        t->data[t->length] = '\0';
    }
}

void text_printf(struct text *t, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    if (n < 0 || !text_reserve(t, (size_t)n)) {
        t->failed = true;
    } else {
        (void)vsnprintf(t->data + t->length, (size_t)n + 1, format, again);
        t->length += (size_t)n;
    }
    va_end(again);
}

void text_clear(struct text *t)
{
    t->length = 0;
    t->failed = false;
    if (t->data) {
        t->data[0] = '\0';
    }
}

void text_free(struct text *t)
{
    memory_free(t->data);
    *t = (struct text){0};
}

char *text_take(struct text *t, size_t *length)
{
    if (!text_reserve(t, 0)) {
        text_free(t);
        return NULL;
    }
    t->data[t->length] = '\0';
    char *data = t->data;
    if (length) {
        *length = t->length;
    }
    *t = (struct text){0};
    return data;
}

size_t text_utf8_length(const char *s, size_t n)
{
    const unsigned char *u = (const unsigned char *)s;
    if (n == 0) {
        return 0;
    }
    if (u[0] < 0x80) {
        return 1;
    }
    size_t length = u[0] >= 0xF0 ? 4 : u[0] >= 0xE0 ? 3 : 2;
    if (u[0] < 0xC2 || u[0] > 0xF4 || n < length) {
        return 0;
    }
    for (size_t i = 1; i < length; i++) {
        if ((u[i] & 0xC0) != 0x80) {
            return 0;
        }
    }
    bool overlong = (u[0] == 0xE0 && u[1] < 0xA0) || (u[0] == 0xF0 && u[1] < 0x90);
    bool surrogate = u[0] == 0xED && u[1] > 0x9F;
    bool too_high = u[0] == 0xF4 && u[1] > 0x8F;
    return overlong || surrogate || too_high ? 0 : length;
}

size_t text_utf8_valid(const char *s, size_t n)
{
    size_t i = 0;
    while (i < n) {
        size_t length = text_utf8_length(s + i, n - i);
        if (length == 0) {
            break;
        }
        i += length;
    }
    return i;
}

void text_append_utf8(struct text *t, const char *s, size_t n)
{
    while (n) {
        size_t good = text_utf8_valid(s, n);
        text_append(t, s, good);
        s += good;
        n -= good;
        if (n) {
            text_string(t, "\xEF\xBF\xBD");
            s++;
            n--;
        }
    }
}

bool text_starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool text_ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s);
    size_t m = strlen(suffix);
    return n >= m && memcmp(s + n - m, suffix, m) == 0;
}
