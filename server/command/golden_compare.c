/* Numbers against numbers: what is kept of many is the one that is furthest off. */
#include "core/base/memory.h"
#include "server/command/golden_private.h"

#include <math.h>
#include <string.h>

static void replace(struct text *t, const char *s)
{
    text_clear(t);
    text_string(t, s);
}

/* True if this one is to be shown: it is further off than all before. */
static bool count(struct comparison *c, const char *item, double off)
{
    bool wrong = !(off <= 1.0);
    bool worst = c->n == 0 || off > c->worst || (wrong && !isfinite(off));
    c->n++;
    c->n_wrong += wrong;
    if (worst) {
        c->worst = off;
        replace(&c->item, item);
    }
    return worst;
}

static double allowance(double expected, struct tolerance t)
{
    return t.absolute + t.relative * fabs(expected);
}

static void keep_numbers(struct comparison *c, const char *sign, double expected, double found,
                         double allowed)
{
    text_clear(&c->expected);
    text_clear(&c->found);
    text_clear(&c->tolerance);
    text_printf(&c->expected, "%s%.7g", sign, expected);
    text_printf(&c->found, "%.7g", found);
    if (allowed > 0.0) {
        text_printf(&c->tolerance, "%.2g", allowed);
    }
}

/* Without any allowance only the number itself will do. */
static double share(double difference, double allowed)
{
    return allowed > 0.0 ? difference / allowed : difference == 0.0 ? 0.0 : (double)INFINITY;
}

void comparison_number(struct comparison *c, const char *item, double expected, double found,
                       struct tolerance t)
{
    double allowed = allowance(expected, t);
    if (count(c, item, share(fabs(found - expected), allowed))) {
        keep_numbers(c, "", expected, found, allowed);
    }
}

void comparison_at_most(struct comparison *c, const char *item, double bound, double found,
                        struct tolerance t)
{
    double allowed = allowance(bound, t);
    if (found > bound + allowed && count(c, item, share(found - bound, allowed))) {
        keep_numbers(c, "at most ", bound, found, allowed);
    }
}

void comparison_text(struct comparison *c, const char *item, const char *expected,
                     const char *found)
{
    if (count(c, item, strcmp(expected, found) == 0 ? 0.0 : (double)INFINITY)) {
        replace(&c->expected, expected);
        replace(&c->found, found);
        text_clear(&c->tolerance);
    }
}

void comparison_free(struct comparison *c)
{
    text_free(&c->item);
    text_free(&c->expected);
    text_free(&c->found);
    text_free(&c->tolerance);
}

/* --- a row of logits -------------------------------------------------------------------------- */

int32_t golden_token(const struct engine *e, const cJSON *token)
{
    size_t V = engine_config(e)->vocab_size;
    long long id = -1;
    if (json_integer(token, 0, (long long)V - 1, &id)) {
        return (int32_t)id;
    }
    const char *wanted = cJSON_GetStringValue(token);
    int32_t *ids = NULL;
    size_t n = 0;
    struct status st = {0};
    if (!wanted || engine_tokenize(e, wanted, strlen(wanted), false, &ids, &n, &st)) {
        return -1;
    }
    int32_t found = n == 1 ? ids[0] : -1;
    memory_free(ids);
    struct text text = {0};
    for (size_t i = 0; found < 0 && i < V; i++) { /* one that no text is tokenised to */
        text_clear(&text);
        engine_token_text(e, (int32_t)i, &text);
        found = text.data && strcmp(text.data, wanted) == 0 ? (int32_t)i : -1;
    }
    text_free(&text);
    return found;
}

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

static void item_name(struct text *t, const char *of, const struct engine *e, int32_t id)
{
    text_clear(t);
    text_printf(t, "%s of \"", of);
    engine_token_text(e, id, t);
    text_char(t, '"');
}

/* The likeliest token that the table leaves out. */
static int32_t best_other(const float *logits, size_t V, const int32_t *listed, size_t n)
{
    int32_t best = -1;
    for (size_t i = 0; i < V; i++) {
        bool other = best < 0 || logits[i] > logits[best];
        for (size_t k = 0; k < n && other; k++) {
            other = listed[k] != (int32_t)i;
        }
        best = other ? (int32_t)i : best;
    }
    return best;
}

int golden_compare_top(struct comparison *c, const struct engine *e, const cJSON *table,
                       const float *logits, struct tolerance logit, struct tolerance probability,
                       struct status *st)
{
    size_t V = engine_config(e)->vocab_size;
    size_t n = (size_t)cJSON_GetArraySize(table);
    int32_t *listed = memory_alloc(n, sizeof *listed);
    if (!listed) {
        return status_no_memory(st, n * sizeof *listed);
    }
    double total = log_sum(logits, V);
    double last = 0.0;
    struct text item = {0};
    size_t i = 0;
    for (const cJSON *line = table->child; line; line = line->next) {
        const cJSON *numbers = line->child->next;
        int32_t id = listed[i++] = golden_token(e, line->child);
        if (id < 0) {
            const char *wanted = cJSON_GetStringValue(line->child);
            comparison_text(c, "token", wanted ? wanted : "an id", "no such token in this model");
            continue;
        }
        if (numbers->next) {
            item_name(&item, "logit", e, id);
            comparison_number(c, item.data, numbers->valuedouble, (double)logits[id], logit);
            numbers = numbers->next;
        }
        item_name(&item, "probability", e, id);
        last = numbers->valuedouble;
        comparison_number(c, item.data, last, exp((double)logits[id] - total), probability);
    }
    int32_t other = best_other(logits, V, listed, n);
    if (other >= 0) {
        item_name(&item, "unlisted probability", e, other);
        comparison_at_most(c, item.data, last, exp((double)logits[other] - total), probability);
    }
    memory_free(listed);
    text_free(&item);
    return STATUS_OK;
}
