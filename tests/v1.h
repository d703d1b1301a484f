/* A server without sockets for the tests of server/v1 and server/work: a model, a database in a
 * folder of its own, the queue and its worker, the routes; requests go in as text and come out as
 * JSON trees. */
#ifndef DM_TESTS_V1_H
#define DM_TESTS_V1_H

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "server/app.h"
#include "server/http/exchange.h"
#include "server/http/replies.h"
#include "server/http/router.h"
#include "server/metrics.h"
#include "server/routes.h"
#include "server/work/index_jobs.h"
#include "server/work/worker.h"
#include "tests/test.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define V1_DEMO "demo"
#define V1_ORACLE "tests/fixtures/oracle"

static const char *const v1_fixtures[] = {"gemma2-nano-bf16", "gemma2-nano-f32-sharded",
                                          "gemma3-nano-bf16", "gemma3-nano-4b-style"};

struct v1 {
    char folder[32]; /* of the database */
    struct app app;
    struct metrics metrics;
    struct worker *worker;
    struct router router;
};

/* Everything down; also of a server that came up by half. */
static inline void v1_close(struct v1 *v)
{
    index_jobs_destroy(v->app.index_jobs);
    if (v->app.queue) {
        queue_stop(v->app.queue);
    }
    worker_join(v->worker);
    queue_destroy(v->app.queue);
    sources_destroy(v->app.sources);
    replies_destroy(v->app.replies);
    store_close(v->app.store);
    engine_close(v->app.engine);
    metrics_destroy(&v->metrics);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", v->folder);
    if (v->folder[0] && system(command) != 0) {
        printf("    could not remove %s\n", v->folder);
    }
}

/* A model folder with its saes/. False, with the reason printed, if it does not come up. */
static inline bool v1_open_tuned(struct v1 *v, const char *folder, int threads,
                                 const char *const *tuned, size_t n_tuned)
{
    char saes[128], path[64];
    struct status st = {0};
    memset(v, 0, sizeof *v);
    metrics_init(&v->metrics);
    (void)snprintf(saes, sizeof saes, "%s/saes", folder);
    const char *folders[] = {saes};
    struct engine_options options = {.model = folder,
                                     .sae_folders = folders,
                                     .n_sae_folders = 1,
                                     .threads = threads,
                                     .tuned_lenses = tuned,
                                     .n_tuned_lenses = n_tuned,
                                     .prefix_memory = 64u << 20};
    strcpy(v->folder, "/tmp/v1_XXXXXX");
    struct app *app = &v->app;
    app->metrics = &v->metrics;
    app->reply_limit = 64u << 20;
    app->routes = routes_table(&app->n_routes);
    bool ok = mkdtemp(v->folder) != NULL;
    (void)snprintf(path, sizeof path, "%s/test.db", v->folder);
    ok = ok && !engine_open(&app->engine, &options, &st) &&
         !store_open(&app->store, path, "migrations", &st) &&
         !sources_create(&app->sources, app->engine, app->store, &st) &&
         !replies_create(&app->replies, 16u << 20, &st) &&
         !queue_create(&app->queue, 1 << 14, &st) &&
         !worker_start(&v->worker, app->engine, app->store, app->sources, app->queue, 256, &st) &&
         !index_jobs_create(&app->index_jobs, app->engine, app->store, app->sources, app->queue,
                            "demo/corpus/demo-corpus.jsonl", &st);
    if (!ok) {
        printf("    %s: %s\n", folder, st.message);
        test_failures_++;
        v1_close(v);
        return false;
    }
    app->token_limit = engine_config(app->engine)->max_positions;
    app->token_limit = app->token_limit < 200 ? app->token_limit : 200;
    v->router = (struct router){
        .routes = app->routes, .n_routes = app->n_routes, .app = app, .body_limit = 1 << 22};
    return true;
}

static inline bool v1_open_threads(struct v1 *v, const char *folder, int threads)
{
    return v1_open_tuned(v, folder, threads, NULL, 0);
}

static inline bool v1_open(struct v1 *v, const char *folder)
{
    return v1_open_threads(v, folder, 1);
}

/* One answer: status, the cache header ("" if there is none), the body as text and as a tree. */
struct v1_answer {
    int status;
    char cache[16];
    char *text;
    size_t length; /* of text */
    cJSON *json;
};

static inline struct v1_answer v1_post(struct v1 *v, const char *path, const char *body)
{
    struct v1_answer a = {0};
    struct exchange *x = exchange_run(&v->router, "POST", path, NULL, body, strlen(body));
    if (!x) {
        return a;
    }
    a.status = x->response.status;
    a.text = memory_string_n(x->response.body.data ? x->response.body.data : "",
                             x->response.body.length);
    a.length = a.text ? x->response.body.length : 0;
    a.json = cJSON_Parse(a.text);
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcasecmp(x->response.headers[i].name, "X-Darkmatter-Cache") == 0) {
            (void)snprintf(a.cache, sizeof a.cache, "%s", x->response.headers[i].value);
        }
    }
    exchange_close(x);
    return a;
}

static inline void v1_free(struct v1_answer *a)
{
    memory_free(a->text);
    cJSON_Delete(a->json);
}

/* Follows keys and [numbers] separated by dots: "results.0.tokens.1". NULL if it leads nowhere. */
static inline const cJSON *v1_at(const cJSON *node, const char *path)
{
    char part[80];
    while (node && *path) {
        size_t n = strcspn(path, ".");
        (void)snprintf(part, sizeof part, "%.*s", (int)n, path);
        node = cJSON_IsArray(node) ? cJSON_GetArrayItem(node, atoi(part))
                                   : cJSON_GetObjectItemCaseSensitive(node, part);
        path += n + (path[n] == '.');
    }
    return node;
}

static inline double v1_number(const cJSON *node, const char *path)
{
    const cJSON *found = v1_at(node, path);
    return cJSON_IsNumber(found) ? found->valuedouble : (double)NAN;
}

static inline const char *v1_string(const cJSON *node, const char *path)
{
    const cJSON *found = v1_at(node, path);
    return cJSON_IsString(found) ? found->valuestring : "(no string)";
}

static inline int v1_size(const cJSON *node, const char *path)
{
    const cJSON *found = v1_at(node, path);
    return cJSON_IsArray(found) || cJSON_IsObject(found) ? cJSON_GetArraySize(found) : -1;
}

/* Every key of several words must stand beside its other spelling with the same value. Keys that
 * are numbers and such are left alone. Returns how many pairs were seen. */
static inline int v1_both_spellings(const cJSON *node)
{
    int pairs = 0;
    for (const cJSON *child = node ? node->child : NULL; child; child = child->next) {
        const char *bar = child->string ? strchr(child->string, '_') : NULL;
        bool upper = false;
        for (const char *s = child->string; s && *s; s++) {
            upper = upper || (*s >= 'A' && *s <= 'Z');
        }
        if (bar) {
            char camel[80];
            size_t n = 0;
            for (const char *s = child->string; *s && n + 1 < sizeof camel; s++) {
                bool raise = *s == '_';
                s += raise;
                camel[n++] = raise ? (char)(*s - 'a' + 'A') : *s;
            }
            camel[n] = '\0';
            const cJSON *other = cJSON_GetObjectItemCaseSensitive(node, camel);
            if (!other || !cJSON_Compare(child, other, true)) {
                printf("    %s has no equal %s\n", child->string, camel);
                test_failures_++;
            }
            pairs++;
        }
        pairs -= upper; /* each camelCase key pays for its pair, so 0 is left over */
        pairs += v1_both_spellings(child);
    }
    return pairs;
}

/* Requests that must be refused with a status and a message that holds a word. */
struct v1_bad {
    const char *body;
    int status;
    const char *word;
};

static inline void v1_refuses(struct v1 *v, const char *path, const struct v1_bad *bad, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct v1_answer a = v1_post(v, path, bad[i].body);
        if (a.status != bad[i].status || !strstr(v1_string(a.json, "error"), bad[i].word)) {
            printf("    %s %s: expected %d with \"%s\", found %d %s\n", path, bad[i].body,
                   bad[i].status, bad[i].word, a.status, a.text);
            test_failures_++;
        }
        v1_free(&a);
    }
}

/* The prompt `name` of a fixture's cases.json, as the text of a JSON list. */
static inline char *v1_ids(const char *fixture, const char *name)
{
    char path[128];
    struct status st;
    cJSON *cases;
    char *text = NULL;
    (void)snprintf(path, sizeof path, V1_ORACLE "/%s/cases.json", fixture);
    if (json_parse_file(&cases, path, 1 << 22, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        return NULL;
    }
    const cJSON *prompt;
    cJSON_ArrayForEach(prompt, json_get(cases, "prompts"))
    {
        if (strcmp(json_get(prompt, "name")->valuestring, name) == 0) {
            text = cJSON_PrintUnformatted(json_get(prompt, "ids"));
        }
    }
    cJSON_Delete(cases);
    return text; /* free() */
}

/* Body text with the ids of a fixture's prompt put in for %s. */
static inline struct v1_answer v1_ask_oracle(struct v1 *v, const char *fixture, const char *prompt,
                                             const char *path, const char *before,
                                             const char *after)
{
    char *ids = v1_ids(fixture, prompt);
    struct text body = {0};
    text_printf(&body, "%s%s%s", before, ids ? ids : "", after);
    struct v1_answer a = v1_post(v, path, body.data ? body.data : "");
    text_free(&body);
    free(ids);
    return a;
}

/* The deepest source that encodes the point, SAELens's left out; NULL if there is none. */
static inline const struct sae_source *v1_source(const struct v1 *v, enum point input,
                                                 bool transcoder)
{
    const struct catalogue *catalogue = engine_catalogue(v->app.engine);
    const struct sae_source *found = NULL;
    for (size_t i = 0; i < catalogue->n_sources; i++) {
        const struct sae_source *s = &catalogue->sources[i];
        if (s->input == input && s->is_transcoder == transcoder &&
            s->format != SAE_FORMAT_SAELENS) {
            found = s; /* the deepest */
        }
    }
    return found;
}

#endif
