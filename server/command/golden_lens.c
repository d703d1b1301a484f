/* Checks of the kind lens: what rows of the residual stream would say, read as POST /v1/lens/prompt
 * reads them. */
#include "core/base/memory.h"
#include "server/command/golden_private.h"
#include "server/v1/hooks.h"

#include <string.h>

/* The tables of one check. */
struct tables {
    struct lens_site *sites; /* [n] one a table */
    int *layers;             /* [n] each site's */
    size_t *first;           /* [n + 1] of each table's lines among all */
    size_t n, longest;
    int32_t *ids;   /* [first[n]] of each line; -1: no such token */
    int32_t *track; /* [n_track] those there are, each once */
    size_t n_track;
    float *logits, *probs; /* [longest] of the table in work */
    bool *wanted;          /* [prompt.n_ids] the position */
};

static void free_tables(struct tables *t)
{
    memory_free(t->sites);
    memory_free(t->layers);
    memory_free(t->first);
    memory_free(t->ids);
    memory_free(t->track);
    memory_free(t->logits);
    memory_free(t->probs);
    memory_free(t->wanted);
}

static int reserve(struct tables *t, const struct check *c, struct status *st)
{
    const cJSON *points = json_get(c->json, "points"), *table;
    size_t n = (size_t)cJSON_GetArraySize(points), lines = 0;
    t->sites = memory_zalloc(n, sizeof *t->sites);
    t->layers = memory_zalloc(n, sizeof *t->layers);
    t->first = memory_zalloc(n + 1, sizeof *t->first);
    if (!t->sites || !t->layers || !t->first) {
        return status_no_memory(st, n * sizeof *t->sites);
    }
    cJSON_ArrayForEach(table, points)
    {
        size_t here = (size_t)cJSON_GetArraySize(table);
        t->longest = here > t->longest ? here : t->longest;
        t->first[++t->n] = lines += here;
    }
    t->ids = memory_alloc(lines, sizeof *t->ids);
    t->track = memory_alloc(lines, sizeof *t->track);
    t->logits = memory_alloc(t->longest, sizeof *t->logits);
    t->probs = memory_alloc(t->longest, sizeof *t->probs);
    t->wanted = memory_zalloc(c->prompt.n_ids, sizeof *t->wanted);
    bool ok = t->ids && t->track && t->logits && t->probs && t->wanted;
    return ok ? STATUS_OK : status_no_memory(st, lines * sizeof *t->ids);
}

static size_t track_of(const struct tables *t, int32_t id)
{
    size_t k = 0;
    while (k < t->n_track && t->track[k] != id) {
        k++;
    }
    return k;
}

static int read_tables(const struct run *run, const struct check *c, struct tables *t,
                       struct status *st)
{
    int code = reserve(t, c, st);
    const cJSON *table = code ? NULL : json_get(c->json, "points")->child;
    for (size_t i = 0; table && !code; i++, table = table->next) {
        struct lens_site *site = &t->sites[i];
        site->layers = &t->layers[i];
        site->n_layers = 1;
        code = hooks_find(table->string, engine_config(run->app.engine), &site->point,
                          &t->layers[i], st);
        int32_t *id = t->ids + t->first[i];
        for (const cJSON *line = table->child; line; line = line->next, id++) {
            *id = golden_token(run->app.engine, line->child);
            if (*id >= 0 && track_of(t, *id) == t->n_track) {
                t->track[t->n_track++] = *id;
            }
        }
    }
    if (!code) {
        t->wanted[c->position] = true;
    }
    return code;
}

int golden_lens_open(struct check *c, const struct run *run, struct status *st)
{
    const cJSON *points = json_get(c->json, "points");
    if (!cJSON_IsObject(points) || !points->child) {
        return check_corrupt(run, c, "points", "an object of tables by point", st);
    }
    for (const cJSON *p = points->child; p; p = p->next) {
        enum point point;
        int layer;
        int code = check_table(run, c, p, 1, 2, st);
        code = code ? code : check_point(run, c, p->string, &point, &layer, st);
        if (!code && !lens_reading_takes(point)) {
            code = check_corrupt(run, c, "points", "points of the residual stream", st);
        }
        if (code) {
            return code;
        }
    }
    return STATUS_OK;
}

/* A row's figures against its table, and a line for it. */
static void judge_table(const struct run *run, const struct check *c, const struct tables *t,
                        size_t i, const struct readout_row *row)
{
    const cJSON *table = cJSON_GetArrayItem(json_get(c->json, "points"), (int)i);
    size_t n = t->first[i + 1] - t->first[i];
    struct golden_row said = {
        .ids = t->ids + t->first[i], .n = n, .logits = t->logits, .probs = t->probs, .other = -1};
    for (size_t k = 0; k < n; k++) {
        if (said.ids[k] >= 0) {
            size_t at = track_of(t, said.ids[k]);
            t->logits[k] = row->logits[at];
            t->probs[k] = row->probs[at];
        }
    }
    for (size_t k = 0; k < row->n_top && said.other < 0; k++) {
        if (!golden_row_has(&said, row->top_ids[k])) {
            said.other = row->top_ids[k];
            said.other_prob = row->top_probs[k];
        }
    }
    struct comparison found = {0};
    golden_compare_top(&found, run->app.engine, table, &said, check_tolerance(run, c, "logit"),
                       check_tolerance(run, c, "probability"));
    check_report(run, c, table->string, &found);
}

static int read_lens(const struct run *run, const struct check *c, const struct tables *t,
                     struct status *st)
{
    const struct lens_options options = {.ids = c->prompt.ids,
                                         .n_ids = c->prompt.n_ids,
                                         .edits = c->edits.items,
                                         .n_edits = c->edits.n,
                                         .sites = t->sites,
                                         .n_sites = t->n,
                                         .wanted = t->wanted,
                                         .norm = true,
                                         .softcap = true,
                                         .top_n = t->longest + 1,
                                         .track = t->track,
                                         .n_track = t->n_track};
    struct lens_reading *reading = NULL;
    bool more = true;
    int code = lens_reading_open(&reading, run->app.engine, &options, st);
    while (!code && more) {
        code = lens_reading_step(reading, run->session, NULL, &more, st);
        size_t n = 0;
        const struct lens_position *ready = code ? NULL : lens_reading_ready(reading, &n);
        for (size_t i = 0; n && i < t->n; i++) {
            judge_table(run, c, t, i, &ready->rows[i]);
        }
    }
    lens_reading_close(reading);
    return code;
}

int golden_lens_judge(const struct run *run, struct check *c, struct status *st)
{
    struct tables t = {0};
    int code = read_tables(run, c, &t, st);
    code = code ? code : read_lens(run, c, &t, st);
    free_tables(&t);
    return code;
}
