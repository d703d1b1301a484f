/* The figures of `darkmatter bench` that need a whole server: start, first answer, memory, cached
 * replies over HTTP. The yardstick of the last is what libmicrohttpd sends when the body is ready.
 */
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/command/bench.h"
#include "server/command/bench_child.h"
#include "server/command/bench_load.h"
#include "server/http/emit.h"
#include "server/http/ready.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 7, CACHED = 128, CONNECTIONS = 16, PAGE_TOKENS = 5000, TEXTS = 16 };
#define LOAD_SECONDS 0.5

static const char ACTIVATION[] = "/v1/activation/source";
static const char INDEXING_ACTIVATION[] = "indexing: activation p99";
static const char INDEXING_PAGE[] = "indexing: page p99";

/* A feature of the demo's source that is met in its corpus. */
#define PAGE_FEATURE 251

static const struct {
    const char *name, *unit;
    size_t tokens; /* of the longest text that it takes */
    bool demo;     /* needs pages, which take minutes to make at real sizes */
} figures[] = {
    {"start", "ms", 0, false},
    {"first answer", "ms", PROMPT, false},
    {"memory", "MB", PROMPT, false},
    {"memory 512", "MB", 512, false},
    {"memory 1024", "MB", 1024, false},
    {"cached activation", "requests/s", CACHED, false},
    {"cached activation p99", "ms", CACHED, false},
    {"cached page", "requests/s", 0, true},
    {"cached page p99", "ms", 0, true},
    {"indexing: activation p99", "ms", CACHED, false},
    {"indexing: page p99", "ms", 0, true},
};

void bench_server_rows(struct bench *b)
{
    size_t positions = engine_config(bench_engine(b))->max_positions;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        struct bench_row *row = &b->table[b->n_rows++];
        *row =
            (struct bench_row){.name = figures[i].name, .unit = figures[i].unit, .precision = -1};
        if (figures[i].demo && !b->options->is_demo) {
            (void)snprintf(row->skipped, sizeof row->skipped,
                           "measured on the demo: without "
                           "--model");
        } else if (figures[i].tokens > 0 && !b->source) {
            (void)snprintf(row->skipped, sizeof row->skipped, "needs an SAE: --saes FOLDER");
        } else if (strncmp(figures[i].name, "indexing", 8) == 0 &&
                   !engine_has_tokenizer(bench_engine(b))) {
            (void)snprintf(row->skipped, sizeof row->skipped, "the model has no tokenizer");
        } else if (figures[i].tokens > positions) {
            (void)snprintf(row->skipped, sizeof row->skipped, "the model has %zu positions",
                           positions);
        }
    }
}

static bool wants(struct bench *b, const char *name)
{
    const struct bench_row *row = bench_row(b, name, -1);
    return row && !*row->skipped;
}

/* A request for a new text of n tokens. */
static int write_request(struct bench *b, size_t n, struct text *out, struct status *st)
{
    int32_t *ids;
    if (bench_text(b, n, &ids, st)) {
        return (int)st->code;
    }
    text_string(out, "{\"tokens\": [[");
    for (size_t i = 0; i < n; i++) {
        text_printf(out, "%s%d", i ? ", " : "", (int)ids[i]);
    }
    text_printf(out, "]], \"source\": \"%s\"}", b->source->name);
    memory_free(ids);
    return out->failed ? status_no_memory(st, n) : STATUS_OK;
}

static int ask_for_text(struct bench *b, const struct bench_child *child, size_t n, double *seconds,
                        struct status *st)
{
    struct text request = {0}, reply = {0};
    int code = write_request(b, n, &request, st);
    double start = clock_seconds();
    code = code ? code : bench_load_ask(child->port, ACTIVATION, request.data, &reply, st);
    *seconds = clock_seconds() - start;
    text_free(&request);
    text_free(&reply);
    return code;
}

/* The rate of a reply that was given before, beside a ready body of the same bytes: the better of
 * what that reaches before and after, since a limit that a busy moment has lowered is none. */
static int load(struct bench *b, const struct bench_child *child, const char *path,
                const char *body, const char *name, const char *name_p99, struct status *st)
{
    struct text reply = {0};
    struct ready *ready = NULL;
    struct bench_load ours = {.port = child->port,
                              .path = path,
                              .body = body,
                              .connections = CONNECTIONS,
                              .seconds = LOAD_SECONDS};
    int code = bench_load_ask(child->port, path, body, &reply, st);
    (void)(code || (code = ready_start(&ready, reply.data ? reply.data : "", reply.length, st)));
    struct bench_load before = ours;
    before.port = ready ? ready_port(ready) : 0;
    before.seconds = LOAD_SECONDS / 2;
    struct bench_load after = before;
    (void)(code || (code = bench_load_run(&before, st)) || (code = bench_load_run(&ours, st)) ||
           (code = bench_load_run(&after, st)));
    ready_stop(ready);
    text_free(&reply);
    if (!code) {
        bench_put(b, name, ours.per_second,
                  ours.per_second / fmax(before.per_second, after.per_second));
        bench_put(b, name_p99, ours.p99_ms, 0);
    }
    return code;
}

static int measure_cached(struct bench *b, const struct bench_child *child, struct text *request,
                          struct status *st)
{
    if (!wants(b, "cached activation") && !wants(b, "cached activation p99") &&
        !wants(b, INDEXING_ACTIVATION)) {
        return STATUS_OK;
    }
    return write_request(b, CACHED, request, st)
               ? (int)st->code
               : load(b, child, ACTIVATION, request->data, "cached activation",
                      "cached activation p99", st);
}

/* --- beside an index -------------------------------------------------------------------------- */

static int await_index(struct bench *b, const struct bench_child *child, struct status *st)
{
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    bool runs = true;
    while (runs && !atomic_load(b->stop)) {
        struct text jobs = {0};
        if (bench_load_ask(child->port, "/api/index", NULL, &jobs, st)) {
            text_free(&jobs);
            return (int)st->code;
        }
        runs = strstr(jobs.data, "\"state\":\"running\"") != NULL;
        text_free(&jobs);
        (void)nanosleep(&pause, NULL);
    }
    return STATUS_OK;
}

/* A request for an index of texts that were not indexed before: of the demo's corpus so many more
 * tokens, of another model texts of random words that take some seconds. */
static int write_index_request(struct bench *b, size_t tokens, struct text *out, struct status *st)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "sources");
    emit_array(&w);
    emit_string(&w, b->source->name);
    emit_end_array(&w);
    if (b->options->is_demo) {
        emit_key(&w, "corpus");
        emit_string(&w, "demo");
        emit_key(&w, "limit_tokens");
        emit_int(&w, (long long)tokens);
        emit_end_object(&w);
        return out->failed ? status_no_memory(st, out->length) : STATUS_OK;
    }
    emit_key(&w, "texts");
    emit_array(&w);
    int code = STATUS_OK;
    for (int i = 0; i < TEXTS && !code; i++) {
        struct text words = {0};
        int32_t *ids = NULL;
        code = bench_text(b, CACHED, &ids, st);
        for (size_t t = 1; t < CACHED && !code; t++) {
            engine_token_text(bench_engine(b), ids[t], &words);
        }
        emit_string_n(&w, words.data ? words.data : "", words.length);
        text_free(&words);
        memory_free(ids);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    return code || !out->failed ? code : status_no_memory(st, out->length);
}

static int start_index(struct bench *b, const struct bench_child *child, size_t tokens,
                       struct status *st)
{
    struct text request = {0}, reply = {0};
    int code = write_index_request(b, tokens, &request, st);
    code = code ? code : bench_load_ask(child->port, "/api/index", request.data, &reply, st);
    text_free(&request);
    text_free(&reply);
    return code;
}

static int load_beside(struct bench *b, const struct bench_child *child, const char *name,
                       const char *path, const char *body, struct status *st)
{
    struct bench_load load = {.port = child->port,
                              .path = path,
                              .body = body,
                              .connections = CONNECTIONS,
                              .seconds = LOAD_SECONDS};
    if (!wants(b, name)) {
        return STATUS_OK;
    }
    int code = bench_load_run(&load, st);
    bench_put(b, name, load.p99_ms, 0);
    return code;
}

/* Pages come of an index, which only the demo's is quick enough for. */
static int measure_indexing(struct bench *b, const struct bench_child *child, const char *cached,
                            size_t round, struct status *st)
{
    bool pages = wants(b, "cached page") || wants(b, "cached page p99") || wants(b, INDEXING_PAGE);
    if (!pages && !wants(b, INDEXING_ACTIVATION)) {
        return STATUS_OK;
    }
    char path[300];
    size_t tokens = PAGE_TOKENS * (round + 1);
    (void)snprintf(path, sizeof path, "/api/feature/%s/%s/%d", engine_model_id(bench_engine(b)),
                   b->source->name, PAGE_FEATURE);
    int code = STATUS_OK;
    if (pages) {
        (void)((code = start_index(b, child, tokens, st)) || (code = await_index(b, child, st)) ||
               (code = load(b, child, path, NULL, "cached page", "cached page p99", st)));
    }
    (void)(code || (code = start_index(b, child, tokens + PAGE_TOKENS, st)) ||
           (code = load_beside(b, child, INDEXING_ACTIVATION, ACTIVATION, cached, st)) ||
           (code = load_beside(b, child, INDEXING_PAGE, path, NULL, st)) ||
           (code = pages ? await_index(b, child, st) : STATUS_OK));
    return code;
}

static int measure_memory(struct bench *b, const struct bench_child *child, const char *name,
                          size_t n, struct status *st)
{
    double seconds;
    if (!wants(b, name)) {
        return STATUS_OK;
    }
    int code = ask_for_text(b, child, n, &seconds, st);
    bench_put(b, name, bench_child_memory(child) / 1e6, 0);
    return code;
}

static int measure(struct bench *b, const struct bench_child *child, size_t round,
                   struct status *st)
{
    double seconds;
    struct text request = {0};
    bench_put(b, "start", 1e3 * child->seconds, 0);
    if (!b->source) {
        return STATUS_OK;
    }
    if (ask_for_text(b, child, PROMPT, &seconds, st)) {
        return (int)st->code;
    }
    bench_put(b, "first answer", 1e3 * seconds, 0);
    bench_put(b, "memory", bench_child_memory(child) / 1e6, 0);
    int code = measure_cached(b, child, &request, st);
    (void)(code || (code = measure_memory(b, child, "memory 512", 512, st)) ||
           (code = measure_memory(b, child, "memory 1024", 1024, st)) ||
           (code = measure_indexing(b, child, request.data, round, st)));
    text_free(&request);
    return code;
}

int bench_server_run(struct bench *b, size_t round, struct status *st)
{
    bool any = false;
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        any = any || wants(b, figures[i].name);
    }
    if (!any) {
        return STATUS_OK;
    }
    struct bench_child child;
    enum precision precision =
        b->models[PRECISION_EXACT].session ? PRECISION_EXACT : PRECISION_BF16;
    int code = bench_child_start(&child, b->options, precision, b->folder, st);
    code = code ? code : measure(b, &child, round, st);
    bench_child_stop(&child);
    return code;
}
