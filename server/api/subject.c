#include "server/api/subject.h"

#include "core/base/memory.h"
#include "server/api/record.h"
#include "server/store/explanations.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- names ----------------------------------------------------------------------------------- */

int subject_check_model(const struct app *app, const char *model, struct status *st)
{
    const char *served = engine_model_id(app->engine);
    if (strcmp(model, served) == 0) {
        return STATUS_OK;
    }
    return status_set(st, STATUS_NOT_FOUND,
                      "there is no model \"%.120s\" here; this server runs \"%.120s\"", model,
                      served);
}

static int stop_at_explanation(void *user, const struct store_explanation *e)
{
    (void)e;
    *(bool *)user = true;
    return 1;
}

static int stop_at_line(void *user, const struct store_imported *line)
{
    (void)line;
    *(bool *)user = true;
    return 1;
}

/* Whether explanations or imported files speak of the source. */
static int is_known(const struct app *app, const char *model, const char *source, bool *known,
                    struct status *st)
{
    *known = false;
    (void)store_explanations(app->store, model, source, -1, stop_at_explanation, known, st);
    if (!*known && !st->code) {
        (void)store_imported_features(app->store, model, source, -1, stop_at_line, known, st);
    }
    if (*known) {
        status_clear(st); /* stopping is no error */
    }
    return (int)st->code;
}

int subject_open(struct subject *s, const struct app *app, const char *model, const char *source,
                 struct status *st)
{
    *s = (struct subject){.model = engine_model_id(app->engine)};
    status_clear(st);
    int code = subject_check_model(app, model, st);
    if (code) {
        return code;
    }
    s->name = memory_string(source);
    if (!s->name) {
        return status_no_memory(st, strlen(source));
    }
    s->source = catalogue_find(engine_catalogue(app->engine), source);
    if (s->source) {
        code = sources_row(app->sources, source, &s->row, st);
        return code ? code
                    : store_read_dashboard(app->store, s->row, &s->dashboard, &s->indexed, st);
    }
    bool known;
    code = is_known(app, s->model, source, &known, st);
    if (!code && !known) {
        code = status_set(st, STATUS_NOT_FOUND,
                          "there is no source \"%.120s\" of \"%.120s\" here; GET /v1/capabilities "
                          "lists those there are",
                          source, s->model);
    }
    return code;
}

void subject_close(struct subject *s)
{
    if (s->indexed) {
        store_dashboard_free(&s->dashboard);
    }
    memory_free(s->name);
    *s = (struct subject){0};
}

void subject_check_model_field(const struct app *app, struct fields *f)
{
    (void)fields_need(f, "model_id");
    const char *model = fields_string(f, "model_id");
    if (model && !f->st.code) {
        (void)subject_check_model(app, model, &f->st);
    }
}

const char *subject_name_field(struct fields *f)
{
    const char *field = fields_get(f, "source") || !fields_get(f, "layer") ? "source" : "layer";
    (void)fields_need(f, field);
    return fields_string(f, field);
}

void subject_open_fields(struct subject *s, const struct app *app, struct fields *f)
{
    *s = (struct subject){0};
    subject_check_model_field(app, f);
    const char *source = subject_name_field(f);
    if (!f->st.code) {
        (void)subject_open(s, app, engine_model_id(app->engine), source, &f->st);
    }
}

int subject_need_sae(const struct subject *s, struct status *st)
{
    if (s->source) {
        return STATUS_OK;
    }
    return status_set(st, STATUS_NOT_FOUND,
                      "the files of \"%.120s\" are not here, only what was imported about it",
                      s->name);
}

int subject_index(const struct subject *s, const char *text, int64_t *index, struct status *st)
{
    size_t digits = strspn(text, "0123456789");
    if (digits == 0 || digits > 9 || text[digits]) {
        return status_set(st, STATUS_INVALID, "index: expected a whole number, found \"%.40s\"",
                          text);
    }
    *index = strtoll(text, NULL, 10);
    if (s->source && (size_t)*index >= s->source->d_sae) {
        return status_set(st, STATUS_NOT_FOUND,
                          "index: \"%.120s\" has the features 0 to %zu, there is no %lld", s->name,
                          s->source->d_sae - 1, (long long)*index);
    }
    return STATUS_OK;
}

int64_t subject_index_field(const struct subject *s, struct fields *f)
{
    char text[32];
    int64_t index = 0;
    long long number;
    const cJSON *value = fields_need(f, "index");
    if (!value) {
        return 0;
    }
    if (cJSON_IsString(value)) {
        (void)subject_index(s, value->valuestring, &index, &f->st);
    } else if (json_integer(value, 0, 999999999, &number)) {
        (void)snprintf(text, sizeof text, "%lld", number);
        (void)subject_index(s, text, &index, &f->st);
    } else if (fields_is_whole(value)) {
        status_set(&f->st, STATUS_INVALID, "index: expected a whole number from 0, found %.15g",
                   value->valuedouble);
    } else {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "index: expected a whole number or a string of digits, found %s",
                   fields_kind(value));
    }
    return index;
}

double subject_fraction(const struct subject *s, int64_t index)
{
    if (!s->indexed || s->dashboard.tokens <= 0 || (size_t)index >= s->dashboard.d_sae) {
        return 0;
    }
    char percent[48];
    double fraction = (double)s->dashboard.counts[index] / (double)s->dashboard.tokens;
    (void)snprintf(percent, sizeof percent, "%.3f", 100 * fraction);
    return strtod(percent, NULL) / 100;
}

double subject_threshold_field(struct fields *f, double fallback)
{
    const cJSON *value = fields_get(f, "density_threshold");
    if (!value) {
        return fallback;
    }
    if (!cJSON_IsNumber(value)) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "density_threshold: expected a number, found %s",
                   fields_kind(value));
        return fallback;
    }
    double threshold = value->valuedouble;
    if (threshold < 0 ? threshold > -1 || threshold < -1 : !(threshold > 0 && threshold < 1)) {
        status_set(&f->st, STATUS_INVALID,
                   "density_threshold: expected -1 (no limit) or a fraction between 0 and 1, found "
                   "%.15g",
                   threshold);
    }
    return threshold;
}

bool subject_is_denser(const struct subject *s, int64_t index, double threshold)
{
    /* Neurons are active on every token: how dense they are says nothing. */
    bool counts = threshold >= 0 && !(s->source && s->source->is_neurons);
    return counts && subject_fraction(s, index) > threshold;
}

void subject_set_name(const char *source, char *set, size_t size)
{
    const char *dash = strchr(source, '-');
    const char *start = dash ? dash + 1 : "neurons"; /* a layer alone is its neurons */
    const char *suffix = strstr(start, "__");
    size_t n = suffix ? (size_t)(suffix - start) : strlen(start);
    (void)snprintf(set, size, "%.*s", (int)(n < 1000 ? n : 1000), start);
}

/* --- objects --------------------------------------------------------------------------------- */

static void write_string(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    emit_string(w, value);
}

static void write_bool(struct emitter *w, const char *key, bool value)
{
    emit_key(w, key);
    emit_bool(w, value);
}

static void write_int(struct emitter *w, const char *key, int64_t value)
{
    emit_key(w, key);
    emit_int(w, value);
}

void subject_write_model(struct emitter *w, const struct app *app)
{
    const struct gemma_config *config = engine_config(app->engine);
    static const char *const blank[] = {"creatorId", "createdAt", "updatedAt",
                                        "website",   "dimension", "thinking",
                                        "owner",     "tlensId",   NULL};
    const char *id = engine_model_id(app->engine);
    emit_object(w);
    write_string(w, "id", id);
    write_string(w, "displayName", id);
    write_string(w, "displayNameShort", id);
    write_int(w, "layers", (int64_t)config->n_layers);
    write_int(w, "neuronsPerLayer", (int64_t)config->intermediate_size);
    write_bool(w, "instruct", text_ends_with(id, "-it"));
    write_bool(w, "inferenceEnabled", true);
    write_string(w, "visibility", "PUBLIC");
    record_blank(w, blank, "null");
    emit_end_object(w);
}

/* What the SAE's file says; null for a source that only imported files speak of. */
static void write_config(struct emitter *w, const struct sae_source *source)
{
    if (!source) {
        emit_null(w);
        return;
    }
    emit_object(w);
    write_string(w, "architecture", sae_architecture_name(source->architecture));
    write_int(w, "d_in", (int64_t)source->d_in);
    write_int(w, "d_out", (int64_t)source->d_out);
    write_int(w, "d_sae", (int64_t)source->d_sae);
    write_string(w, "hook_name", source->hook_name);
    write_int(w, "hook_layer", source->layer);
    write_string(w, "point", point_name(source->input));
    write_string(w, "output_point", point_name(source->output));
    write_bool(w, "transcoder", source->is_transcoder);
    write_string(w, "l0", source->l0);
    emit_end_object(w);
}

/* "a, b" of the JSON list of names. */
static void write_dataset(struct emitter *w, const char *corpora)
{
    struct text joined = {0};
    cJSON *list = cJSON_Parse(corpora);
    for (const cJSON *name = list ? list->child : NULL; name; name = name->next) {
        text_string(&joined, joined.length ? ", " : "");
        text_string(&joined, cJSON_IsString(name) ? name->valuestring : "");
    }
    emit_string_n(w, joined.data ? joined.data : "", joined.length);
    w->out->failed = w->out->failed || joined.failed;
    text_free(&joined);
    cJSON_Delete(list);
}

void subject_write_source(struct emitter *w, const struct subject *s)
{
    static const char *const blank[] = {
        "saelensRelease", "saelensSaeId",        "hfRepoId",           "hfFolderId",       "notes",
        "creatorId",      "cosSimMatchSourceId", "cosSimMatchModelId", "defaultOfModelId", NULL};
    char set[256];
    subject_set_name(s->name, set, sizeof set);
    emit_object(w);
    write_string(w, "id", s->name);
    write_string(w, "modelId", s->model);
    write_string(w, "setName", set);
    write_bool(w, "hasDashboards", s->indexed);
    write_bool(w, "inferenceEnabled", s->source != NULL);
    emit_key(w, "saelensConfig");
    write_config(w, s->source);
    write_string(w, "visibility", "PUBLIC");
    write_bool(w, "hasUmap", false);
    write_bool(w, "hasUmapLogSparsity", false);
    write_bool(w, "hasUmapClusters", false);
    if (s->indexed) {
        write_int(w, "num_prompts", s->dashboard.documents);
        write_int(w, "num_tokens_in_prompt", s->dashboard.context);
        emit_key(w, "dataset");
        write_dataset(w, s->dashboard.corpora);
        write_string(w, "createdAt", s->dashboard.made_at);
    } else {
        static const char *const unknown[] = {"num_prompts", "num_tokens_in_prompt", "dataset",
                                              "createdAt", NULL};
        record_blank(w, unknown, "null");
    }
    record_blank(w, blank, "null");
    emit_end_object(w);
}

void subject_write_set(struct emitter *w, const struct app *app, const char *set, bool dashboards)
{
    static const char *const blank[] = {
        "creatorId",        "creatorEmail", "createdAt", "defaultRange",
        "defaultOfModelId", "releaseName",  "urls",      NULL};
    write_string(w, "modelId", engine_model_id(app->engine));
    write_string(w, "name", set);
    write_string(w, "description", "");
    write_string(w, "type", "");
    write_string(w, "creatorName", "");
    write_string(w, "visibility", "PUBLIC");
    write_bool(w, "hasDashboards", dashboards);
    write_bool(w, "allowInferenceSearch", true);
    record_blank(w, blank, "null");
}
