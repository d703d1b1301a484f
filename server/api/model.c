/* POST /api/model/list and GET /api/source-set/{model}/{name} (neuronpedia.md 2). */
#include "server/api/routes.h"
#include "server/api/subject.h"

#include <string.h>

/* The body, {} or nothing, says nothing. */
enum http_next api_model_list(struct exchange *x)
{
    struct emitter w = {.out = &x->response.body};
    emit_array(&w);
    subject_write_model(&w, x->app);
    emit_end_array(&w);
    return HTTP_DONE;
}

enum http_next api_source_set(struct exchange *x)
{
    const struct app *app = x->app;
    const char *model = x->request.parameters[0], *set = x->request.parameters[1];
    const struct catalogue *catalogue = engine_catalogue(app->engine);
    struct emitter w = {.out = &x->response.body};
    struct status st = {0};
    size_t n = 0;
    bool indexed = false;
    (void)subject_check_model(app, model, &st);
    emit_object(&w);
    emit_key(&w, "sources");
    emit_array(&w);
    for (size_t i = 0; i < catalogue->n_sources && !st.code; i++) {
        struct subject s;
        if (strcmp(catalogue->sources[i].source_set, set) != 0) {
            continue;
        }
        if (!subject_open(&s, app, model, catalogue->sources[i].name, &st)) {
            subject_write_source(&w, &s);
            indexed = indexed || s.indexed;
        }
        subject_close(&s);
        n++;
    }
    emit_end_array(&w);
    subject_write_set(&w, app, set, indexed);
    emit_end_object(&w);
    if (!st.code && n == 0) {
        status_set(&st, STATUS_NOT_FOUND,
                   "there is no source set \"%.120s\" of \"%.120s\" here; GET /v1/capabilities "
                   "lists those there are",
                   set, model);
    }
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}
