/* GET /api/random/{model}/{source}: some feature, one that fired if the source was indexed. */
#include "server/api/record.h"
#include "server/api/routes.h"
#include "server/api/subject.h"

#include <sys/random.h>

/* Even over 0..n-1 for the eye: 2^64 is far above any d_sae. */
static int draw(size_t n, size_t *number, struct status *st)
{
    uint64_t bits;
    if (getrandom(&bits, sizeof bits, 0) != (ssize_t)sizeof bits) {
        return status_set(st, STATUS_IO, "the system gives no random numbers");
    }
    *number = (size_t)(bits % n);
    return STATUS_OK;
}

/* The drawn one among the features that fired, or among all where none is known to. */
static int pick(const struct subject *s, size_t *index, struct status *st)
{
    const struct store_dashboard *d = &s->dashboard;
    size_t alive = 0;
    for (size_t i = 0; s->indexed && i < d->d_sae; i++) {
        alive += d->counts[i] > 0;
    }
    size_t left = 0;
    int code = draw(alive ? alive : s->source->d_sae, &left, st);
    if (code || !alive) {
        *index = left;
        return code;
    }
    size_t i = 0;
    for (;; i++) {
        if (d->counts[i] > 0 && left-- == 0) {
            break;
        }
    }
    *index = i;
    return STATUS_OK;
}

static void reply(struct exchange *x, const struct subject *s, size_t index)
{
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "model");
    emit_string(&w, s->model);
    emit_key(&w, "source");
    emit_string(&w, s->name);
    emit_key(&w, "index");
    record_index(&w, (long long)index);
    emit_end_object(&w);
}

enum http_next api_random(struct exchange *x)
{
    char **names = x->request.parameters;
    struct subject s;
    struct status st = {0};
    size_t index;
    if (!subject_open(&s, x->app, names[0], names[1], &st) && !subject_need_sae(&s, &st) &&
        !pick(&s, &index, &st)) {
        reply(x, &s, index);
    }
    subject_close(&s);
    return st.code ? exchange_fail(x, &st) : HTTP_DONE;
}
