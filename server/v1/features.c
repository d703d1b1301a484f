#include "server/v1/features.h"

#include "core/base/memory.h"
#include "server/metrics.h"

#include <stdio.h>
#include <string.h>

static void features_free(void *state)
{
    struct features *f = state;
    job_free(f->await.job);
    for (size_t i = 0; f->rows && i < f->prompts.n * f->n_sources; i++) {
        sparse_free(&f->rows[i]);
    }
    memory_free(f->rows);
    memory_free(f->found);
    memory_free(f->sources);
    memory_free(f->options);
    prompts_free(&f->prompts);
    cJSON_Delete(f->body);
    memory_free(f);
}

struct features *features_create(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return NULL;
    }
    struct features *f = memory_zalloc(1, sizeof *f);
    if (!f) {
        struct status st;
        status_no_memory(&st, sizeof *f);
        cJSON_Delete(body);
        (void)exchange_fail(x, &st);
        return NULL;
    }
    f->body = body;
    f->fields.body = body;
    x->state = f;
    x->free_state = features_free;
    fields_model(&f->fields);
    return f;
}

const struct sae_source *features_find(struct features *features, const struct app *app,
                                       const char *name, const char *where)
{
    const struct sae_source *source = catalogue_find(engine_catalogue(app->engine), name);
    if (!source) {
        status_set(&features->fields.st, STATUS_NOT_FOUND,
                   "%s: there is no source \"%.120s\"; GET /v1/capabilities lists those there are",
                   where, name);
    }
    return source;
}

const struct sae_source *features_source(struct features *features, const struct app *app,
                                         const char *field)
{
    (void)fields_need(&features->fields, field);
    const char *name = fields_string(&features->fields, field);
    return name ? features_find(features, app, name, field) : NULL;
}

void features_add(struct features *features, const struct sae_source *source)
{
    if (features->fields.st.code || !source) {
        return;
    }
    for (size_t i = 0; i < features->n_sources; i++) {
        if (features->sources[i] == source) {
            return;
        }
    }
    size_t n = features->n_sources + 1;
    const struct sae_source **grown = memory_resize(features->sources, n, sizeof(void *));
    if (!grown) {
        status_no_memory(&features->fields.st, n * sizeof(void *));
        return;
    }
    grown[features->n_sources] = source;
    features->sources = grown;
    features->n_sources = n;
}

/* "20-gemmascope-res-16k" and not "20-gemmascope-res-16k__l0-38". */
static bool is_bare(const struct sae_source *source)
{
    return source->is_neurons || text_ends_with(source->name, source->source_set);
}

bool features_has_set(const struct app *app, const char *set)
{
    const struct catalogue *c = engine_catalogue(app->engine);
    for (size_t i = 0; i < c->n_sources + c->n_neurons; i++) {
        if (strcmp(catalogue_at(c, i)->source_set, set) == 0) {
            return true;
        }
    }
    return false;
}

void features_add_set(struct features *features, const struct app *app, const char *set)
{
    const struct catalogue *c = engine_catalogue(app->engine);
    for (size_t i = 0; i < c->n_sources + c->n_neurons; i++) {
        const struct sae_source *source = catalogue_at(c, i);
        if (strcmp(source->source_set, set) == 0 && is_bare(source)) {
            features_add(features, source);
        }
    }
}

void features_refuse_neurons(struct features *features, const struct sae_source *source)
{
    if (source && source->is_neurons && !features->fields.st.code) {
        status_set(
            &features->fields.st, STATUS_INVALID,
            "source: \"%.120s\" is the model's own neurons, which are active on every token; "
            "read %s.%d with POST /v1/trace",
            source->name, point_name(source->input), source->layer);
    }
}

void features_add_selected(struct features *features, const struct app *app, const char *field,
                           const cJSON *selected, const char *set)
{
    size_t i = 0;
    for (const cJSON *item = selected->child; item && !features->fields.st.code;
         item = item->next, i++) {
        char where[FIELDS_NAME];
        (void)snprintf(where, sizeof where, "%s[%zu]", field, i);
        if (!cJSON_IsString(item)) {
            status_set(&features->fields.st, STATUS_UNPROCESSABLE,
                       "%s: expected a string, found %s", where, fields_kind(item));
            return;
        }
        const struct sae_source *source = features_find(features, app, item->valuestring, where);
        if (source && strcmp(source->source_set, set) != 0) {
            status_set(&features->fields.st, STATUS_INVALID,
                       "%s: \"%.120s\" belongs to the source set \"%.120s\", not to \"%.120s\"",
                       where, source->name, source->source_set, set);
        }
        features_add(features, source);
    }
}

const struct sparse *features_rows(const struct features *features, size_t prompt, size_t source)
{
    return &features->rows[prompt * features->n_sources + source];
}

/* Rows from the database may have been written by anyone: one that does not fit counts as absent.
 */
static bool fits(const struct sparse *rows, size_t n_ids, size_t d_sae)
{
    if (rows->failed || rows->rows != n_ids) {
        return false;
    }
    for (size_t i = 0; i < rows->start[n_ids]; i++) {
        if (rows->index[i] >= d_sae) {
            return false;
        }
    }
    return true;
}

/* Looks for prompt p under source s; *found says whether its rows are now in f->rows. */
static int read_stored(struct features *f, const struct app *app, size_t p, size_t s, bool *found,
                       struct status *st)
{
    const struct prompt *prompt = &f->prompts.items[p];
    struct sparse rows = {0};
    int64_t source;
    *found = false;
    if (f->sources[s]->is_neurons) {
        return STATUS_OK;
    }
    int code = sources_row(app->sources, f->sources[s]->name, &source, st);
    if (!code) {
        code = store_read_activations(app->store, sources_model(app->sources), source, prompt->ids,
                                      prompt->n_ids, &rows, found, st);
    }
    *found = !code && *found && fits(&rows, prompt->n_ids, f->sources[s]->d_sae);
    if (*found) {
        f->rows[p * f->n_sources + s] = rows;
    } else {
        sparse_free(&rows);
    }
    return code;
}

static int read_all(struct features *f, const struct app *app, size_t *hits, struct status *st)
{
    for (size_t p = 0; p < f->prompts.n; p++) {
        for (size_t s = 0; s < f->n_sources; s++) {
            bool *found = &f->found[p * f->n_sources + s];
            int code = read_stored(f, app, p, s, found, st);
            if (code) {
                return code;
            }
            *hits += *found;
        }
    }
    return STATUS_OK;
}

/* Gives a prompt of the job its own ids and room for its reads. */
static bool fill_prompt(struct engine_prompt *out, const struct prompt *prompt, size_t n_reads)
{
    int32_t *ids = memory_alloc(prompt->n_ids, sizeof *ids);
    if (ids) {
        memcpy(ids, prompt->ids, prompt->n_ids * sizeof *ids);
    }
    out->ids = ids;
    out->n_ids = prompt->n_ids;
    out->reads = memory_zalloc(n_reads, sizeof *out->reads);
    return ids && out->reads;
}

/* A read for each source that is missing. */
static bool job_prompt(const struct features *f, size_t p, size_t missing,
                       struct engine_prompt *out)
{
    if (!fill_prompt(out, &f->prompts.items[p], missing)) {
        return false;
    }
    for (size_t s = 0; s < f->n_sources; s++) {
        if (!f->found[p * f->n_sources + s]) {
            bool whole = !f->no_store && !f->sources[s]->is_neurons; /* it will be kept */
            out->reads[out->n_reads++] = (struct engine_read){.kind = READ_FEATURES,
                                                              .source = f->sources[s]->name,
                                                              .only_one = f->only_one && !whole,
                                                              .entry = f->entry};
        }
    }
    return true;
}

static size_t count_missing(const struct features *f, size_t p)
{
    size_t missing = 0;
    for (size_t s = 0; s < f->n_sources; s++) {
        missing += !f->found[p * f->n_sources + s];
    }
    return missing;
}

/* One job for everything that is missing: a prompt wanted under several sources runs once. */
static int make_job(struct features *f, struct status *st)
{
    size_t n = 0;
    for (size_t p = 0; p < f->prompts.n; p++) {
        n += count_missing(f, p) > 0;
    }
    struct job *job = job_create(n);
    f->await.job = job;
    if (!job) {
        return status_no_memory(st, n * sizeof(struct engine_prompt));
    }
    job->keep = !f->no_store;
    size_t at = 0;
    for (size_t p = 0; p < f->prompts.n; p++) {
        size_t missing = count_missing(f, p);
        if (missing && !job_prompt(f, p, missing, &job->prompts[at++])) {
            return status_no_memory(st, f->prompts.items[p].n_ids * sizeof(int32_t));
        }
    }
    return STATUS_OK;
}

/* Puts the rows of what was missing where the stored ones are, in the order of make_job.
 *
 * They are read back: when two requests for one prompt were computed at once, in batches of
 * different shapes, their last bits may differ and the database keeps the first. Every answer is
 * to be what the next one will be. */
static enum http_next collect(struct exchange *x)
{
    struct features *f = x->state;
    struct engine_prompt *computed = f->await.job->prompts;
    for (size_t p = 0; p < f->prompts.n; p++) {
        if (!count_missing(f, p)) {
            continue;
        }
        size_t r = 0;
        for (size_t s = 0; s < f->n_sources; s++) {
            bool kept = false;
            if (f->found[p * f->n_sources + s]) {
                continue;
            }
            if (!f->no_store && read_stored(f, x->app, p, s, &kept, &f->fields.st)) {
                return exchange_fail(x, &f->fields.st);
            }
            if (!kept) { /* or a damaged row stands in its place */
                f->rows[p * f->n_sources + s] = computed->reads[r].features;
                computed->reads[r].features = (struct sparse){0};
            }
            r++;
        }
        computed++;
    }
    return f->reply(x, f);
}

/* Neurons are active on every token: what they take is known before. */
static int check_room(const struct features *f, const struct app *app, struct status *st)
{
    size_t tokens = 0, entries = 0;
    for (size_t p = 0; p < f->prompts.n; p++) {
        tokens += f->prompts.items[p].n_ids;
    }
    for (size_t s = 0; s < f->n_sources; s++) {
        size_t width = f->only_one ? 1 : f->sources[s]->d_sae;
        entries += f->sources[s]->is_neurons ? width : 0;
    }
    uint64_t bytes = (uint64_t)tokens * entries * (sizeof(uint32_t) + sizeof(float));
    return bytes <= app->reply_limit
               ? STATUS_OK
               : status_set(
                     st, STATUS_TOO_LARGE,
                     "%zu values of neurons on %zu tokens take %llu bytes, over the limit of "
                     "%llu (--reply-limit); ask for fewer layers or prompts at a time",
                     entries, tokens, (unsigned long long)bytes,
                     (unsigned long long)app->reply_limit);
}

static int prepare(struct features *f, const struct app *app, size_t *hits, struct status *st)
{
    size_t n;
    if (check_room(f, app, st)) {
        return (int)st->code;
    }
    if (!memory_multiply(f->prompts.n, f->n_sources, &n)) {
        return status_no_memory(st, SIZE_MAX);
    }
    f->rows = memory_zalloc(n, sizeof *f->rows);
    f->found = memory_zalloc(n, sizeof *f->found);
    if (!f->rows || !f->found) {
        return status_no_memory(st, n * sizeof *f->rows);
    }
    int code = read_all(f, app, hits, st);
    if (!code) {
        metrics_cache(app->metrics, *hits, n - *hits);
    }
    return !code && *hits < n ? make_job(f, st) : code;
}

enum http_next features_run(struct exchange *x,
                            enum http_next (*reply)(struct exchange *x, struct features *features))
{
    struct features *f = x->state;
    const struct app *app = x->app;
    size_t hits = 0;
    f->no_store = fields_bool(&f->fields, "no_store", false);
    if (f->fields.st.code || prepare(f, app, &hits, &f->fields.st)) {
        return exchange_fail(x, &f->fields.st);
    }
    f->reply = reply;
    f->await.reply = collect;
    exchange_header(x, "X-Darkmatter-Cache", "%s",
                    f->await.job == NULL ? "hit"
                    : hits               ? "partial"
                                         : "miss");
    return f->await.job ? await_job(x) : reply(x, f);
}

static int read_prompt(struct engine_prompt *out, const struct prompt *prompt,
                       const struct engine_read *reads, size_t n_reads, bool last_only,
                       const struct engine *engine, struct status *st)
{
    if (!fill_prompt(out, prompt, n_reads)) {
        return status_no_memory(st, prompt->n_ids * sizeof(int32_t));
    }
    for (size_t r = 0; r < n_reads; r++) {
        struct engine_read *read = &out->reads[out->n_reads++];
        *read = reads[r];
        if (last_only) {
            int32_t *last = memory_alloc(1, sizeof *last);
            if (!last) {
                return status_no_memory(st, sizeof *last);
            }
            *last = (int32_t)(prompt->n_ids - 1);
            read->positions = last;
            read->n_positions = 1;
        }
        uint64_t bytes;
        int code = engine_read_size(engine, out, read, &bytes, st);
        if (code) {
            return code;
        }
    }
    return STATUS_OK;
}

enum http_next features_read(struct exchange *x, const struct engine_read *reads, size_t n_reads,
                             bool last_only, enum http_next (*reply)(struct exchange *x))
{
    struct features *f = x->state;
    const struct app *app = x->app;
    struct status *st = &f->fields.st;
    if (!st->code) {
        f->await.job = job_create(f->prompts.n);
        if (!f->await.job) {
            status_no_memory(st, f->prompts.n * sizeof(struct engine_prompt));
        }
    }
    for (size_t p = 0; p < f->prompts.n && !st->code; p++) {
        (void)read_prompt(&f->await.job->prompts[p], &f->prompts.items[p], reads, n_reads,
                          last_only, app->engine, st);
    }
    if (st->code) {
        return exchange_fail(x, st);
    }
    f->await.reply = reply;
    return await_job(x);
}
