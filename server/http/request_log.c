#include "server/http/request_log.h"

#include "server/http/emit.h"
#include "server/http/router.h"

#include <string.h>
#include <time.h>

enum { PATH_LIMIT = 200, REPLY_LIMIT = 1024 };

/* "2026-11-25T11:02:03.123Z" */
static void write_time(char out[32])
{
    struct timespec now;
    struct tm utc;
    char seconds[24];
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)gmtime_r(&now.tv_sec, &utc);
    (void)strftime(seconds, sizeof seconds, "%Y-%m-%dT%H:%M:%S", &utc);
    (void)snprintf(out, 32, "%s.%03dZ", seconds, (int)(now.tv_nsec / 1000000));
}

/* In one piece, so that lines of two threads do not mix. */
static void write_line(const struct request_log *log, struct text *line)
{
    text_char(line, '\n');
    if (!line->failed) {
        (void)fwrite(line->data, 1, line->length, log->to);
        (void)fflush(log->to);
    }
    text_free(line);
}

/* What a client wrote, as one word of a text line: no control characters, valid UTF-8. */
static void append_word(struct text *line, const char *s)
{
    struct text clean = {0};
    text_append_utf8(&clean, s, strnlen(s, PATH_LIMIT));
    for (size_t i = 0; i < clean.length; i++) {
        unsigned char c = (unsigned char)clean.data[i];
        text_char(line, (char)(c <= 0x20 || c == 0x7F ? '?' : c));
    }
    text_free(&clean);
}

static const char *header_of(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return NULL;
}

struct entry {
    const char *level, *path, *route, *cache, *reply;
    bool slow;
    size_t bytes;
    double ms, queued_ms, first_ms; /* 0 and -1: not known */
};

static void as_text(const struct exchange *x, const struct entry *e, struct text *line)
{
    char when[32];
    write_time(when);
    text_printf(line, "%s %s %s%s ", when, e->level, e->slow ? "slow " : "",
                x->request.method ? x->request.method : "?");
    append_word(line, e->path);
    text_printf(line, " %d, %zu bytes in %.1f ms", x->response.status, e->bytes, e->ms);
    if (e->queued_ms > 0.0) {
        text_printf(line, " (%.1f ms queued)", e->queued_ms);
    }
    if (e->first_ms >= 0.0) {
        text_printf(line, ", the first after %.1f ms", e->first_ms);
    }
    if (e->cache) {
        text_printf(line, ", cache %s", e->cache);
    }
    text_printf(line, ", id %s", x->request_id);
    if (e->reply) {
        text_printf(line, ": %.*s", REPLY_LIMIT, e->reply);
    }
}

static void emit_pair(struct emitter *w, const char *key, const char *value)
{
    if (value) {
        emit_key(w, key);
        emit_string_n(w, value, strnlen(value, REPLY_LIMIT));
    }
}

static void begin_json(struct emitter *w, const char *level, const char *event)
{
    char when[32];
    write_time(when);
    emit_object(w);
    emit_pair(w, "time", when);
    emit_pair(w, "level", level);
    emit_pair(w, "event", event);
}

static void as_json(const struct exchange *x, const struct entry *e, struct text *line)
{
    struct emitter w = {.out = line};
    begin_json(&w, e->level, "request");
    emit_pair(&w, "id", x->request_id);
    emit_pair(&w, "method", x->request.method);
    emit_pair(&w, "path", e->path);
    emit_pair(&w, "route", e->route);
    emit_key(&w, "status");
    emit_int(&w, x->response.status);
    emit_key(&w, "bytes");
    emit_int(&w, (long long)e->bytes);
    emit_key(&w, "ms");
    emit_rounded(&w, e->ms, 3);
    if (e->queued_ms > 0.0) {
        emit_key(&w, "queued_ms");
        emit_rounded(&w, e->queued_ms, 3);
    }
    if (e->first_ms >= 0.0) {
        emit_key(&w, "first_ms");
        emit_rounded(&w, e->first_ms, 3);
    }
    emit_key(&w, "slow");
    emit_bool(&w, e->slow);
    emit_pair(&w, "cache", e->cache);
    emit_pair(&w, "reply", e->reply);
    emit_end_object(&w);
}

void request_log_exchange(const struct request_log *log, const struct exchange *x, size_t bytes,
                          int64_t us)
{
    bool failed = x->response.status >= 500;
    int64_t first_us = exchange_first_us(x);
    int64_t until = first_us >= 0 ? first_us : us;
    bool slow = log->slow_ms > 0 && until >= (int64_t)log->slow_ms * 1000;
    if (!log->to || (log->format == REQUEST_LOG_QUIET && !failed && !slow)) {
        return;
    }
    const struct entry e = {.level = failed ? "error"
                                     : slow ? "warning"
                                            : "info",
                            .path = x->request.path ? x->request.path : "?",
                            .route = x->route ? x->route->pattern : NULL,
                            .cache = header_of(x, "X-Darkmatter-Cache"),
                            .reply = failed ? x->response.body.data : NULL,
                            .slow = slow,
                            .bytes = bytes,
                            .ms = (double)us / 1000.0,
                            .queued_ms = (double)exchange_queued_us(x) / 1000.0,
                            .first_ms = first_us >= 0 ? (double)first_us / 1000.0 : -1.0};
    struct text line = {0};
    if (log->format == REQUEST_LOG_JSON) {
        as_json(x, &e, &line);
    } else {
        as_text(x, &e, &line);
    }
    write_line(log, &line);
}

void request_log_message(const struct request_log *log, const char *level, const char *message)
{
    struct text line = {0};
    if (!log->to) {
        return;
    }
    if (log->format == REQUEST_LOG_JSON) {
        struct emitter w = {.out = &line};
        begin_json(&w, level ? level : "info", "message");
        emit_pair(&w, "message", message);
        emit_end_object(&w);
    } else {
        text_printf(&line, "%s%s%s", level ? level : "", level ? ": " : "", message);
    }
    write_line(log, &line);
}
