/* darkmatter serve: opens everything in order, listens until SIGTERM or SIGINT, drains, and closes
 * everything in the opposite order. */
#include "core/base/memory.h"
#include "server/api/index.h"
#include "server/app.h"
#include "server/command/command.h"
#include "server/http/replies.h"
#include "server/http/server.h"
#include "server/http/static_files.h"
#include "server/metrics.h"
#include "server/routes.h"
#include "server/work/import_lines.h"
#include "server/work/index_jobs.h"
#include "server/work/worker.h"

#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

/* Bytes of one request body: a trace of long token lists, a vector of 24,576 numbers. */
#define BODY_LIMIT (4u << 20)
/* Tokens that may wait, and that run together: a prompt of the longest kind always fits. */
#define QUEUE_TOKENS 65536
#define BATCH_TOKENS 2048
#define DRAIN_SECONDS 30
/* Replies that are sent again as they are: some hundred pages or texts. */
#define REPLIES_BYTES ((size_t)32 << 20)
#define GIVE_BACK_SECONDS 10 /* how often freed memory is given back to the system */

struct serving {
    struct app app;
    struct metrics metrics;
    struct worker *worker;
    struct static_files *files;
    struct router router;
    struct http_server *http;
};

/* Connections, shards and SAEs need one each; 1024, the usual limit, is there for select(2), which
 * nothing here uses. */
static void allow_descriptors(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < COMMAND_DESCRIPTORS) {
        limit.rlim_cur =
            limit.rlim_max < COMMAND_DESCRIPTORS ? limit.rlim_max : COMMAND_DESCRIPTORS;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static void finished(struct exchange *x, size_t bytes)
{
    const struct app *app = x->app;
    int64_t us = exchange_age_us(x);
    metrics_request(app->metrics, x->route ? x->route->pattern : NULL, x->response.status,
                    (double)us / 1e6);
    request_log_exchange(&app->log, x, bytes, us);
}

static void notice(void *user, const char *line)
{
    const struct serving *s = user;
    request_log_message(&s->app.log, "note", line);
}

/* One clear line, whatever the log is. */
static int failed(const struct serving *s, const struct status *st)
{
    if (s->app.log.format == REQUEST_LOG_JSON) {
        request_log_message(&s->app.log, "error", st->message);
        return EXIT_FAILED;
    }
    return command_failed(st);
}

static int open_engine(struct serving *s, const struct options *o, struct status *st)
{
    struct engine_options options = options_engine(o);
    options.notice = notice;
    options.notice_user = s;
    if (s->app.log.format != REQUEST_LOG_JSON) {
        (void)fprintf(stderr, "opening %s ...\n", o->model);
    }
    int code = engine_open(&s->app.engine, &options, st);
    if (code) {
        return code;
    }
    size_t positions = engine_config(s->app.engine)->max_positions;
    s->app.token_limit = o->token_limit < positions ? o->token_limit : positions;
    s->app.reply_limit = o->reply_limit;
    return STATUS_OK;
}

static int open_store(struct serving *s, const struct options *o, struct status *st)
{
    struct text migrations = {0};
    text_printf(&migrations, "%s/migrations", o->share);
    int code = migrations.failed ? status_no_memory(st, 64)
                                 : store_open(&s->app.store, o->db, migrations.data, st);
    text_free(&migrations);
    return code ? code : sources_create(&s->app.sources, s->app.engine, s->app.store, st);
}

/* The demo's explanations, in the layout of any other import: kept by id, so that doing it at every
 * start changes nothing. */
static int import_demo(struct serving *s, const struct options *o, struct status *st)
{
    struct text folder = {0};
    struct import_options options = {0};
    struct import_figures figures = {0};
    text_printf(&folder, "%s/demo/explanations", o->share);
    int code = folder.failed ? status_no_memory(st, 64)
                             : import_lines(s->app.store, folder.data, &options, &figures, st);
    text_free(&folder);
    return code;
}

static int open_site(struct serving *s, const struct options *o, struct status *st)
{
    struct text folder = {0};
    text_printf(&folder, "%s/static", o->share);
    int code =
        folder.failed ? status_no_memory(st, 64) : static_files_load(&s->files, folder.data, st);
    text_free(&folder);
    return code;
}

static int open_index_jobs(struct serving *s, const struct options *o, struct status *st)
{
    struct text corpus = {0};
    text_printf(&corpus, "%s/demo/corpus/demo-corpus.jsonl", o->share);
    int code = corpus.failed ? status_no_memory(st, 64)
                             : index_jobs_create(&s->app.index_jobs, s->app.engine, s->app.store,
                                                 s->app.sources, s->app.queue, corpus.data, st);
    text_free(&corpus);
    return code;
}

/* After the address is known to be free: a second server must not touch the first one's jobs. */
static void go_on_indexing(struct serving *s, const struct options *o)
{
    struct status st = {0};
    if (index_on_start(&s->app, !o->no_auto_index, o->is_demo, &st)) {
        status_prefix(&st, "nothing is indexed now");
        notice(s, st.message);
    }
}

static int listen_for_requests(struct serving *s, const struct options *o, struct status *st)
{
    s->router = (struct router){.app = &s->app,
                                .guard = {.secret = o->secret,
                                          .allow_hosts = o->allow_hosts,
                                          .n_allow_hosts = o->n_allow_hosts,
                                          .bind_host = o->host},
                                .files = s->files,
                                .body_limit = BODY_LIMIT,
                                .finished = finished};
    s->router.routes = routes_table(&s->router.n_routes);
    s->app.routes = s->router.routes;
    s->app.n_routes = s->router.n_routes;
    struct http_options http = {.host = o->host, .port = o->port};
    return http_server_start(&s->http, &http, &s->router, st);
}

static void announce(const struct serving *s, const struct options *o)
{
    const char *open = strchr(o->host, ':') ? "[" : "";
    const char *close = *open ? "]" : "";
    (void)printf("darkmatter serves %s (%zu sources) on http://%s%s%s:%d, database %s\n",
                 engine_model_id(s->app.engine), engine_catalogue(s->app.engine)->n_sources, open,
                 o->host, close, http_server_port(s->http), o->db);
    (void)fflush(stdout);
}

/* What is not answered in time is refused, so that a full queue does not hold the end up. */
static void drain(struct serving *s)
{
    atomic_store(&s->app.stopping, true);
    http_server_quiesce(s->http);
    struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    for (int i = 0; i < DRAIN_SECONDS * 50 && http_server_active(s->http) > 0; i++) {
        (void)nanosleep(&pause, NULL);
    }
    queue_abandon(s->app.queue);
}

static void close_all(struct serving *s)
{
    index_jobs_destroy(s->app.index_jobs); /* its jobs go through the queue */
    if (s->app.queue) {
        queue_stop(s->app.queue);
    }
    worker_join(s->worker);
    if (s->http) {
        http_server_stop(s->http);
    }
    static_files_free(s->files);
    replies_destroy(s->app.replies);
    if (s->app.queue) {
        queue_destroy(s->app.queue);
    }
    if (s->app.sources) {
        sources_destroy(s->app.sources);
    }
    store_close(s->app.store);
    engine_close(s->app.engine);
    metrics_destroy(&s->metrics);
}

/* Until one of the signals comes. */
static void wait_for(const sigset_t *signals)
{
    const struct timespec pause = {.tv_sec = GIVE_BACK_SECONDS};
    while (sigtimedwait(signals, NULL, &pause) < 0) {
        memory_give_back();
    }
}

int command_serve(const struct options *o)
{
    struct status st = {0};
    if (command_check_access(o, &st)) {
        return command_failed(&st);
    }
    /* Blocked before any thread exists, so that only wait_for sees them. */
    sigset_t stop;
    sigemptyset(&stop);
    sigaddset(&stop, SIGTERM);
    sigaddset(&stop, SIGINT);
    (void)pthread_sigmask(SIG_BLOCK, &stop, NULL);
    (void)signal(SIGPIPE, SIG_IGN);
    allow_descriptors();

    struct serving *s = memory_zalloc(1, sizeof *s);
    if (!s) {
        status_no_memory(&st, sizeof *s);
        return command_failed(&st);
    }
    metrics_init(&s->metrics);
    s->app.metrics = &s->metrics;
    s->app.log = (struct request_log){
        .format = (enum request_log_format)o->log, .slow_ms = o->slow_ms, .to = stderr};
    int code = open_engine(s, o, &st);
    if (code == STATUS_OK) {
        (void)((code = open_store(s, o, &st)) ||
               (code = o->is_demo ? import_demo(s, o, &st) : STATUS_OK) ||
               (code = open_site(s, o, &st)) ||
               (code = replies_create(&s->app.replies, REPLIES_BYTES, &st)) ||
               (code = queue_create(&s->app.queue, QUEUE_TOKENS, &st)) ||
               (code = worker_start(&s->worker, s->app.engine, s->app.store, s->app.sources,
                                    s->app.queue, BATCH_TOKENS, &st)) ||
               (code = open_index_jobs(s, o, &st)) || (code = listen_for_requests(s, o, &st)));
    }
    if (code == STATUS_OK) {
        announce(s, o);
        engine_read_ahead(s->app.engine);
        go_on_indexing(s, o);
        wait_for(&stop);
        request_log_message(&s->app.log, NULL, "stopping: answering what is under way ...");
        index_jobs_stop(s->app.index_jobs);
        drain(s);
    }
    close_all(s);
    code = code ? failed(s, &st) : EXIT_OK;
    memory_free(s);
    return code;
}
