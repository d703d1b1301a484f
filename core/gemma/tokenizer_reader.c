#include "core/gemma/tokenizer_reader.h"

#include <stdint.h>
#include <string.h>

#define NESTING_LIMIT 64

int tokenizer_reader_expected(struct tokenizer_reader *r, const char *what)
{
    size_t offset = (size_t)(r->at - r->start);
    if (r->at == r->end) {
        return status_set(r->st, STATUS_CORRUPT,
                          "%s: byte %zu: expected %s, found the end of the file", r->name, offset,
                          what);
    }
    unsigned found = (uint8_t)*r->at;
    return status_set(r->st, STATUS_CORRUPT,
                      found > 0x20 && found < 0x7F ? "%s: byte %zu: expected %s, found '%c'"
                                                   : "%s: byte %zu: expected %s, found 0x%02X",
                      r->name, offset, what, found);
}

char tokenizer_reader_peek(struct tokenizer_reader *r)
{
    while (r->at < r->end &&
           (*r->at == ' ' || *r->at == '\n' || *r->at == '\r' || *r->at == '\t')) {
        r->at++;
    }
    return (char)(r->at < r->end ? *r->at : '\0');
}

int tokenizer_reader_enter(struct tokenizer_reader *r, char bracket)
{
    if (tokenizer_reader_peek(r) != bracket || r->at == r->end) {
        return tokenizer_reader_expected(r, bracket == '{' ? "an object" : "an array");
    }
    r->at++;
    return STATUS_OK;
}

int tokenizer_reader_next(struct tokenizer_reader *r, char closing, bool *first, bool *more)
{
    char c = tokenizer_reader_peek(r);
    *more = c != closing;
    if (c == closing) {
        r->at++;
        return STATUS_OK;
    }
    if (!*first) {
        if (c != ',') {
            return tokenizer_reader_expected(r, closing == '}' ? "',' or '}'" : "',' or ']'");
        }
        r->at++;
    }
    *first = false;
    return STATUS_OK;
}

/* Four hexadecimal digits at `at`; -1 if they are not. */
static int32_t four_digits(const struct tokenizer_reader *r, const char *at)
{
    int32_t value = 0;
    if (r->end - at < 4) {
        return -1;
    }
    for (int i = 0; i < 4; i++) {
        char c = at[i];
        int digit = c >= '0' && c <= '9'   ? c - '0'
                    : c >= 'a' && c <= 'f' ? c - 'a' + 10
                    : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                           : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * 16 + digit;
    }
    return value;
}

static void append_character(struct text *t, uint32_t c)
{
    if (c < 0x80) {
        text_char(t, (char)c);
        return;
    }
    int more = c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
    static const uint8_t lead[] = {0, 0xC0, 0xE0, 0xF0};
    text_char(t, (char)(lead[more] | c >> (6 * more)));
    while (more--) {
        text_char(t, (char)(0x80 | (c >> (6 * more) & 0x3F)));
    }
}

/* `at` is on the letter behind a backslash. */
static int unescape(struct tokenizer_reader *r)
{
    static const char letters[] = "\"\\/bfnrt", values[] = "\"\\/\b\f\n\r\t";
    const char *letter = r->at < r->end && *r->at ? strchr(letters, *r->at) : NULL;
    if (letter) {
        text_char(&r->scratch, values[letter - letters]);
        r->at++;
        return STATUS_OK;
    }
    if (r->at == r->end || *r->at != 'u') {
        return tokenizer_reader_expected(r, "an escape of JSON behind '\\'");
    }
    int32_t unit = four_digits(r, r->at + 1);
    if (unit < 0) {
        return tokenizer_reader_expected(r, "four hexadecimal digits behind \\u");
    }
    r->at += 5;
    uint32_t c = (uint32_t)unit;
    if (unit >= 0xD800 && unit < 0xE000) {
        int32_t low = unit < 0xDC00 && r->end - r->at >= 6 && r->at[0] == '\\' && r->at[1] == 'u'
                          ? four_digits(r, r->at + 2)
                          : -1;
        if (low < 0xDC00 || low > 0xDFFF) {
            return tokenizer_reader_expected(r, "the second half of a surrogate pair");
        }
        r->at += 6;
        c = 0x10000 + ((c - 0xD800) << 10) + ((uint32_t)low - 0xDC00);
    }
    append_character(&r->scratch, c);
    return STATUS_OK;
}

int tokenizer_reader_string(struct tokenizer_reader *r, const char **s, size_t *n)
{
    if (tokenizer_reader_peek(r) != '"') {
        return tokenizer_reader_expected(r, "a string");
    }
    const char *from = ++r->at;
    bool escaped = false;
    for (;;) {
        while (r->at < r->end && *r->at != '"' && *r->at != '\\' && (uint8_t)*r->at >= 0x20) {
            r->at++;
        }
        if (r->at == r->end || (uint8_t)*r->at < 0x20) {
            return tokenizer_reader_expected(r, "the rest of a string");
        }
        if (*r->at == '"' && !escaped) { /* the common case is used where it lies */
            *s = from;
            *n = (size_t)(r->at++ - from);
            return STATUS_OK;
        }
        if (!escaped) {
            text_clear(&r->scratch);
            escaped = true;
        }
        text_append(&r->scratch, from, (size_t)(r->at - from));
        if (*r->at++ == '"') {
            break;
        }
        if (unescape(r)) {
            return r->st->code;
        }
        from = r->at;
    }
    if (r->scratch.failed) {
        return status_no_memory(r->st, r->scratch.length);
    }
    *s = r->scratch.data;
    *n = r->scratch.length;
    return STATUS_OK;
}

int tokenizer_reader_key(struct tokenizer_reader *r, const char **s, size_t *n)
{
    if (tokenizer_reader_string(r, s, n)) {
        return r->st->code;
    }
    if (tokenizer_reader_peek(r) != ':') {
        return tokenizer_reader_expected(r, "':'");
    }
    r->at++;
    return STATUS_OK;
}

int tokenizer_reader_integer(struct tokenizer_reader *r, long long *value)
{
    (void)tokenizer_reader_peek(r);
    const char *from = r->at;
    long long sum = 0;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9' && r->at - from < 12) {
        sum = sum * 10 + (*r->at++ - '0');
    }
    bool leading_zero = r->at - from > 1 && *from == '0';
    bool goes_on = r->at < r->end && strchr("0123456789.eE", *r->at) && *r->at;
    if (r->at == from || leading_zero || goes_on) {
        r->at = from;
        return tokenizer_reader_expected(r, "a whole number");
    }
    *value = sum;
    return STATUS_OK;
}

static bool word(struct tokenizer_reader *r, const char *expected)
{
    size_t n = strlen(expected);
    if ((size_t)(r->end - r->at) < n || memcmp(r->at, expected, n) != 0) {
        return false;
    }
    r->at += n;
    return true;
}

int tokenizer_reader_boolean(struct tokenizer_reader *r, bool *value)
{
    (void)tokenizer_reader_peek(r);
    *value = word(r, "true");
    if (!*value && !word(r, "false") && !word(r, "null")) {
        return tokenizer_reader_expected(r, "true or false");
    }
    return STATUS_OK;
}

static size_t digits(struct tokenizer_reader *r)
{
    const char *from = r->at;
    while (r->at < r->end && *r->at >= '0' && *r->at <= '9') {
        r->at++;
    }
    return (size_t)(r->at - from);
}

static int skip_number(struct tokenizer_reader *r)
{
    (void)word(r, "-");
    bool zero = r->at < r->end && *r->at == '0';
    size_t whole = digits(r);
    bool good = whole == 1 || (whole > 1 && !zero);
    if (good && word(r, ".")) {
        good = digits(r) > 0;
    }
    if (good && (word(r, "e") || word(r, "E"))) {
        (void)(word(r, "+") || word(r, "-"));
        good = digits(r) > 0;
    }
    return good ? STATUS_OK : tokenizer_reader_expected(r, "a value");
}

static int skip(struct tokenizer_reader *r, int depth)
{
    char c = tokenizer_reader_peek(r);
    const char *s;
    size_t n;
    if (c == '"') {
        return tokenizer_reader_string(r, &s, &n);
    }
    if (c != '{' && c != '[') {
        bool named = word(r, "true") || word(r, "false") || word(r, "null");
        return named ? STATUS_OK : skip_number(r);
    }
    if (depth == NESTING_LIMIT) {
        return status_set(r->st, STATUS_CORRUPT, "%s: nested deeper than %d levels", r->name,
                          NESTING_LIMIT);
    }
    r->at++;
    for (bool first = true, more;;) {
        if (tokenizer_reader_next(r, c == '{' ? '}' : ']', &first, &more)) {
            return r->st->code;
        }
        if (!more) {
            return STATUS_OK;
        }
        if ((c == '{' && tokenizer_reader_key(r, &s, &n)) || skip(r, depth + 1)) {
            return r->st->code;
        }
    }
}

int tokenizer_reader_skip(struct tokenizer_reader *r)
{
    return skip(r, 0);
}
