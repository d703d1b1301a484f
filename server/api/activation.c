/* POST /api/activation/get (neuronpedia.md 2): the texts on which a feature fires. */
#include "core/base/memory.h"
#include "server/api/example.h"
#include "server/api/neuron.h"
#include "server/api/routes.h"

static int none(const struct subject *s, int64_t index, struct status *st)
{
    if (!s->indexed) {
        return status_set(
            st, STATUS_NOT_FOUND,
            "no activations of feature %lld are known: \"%.120s\" has not been indexed "
            "here (darkmatter index, or POST /api/index)",
            (long long)index, s->name);
    }
    return status_set(st, STATUS_NOT_FOUND,
                      "feature %lld of \"%.120s\" fired on none of the %lld indexed tokens",
                      (long long)index, s->name, (long long)s->dashboard.tokens);
}

static int write_all(struct exchange *x, const struct subject *s, int64_t index, struct status *st)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    struct neuron neuron;
    int code = neuron_read(&neuron, app, s, index, true, st);
    if (!code && s->indexed) {
        if (neuron.page.n_examples == 0) {
            code = none(s, index, st);
        } else {
            example_write(&w, app, s, index, &neuron.page, NEURON_ALL);
        }
    } else if (!code) {
        size_t n = 0;
        code = example_write_imported(&w, app, s, index, NEURON_ALL, &n, st);
        code = code || n ? code : none(s, index, st);
    }
    neuron_free(&neuron);
    return code;
}

enum http_next api_activation_get(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject subject;
    subject_open_fields(&subject, x->app, &f);
    int64_t index = f.st.code ? 0 : subject_index_field(&subject, &f);
    if (f.st.code == STATUS_UNPROCESSABLE) {
        f.st.code = STATUS_INVALID; /* 400, as upstream answers here */
    }
    if (!f.st.code) {
        (void)write_all(x, &subject, index, &f.st);
    }
    subject_close(&subject);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
