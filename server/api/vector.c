/* POST /api/vector/get (neuronpedia.md 2): a feature's encoder vector, as upstream gives it. */
#include "core/base/memory.h"
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"

static void reply(struct exchange *x, const struct subject *s, int64_t index, const float *vector,
                  size_t n)
{
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "modelId");
    emit_string(&w, s->model);
    emit_key(&w, "layer");
    emit_string(&w, s->name);
    emit_key(&w, "index");
    record_index(&w, index);
    emit_key(&w, "vector");
    emit_floats(&w, vector, n);
    emit_key(&w, "hookName");
    emit_string(&w, s->source->hook_name);
    emit_end_object(&w);
}

enum http_next api_vector_get(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject s;
    float *vector = NULL;
    size_t n = 0;
    subject_open_fields(&s, app, &f);
    int64_t index = f.st.code ? 0 : subject_index_field(&s, &f);
    if (!f.st.code && !subject_need_sae(&s, &f.st) &&
        !engine_encoder_vector(app->engine, s.name, (size_t)index, &vector, &n, &f.st)) {
        reply(x, &s, index, vector, n);
    }
    memory_free(vector);
    subject_close(&s);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
