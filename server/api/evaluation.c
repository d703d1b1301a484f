/* GET /api/source/{model}/{source}/evaluation: the reports of `darkmatter evaluate`, as they were
 * kept (darkmatter's own; docs/api-web.md). */
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/store/evaluations.h"

#include <string.h>

static int write_evaluation(void *user, const struct store_evaluation *e)
{
    struct emitter *w = user;
    emit_object(w);
    emit_key(w, "madeAt");
    emit_string(w, e->made_at);
    emit_key(w, "report");
    emit_raw(w, e->report, strlen(e->report));
    emit_end_object(w);
    return 0;
}

static int reply(struct exchange *x, const struct subject *s, struct status *st)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "modelId");
    emit_string(&w, s->model);
    emit_key(&w, "sourceId");
    emit_string(&w, s->name);
    emit_key(&w, "evaluations");
    emit_array(&w);
    int code = s->row ? store_evaluations(app->store, s->row, write_evaluation, &w, st) : STATUS_OK;
    emit_end_array(&w);
    emit_end_object(&w);
    return code;
}

enum http_next api_source_evaluation(struct exchange *x)
{
    char **names = x->request.parameters;
    struct subject s;
    struct status st = {0};
    if (!subject_open(&s, x->app, names[0], names[1], &st)) {
        (void)reply(x, &s, &st);
    }
    subject_close(&s);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}
