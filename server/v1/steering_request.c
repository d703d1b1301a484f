/* What the fields of a steering request mean for the texts that are generated. */
#include "core/base/memory.h"
#include "server/v1/hooks.h"
#include "server/v1/steering.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#define SOURCES_MAX 16
#define FEATURES_MAX 100

void steering_prompt(struct steering *s)
{
    prompts_read(&s->prompts, s->stepper.app, &s->fields);
}

/* --- features and vectors --------------------------------------------------------------------- */

/* How the items of `features` and `vectors` become edits. */
struct method {
    enum edit_type type;
    bool unit;
    float multiplier;
    bool spare_specials;         /* special tokens of the prompt stay as they are, */
    const struct prompt *prompt; /* this one */
    const char *source;          /* what `source` is called */
};

static void read_method(struct method *m, struct fields *f, double multiplier_max)
{
    static const struct {
        const char *name;
        enum edit_type type;
    } methods[] = {{"SIMPLE_ADDITIVE", EDIT_ADD},
                   {"ORTHOGONAL_DECOMP", EDIT_ORTHOGONAL},
                   {"PROJECTION_CAP", EDIT_CAP}};
    const char *name = fields_string(f, "steer_method");
    bool found = name == NULL;
    m->type = EDIT_ADD;
    for (size_t i = 0; name && i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(methods[i].name, name) == 0) {
            m->type = methods[i].type;
            found = true;
        }
    }
    if (!found) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "steer_method: expected SIMPLE_ADDITIVE, ORTHOGONAL_DECOMP or PROJECTION_CAP, "
                   "found \"%.40s\"",
                   name);
    }
    m->unit = fields_bool(f, "normalize_steering", false) && m->type == EDIT_ADD;
    m->multiplier =
        (float)fields_number(f, "strength_multiplier", -multiplier_max, multiplier_max, 1.0);
}

static void read_feature(struct edit *e, const struct app *app, struct fields *f,
                         const char *source_field)
{
    (void)fields_need(f, source_field);
    const char *name = fields_string(f, source_field);
    const struct sae_source *source =
        name ? catalogue_find(engine_catalogue(app->engine), name) : NULL;
    if (name && !source) {
        status_set(&f->st, STATUS_NOT_FOUND,
                   "%s: there is no source \"%.120s\"; GET /v1/capabilities lists those there are",
                   source_field, name);
    }
    (void)fields_need(f, "index");
    if (!source || f->st.code) {
        return;
    }
    uint32_t *index = memory_alloc(1, sizeof *index);
    if (!index) {
        status_no_memory(&f->st, sizeof *index);
        return;
    }
    *index = (uint32_t)fields_index(f, "index", source->d_sae);
    e->source = source->name;
    e->indices = index;
    e->n = 1;
    e->vector = fields_floats(f, "steering_vector", &e->n_vector);
}

static void read_vector(struct edit *e, const struct app *app, struct fields *f)
{
    (void)fields_need(f, "steering_vector");
    (void)fields_need(f, "hook");
    const char *hook = fields_string(f, "hook");
    if (f->st.code || hooks_find(hook, engine_config(app->engine), &e->point, &e->layer, &f->st)) {
        return;
    }
    e->vector = fields_floats(f, "steering_vector", &e->n_vector);
}

/* A copy of its own of everything that edit_list_free frees. */
static bool copy_edit(struct edit *to, const struct edit *from)
{
    *to = *from;
    uint32_t *indices = from->indices ? memory_alloc(from->n, sizeof *indices) : NULL;
    float *vector = from->vector ? memory_alloc(from->n_vector, sizeof *vector) : NULL;
    to->indices = indices;
    to->vector = vector;
    if (indices) {
        memcpy(indices, from->indices, from->n * sizeof *indices);
    }
    if (vector) {
        memcpy(vector, from->vector, from->n_vector * sizeof *vector);
    }
    return (indices || !from->indices) && (vector || !from->vector);
}

/* The prompt's positions that hold no special token. */
static int32_t *plain_positions(const struct app *app, const struct prompt *prompt, size_t *n)
{
    int32_t *positions = memory_alloc(prompt->n_ids, sizeof *positions);
    *n = 0;
    for (size_t i = 0; positions && i < prompt->n_ids; i++) {
        if (!engine_is_special(app->engine, prompt->ids[i])) {
            positions[(*n)++] = (int32_t)i;
        }
    }
    return positions;
}

/* One item: an edit, or two of the same kind, of the prompt's plain tokens and of what follows. */
static void read_item(struct steering *s, const struct method *m, struct fields *f, bool is_vector)
{
    struct edit *e = edit_list_grow(&s->edits, 2, &f->st);
    if (!e) {
        return;
    }
    s->edits.n++;
    (void)fields_need(f, "strength");
    double strength = fields_number(f, "strength", -(double)3e38f, (double)3e38f, 0.0);
    e->type = m->type;
    e->unit = m->unit;
    e->strength = (float)strength * m->multiplier;
    if (is_vector) {
        read_vector(e, s->stepper.app, f);
    } else {
        read_feature(e, s->stepper.app, f, m->source);
    }
    struct status st = {0};
    if (!f->st.code && engine_check_edits(s->stepper.app->engine, e, 1, &st)) {
        const char *rest = st.message + strcspn(st.message, "]") + 1;
        status_set(&f->st, st.code, "%s%s", text_starts_with(rest, ".vector") ? "steering_" : "",
                   *rest == '.' ? rest + 1 : st.message);
    }
    if (f->st.code || !m->spare_specials) {
        return;
    }
    s->edits.n++;
    e->where = EDIT_POSITIONS;
    if (!copy_edit(e + 1, e) ||
        !(e->positions = plain_positions(s->stepper.app, m->prompt, &e->n_positions))) {
        status_no_memory(&f->st, m->prompt->n_ids * sizeof *e->positions);
        return;
    }
    e[1].where = EDIT_GENERATED;
}

static void read_items(struct steering *s, const struct method *m, const cJSON *list,
                       bool is_vector)
{
    const char *name = is_vector ? "vectors" : "features";
    size_t i = 0;
    for (const cJSON *item = list->child; item && !s->fields.st.code; item = item->next, i++) {
        struct fields f = {.body = item};
        if (!cJSON_IsObject(item)) {
            status_set(&s->fields.st, STATUS_UNPROCESSABLE, "%s[%zu]: expected an object, found %s",
                       name, i, fields_kind(item));
            return;
        }
        read_item(s, m, &f, is_vector);
        if (f.st.code) {
            status_set(&s->fields.st, f.st.code, "%s[%zu].%s", name, i, f.st.message);
        }
    }
}

void steering_edits(struct steering *s, const char *source, double multiplier_max)
{
    struct fields *f = &s->fields;
    const cJSON *features = fields_array(f, "features"), *vectors = fields_array(f, "vectors");
    bool has_features = features && features->child, has_vectors = vectors && vectors->child;
    struct method m = {.source = source};
    read_method(&m, f, multiplier_max);
    struct prompt prompt = {0};
    struct conversation *chat = &s->conversations[STEERING_STEERED];
    if (s->is_chat) {
        m.spare_specials = !fields_bool(f, "steer_special_tokens", false);
        prompt = (struct prompt){.ids = chat->ids, .n_ids = chat->n_ids};
    } else if (!f->st.code) {
        prompt = s->prompts.items[0];
    }
    m.prompt = &prompt;
    if (f->st.code || !s->wants[STEERING_STEERED]) {
        return;
    }
    struct edit_list more;
    size_t positions = engine_config(s->stepper.app->engine)->max_positions;
    edit_list_read(&more, s->stepper.app, f, &prompt, positions);
    if (!f->st.code && (has_features && has_vectors)) {
        status_set(&f->st, STATUS_INVALID,
                   "exactly one of features or vectors must be provided, found both");
    } else if (!f->st.code && !has_features && !has_vectors && more.n == 0) {
        status_set(&f->st, STATUS_INVALID,
                   "exactly one of features or vectors must be provided; send one, or edits, or "
                   "ask for types [\"DEFAULT\"] alone");
    }
    if (!f->st.code && (has_features || has_vectors)) {
        read_items(s, &m, has_features ? features : vectors, has_vectors);
    }
    if (!f->st.code && more.n > 0 && edit_list_grow(&s->edits, more.n, &f->st)) {
        memcpy(s->edits.items + s->edits.n, more.items, more.n * sizeof *more.items);
        s->edits.n += more.n;
        more.n = 0; /* what they point to has moved */
    }
    edit_list_free(&more);
}

/* --- the rest --------------------------------------------------------------------------------- */

static void read_sources(struct steering *s)
{
    struct fields *f = &s->fields;
    const cJSON *list = fields_array(f, "sources");
    s->options.n_features = (size_t)fields_integer(f, "top_features", 1, FEATURES_MAX, 5);
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0;
    if (n > SOURCES_MAX) {
        status_set(&f->st, STATUS_INVALID, "sources: expected at most %d, found %zu", SOURCES_MAX,
                   n);
    }
    if (f->st.code || n == 0) {
        return;
    }
    s->sources = memory_zalloc(n, sizeof *s->sources);
    if (!s->sources) {
        status_no_memory(&f->st, n * sizeof *s->sources);
        return;
    }
    s->options.sources = s->sources;
    for (const cJSON *item = list->child; item; item = item->next) {
        if (!cJSON_IsString(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "sources[%zu]: expected a string, found %s",
                       s->options.n_sources, fields_kind(item));
            return;
        }
        s->sources[s->options.n_sources++] = item->valuestring;
    }
}

void steering_options(struct steering *s, const struct steering_limits *limits)
{
    struct fields *f = &s->fields;
    struct sampler_options *sampler = &s->options.sampler;
    (void)fields_need(f, limits->n_tokens);
    s->options.n_tokens = (size_t)fields_integer(f, limits->n_tokens, 1, limits->n_tokens_max, 1);
    sampler->temperature =
        (float)fields_number(f, "temperature", 0.0, limits->temperature_max, 0.0);
    sampler->freq_penalty =
        (float)fields_number(f, "freq_penalty", -limits->penalty_max, limits->penalty_max, 0.0);
    sampler->top_k = (size_t)fields_integer(f, "top_k", 0, INT32_MAX, 0);
    sampler->top_p = (float)fields_number(f, "top_p", 0.0, 1.0, 1.0);
    sampler->seed = fields_seed(f, "seed");
    s->options.n_logprobs = (size_t)fields_integer(f, "n_logprobs", 0, 10, 0);
    s->stepper.stream = fields_bool(f, "stream", false);
    read_sources(s);
}
