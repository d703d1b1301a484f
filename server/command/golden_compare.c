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

/* --- what a row says -------------------------------------------------------------------------- */

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

static void item_name(struct text *t, const char *of, const struct engine *e, int32_t id)
{
    text_clear(t);
    text_printf(t, "%s of \"", of);
    engine_token_text(e, id, t);
    text_char(t, '"');
}

bool golden_row_has(const struct golden_row *row, int32_t id)
{
    for (size_t i = 0; i < row->n; i++) {
        if (row->ids[i] == id) {
            return true;
        }
    }
    return false;
}

void golden_compare_top(struct comparison *c, const struct engine *e, const cJSON *table,
                        const struct golden_row *row, struct tolerance logit,
                        struct tolerance probability)
{
    double last = 0.0;
    struct text item = {0};
    size_t i = 0;
    for (const cJSON *line = table->child; line; line = line->next, i++) {
        const cJSON *numbers = line->child->next;
        if (row->ids[i] < 0) {
            const char *wanted = cJSON_GetStringValue(line->child);
            comparison_text(c, "token", wanted ? wanted : "an id", "no such token in this model");
            continue;
        }
        if (numbers->next) {
            item_name(&item, "logit", e, row->ids[i]);
            comparison_number(c, item.data, numbers->valuedouble, (double)row->logits[i], logit);
            numbers = numbers->next;
        }
        item_name(&item, "probability", e, row->ids[i]);
        last = numbers->valuedouble;
        comparison_number(c, item.data, last, (double)row->probs[i], probability);
    }
    if (row->other >= 0) {
        item_name(&item, "unlisted probability", e, row->other);
        comparison_at_most(c, item.data, last, (double)row->other_prob, probability);
    }
    text_free(&item);
}
