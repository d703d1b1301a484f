#include "server/http/emit.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- structure ------------------------------------------------------------------------------ */

static void before_value(struct emitter *w)
{
    if (w->after_key) {
        w->after_key = false;
        return;
    }
    if (w->comma[w->depth]) {
        text_char(w->out, ',');
    }
    w->comma[w->depth] = true;
}

/* Too deep is our own bug: the text is marked as failed rather than written wrong. */
static void open_level(struct emitter *w, char bracket)
{
    before_value(w);
    text_char(w->out, bracket);
    if (w->depth + 1 >= EMIT_DEPTH) {
        w->out->failed = true;
        return;
    }
    w->comma[++w->depth] = false;
}

static void close_level(struct emitter *w, char bracket)
{
    text_char(w->out, bracket);
    if (w->depth > 0) {
        w->depth--;
    }
}

void emit_object(struct emitter *w)
{
    open_level(w, '{');
}

void emit_end_object(struct emitter *w)
{
    close_level(w, '}');
}

void emit_array(struct emitter *w)
{
    open_level(w, '[');
}

void emit_end_array(struct emitter *w)
{
    close_level(w, ']');
}

/* --- strings -------------------------------------------------------------------------------- */

static void escape(struct text *out, char c)
{
    switch (c) {
    case '"':
        text_string(out, "\\\"");
        break;
    case '\\':
        text_string(out, "\\\\");
        break;
    case '\n':
        text_string(out, "\\n");
        break;
    case '\r':
        text_string(out, "\\r");
        break;
    case '\t':
        text_string(out, "\\t");
        break;
    default:
        text_printf(out, "\\u%04x", (unsigned)(unsigned char)c);
    }
}

static void quoted(struct text *out, const char *s, size_t n)
{
    text_char(out, '"');
    size_t plain = 0; /* bytes before s[i] that need no escape and are not written yet */
    for (size_t i = 0; i < n; i++) {
        if ((unsigned char)s[i] >= 0x20 && s[i] != '"' && s[i] != '\\') {
            plain++;
            continue;
        }
        text_append_utf8(out, s + i - plain, plain);
        plain = 0;
        escape(out, s[i]);
    }
    text_append_utf8(out, s + n - plain, plain);
    text_char(out, '"');
}

void emit_key(struct emitter *w, const char *key)
{
    before_value(w);
    quoted(w->out, key, strlen(key));
    text_char(w->out, ':');
    w->after_key = true;
}

void emit_string_n(struct emitter *w, const char *s, size_t n)
{
    before_value(w);
    quoted(w->out, s, n);
}

void emit_string(struct emitter *w, const char *s)
{
    emit_string_n(w, s, strlen(s));
}

void emit_raw(struct emitter *w, const char *json, size_t n)
{
    before_value(w);
    text_append(w->out, json, n);
}

void emit_int(struct emitter *w, long long value)
{
    before_value(w);
    text_printf(w->out, "%lld", value);
}

void emit_bool(struct emitter *w, bool value)
{
    before_value(w);
    text_string(w->out, value ? "true" : "false");
}

void emit_null(struct emitter *w)
{
    before_value(w);
    text_string(w->out, "null");
}

/* --- numbers -------------------------------------------------------------------------------- */

#define DIGITS 17       /* enough for every double */
#define NUMBER_MAX 40   /* bytes of the longest number that `place` writes */
#define DECIMALS_MAX 30 /* beyond that rounding a double changes nothing that matters */

/* d1.d2d3... * 10^exponent, d1 not 0 */
struct decimal {
    bool negative;
    int n; /* digits, without trailing zeros, at least 1 */
    int exponent;
    char digits[DIGITS + 1];
};

/* Writes d as Python's repr would, except that whole numbers have no ".0"; returns the length. */
static size_t place(const struct decimal *d, char out[NUMBER_MAX])
{
    char *p = out;
    if (d->negative) {
        *p++ = '-';
    }
    int e = d->exponent;
    if (e < -4 || e >= 16) {
        *p++ = d->digits[0];
        if (d->n > 1) {
            *p++ = '.';
            memcpy(p, d->digits + 1, (size_t)d->n - 1);
            p += d->n - 1;
        }
        p += snprintf(p, 8, "e%c%02d", e < 0 ? '-' : '+', abs(e));
        return (size_t)(p - out);
    }
    if (e < 0) {
        *p++ = '0';
        *p++ = '.';
        memset(p, '0', (size_t)(-e - 1));
        p += -e - 1;
        memcpy(p, d->digits, (size_t)d->n);
        return (size_t)(p + d->n - out);
    }
    int whole = d->n < e + 1 ? d->n : e + 1; /* digits before the point */
    memcpy(p, d->digits, (size_t)whole);
    p += whole;
    for (int i = whole; i <= e; i++) {
        *p++ = '0';
    }
    if (d->n > whole) {
        *p++ = '.';
        memcpy(p, d->digits + whole, (size_t)(d->n - whole));
        p += d->n - whole;
    }
    return (size_t)(p - out);
}

static void trim(struct decimal *d)
{
    while (d->n > 1 && d->digits[d->n - 1] == '0') {
        d->n--;
    }
}

/* Takes "-d.ddde+XX", what printf's %e writes, apart. The byte after the first digit is the
 * locale's decimal point, whatever it is. */
static void take_apart(const char *printed, int precision, struct decimal *d)
{
    d->negative = *printed == '-';
    printed += d->negative;
    d->n = precision;
    d->digits[0] = printed[0];
    if (precision > 1) {
        memcpy(d->digits + 1, printed + 2, (size_t)precision - 1);
    }
    d->exponent = (int)strtol(strchr(printed, 'e') + 1, NULL, 10);
    trim(d);
}

/* Numbers of up to 6 (double: 15) digits survive the way to binary and back, so nothing shorter
 * needs to be tried, except among the subnormal ones, which have fewer bits. */
static void shortest_float(float value, struct decimal *d)
{
    char printed[32];
    for (int precision = isnormal(value) ? 6 : 1; precision <= 9; precision++) {
        (void)snprintf(printed, sizeof printed, "%.*e", precision - 1, (double)value);
        if (strtof(printed, NULL) == value) {
            take_apart(printed, precision, d);
            return;
        }
    }
}

static void shortest_double(double value, struct decimal *d)
{
    char printed[40];
    for (int precision = isnormal(value) ? 15 : 1; precision <= DIGITS; precision++) {
        (void)snprintf(printed, sizeof printed, "%.*e", precision - 1, value);
        if (strtod(printed, NULL) == value) {
            take_apart(printed, precision, d);
            return;
        }
    }
}

/* The same as shortest_float without printf and strtof, ten times faster, for magnitudes where the
 * powers of ten are exact doubles. A double carries 29 bits more than a float, so a decimal put
 * together in double arithmetic rounds to the right float unless it lies within a few double ulps
 * of the middle between two floats. There (false) the caller takes the slow way. */
static bool quick_float(float value, struct decimal *d)
{
    static const double ten[] = {1e0, 1e1, 1e2,  1e3,  1e4,  1e5,  1e6,  1e7,
                                 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15};
    double magnitude = fabs((double)value);
    if (!(magnitude >= 1e-4 && magnitude < 1e9)) {
        return false;
    }
    int exponent = 0; /* of the first digit */
    if (magnitude >= 1) {
        while (magnitude >= ten[exponent + 1]) {
            exponent++;
        }
    } else {
        do {
            exponent--;
        } while (magnitude * ten[-exponent] < 1);
    }
    float target = fabsf(value);
    for (int precision = 6; precision <= 9; precision++) {
        int shift = precision - 1 - exponent; /* -3 .. 12 */
        double scaled = shift < 0 ? magnitude / ten[-shift] : magnitude * ten[shift];
        long long whole = llrint(scaled);
        double candidate = shift < 0 ? (double)whole * ten[-shift] : (double)whole / ten[shift];
        bool below = (float)(candidate * (1 - 0x1p-50)) == target;
        bool above = (float)(candidate * (1 + 0x1p-50)) == target;
        if (below != above) {
            return false;
        }
        if (below) {
            char digits[24];
            int n = 0;
            for (long long rest = whole; rest; rest /= 10) {
                digits[n++] = (char)('0' + rest % 10);
            }
            d->negative = value < 0;
            d->exponent = exponent + n - precision; /* 9.999996 may have become 10.0000 */
            d->n = n;
            for (int i = 0; i < n; i++) {
                d->digits[i] = digits[n - 1 - i];
            }
            trim(d);
            return true;
        }
    }
    return false;
}

/* NaN and infinity are not numbers in JSON; -0.0 keeps its sign, which "-0" would lose in readers
 * that take it for an integer. */
static bool special(struct text *out, double value)
{
    if (isfinite(value) && value != 0) {
        return false;
    }
    text_string(out, !isfinite(value) ? "null" : signbit(value) ? "-0.0" : "0");
    return true;
}

static void write_float(struct text *out, float value)
{
    if (special(out, (double)value)) {
        return;
    }
    struct decimal d;
    if (!quick_float(value, &d)) {
        shortest_float(value, &d);
    }
    char number[NUMBER_MAX];
    text_append(out, number, place(&d, number));
}

void emit_float(struct emitter *w, float value)
{
    before_value(w);
    write_float(w->out, value);
}

void emit_double(struct emitter *w, double value)
{
    before_value(w);
    if (special(w->out, value)) {
        return;
    }
    struct decimal d;
    shortest_double(value, &d);
    char number[NUMBER_MAX];
    text_append(w->out, number, place(&d, number));
}

void emit_rounded(struct emitter *w, double value, int decimals)
{
    if (isfinite(value) && decimals >= 0 && decimals <= DECIMALS_MAX) {
        char printed[DECIMALS_MAX + 330]; /* the largest double has 309 digits before the point */
        (void)snprintf(printed, sizeof printed, "%.*f", decimals, value);
        value = strtod(printed, NULL);
    }
    emit_double(w, value);
}

void emit_floats(struct emitter *w, const float *values, size_t n)
{
    before_value(w);
    text_char(w->out, '[');
    for (size_t i = 0; i < n; i++) {
        if (i) {
            text_char(w->out, ',');
        }
        write_float(w->out, values[i]);
    }
    text_char(w->out, ']');
}
