#include "server/api/explained.h"

#include "core/base/memory.h"
#include "server/api/record.h"

#include <string.h>

static void string(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    if (value && *value) {
        emit_string(w, value);
    } else {
        emit_null(w);
    }
}

void explained_write_one(struct emitter *w, const struct store_explanation *e)
{
    static const char *const columns[] = {
        "triggeredByUserId",        "scoreV1", "scoreV2", "umap_x", "umap_y", "umap_cluster",
        "umap_log_feature_sparsity"};
    static const char *const blank[] = {"triggeredByUser", NULL};
    cJSON *other = e->other ? cJSON_Parse(e->other) : NULL;
    const cJSON *scores = json_get(other, "scores");
    emit_object(w);
    string(w, "id", e->id);
    string(w, "modelId", e->model);
    string(w, "layer", e->source);
    emit_key(w, "index");
    record_index(w, e->index);
    emit_key(w, "description");
    emit_string(w, e->description);
    string(w, "authorId", e->author);
    string(w, "typeName", e->type_name);
    string(w, "explanationModelName", e->explainer);
    string(w, "notes", e->notes);
    string(w, "createdAt", e->created_at);
    string(w, "updatedAt", e->created_at);
    for (size_t i = 0; i < sizeof columns / sizeof *columns; i++) {
        emit_key(w, columns[i]);
        record_value(w, json_get(other, columns[i]));
    }
    record_blank(w, blank, "null");
    emit_key(w, "scores");
    if (cJSON_IsArray(scores)) {
        record_value(w, scores);
    } else {
        emit_raw(w, "[]", 2);
    }
    string(w, "origin", e->origin);
    emit_end_object(w);
    cJSON_Delete(other);
}

struct list {
    struct emitter *w;
    size_t n;
};

static int write_next(void *user, const struct store_explanation *e)
{
    struct list *list = user;
    explained_write_one(list->w, e);
    list->n++;
    return 0;
}

int explained_write(struct emitter *w, const struct app *app, const struct subject *s,
                    int64_t index, size_t *n, struct status *st)
{
    struct list list = {.w = w};
    emit_array(w);
    int code = store_explanations(app->store, s->model, s->name, index, write_next, &list, st);
    emit_end_array(w);
    if (n) {
        *n = list.n;
    }
    return code;
}

struct first {
    char *text;
    bool failed;
};

static int take_first(void *user, const struct store_explanation *e)
{
    struct first *first = user;
    first->text = memory_string(e->description);
    first->failed = !first->text;
    return 1;
}

int explained_first(const struct app *app, const struct subject *s, int64_t index, char **text,
                    struct status *st)
{
    struct first first = {0};
    status_clear(st);
    (void)store_explanations(app->store, s->model, s->name, index, take_first, &first, st);
    *text = first.text;
    if (first.failed) {
        return status_no_memory(st, 1);
    }
    if (first.text) {
        status_clear(st); /* stopping is no error */
    }
    return (int)st->code;
}
