#include "server/work/export_lines.h"

#include "server/http/emit.h"
#include "server/work/export_files.h"
#include "server/work/export_record.h"

#include <string.h>

struct exporter {
    struct store *store;
    int64_t row; /* of the source; 0: no dashboard of our own */
    struct store_dashboard dashboard;
    struct text set;
    struct export_source source;
    struct export_files features, activations, explanations;
    struct text line;
    struct status st; /* of a visit */
};

static int put_line(struct export_files *files, const struct text *line, struct status *st)
{
    return line->failed ? status_no_memory(st, line->length)
                        : export_line(files, line->data, line->length, st);
}

/* --- our own dashboard ------------------------------------------------------------------------ */

static int put_feature(struct exporter *x, uint32_t index, struct status *st)
{
    struct store_feature_page page;
    bool found;
    int code = store_read_feature(x->store, x->row, index, 0, &page, &found, st);
    if (code || !found) {
        return code;
    }
    text_clear(&x->line);
    export_feature(&x->line, &x->source, &page.feature);
    code = put_line(&x->features, &x->line, st);
    for (size_t i = 0; i < page.n_examples && !code; i++) {
        text_clear(&x->line);
        export_activation(&x->line, &x->source, index, &page.examples[i]);
        code = put_line(&x->activations, &x->line, st);
    }
    store_feature_page_free(&page);
    return code;
}

static int put_dashboard(struct exporter *x, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < x->dashboard.d_sae && !code; i++) {
        code = put_feature(x, (uint32_t)i, st);
    }
    return code;
}

/* --- what others made ------------------------------------------------------------------------- */

static int put_imported_feature(void *user, const struct store_imported *line)
{
    struct exporter *x = user;
    return export_line(&x->features, line->line, strlen(line->line), &x->st);
}

static int put_imported_activation(void *user, const struct store_imported *line)
{
    struct exporter *x = user;
    return export_line(&x->activations, line->line, strlen(line->line), &x->st);
}

static int put_explanation(void *user, const struct store_explanation *e)
{
    struct exporter *x = user;
    text_clear(&x->line);
    export_explanation(&x->line, e);
    return put_line(&x->explanations, &x->line, &x->st);
}

/* The status of a visit that stopped, else the store's. */
static int visited(struct exporter *x, int code, struct status *st)
{
    if (x->st.code) {
        *st = x->st;
        code = (int)st->code;
    }
    return code;
}

static int put_imported(struct exporter *x, struct status *st)
{
    const struct export_source *s = &x->source;
    int code =
        store_imported_features(x->store, s->model, s->source, -1, put_imported_feature, x, st);
    code = visited(x, code, st);
    if (!code) {
        code = store_imported_examples(x->store, s->model, s->source, -1, put_imported_activation,
                                       x, st);
        code = visited(x, code, st);
    }
    return code;
}

static int put_explanations(struct exporter *x, struct status *st)
{
    const struct export_source *s = &x->source;
    int code = store_explanations(x->store, s->model, s->source, -1, put_explanation, x, st);
    return visited(x, code, st);
}

/* --- the small files -------------------------------------------------------------------------- */

static void put_member(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    emit_string(w, value);
}

static void put_count(struct emitter *w, const char *key, int64_t value)
{
    emit_key(w, key);
    emit_int(w, value);
}

static void write_model(struct emitter *w, const struct exporter *x)
{
    put_member(w, "id", x->source.model);
    put_member(w, "displayName", x->source.model);
    put_member(w, "displayNameShort", x->source.model);
}

static void write_set(struct emitter *w, const struct exporter *x)
{
    put_member(w, "modelId", x->source.model);
    put_member(w, "name", x->source.set);
    put_member(w, "description", "");
}

static void write_source(struct emitter *w, const struct exporter *x)
{
    put_member(w, "id", x->source.source);
    put_member(w, "modelId", x->source.model);
    put_member(w, "setName", x->source.set);
    emit_key(w, "hasDashboards");
    emit_bool(w, x->features.lines > 0);
    if (x->row) {
        put_count(w, "num_prompts", x->dashboard.documents);
        put_count(w, "num_tokens_in_prompt", x->dashboard.context);
        put_member(w, "dataset", x->dashboard.corpora);
    }
}

static int put_small_files(struct exporter *x, const char *folder, struct status *st)
{
    static const struct {
        const char *name;
        void (*write)(struct emitter *w, const struct exporter *x);
    } files[] = {{"model.jsonl", write_model},
                 {"sourceset.jsonl", write_set},
                 {"source.jsonl", write_source}};
    int code = STATUS_OK;
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !code; i++) {
        struct emitter w = {.out = &x->line};
        text_clear(&x->line);
        emit_object(&w);
        files[i].write(&w, x);
        emit_end_object(&w);
        text_char(&x->line, '\n');
        code = export_file(folder, files[i].name, &x->line, st);
    }
    return code;
}

/* --- all of it -------------------------------------------------------------------------------- */

static int open_source(struct exporter *x, struct status *st)
{
    const struct export_source *s = &x->source;
    bool found;
    export_set_name(s->source, &x->set);
    if (x->set.failed) {
        return status_no_memory(st, strlen(s->source));
    }
    x->source.set = x->set.data ? x->set.data : "";
    int code = store_find_dashboard(x->store, s->model, s->source, &x->row, &found, st);
    if (!code && found) {
        code = store_read_dashboard(x->store, x->row, &x->dashboard, &found, st);
    }
    return code;
}

static int put_all(struct exporter *x, const char *folder, struct status *st)
{
    int code = x->row ? put_dashboard(x, st) : put_imported(x, st);
    code = code ? code : put_explanations(x, st);
    if (!code && x->features.lines + x->activations.lines + x->explanations.lines == 0) {
        code = status_set(st, STATUS_NOT_FOUND,
                          "the database has nothing of source \"%.120s\" of model \"%.120s\": "
                          "another name is given with --source and --model-id",
                          x->source.source, x->source.model);
    }
    return code ? code : put_small_files(x, folder, st);
}

int export_lines(struct store *store, const struct engine *engine, const char *model,
                 const char *source, const char *folder, struct export_figures *figures,
                 struct status *st)
{
    struct exporter x = {.store = store,
                         .source = {.engine = engine, .model = model, .source = source},
                         .features = {.folder = folder, .kind = "features"},
                         .activations = {.folder = folder, .kind = "activations"},
                         .explanations = {.folder = folder, .kind = "explanations"}};
    x.source.dashboard = &x.dashboard;
    int code = export_folder(folder, st);
    code = code ? code : open_source(&x, st);
    code = code ? code : put_all(&x, folder, st);
    code = export_end(&x.features, code, st);
    code = export_end(&x.activations, code, st);
    code = export_end(&x.explanations, code, st);
    *figures = (struct export_figures){.is_imported = x.row == 0,
                                       .features = x.features.lines,
                                       .activations = x.activations.lines,
                                       .explanations = x.explanations.lines};
    store_dashboard_free(&x.dashboard);
    text_free(&x.set);
    text_free(&x.line);
    return code;
}
