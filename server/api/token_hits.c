#include "server/api/token_hits.h"

#include "core/base/memory.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAREST 1000 /* candidates for promotes, before they are sorted by logit */

static int add(struct token_search *s, uint32_t index, float value, int place, const char *label)
{
    if (s->n == s->capacity) {
        size_t capacity = s->capacity ? 2 * s->capacity : 64;
        struct token_hit *hits = memory_resize(s->hits, capacity, sizeof *hits);
        if (!hits) {
            return status_no_memory(&s->st, capacity * sizeof *hits);
        }
        s->hits = hits;
        s->capacity = capacity;
    }
    char *copy = label && *label ? memory_string(label) : NULL;
    s->hits[s->n++] = (struct token_hit){s->subject, index, value, place, copy};
    return STATUS_OK;
}

static int by_rank(const void *a, const void *b)
{
    const struct token_hit *left = a, *right = b;
    if (left->place != right->place) {
        return left->place < right->place ? -1 : 1;
    }
    if (left->value != right->value) {
        return left->value > right->value ? -1 : 1;
    }
    if (left->subject != right->subject) {
        return left->subject < right->subject ? -1 : 1; /* in the catalogue's order */
    }
    return left->index < right->index ? -1 : 1;
}

static void sort(struct token_search *s)
{
    if (s->n) {
        qsort(s->hits, s->n, sizeof *s->hits, by_rank);
    }
}

/* The length of the quoted token at `at`, with both quotes; 0 if there is none. */
static size_t quoted_length(const char *at)
{
    if (*at != '"') {
        return 0;
    }
    for (size_t n = 1; at[n]; n++) {
        if (at[n] == '"') {
            return n + 1;
        }
        n += at[n] == '\\' && at[n + 1];
    }
    return 0;
}

/* Where the token stands among those that a label says the feature fires on, -1 if it does not:
 * "a", "b" -> "c", "d" fires on a and b. */
static int place_in(const struct token_search *s, const char *label)
{
    for (int place = 0;; place++) {
        size_t n = quoted_length(label);
        if (n == 0) {
            return -1;
        }
        if (n == s->quoted.length && memcmp(label, s->quoted.data, n) == 0) {
            return place;
        }
        label += n;
        if (strncmp(label, ", ", 2) != 0) {
            return -1;
        }
        label += 2;
    }
}

static int take_firing(void *user, const struct store_feature *f)
{
    struct token_search *s = user;
    int place = place_in(s, f->label);
    return place < 0 ? 0 : add(s, f->index, f->maximum, place, f->label);
}

static int take_promoting(void *user, const struct store_feature *f)
{
    struct token_search *s = user;
    for (int i = 0; f->has_logits && i < DASHBOARD_LOGITS; i++) {
        if (f->positive_ids[i] == s->id) {
            return add(s, f->index, f->positive[i], 0, f->label);
        }
    }
    return 0;
}

int token_hits_stored(struct token_search *s, const struct app *app, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < s->n_subjects && !code; i++) {
        s->subject = &s->subjects[i];
        if (s->subject->indexed) {
            code = store_visit_features(app->store, s->subject->row, 0, s->subject->dashboard.d_sae,
                                        s->promotes ? take_promoting : take_firing, s, st);
        }
        if (s->st.code) {
            *st = s->st;
            code = (int)st->code;
        }
    }
    sort(s);
    return code;
}

int token_hits_computed(struct token_search *s, const struct app *app, const float *embedding,
                        size_t n, struct status *st)
{
    uint32_t index[NEAREST];
    float cosine[NEAREST];
    size_t found = 0;
    int code = engine_nearest(app->engine, s->subject->name, embedding, n, NEAREST, index, cosine,
                              &found, st);
    double scale = sqrt((double)n);
    for (size_t i = 0; i < found && !code; i++) {
        float *row;
        size_t n_row;
        code = engine_decoder_vector(app->engine, s->subject->name, index[i], &row, &n_row, st);
        double logit = 0;
        for (size_t j = 0; j < n_row && j < n; j++) {
            logit += (double)row[j] * (double)embedding[j] / scale;
        }
        memory_free(row);
        if (!code && logit > 0 && add(s, index[i], (float)logit, 0, NULL)) {
            *st = s->st;
            code = (int)st->code;
        }
    }
    sort(s);
    return code;
}

void token_hits_free(struct token_search *s)
{
    for (size_t i = 0; i < s->n; i++) {
        memory_free(s->hits[i].label);
    }
    memory_free(s->hits);
    text_free(&s->token);
    text_free(&s->quoted);
    for (size_t i = 0; i < s->n_subjects; i++) {
        subject_close(&s->subjects[i]);
    }
    memory_free(s->subjects);
}
