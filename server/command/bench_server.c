/* The figures of `darkmatter bench` that need a whole server: start, first answer, memory, cached
 * replies over HTTP. The yardstick of the last is what libmicrohttpd sends when the body is ready.
 */
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/command/bench.h"
#include "server/command/bench_child.h"
#include "server/command/bench_load.h"
#include "server/http/ready.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

enum { PROMPT = 7, CACHED = 128, CONNECTIONS = 16, PAGE_TOKENS = 10000 };
#define LOAD_SECONDS 0.5

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
    {"cached, indexing p99", "ms", CACHED, true},
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
    code = code ? code
                : bench_load_ask(child->port, "/v1/activation/source", request.data, &reply, st);
    *seconds = clock_seconds() - start;
    text_free(&request);
    text_free(&reply);
    return code;
}

/* The rate of a reply that was given before, beside a ready body of the same bytes. */
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
    struct bench_load theirs = ours;
    theirs.port = ready ? ready_port(ready) : 0;
    (void)(code || (code = bench_load_run(&ours, st)) || (code = bench_load_run(&theirs, st)));
    ready_stop(ready);
    text_free(&reply);
    if (!code) {
        bench_put(b, name, ours.per_second, ours.per_second / theirs.per_second);
        bench_put(b, name_p99, ours.p99_ms, 0);
    }
    return code;
}

static int measure_cached(struct bench *b, const struct bench_child *child, struct text *request,
                          struct status *st)
{
    if (!wants(b, "cached activation") && !wants(b, "cached activation p99") &&
        !wants(b, "cached, indexing p99")) {
        return STATUS_OK;
    }
    return write_request(b, CACHED, request, st)
               ? (int)st->code
               : load(b, child, "/v1/activation/source", request->data, "cached activation",
                      "cached activation p99", st);
}

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

/* Indexes some more of the demo's corpus, reads meanwhile, then a page that came of it. */
static int measure_pages(struct bench *b, const struct bench_child *child, const char *cached,
                         size_t round, struct status *st)
{
    bool indexing = wants(b, "cached, indexing p99");
    if (!indexing && !wants(b, "cached page") && !wants(b, "cached page p99")) {
        return STATUS_OK;
    }
    struct text reply = {0};
    char request[300], path[300];
    (void)snprintf(request, sizeof request,
                   "{\"corpus\": \"demo\", \"sources\": [\"%s\"], \"limit_tokens\": %zu}",
                   b->source->name, PAGE_TOKENS * (round + 1));
    (void)snprintf(path, sizeof path, "/api/feature/%s/%s/%d", engine_model_id(bench_engine(b)),
                   b->source->name, PAGE_FEATURE);
    struct bench_load during = {.port = child->port,
                                .path = "/v1/activation/source",
                                .body = cached,
                                .connections = CONNECTIONS,
                                .seconds = LOAD_SECONDS};
    int code = bench_load_ask(child->port, "/api/index", request, &reply, st);
    text_free(&reply);
    if (!code && indexing) {
        code = bench_load_run(&during, st);
        bench_put(b, "cached, indexing p99", during.p99_ms, 0);
    }
    (void)(code || (code = await_index(b, child, st)) ||
           (code = load(b, child, path, NULL, "cached page", "cached page p99", st)));
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
    (void)(code || (code = measure_pages(b, child, request.data, round, st)) ||
           (code = measure_memory(b, child, "memory 512", 512, st)) ||
           (code = measure_memory(b, child, "memory 1024", 1024, st)));
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
