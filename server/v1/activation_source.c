/* POST /v1/activation/source (neuronpedia.md 3.6): every active feature of a source on prompts, as
 * {"feature": [[position, value], ...]}, values rounded to 3 decimals, <bos> at 0 left out. */
#include "server/http/replies.h"
#include "server/metrics.h"
#include "server/v1/active.h"
#include "server/v1/features.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

static enum http_next reply_source(struct exchange *x, struct features *f)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "results");
    emit_array(&w);
    for (size_t p = 0; p < f->prompts.n; p++) {
        const struct prompt *prompt = &f->prompts.items[p];
        emit_object(&w);
        emit_key(&w, "tokens");
        prompts_emit_tokens(&w, app, prompt->ids, prompt->n_ids);
        size_t mark = reply_begin(&w, "active_features");
        active_write(&w, features_rows(f, p, 0), prompts_has_bos(app, prompt));
        reply_end(&w, "active_features", mark);
        emit_end_object(&w);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    if (!f->await.job) { /* all of it came from the database, where it stays as it is */
        replies_keep(app->replies, x, 0, (int64_t)f->prompts.n);
    }
    return HTTP_DONE;
}

enum http_next activation_source(struct exchange *x)
{
    const struct app *app = x->app;
    int64_t hits;
    if (replies_take(app->replies, x, 0, &hits)) {
        metrics_cache(app->metrics, (size_t)hits, 0);
        exchange_header(x, "X-Darkmatter-Cache", "hit");
        return HTTP_DONE;
    }
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    prompts_read_batch(&f->prompts, x->app, &f->fields);
    const struct sae_source *source = features_source(f, x->app, "source");
    features_refuse_neurons(f, source);
    features_add(f, source);
    return features_run(x, reply_source);
}
