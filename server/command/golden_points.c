/* Checks of the model itself: tokens, next, values, equal, generate; lens is in golden_lens.c. */
#include "core/base/memory.h"
#include "server/command/golden_private.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

/* --- tokens ----------------------------------------------------------------------------------- */

static int tokens_open(struct check *c, const struct run *run, struct status *st)
{
    return check_list(run, c, c->json, "tokens", st) ? STATUS_OK : (int)st->code;
}

static int tokens_judge(const struct run *run, struct check *c, struct status *st)
{
    (void)st;
    struct comparison found = {0};
    const struct engine *e = run->app.engine;
    const cJSON *list = json_get(c->json, "tokens");
    struct text token = {0};
    char item[64], number[32];
    size_t n = (size_t)cJSON_GetArraySize(list);
    comparison_number(&found, "number of tokens", (double)n, (double)c->prompt.n_ids,
                      (struct tolerance){0});
    const cJSON *wanted = list->child;
    for (size_t i = 0; i < n && i < c->prompt.n_ids; i++, wanted = wanted->next) {
        (void)snprintf(item, sizeof item, "token %zu", i);
        if (cJSON_IsNumber(wanted)) {
            comparison_number(&found, item, wanted->valuedouble, (double)c->prompt.ids[i],
                              (struct tolerance){0});
            continue;
        }
        text_clear(&token);
        engine_token_text(e, c->prompt.ids[i], &token);
        (void)snprintf(number, sizeof number, "%d", (int)c->prompt.ids[i]);
        comparison_text(&found, item, cJSON_IsString(wanted) ? wanted->valuestring : "",
                        token.data ? token.data : number);
    }
    check_report(run, c, NULL, &found);
    text_free(&token);
    return STATUS_OK;
}

/* --- next: the logits of one position ------------------------------------------------------ */

/* log of the sum of exp(logit) [n]. */
static double log_sum(const float *logits, size_t n)
{
    double largest = (double)-INFINITY;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, (double)logits[i]);
    }
    for (size_t i = 0; i < n; i++) {
        sum += exp((double)logits[i] - largest);
    }
    /* cppcheck-suppress invalidFunctionArg ; n >= 1, so the sum is at least exp(0) */
    return largest + log(sum);
}

static int next_open(struct check *c, const struct run *run, struct status *st)
{
    int code = check_table(run, c, json_get(c->json, "top"), 1, 2, st);
    code = code ? code : check_make_reads(c, 1, st);
    return code ? code : check_add_point(run, c, "logits", c->position, st);
}

/* The table's tokens and the likeliest of all others, from a whole row of logits [V]. */
static void read_row(const struct engine *e, const cJSON *table, const float *logits, int32_t *ids,
                     float *listed, float *probs, struct golden_row *row)
{
    size_t V = engine_config(e)->vocab_size;
    double total = log_sum(logits, V);
    *row = (struct golden_row){.ids = ids, .logits = listed, .probs = probs, .other = -1};
    for (const cJSON *line = table->child; line; line = line->next, row->n++) {
        int32_t id = ids[row->n] = golden_token(e, line->child);
        listed[row->n] = id < 0 ? 0.0f : logits[id];
        probs[row->n] = id < 0 ? 0.0f : (float)exp((double)logits[id] - total);
    }
    for (size_t i = 0; i < V; i++) {
        bool best = row->other < 0 || logits[i] > logits[row->other];
        row->other = best && !golden_row_has(row, (int32_t)i) ? (int32_t)i : row->other;
    }
    if (row->other >= 0) {
        row->other_prob = (float)exp((double)logits[row->other] - total);
    }
}

static int next_judge(const struct run *run, struct check *c, struct status *st)
{
    struct comparison found = {0};
    struct golden_row row;
    const cJSON *table = json_get(c->json, "top");
    size_t n = (size_t)cJSON_GetArraySize(table);
    int32_t *ids = memory_alloc(n, sizeof *ids);
    float *figures = memory_alloc(2 * n, sizeof *figures);
    int code = ids && figures ? STATUS_OK : status_no_memory(st, 2 * n * sizeof *figures);
    if (!code) {
        read_row(run->app.engine, table, c->reads[0].data, ids, figures, figures + n, &row);
        golden_compare_top(&found, run->app.engine, table, &row, check_tolerance(run, c, "logit"),
                           check_tolerance(run, c, "probability"));
        check_report(run, c, NULL, &found);
    }
    memory_free(ids);
    memory_free(figures);
    return code;
}

/* --- values: the ends of rows ----------------------------------------------------------------- */

static int values_open(struct check *c, const struct run *run, struct status *st)
{
    const cJSON *rows = check_list(run, c, c->json, "rows", st);
    int code = rows ? check_make_reads(c, (size_t)cJSON_GetArraySize(rows), st) : (int)st->code;
    const char *point = cJSON_GetStringValue(json_get(c->json, "point"));
    for (const cJSON *row = rows ? rows->child : NULL; row && !code; row = row->next) {
        int32_t position;
        code = check_position(run, c, row, &position, st);
        code = code ? code : check_add_point(run, c, point, position, st);
    }
    return code;
}

static void compare_values(struct comparison *found, const cJSON *list, const float *row,
                           size_t first, size_t width, int32_t position, struct tolerance t)
{
    char item[64];
    size_t i = first;
    for (const cJSON *v = list ? list->child : NULL; v && i < width; v = v->next, i++) {
        (void)snprintf(item, sizeof item, "position %d, value %zu", (int)position, i);
        comparison_number(found, item, v->valuedouble, (double)row[i], t);
    }
}

static int values_judge(const struct run *run, struct check *c, struct status *st)
{
    (void)st;
    struct comparison found = {0};
    struct tolerance t = check_tolerance(run, c, "value");
    const cJSON *row = json_get(c->json, "rows")->child;
    for (size_t i = 0; i < c->n_reads; i++, row = row->next) {
        const struct engine_read *r = &c->reads[i];
        size_t width = r->shape[r->n_dims - 1];
        const cJSON *last = json_get(row, "last");
        size_t n = last ? (size_t)cJSON_GetArraySize(last) : 0;
        compare_values(&found, json_get(row, "first"), r->data, 0, width, c->rows[i], t);
        compare_values(&found, last, r->data, n < width ? width - n : 0, width, c->rows[i], t);
    }
    check_report(run, c, NULL, &found);
    return STATUS_OK;
}

/* --- equal: two names of the same rows -------------------------------------------------------- */

static int equal_open(struct check *c, const struct run *run, struct status *st)
{
    const cJSON *points = check_list(run, c, c->json, "points", st);
    int code = points ? check_make_reads(c, 2, st) : (int)st->code;
    for (int i = 0; i < 2 && !code; i++) {
        code = check_add_point(run, c, cJSON_GetStringValue(cJSON_GetArrayItem(points, i)), 0, st);
        c->reads[i].positions = NULL;
    }
    return code;
}

static int equal_judge(const struct run *run, struct check *c, struct status *st)
{
    (void)st;
    struct comparison found = {0};
    const struct engine_read *a = &c->reads[0], *b = &c->reads[1];
    size_t n = a->shape[0] * a->shape[1];
    bool same = n == b->shape[0] * b->shape[1] && memcmp(a->data, b->data, n * sizeof(float)) == 0;
    comparison_text(&found, "all values", "the same bits", same ? "the same bits" : "others");
    check_report(run, c, NULL, &found);
    return STATUS_OK;
}

/* --- generate: greedy, so that there is one answer -------------------------------------------- */

static int generate_open(struct check *c, const struct run *run, struct status *st)
{
    long long n;
    if (!json_integer(json_get(c->json, "n_tokens"), 1, 4096, &n)) {
        return check_corrupt(run, c, "n_tokens", "a whole number", st);
    }
    return json_get(c->json, "text") || check_list(run, c, c->json, "contains", st) ? STATUS_OK
                                                                                    : (int)st->code;
}

static int generate_text(const struct run *run, const struct check *c, struct text *out,
                         struct status *st)
{
    struct engine *e = run->app.engine;
    int32_t stop_ids[ENGINE_STOP_MAX];
    const struct generation_start start = {.ids = c->prompt.ids,
                                           .n_ids = c->prompt.n_ids,
                                           .edits = c->edits.items,
                                           .n_edits = c->edits.n};
    const struct generation_options options = {
        .starts = &start,
        .n_starts = 1,
        .n_tokens = (size_t)json_get(c->json, "n_tokens")->valuedouble,
        .stop_ids = stop_ids,
        .n_stop_ids = engine_stop_ids(e, false, stop_ids)};
    struct generation *g = NULL;
    bool more = true;
    int code = generation_open(&g, e, &options, st);
    while (!code && more) {
        code = generation_step(g, run->session, NULL, &more, st);
    }
    if (!code) {
        struct generation_text text = generation_text(g, 0);
        code = engine_decode(e, text.ids, text.n, out, st);
    }
    generation_close(g);
    return code;
}

static int generate_judge(const struct run *run, struct check *c, struct status *st)
{
    struct text text = {0};
    int code = generate_text(run, c, &text, st);
    if (!code) {
        struct comparison found = {0};
        const char *wanted = cJSON_GetStringValue(json_get(c->json, "text"));
        const char *got = text.data ? text.data : "";
        struct text any = {0};
        const cJSON *word;
        cJSON_ArrayForEach(word, json_get(c->json, "contains"))
        {
            const char *s = cJSON_IsString(word) ? word->valuestring : "";
            text_printf(&any, "%s\"%s\"", any.length ? " or " : "a text with ", s);
            wanted = !wanted && strstr(got, s) ? got : wanted;
        }
        comparison_text(&found, "text", wanted ? wanted : any.data, got);
        text_free(&any);
        check_report(run, c, NULL, &found);
    }
    text_free(&text);
    return code;
}

/* --- the table -------------------------------------------------------------------------------- */

const struct check_kind *golden_points_kind(const char *name)
{
    static const struct check_kind kinds[] = {
        {"tokens", tokens_open, tokens_judge},
        {"next", next_open, next_judge},
        {"lens", golden_lens_open, golden_lens_judge},
        {"values", values_open, values_judge},
        {"equal", equal_open, equal_judge},
        {"generate", generate_open, generate_judge},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}
