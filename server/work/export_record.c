#include "server/work/export_record.h"

#include "core/base/json.h"
#include "server/http/emit.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { DECIMALS = 5 };

/* The same in every Gemma; asked for only where there is no tokenizer to ask. */
enum { GEMMA_PAD = 0, GEMMA_EOS = 1, GEMMA_BOS = 2 };

void export_set_name(const char *source, struct text *out)
{
    const char *dash = strchr(source, '-');
    const char *set = dash ? dash + 1 : source;
    const char *end = strstr(set, "__");
    text_append(out, set, end ? (size_t)(end - set) : strlen(set));
}

/* --- columns ---------------------------------------------------------------------------------- */

static void put_string(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    emit_string(w, value);
}

/* "" stands for null in our tables. */
static void put_optional(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    if (*value) {
        emit_string(w, value);
    } else {
        emit_null(w);
    }
}

static void put_number(struct emitter *w, const char *key, double value)
{
    emit_key(w, key);
    emit_rounded(w, value, DECIMALS);
}

static void put_index(struct emitter *w, int64_t index)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRId64, index);
    put_string(w, "index", text);
}

static void put_blank(struct emitter *w, const char *const *keys, const char *json)
{
    for (; *keys; keys++) {
        emit_key(w, *keys);
        emit_raw(w, json, strlen(json));
    }
}

static void put_tokens(struct emitter *w, const char *key, const struct engine *engine,
                       const int32_t *ids, size_t n)
{
    struct text token = {0};
    emit_key(w, key);
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        text_clear(&token);
        if (engine) {
            engine_token_text(engine, ids[i], &token);
        } else {
            text_printf(&token, "<id:%" PRId32 ">", ids[i]);
        }
        emit_string_n(w, token.data ? token.data : "", token.length);
    }
    emit_end_array(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

static void put_values(struct emitter *w, const char *key, const float *values, size_t n)
{
    emit_key(w, key);
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        emit_rounded(w, (double)values[i], DECIMALS);
    }
    emit_end_array(w);
}

/* Heights are counts, values the middles of the bins. */
static void put_histogram(struct emitter *w, const char *heights, const char *values,
                          const struct store_histogram *h)
{
    emit_key(w, heights);
    emit_array(w);
    for (uint32_t i = 0; i < h->n_bins; i++) {
        emit_int(w, h->count[i]);
    }
    emit_end_array(w);
    emit_key(w, values);
    emit_array(w);
    for (uint32_t i = 0; i < h->n_bins; i++) {
        double low = (double)h->low;
        double width = ((double)h->high - low) / h->n_bins;
        emit_rounded(w, low + width * (i + 0.5), DECIMALS);
    }
    emit_end_array(w);
}

/* --- features --------------------------------------------------------------------------------- */

/* Neuronpedia keeps what "%.3f%%" prints. */
static double fraction(const struct export_source *s, int64_t count)
{
    int64_t tokens = s->dashboard->tokens;
    char percent[64];
    (void)snprintf(percent, sizeof percent, "%.3f",
                   tokens ? 100.0 * (double)count / (double)tokens : 0.0);
    double value = 0;
    (void)sscanf(percent, "%lf", &value); // NOLINT(cert-err34-c): our own digits
    return value / 100;
}

void export_feature(struct text *out, const struct export_source *s,
                    const struct store_feature *feature)
{
    static const char *const nulls[] = {"vectorLabel", "hookName", NULL};
    static const char *const lists[] = {"vector",
                                        "topkCosSimIndices",
                                        "topkCosSimValues",
                                        "neuron_alignment_indices",
                                        "neuron_alignment_values",
                                        "neuron_alignment_l1",
                                        "correlated_neurons_indices",
                                        "correlated_neurons_pearson",
                                        "correlated_neurons_l1",
                                        "correlated_features_indices",
                                        "correlated_features_pearson",
                                        "correlated_features_l1",
                                        "decoder_weights_dist",
                                        NULL};
    size_t logits = feature->has_logits ? DASHBOARD_LOGITS : 0;
    struct emitter w = {.out = out};
    emit_object(&w);
    put_string(&w, "modelId", s->model);
    put_string(&w, "layer", s->source);
    put_index(&w, feature->index);
    put_string(&w, "sourceSetName", s->set);
    put_string(&w, "createdAt", s->dashboard->made_at);
    put_number(&w, "maxActApprox", (double)feature->maximum);
    emit_key(&w, "hasVector");
    emit_bool(&w, false);
    put_number(&w, "vectorDefaultSteerStrength", 10);
    put_blank(&w, nulls, "null");
    put_blank(&w, lists, "[]");
    put_tokens(&w, "neg_str", s->engine, feature->negative_ids, logits);
    put_values(&w, "neg_values", feature->negative, logits);
    put_tokens(&w, "pos_str", s->engine, feature->positive_ids, logits);
    put_values(&w, "pos_values", feature->positive, logits);
    put_number(&w, "frac_nonzero", fraction(s, feature->count));
    put_histogram(&w, "freq_hist_data_bar_heights", "freq_hist_data_bar_values",
                  &feature->activations);
    put_histogram(&w, "logits_hist_data_bar_heights", "logits_hist_data_bar_values",
                  &feature->logits);
    emit_end_object(&w);
}

/* --- activations ------------------------------------------------------------------------------ */

static bool is_counted(int32_t id, const int32_t *uncounted, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        if (id == uncounted[i]) {
            return false;
        }
    }
    return true;
}

struct shown {
    size_t first; /* 1 where the text begins with <bos> */
    double max, min;
    size_t argmax; /* counted from first */
};

/* The values, 0 where no statistic counts them, and their extremes. */
static struct shown put_activations(struct emitter *w, const struct export_source *s,
                                    const struct store_example *e)
{
    int32_t uncounted[ENGINE_UNCOUNTED] = {GEMMA_BOS, GEMMA_EOS, GEMMA_PAD};
    size_t n_uncounted = s->engine ? engine_uncounted(s->engine, uncounted) : ENGINE_UNCOUNTED;
    int32_t bos = s->engine ? engine_bos(s->engine) : GEMMA_BOS;
    struct shown shown = {.first = e->n_tokens > 1 && e->ids[0] == bos};
    emit_key(w, "values");
    emit_array(w);
    for (size_t i = shown.first; i < e->n_tokens; i++) {
        double value = is_counted(e->ids[i], uncounted, n_uncounted) ? (double)e->along[i] : 0.0;
        if (i == shown.first || value > shown.max) {
            shown.max = value;
            shown.argmax = i - shown.first;
        }
        shown.min = i == shown.first || value < shown.min ? value : shown.min;
        emit_rounded(w, value, DECIMALS);
    }
    emit_end_array(w);
    return shown;
}

/* The corpus's name, where there is only one that it can be. */
static void put_data_source(struct emitter *w, const struct store_dashboard *dashboard)
{
    cJSON *names = cJSON_Parse(dashboard->corpora);
    const char *only = cJSON_GetArraySize(names) == 1 ? cJSON_GetStringValue(names->child) : NULL;
    put_optional(w, "dataSource", only ? only : "");
    cJSON_Delete(names);
}

void export_activation(struct text *out, const struct export_source *s, uint32_t index,
                       const struct store_example *example)
{
    static const char *const nulls[] = {"dfaTargetIndex", "dfaMaxValue", "creatorId",
                                        "logitContributions", NULL};
    static const char *const lists[] = {"dfaValues", "zQIndices",  "zKIndices",
                                        "zValues",   "lossValues", NULL};
    const struct store_example *e = example;
    struct emitter w = {.out = out};
    struct text id = {0};
    char document[24];
    text_printf(&id, "%s:%s:%" PRIu32 ":%d:%d", s->model, s->source, index, e->part, e->place);
    (void)snprintf(document, sizeof document, "%" PRId64, e->document);
    emit_object(&w);
    put_string(&w, "id", id.data ? id.data : "");
    put_string(&w, "modelId", s->model);
    put_string(&w, "layer", s->source);
    put_index(&w, index);
    put_string(&w, "dataIndex", document);
    put_data_source(&w, s->dashboard);
    struct shown shown = put_activations(&w, s, e);
    put_tokens(&w, "tokens", s->engine, e->ids + shown.first, e->n_tokens - shown.first);
    put_number(&w, "maxValue", shown.max);
    emit_key(&w, "maxValueTokenIndex");
    emit_int(&w, (long long)shown.argmax);
    put_number(&w, "minValue", shown.min);
    put_string(&w, "createdAt", s->dashboard->made_at);
    put_number(&w, "binMin", (double)e->bin_min);
    put_number(&w, "binMax", (double)e->bin_max);
    emit_key(&w, "binContains");
    emit_double(&w, e->bin_contains);
    emit_key(&w, "qualifyingTokenIndex");
    emit_int(&w, (long long)e->position - (long long)shown.first);
    put_blank(&w, nulls, "null");
    put_blank(&w, lists, "[]");
    emit_end_object(&w);
    out->failed = out->failed || id.failed;
    text_free(&id);
}

/* --- explanations ----------------------------------------------------------------------------- */

void export_explanation(struct text *out, const struct store_explanation *explanation)
{
    const struct store_explanation *e = explanation;
    struct emitter w = {.out = out};
    emit_object(&w);
    put_string(&w, "id", e->id);
    put_string(&w, "modelId", e->model);
    put_string(&w, "layer", e->source);
    put_index(&w, e->index);
    put_string(&w, "description", e->description);
    put_optional(&w, "authorId", e->author);
    put_optional(&w, "typeName", e->type_name);
    put_optional(&w, "explanationModelName", e->explainer);
    put_optional(&w, "notes", e->notes);
    put_optional(&w, "createdAt", e->created_at);
    /* Columns that came with an import stand as they came. */
    size_t n = strlen(e->other);
    if (n > 2 && e->other[0] == '{') {
        text_char(out, ',');
        text_append(out, e->other + 1, n - 2);
    }
    emit_end_object(&w);
}
