#include "server/api/neuron.h"

#include "core/base/memory.h"
#include "server/api/example.h"
#include "server/api/explained.h"
#include "server/api/record.h"
#include "server/store/explanations.h"

#include <string.h>

/* --- reading --------------------------------------------------------------------------------- */

struct imported {
    cJSON *line;
    struct status st;
};

static int take_line(void *user, const struct store_imported *line)
{
    struct imported *taken = user;
    (void)json_parse(&taken->line, line->line, strlen(line->line), "imported feature", &taken->st);
    return 1;
}

static int read_imported(struct neuron *neuron, struct status *st)
{
    struct imported taken = {0};
    const struct subject *s = neuron->subject;
    int code = store_imported_features(neuron->app->store, s->model, s->name, neuron->index,
                                       take_line, &taken, st);
    if (taken.st.code) {
        *st = taken.st;
        return (int)st->code;
    }
    neuron->imported = taken.line;
    if (taken.line) {
        status_clear(st); /* stopping is no error */
        return STATUS_OK;
    }
    return code;
}

/* A copy without examples, in the form of a page. */
struct row {
    struct neuron *neuron;
    bool failed;
};

static int take_feature(void *user, const struct store_feature *feature)
{
    struct row *row = user;
    struct store_feature_page *page = &row->neuron->page;
    char *label = memory_string(feature->label);
    row->failed = !label;
    row->neuron->found = label != NULL;
    page->feature = *feature;
    page->feature.label = label;
    page->memory = label;
    return 0;
}

static int read_row(struct neuron *neuron, struct status *st)
{
    struct row row = {.neuron = neuron};
    int code = store_visit_features(neuron->app->store, neuron->subject->row,
                                    (uint32_t)neuron->index, 1, take_feature, &row, st);
    return row.failed ? status_no_memory(st, 1) : code;
}

int neuron_read(struct neuron *neuron, const struct app *app, const struct subject *subject,
                int64_t index, bool examples, struct status *st)
{
    *neuron = (struct neuron){.app = app, .subject = subject, .index = index};
    int code = STATUS_OK;
    if (subject->indexed && examples) {
        code = store_read_feature(app->store, subject->row, (uint32_t)index, 0, &neuron->page,
                                  &neuron->found, st);
    } else if (subject->indexed) {
        code = read_row(neuron, st);
    }
    if (!code && neuron->found) {
        code = store_read_neighbours(app->store, subject->row, (uint32_t)index, subject->row,
                                     neuron->nearest, neuron->cosine,
                                     sizeof neuron->nearest / sizeof neuron->nearest[0],
                                     &neuron->n_nearest, st);
    }
    return code ? code : read_imported(neuron, st);
}

void neuron_free(struct neuron *neuron)
{
    if (neuron->found) {
        store_feature_page_free(&neuron->page);
    }
    cJSON_Delete(neuron->imported);
    *neuron = (struct neuron){0};
}

bool neuron_exists(const struct neuron *neuron)
{
    return neuron->found || neuron->imported || (neuron->subject && neuron->subject->source);
}

/* --- columns --------------------------------------------------------------------------------- */

static const struct store_feature *feature_of(const void *record)
{
    const struct neuron *neuron = record;
    return neuron->found ? &neuron->page.feature : NULL;
}

static void model_id(struct emitter *w, const void *record)
{
    emit_string(w, ((const struct neuron *)record)->subject->model);
}

static void layer(struct emitter *w, const void *record)
{
    emit_string(w, ((const struct neuron *)record)->subject->name);
}

static void index_text(struct emitter *w, const void *record)
{
    record_index(w, ((const struct neuron *)record)->index);
}

static void set_name(struct emitter *w, const void *record)
{
    char set[256];
    subject_set_name(((const struct neuron *)record)->subject->name, set, sizeof set);
    emit_string(w, set);
}

static void created_at(struct emitter *w, const void *record)
{
    const struct subject *s = ((const struct neuron *)record)->subject;
    if (s->indexed) {
        emit_string(w, s->dashboard.made_at);
    } else {
        emit_null(w);
    }
}

/* Not 0 for a source that was not indexed: 0 is a dead feature. */
static void maximum(struct emitter *w, const void *record)
{
    const struct neuron *neuron = record;
    const struct store_feature *f = feature_of(record);
    if (f) {
        emit_rounded(w, (double)f->maximum, 5);
    } else if (neuron->subject->indexed) {
        emit_int(w, 0);
    } else {
        emit_null(w);
    }
}

static void has_vector(struct emitter *w, const void *record)
{
    (void)record;
    emit_bool(w, false);
}

static void strength(struct emitter *w, const void *record)
{
    (void)record;
    emit_int(w, 10);
}

static void hook_name(struct emitter *w, const void *record)
{
    const struct subject *s = ((const struct neuron *)record)->subject;
    if (s->source) {
        emit_string(w, s->source->hook_name);
    } else {
        emit_null(w);
    }
}

static void nearest(struct emitter *w, const void *record)
{
    const struct neuron *neuron = record;
    emit_array(w);
    for (size_t i = 0; i < neuron->n_nearest; i++) {
        emit_int(w, neuron->nearest[i]);
    }
    emit_end_array(w);
}

static void cosines(struct emitter *w, const void *record)
{
    const struct neuron *neuron = record;
    emit_array(w);
    for (size_t i = 0; i < neuron->n_nearest; i++) {
        emit_float(w, neuron->cosine[i]);
    }
    emit_end_array(w);
}

static void write_tokens(struct emitter *w, const struct neuron *neuron, const int32_t *ids)
{
    struct text token = {0};
    emit_array(w);
    for (int i = 0; ids && i < DASHBOARD_LOGITS; i++) {
        text_clear(&token);
        engine_token_text(neuron->app->engine, ids[i], &token);
        emit_string_n(w, token.data ? token.data : "", token.length);
    }
    emit_end_array(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

static void write_values(struct emitter *w, const float *values)
{
    emit_array(w);
    for (int i = 0; values && i < DASHBOARD_LOGITS; i++) {
        emit_rounded(w, (double)values[i], 5);
    }
    emit_end_array(w);
}

static void negative_tokens(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_tokens(w, record, f && f->has_logits ? f->negative_ids : NULL);
}

static void negative_values(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_values(w, f && f->has_logits ? f->negative : NULL);
}

static void positive_tokens(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_tokens(w, record, f && f->has_logits ? f->positive_ids : NULL);
}

static void positive_values(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_values(w, f && f->has_logits ? f->positive : NULL);
}

static void fraction(struct emitter *w, const void *record)
{
    const struct neuron *neuron = record;
    emit_rounded(w, subject_fraction(neuron->subject, neuron->index), 5);
}

static void write_heights(struct emitter *w, const struct store_histogram *h)
{
    emit_array(w);
    for (uint32_t i = 0; h && i < h->n_bins; i++) {
        emit_int(w, h->count[i]);
    }
    emit_end_array(w);
}

/* The middle of each bin. */
static void write_middles(struct emitter *w, const struct store_histogram *h)
{
    emit_array(w);
    for (uint32_t i = 0; h && i < h->n_bins; i++) {
        double low = (double)h->low, width = ((double)h->high - low) / h->n_bins;
        emit_rounded(w, low + width * (i + 0.5), 5);
    }
    emit_end_array(w);
}

static void frequency_heights(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_heights(w, f ? &f->activations : NULL);
}

static void frequency_values(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_middles(w, f ? &f->activations : NULL);
}

static void logit_heights(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_heights(w, f && f->has_logits ? &f->logits : NULL);
}

static void logit_values(struct emitter *w, const void *record)
{
    const struct store_feature *f = feature_of(record);
    write_middles(w, f && f->has_logits ? &f->logits : NULL);
}

static const struct record_key columns[] = {
    {"modelId", "null", model_id, true},
    {"layer", "null", layer, true},
    {"index", "null", index_text, true},
    {"sourceSetName", "null", set_name, true},
    {"creatorId", "null", NULL, false},
    {"createdAt", "null", created_at, false},
    {"maxActApprox", "null", maximum, false},
    {"hasVector", "false", has_vector, false},
    {"vector", "[]", NULL, false},
    {"vectorLabel", "null", NULL, false},
    {"vectorDefaultSteerStrength", "10", strength, false},
    {"hookName", "null", hook_name, true},
    {"topkCosSimIndices", "[]", nearest, false},
    {"topkCosSimValues", "[]", cosines, false},
    {"neuron_alignment_indices", "[]", NULL, false},
    {"neuron_alignment_values", "[]", NULL, false},
    {"neuron_alignment_l1", "[]", NULL, false},
    {"correlated_neurons_indices", "[]", NULL, false},
    {"correlated_neurons_pearson", "[]", NULL, false},
    {"correlated_neurons_l1", "[]", NULL, false},
    {"correlated_features_indices", "[]", NULL, false},
    {"correlated_features_pearson", "[]", NULL, false},
    {"correlated_features_l1", "[]", NULL, false},
    {"neg_str", "[]", negative_tokens, false},
    {"neg_values", "[]", negative_values, false},
    {"pos_str", "[]", positive_tokens, false},
    {"pos_values", "[]", positive_values, false},
    {"frac_nonzero", "0", fraction, false},
    {"freq_hist_data_bar_heights", "[]", frequency_heights, false},
    {"freq_hist_data_bar_values", "[]", frequency_values, false},
    {"logits_hist_data_bar_heights", "[]", logit_heights, false},
    {"logits_hist_data_bar_values", "[]", logit_values, false},
    {"decoder_weights_dist", "[]", NULL, false},
    {"umap_cluster", "null", NULL, false},
    {"umap_log_feature_sparsity", "null", NULL, false},
    {"umap_x", "null", NULL, false},
    {"umap_y", "null", NULL, false},
};

/* --- objects --------------------------------------------------------------------------------- */

/* Upstream empties these before sending, because they are known to be wrong. */
static void drop_correlated(cJSON *line)
{
    static const char *const wrong[] = {"correlated_features_indices",
                                        "correlated_features_pearson", "correlated_features_l1"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        cJSON_DeleteItemFromObjectCaseSensitive(line, wrong[i]);
    }
}

static const cJSON *shown_line(const struct neuron *neuron)
{
    return neuron->subject->indexed ? NULL : neuron->imported;
}

static void write_extras(struct emitter *w, const struct neuron *neuron)
{
    const struct store_feature *f = feature_of(neuron);
    const struct subject *s = neuron->subject;
    emit_key(w, "indexed");
    emit_bool(w, s->indexed);
    emit_key(w, "origin");
    if (s->indexed) {
        emit_string(w, "here");
    } else if (neuron->imported) {
        emit_string(w, "imported");
    } else {
        emit_null(w);
    }
    emit_key(w, "count");
    if (s->indexed) {
        emit_int(w, f ? f->count : 0);
    } else {
        emit_null(w);
    }
    if (s->source && s->source->is_neurons) {
        example_write_minimum(w, &neuron->page);
    }
    emit_key(w, "label");
    emit_string(w, f && f->label ? f->label : "");
}

int neuron_write(struct emitter *w, const struct neuron *neuron, struct status *st)
{
    drop_correlated(neuron->imported);
    record_write(w, columns, sizeof columns / sizeof *columns, neuron, shown_line(neuron));
    write_extras(w, neuron);
    emit_key(w, "explanations");
    return explained_write(w, neuron->app, neuron->subject, neuron->index, NULL, st);
}

int neuron_write_activations(struct emitter *w, const struct neuron *neuron, size_t limit,
                             struct status *st)
{
    emit_key(w, "activations");
    if (!neuron->subject->indexed) {
        return example_write_imported(w, neuron->app, neuron->subject, neuron->index, limit, NULL,
                                      st);
    }
    example_write(w, neuron->app, neuron->subject, neuron->index, &neuron->page, limit);
    return STATUS_OK;
}

int neuron_write_imported(struct emitter *w, const struct neuron *neuron, struct status *st)
{
    emit_key(w, "imported");
    if (!neuron->imported || !neuron->subject->indexed) {
        emit_null(w);
        return STATUS_OK;
    }
    drop_correlated(neuron->imported);
    emit_object(w);
    record_write(w, columns, sizeof columns / sizeof *columns, neuron, neuron->imported);
    emit_key(w, "origin");
    emit_string(w, "imported");
    emit_key(w, "activations");
    int code = example_write_imported(w, neuron->app, neuron->subject, neuron->index, NEURON_ALL,
                                      NULL, st);
    emit_end_object(w);
    return code;
}

int neuron_write_short(struct emitter *w, const struct neuron *neuron, struct status *st)
{
    static const char *const wanted[] = {"modelId",       "layer",        "index",
                                         "sourceSetName", "maxActApprox", "frac_nonzero"};
    emit_object(w);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        for (size_t j = 0; j < sizeof wanted / sizeof *wanted; j++) {
            if (strcmp(columns[i].name, wanted[j]) == 0) {
                record_write(w, &columns[i], 1, neuron, shown_line(neuron));
            }
        }
    }
    write_extras(w, neuron);
    emit_key(w, "explanations");
    int code = explained_write(w, neuron->app, neuron->subject, neuron->index, NULL, st);
    emit_end_object(w);
    return code;
}
