/* Checks of SAEs: an SAE's strongest features of one position, one feature along a text. */
#include "core/base/memory.h"
#include "server/command/golden_private.h"

#include <stdio.h>
#include <string.h>

static int source_open(struct check *c, const struct run *run, struct status *st)
{
    if (!c->source) {
        return check_corrupt(run, c, "source", "the name of an SAE", st);
    }
    int code = check_make_reads(c, 1, st);
    if (!code) {
        c->reads[0] = (struct engine_read){.kind = READ_FEATURES, .source = c->source->name};
        c->n_reads = 1;
    }
    return code;
}

static int features_open(struct check *c, const struct run *run, struct status *st)
{
    int code = check_table(run, c, json_get(c->json, "top"), 1, 1, st);
    return code ? code : source_open(c, run, st);
}

static double activation(const struct sparse *f, size_t row, long long index)
{
    for (size_t k = f->start[row]; k < f->start[row + 1]; k++) {
        if (f->index[k] == (uint32_t)index) {
            return (double)f->value[k];
        }
    }
    return 0.0;
}

static int features_judge(const struct run *run, struct check *c, struct status *st)
{
    (void)st;
    struct comparison found = {0};
    struct tolerance t = check_tolerance(run, c, "activation");
    const struct sparse *f = &c->reads[0].features;
    const cJSON *table = json_get(c->json, "top");
    size_t row = (size_t)c->position;
    double last = 0.0;
    char item[64];
    const cJSON *line;
    cJSON_ArrayForEach(line, table)
    {
        long long index = (long long)line->child->valuedouble;
        last = line->child->next->valuedouble;
        (void)snprintf(item, sizeof item, "feature %lld", index);
        comparison_number(&found, item, last, activation(f, row, index), t);
    }
    for (size_t k = f->start[row]; k < f->start[row + 1]; k++) {
        bool listed = false;
        cJSON_ArrayForEach(line, table)
        {
            listed = listed || (double)f->index[k] == line->child->valuedouble;
        }
        if (!listed) {
            (void)snprintf(item, sizeof item, "unlisted feature %u", (unsigned)f->index[k]);
            comparison_at_most(&found, item, last, (double)f->value[k], t);
        }
    }
    check_report(run, c, NULL, &found);
    return STATUS_OK;
}

static int feature_open(struct check *c, const struct run *run, struct status *st)
{
    const cJSON *values = json_get(c->json, "values");
    int code = values ? check_table(run, c, values, 1, 1, st) : STATUS_OK;
    code = code ? code : source_open(c, run, st);
    long long index;
    if (!code &&
        !json_integer(json_get(c->json, "index"), 0, (long long)c->source->d_sae - 1, &index)) {
        code = check_corrupt(run, c, "index", "a feature of the SAE", st);
    }
    return code;
}

/* The line of `values` about position i: by the token's text or by number. Each line is taken by
 * the first position that it names. */
static const cJSON *value_at(const struct run *run, const struct check *c, size_t i)
{
    const cJSON *found = NULL;
    const cJSON *line;
    struct text token = {0};
    engine_token_text(run->app.engine, c->prompt.ids[i], &token);
    cJSON_ArrayForEach(line, json_get(c->json, "values"))
    {
        const cJSON *at = line->child;
        bool here = cJSON_IsString(at) ? token.data && strcmp(at->valuestring, token.data) == 0
                                       : at->valuedouble == (double)i;
        found = here ? line : found;
    }
    text_free(&token);
    return found;
}

static int feature_judge(const struct run *run, struct check *c, struct status *st)
{
    (void)st;
    struct comparison found = {0};
    struct tolerance t = check_tolerance(run, c, "activation");
    const struct sparse *f = &c->reads[0].features;
    const cJSON *others = json_get(c->json, "others");
    long long index = (long long)json_get(c->json, "index")->valuedouble;
    size_t n_values = (size_t)cJSON_GetArraySize(json_get(c->json, "values"));
    size_t n_found = 0;
    struct text item = {0};
    /* Neuronpedia says nothing about <bos>: its values there are set to 0. */
    for (size_t i = prompts_has_bos(&run->app, &c->prompt); i < c->prompt.n_ids; i++) {
        const cJSON *line = value_at(run, c, i);
        text_clear(&item);
        text_string(&item, "\"");
        engine_token_text(run->app.engine, c->prompt.ids[i], &item);
        text_printf(&item, "\" at position %zu", i);
        double value = activation(f, i, index);
        if (line) {
            comparison_number(&found, item.data, line->child->next->valuedouble, value, t);
            n_found++;
        } else if (others) {
            comparison_number(&found, item.data, others->valuedouble, value, (struct tolerance){0});
        }
    }
    comparison_number(&found, "tokens named", (double)n_values, (double)n_found,
                      (struct tolerance){0});
    check_report(run, c, NULL, &found);
    text_free(&item);
    return STATUS_OK;
}

/* --- the table -------------------------------------------------------------------------------- */

const struct check_kind *golden_features_kind(const char *name)
{
    static const struct check_kind kinds[] = {
        {"features", features_open, features_judge},
        {"feature", feature_open, feature_judge},
    };
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}
