#include "server/v1/reply.h"

#include "server/v1/fields.h"

#include <string.h>

size_t reply_begin(struct emitter *w, const char *name)
{
    emit_key(w, name);
    return w->out->length;
}

void reply_end(struct emitter *w, const char *name, size_t mark)
{
    char camel[FIELDS_NAME];
    fields_camel(name, camel);
    size_t n = w->out->length - mark;
    if (strcmp(name, camel) == 0 || w->out->failed) {
        return;
    }
    /* The copy comes from the buffer that it goes to, so it must not move meanwhile. */
    if (text_reserve(w->out, n + FIELDS_NAME + 8)) {
        emit_key(w, camel);
        emit_raw(w, w->out->data + mark, n);
    }
}

void reply_int(struct emitter *w, const char *name, long long value)
{
    size_t mark = reply_begin(w, name);
    emit_int(w, value);
    reply_end(w, name, mark);
}

void reply_float(struct emitter *w, const char *name, float value)
{
    size_t mark = reply_begin(w, name);
    emit_float(w, value);
    reply_end(w, name, mark);
}

void reply_bool(struct emitter *w, const char *name, bool value)
{
    size_t mark = reply_begin(w, name);
    emit_bool(w, value);
    reply_end(w, name, mark);
}

void reply_null(struct emitter *w, const char *name)
{
    size_t mark = reply_begin(w, name);
    emit_null(w);
    reply_end(w, name, mark);
}

void reply_string(struct emitter *w, const char *name, const char *value)
{
    size_t mark = reply_begin(w, name);
    emit_string(w, value);
    reply_end(w, name, mark);
}

void reply_values(struct emitter *w, const float *values, size_t n)
{
    size_t best = 0;
    for (size_t i = 1; i < n; i++) {
        best = values[i] > values[best] ? i : best;
    }
    emit_key(w, "values");
    emit_floats(w, values, n);
    reply_float(w, "max_value", values[best]);
    reply_int(w, "max_value_index", (long long)best);
    reply_null(w, "dfa_values");
    reply_null(w, "dfa_max_value");
    reply_null(w, "dfa_target_index");
}

void reply_minimum(struct emitter *w, const float *values, size_t n)
{
    size_t least = 0;
    for (size_t i = 1; i < n; i++) {
        least = values[i] < values[least] ? i : least;
    }
    reply_float(w, "min_value", values[least]);
    reply_int(w, "min_value_index", (long long)least);
}

bool reply_fits(struct exchange *x, uint64_t bytes)
{
    const struct app *app = x->app;
    if (bytes <= app->reply_limit) {
        return true;
    }
    (void)exchange_error(x, 413,
                         "the reply would have about %llu bytes, over the limit of %llu "
                         "(--reply-limit); ask for fewer prompts or results at a time",
                         (unsigned long long)bytes, (unsigned long long)app->reply_limit);
    return false;
}
