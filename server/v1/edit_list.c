#include "server/v1/edit_list.h"

#include "core/base/memory.h"
#include "server/v1/hooks.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

struct kind {
    const char *name;
    enum edit_type type;
};

static const struct kind kinds[] = {
    {"add", EDIT_ADD},     {"orthogonal", EDIT_ORTHOGONAL}, {"cap", EDIT_CAP},
    {"clamp", EDIT_CLAMP}, {"ablate", EDIT_CLAMP},          {"set", EDIT_SET},
    {"zero", EDIT_ZERO},   {"splice", EDIT_SPLICE},         {"error_only", EDIT_ERROR_ONLY}};

struct edit *edit_list_grow(struct edit_list *list, size_t n, struct status *st)
{
    struct edit *items = memory_resize(list->items, list->n + n, sizeof *items);
    if (!items) {
        status_no_memory(st, (list->n + n) * sizeof *items);
        return NULL;
    }
    list->items = items;
    memset(items + list->n, 0, n * sizeof *items);
    return items + list->n;
}

/* An edit borrows these as const; a list owns them all the same. */
static void free_owned(const void *block)
{
    memory_free((void *)(uintptr_t)block);
}

void edit_list_free(struct edit_list *list)
{
    for (size_t i = 0; i < list->n; i++) {
        free_owned(list->items[i].indices);
        free_owned(list->items[i].values);
        free_owned(list->items[i].vector);
        free_owned(list->items[i].positions);
    }
    memory_free(list->items);
    *list = (struct edit_list){0};
}

/* --- one edit --------------------------------------------------------------------------------- */

static float read_number(struct fields *f, const char *name, bool needed, float fallback)
{
    const cJSON *value = needed ? fields_need(f, name) : fields_get(f, name);
    if (!value) {
        return fallback;
    }
    if (!cJSON_IsNumber(value)) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "%s: expected a number, found %s", name,
                   fields_kind(value));
        return fallback;
    }
    float number = (float)value->valuedouble;
    if (!isfinite(number)) {
        status_set(&f->st, STATUS_INVALID, "%s: %.15g does not fit float32", name,
                   value->valuedouble);
    }
    return number;
}

static void read_type(struct edit *e, struct fields *f, const struct kind **kind)
{
    (void)fields_need(f, "type");
    const char *name = fields_string(f, "type");
    *kind = NULL;
    for (size_t i = 0; name && i < sizeof kinds / sizeof kinds[0]; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            *kind = &kinds[i];
            e->type = kinds[i].type;
        }
    }
    if (name && !*kind) {
        status_set(&f->st, STATUS_INVALID,
                   "type: expected add, orthogonal, cap, clamp, ablate, set, zero, splice or "
                   "error_only, found \"%.40s\"",
                   name);
    }
}

/* Where it acts: a source, or a point. */
static const struct sae_source *read_site(struct edit *e, const struct app *app, struct fields *f)
{
    const char *source = fields_string(f, "source");
    const char *point = fields_string(f, "point");
    if (f->st.code) {
        return NULL;
    }
    if (source && point) {
        status_set(&f->st, STATUS_INVALID, "point: send either source or point, not both");
        return NULL;
    }
    if (source) {
        const struct sae_source *s = catalogue_find(engine_catalogue(app->engine), source);
        if (!s) {
            status_set(&f->st, STATUS_NOT_FOUND,
                       "source: there is no source \"%.120s\"; GET /v1/capabilities lists those "
                       "there are",
                       source);
            return NULL;
        }
        e->source = s->name;
        return s;
    }
    if (!point) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   e->type == EDIT_SET || e->type == EDIT_ZERO ? "point: this field is missing"
                                                               : "source: this field is missing");
        return NULL;
    }
    struct status st;
    if (hooks_find(point, engine_config(app->engine), &e->point, &e->layer, &st)) {
        status_set(&f->st, STATUS_INVALID,
                   "point: \"%.120s\" cannot be edited: expected embed, final_norm or a point with "
                   "one of the %zu layers (mlp_out.2, blocks.2.hook_resid_post)",
                   point, engine_config(app->engine)->n_layers);
    }
    return NULL;
}

static void read_index_list(struct edit *e, struct fields *f, const struct sae_source *s)
{
    const cJSON *list = fields_array(f, "indices");
    size_t n = list ? (size_t)cJSON_GetArraySize(list) : 0;
    uint32_t *indices = memory_alloc(n, sizeof *indices);
    if (!indices) {
        status_no_memory(&f->st, n * sizeof *indices);
        return;
    }
    e->indices = indices;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next) {
        long long index;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE,
                       "indices[%zu]: expected a whole number, found %s", e->n, fields_kind(item));
            return;
        }
        if (!json_integer(item, 0, (long long)s->d_sae - 1, &index)) {
            status_set(&f->st, STATUS_INVALID, "indices[%zu]: expected 0 to %zu, found %.15g", e->n,
                       s->d_sae - 1, item->valuedouble);
            return;
        }
        indices[e->n++] = (uint32_t)index;
    }
}

static void read_features(struct edit *e, struct fields *f, const struct sae_source *s, bool many,
                          bool needs_value)
{
    bool list = many && fields_get(f, "indices") != NULL;
    if (f->st.code) {
        return;
    }
    if (list && fields_get(f, "index")) {
        status_set(&f->st, STATUS_INVALID, "indices: send either index or indices, not both");
        return;
    }
    size_t n_values = 1;
    float *values = NULL;
    if (list) {
        read_index_list(e, f, s);
        values = needs_value ? fields_floats(f, "values", &n_values) : NULL;
        if (needs_value && !f->st.code && n_values != e->n) {
            status_set(&f->st, STATUS_INVALID,
                       "values: expected %zu, one for each index, found %zu", e->n, n_values);
        }
    } else {
        (void)fields_need(f, "index");
        uint32_t *index = memory_alloc(1, sizeof *index);
        values = memory_zalloc(1, sizeof *values);
        if (!index || !values) {
            status_no_memory(&f->st, sizeof *index);
            memory_free(index);
            memory_free(values);
            return;
        }
        *index = (uint32_t)fields_index(f, "index", s->d_sae);
        *values = needs_value ? read_number(f, "value", true, 0.0f) : 0.0f;
        e->indices = index;
        e->n = 1;
    }
    if (list && !needs_value) {
        values = memory_zalloc(e->n, sizeof *values);
        if (!values) {
            status_no_memory(&f->st, e->n * sizeof *values);
        }
    }
    e->values = values;
}

static void read_position_list(struct edit *e, struct fields *f, const cJSON *list, size_t length,
                               size_t end)
{
    size_t n = (size_t)cJSON_GetArraySize(list);
    int32_t *positions = memory_alloc(n, sizeof *positions);
    if (!positions) {
        status_no_memory(&f->st, n * sizeof *positions);
        return;
    }
    e->where = EDIT_POSITIONS;
    e->positions = positions;
    for (const cJSON *item = list->child; item; item = item->next) {
        long long position;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "positions: expected whole numbers, found %s",
                       fields_kind(item));
            return;
        }
        if (!json_integer(item, -(long long)length, (long long)end - 1, &position)) {
            status_set(&f->st, STATUS_INVALID,
                       "positions: expected -%zu to %zu for a prompt of %zu tokens, found %.15g",
                       length, end - 1, length, item->valuedouble);
            return;
        }
        positions[e->n_positions++] =
            (int32_t)(position < 0 ? position + (long long)length : position);
    }
}

static void read_where(struct edit *e, struct fields *f, size_t length, size_t end)
{
    static const struct {
        const char *name;
        enum edit_where where;
    } words[] = {{"all", EDIT_ALL},
                 {"prompt", EDIT_PROMPT},
                 {"generated", EDIT_GENERATED},
                 {"last", EDIT_LAST}};
    const cJSON *value = fields_get(f, "positions");
    const char *word = value ? cJSON_GetStringValue(value) : "all";
    for (size_t i = 0; word && i < sizeof words / sizeof words[0]; i++) {
        if (strcmp(words[i].name, word) == 0) {
            e->where = words[i].where;
            return;
        }
    }
    if (cJSON_IsArray(value)) {
        read_position_list(e, f, value, length, end);
        return;
    }
    status_set(&f->st, word ? STATUS_INVALID : STATUS_UNPROCESSABLE,
               "positions: expected \"all\", \"prompt\", \"generated\", \"last\" or a list of "
               "positions, found %s",
               word ? word : fields_kind(value));
}

static void read_parts(struct edit *e, const struct app *app, struct fields *f)
{
    const struct kind *kind;
    read_type(e, f, &kind);
    const struct sae_source *s = f->st.code ? NULL : read_site(e, app, f);
    if (f->st.code) {
        return;
    }
    bool direction = e->type == EDIT_ADD || e->type == EDIT_ORTHOGONAL || e->type == EDIT_CAP;
    if (direction) {
        e->strength =
            read_number(f, "strength", true, 0.0f) * read_number(f, "multiplier", false, 1.0f);
        e->unit = e->type == EDIT_ADD && fields_bool(f, "unit", false);
    }
    if (direction && s) {
        read_features(e, f, s, false, false);
    } else if (direction) {
        (void)fields_need(f, "vector");
        e->vector = fields_floats(f, "vector", &e->n_vector);
    } else if (e->type == EDIT_CLAMP && s) {
        read_features(e, f, s, true, strcmp(kind->name, "clamp") == 0);
    } else if (e->type == EDIT_SET) {
        (void)fields_need(f, "dim");
        e->dim = (size_t)fields_integer(f, "dim", 0, INT32_MAX, 0);
        e->value = read_number(f, "value", true, 0.0f);
    } else if (e->type == EDIT_SPLICE) {
        e->keep_error = fields_bool(f, "keep_error", false);
    }
}

/* --- the list --------------------------------------------------------------------------------- */

void edit_list_read(struct edit_list *list, const struct app *app, struct fields *f,
                    const struct prompt *prompt, size_t end)
{
    *list = (struct edit_list){0};
    const cJSON *array = fields_array(f, "edits");
    size_t n = array ? (size_t)cJSON_GetArraySize(array) : 0;
    if (n == 0 || f->st.code) {
        return;
    }
    if (n > EDIT_LIST_MAX) {
        status_set(&f->st, STATUS_INVALID, "edits: expected at most %d, found %zu", EDIT_LIST_MAX,
                   n);
        return;
    }
    if (!edit_list_grow(list, n, &f->st)) {
        return;
    }
    for (const cJSON *item = array->child; item && !f->st.code; item = item->next) {
        struct edit *e = &list->items[list->n++];
        struct fields of = {.body = item};
        if (!cJSON_IsObject(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "edits[%zu]: expected an object, found %s",
                       list->n - 1, fields_kind(item));
            return;
        }
        read_parts(e, app, &of);
        if (!of.st.code) {
            read_where(e, &of, prompt->n_ids, end);
            e->skip_bos = fields_bool(&of, "skip_bos", false) && prompts_has_bos(app, prompt);
        }
        if (of.st.code) {
            status_set(&f->st, of.st.code, "edits[%zu].%s", list->n - 1, of.st.message);
        }
    }
    if (!f->st.code) {
        (void)engine_check_edits(app->engine, list->items, list->n, &f->st);
    }
}
