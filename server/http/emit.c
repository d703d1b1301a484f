#include "server/http/emit.h"

#include "server/http/decimal.h"

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
    char number[DECIMAL_MAX];
    before_value(w);
    text_append(w->out, number, decimal_integer(value, number));
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

/* NaN and infinity are not numbers in JSON. */
static void write_float(struct text *out, float value)
{
    char number[DECIMAL_MAX];
    if (isfinite(value)) {
        text_append(out, number, decimal_float(value, number));
    } else {
        text_string(out, "null");
    }
}

void emit_float(struct emitter *w, float value)
{
    before_value(w);
    write_float(w->out, value);
}

void emit_double(struct emitter *w, double value)
{
    char number[DECIMAL_MAX];
    before_value(w);
    if (isfinite(value)) {
        text_append(w->out, number, decimal_double(value, number));
    } else {
        text_string(w->out, "null");
    }
}

void emit_rounded(struct emitter *w, double value, int decimals)
{
    char number[DECIMAL_MAX];
    if (!isfinite(value) || decimals < 0 || decimals > DECIMAL_PLACES) {
        emit_double(w, value);
        return;
    }
    before_value(w);
    text_append(w->out, number, decimal_rounded(value, decimals, number));
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
