/* A file of published numbers: opened, run as one packed pass, judged check by check. */
#include "server/command/golden.h"

#include "core/base/memory.h"
#include "server/command/golden_private.h"

#define FILE_LIMIT ((size_t)16 << 20)

int golden_open(struct golden **out, const char *path, struct status *st)
{
    *out = NULL;
    struct golden *g = memory_zalloc(1, sizeof *g);
    if (!g) {
        return status_no_memory(st, sizeof *g);
    }
    g->path = memory_string(path);
    int code =
        g->path ? json_parse_file(&g->root, path, FILE_LIMIT, st) : status_no_memory(st, sizeof *g);
    g->checks = code ? NULL : json_get(g->root, "checks");
    if (!code && (!cJSON_IsString(json_get(g->root, "model")) ||
                  !cJSON_IsString(json_get(g->root, "source")) || !cJSON_IsArray(g->checks) ||
                  !g->checks->child)) {
        code = status_set(st, STATUS_CORRUPT,
                          "%s: expected an object with \"model\", \"source\" and a list "
                          "\"checks\" (golden/README.md), found something else",
                          path);
    }
    if (code) {
        golden_close(g);
        return code;
    }
    *out = g;
    return STATUS_OK;
}

void golden_close(struct golden *g)
{
    if (g) {
        cJSON_Delete(g->root);
        memory_free(g->path);
        memory_free(g);
    }
}

const char *golden_model(const struct golden *g)
{
    return json_get(g->root, "model")->valuestring;
}

const char *golden_source(const struct golden *g)
{
    return json_get(g->root, "source")->valuestring;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int open_checks(struct run *run, struct status *st)
{
    size_t n = (size_t)cJSON_GetArraySize(run->golden->checks);
    run->checks = memory_zalloc(n, sizeof *run->checks);
    int code = run->checks ? STATUS_OK : status_no_memory(st, n * sizeof *run->checks);
    for (const cJSON *json = run->golden->checks->child; json && !code; json = json->next) {
        code = check_open(&run->checks[run->n_checks++], run, json, st);
    }
    return code;
}

/* Everything that is to be read, as one packed pass. */
static int read_all(const struct run *run, struct status *st)
{
    struct engine_prompt *prompts = memory_zalloc(run->n_checks, sizeof *prompts);
    if (!prompts) {
        return status_no_memory(st, run->n_checks * sizeof *prompts);
    }
    size_t n = 0;
    for (size_t i = 0; i < run->n_checks; i++) {
        const struct check *c = &run->checks[i];
        if (c->n_reads) {
            prompts[n++] = (struct engine_prompt){.ids = c->prompt.ids,
                                                  .n_ids = c->prompt.n_ids,
                                                  .reads = c->reads,
                                                  .n_reads = c->n_reads,
                                                  .edits = c->edits.items,
                                                  .n_edits = c->edits.n};
        }
    }
    int code = n ? engine_trace(run->session, prompts, n, NULL, st) : STATUS_OK;
    memory_free(prompts);
    return code;
}

int golden_run(const struct golden *g, struct engine *engine,
               void (*report)(void *user, const struct golden_line *line), void *user,
               struct status *st)
{
    struct run run = {
        .golden = g,
        .app = {.engine = engine, .token_limit = engine_config(engine)->max_positions},
        .report = report,
        .user = user};
    int code = session_create(&run.session, engine, st);
    (void)(code || (code = open_checks(&run, st)) || (code = read_all(&run, st)));
    for (size_t i = 0; i < run.n_checks && !code; i++) {
        if (run.checks[i].skipped.length) {
            check_skip(&run, &run.checks[i]);
        } else {
            code = run.checks[i].kind->judge(&run, &run.checks[i], st);
        }
    }
    for (size_t i = 0; i < run.n_checks; i++) {
        check_close(&run.checks[i]);
    }
    memory_free(run.checks);
    session_destroy(run.session);
    return code;
}
