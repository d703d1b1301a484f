/* POST /v1/dark-matter: what an SAE leaves unexplained of a prompt, token by token, what that error
 * votes for, and what the model says when it gets the reconstruction, nothing, the mean or the
 * error alone (docs/api.md, "dark-matter"; docs/model.md, "Dark matter").
 *
 * {prompt | tokens, source, runs: [names], top: n} -> the arrays of section f of the oracle's
 * README and the totals. */
#include "core/base/memory.h"
#include "server/v1/await.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <stdio.h>
#include <string.h>

enum { TOP_DEFAULT = 5, TOP_MAX = 50, PASS_ROWS = 1024 };

struct dark_matter {
    struct await await; /* first, see await.h */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;
    const struct sae_source *source;
    size_t first[2];
    struct dark dark;
    struct dark_source result; /* dark's only one */
};

static void free_state(void *state)
{
    struct dark_matter *d = state;
    job_free(d->await.job); /* before what it borrows */
    dark_free(&d->dark);
    prompts_free(&d->prompts);
    cJSON_Delete(d->body);
    memory_free(d);
}

/* --- the request ------------------------------------------------------------------------------ */

static void read_source(struct dark_matter *d, const struct app *app)
{
    (void)fields_need(&d->fields, "source");
    const char *name = fields_string(&d->fields, "source");
    d->source = name ? catalogue_find(engine_catalogue(app->engine), name) : NULL;
    if (name && !d->source) {
        status_set(&d->fields.st, STATUS_NOT_FOUND,
                   "source: there is no \"%.120s\"; GET /v1/capabilities lists those there are",
                   name);
    } else if (d->source && d->source->is_neurons) {
        status_set(
            &d->fields.st, STATUS_INVALID,
            "source: \"%.120s\" is the model's own neurons, which leave nothing unexplained; "
            "expected an SAE",
            name);
    }
}

static unsigned run_bit(struct fields *f, const cJSON *item)
{
    const char *name = cJSON_GetStringValue(item);
    for (int run = 0; name && run < DARK_RUNS; run++) {
        if (strcmp(name, dark_run_name((enum dark_run)run)) == 0) {
            return 1u << run;
        }
    }
    status_set(&f->st, name ? STATUS_INVALID : STATUS_UNPROCESSABLE,
               "runs: expected splice, splice_keep_bos, zero, mean or error_only, found %.40s",
               name ? name : fields_kind(item));
    return 0;
}

static unsigned read_runs(struct fields *f)
{
    const cJSON *list = fields_array(f, "runs");
    unsigned runs = list ? 0 : (1u << DARK_RUNS) - 1;
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        runs |= f->st.code ? 0 : run_bit(f, item);
    }
    return runs;
}

static void read_request(struct dark_matter *d, const struct app *app)
{
    fields_model(&d->fields);
    prompts_read(&d->prompts, app, &d->fields);
    read_source(d, app);
    d->dark.runs = read_runs(&d->fields);
    d->dark.top = (size_t)fields_integer(&d->fields, "top", 0, TOP_MAX, TOP_DEFAULT);
    size_t vocabulary = engine_config(app->engine)->vocab_size;
    d->dark.top = d->dark.top < vocabulary ? d->dark.top : vocabulary;
}

/* --- the reply -------------------------------------------------------------------------------- */

static void write_floats(struct emitter *w, const char *name, const float *values, size_t n)
{
    size_t mark = reply_begin(w, name);
    emit_floats(w, values, n);
    reply_end(w, name, mark);
}

static void write_double(struct emitter *w, const char *name, double value)
{
    size_t mark = reply_begin(w, name);
    emit_double(w, value);
    reply_end(w, name, mark);
}

static void write_tokens(struct emitter *w, const struct app *app, const struct dark_matter *d)
{
    const struct prompt *p = &d->prompts.items[0];
    emit_key(w, "tokens");
    prompts_emit_tokens(w, app, p->ids, p->n_ids);
    size_t mark = reply_begin(w, "tokens_is_special");
    emit_array(w);
    for (size_t t = 0; t < p->n_ids; t++) {
        emit_bool(w, engine_is_special(app->engine, p->ids[t]));
    }
    emit_end_array(w);
    reply_end(w, "tokens_is_special", mark);
}

static void write_errors(struct emitter *w, const struct app *app, const struct dark_matter *d)
{
    const struct dark_source *s = &d->result;
    size_t T = d->first[1];
    write_floats(w, "err_norm", s->err_norm, T);
    write_floats(w, "rel_err", s->rel_err, T);
    write_floats(w, "cosine", s->cosine, T);
    write_floats(w, "fvu_token", s->fvu_token, T);
    emit_key(w, "l0");
    emit_array(w);
    for (size_t t = 0; t < T; t++) {
        emit_int(w, (long long)(s->features.start[t + 1] - s->features.start[t]));
    }
    emit_end_array(w);
    emit_key(w, "argmax");
    emit_array(w);
    for (size_t t = 0; t < T; t++) {
        emit_int(w, d->dark.argmax[t]);
    }
    emit_end_array(w);
    size_t mark = reply_begin(w, "argmax_token");
    prompts_emit_tokens(w, app, d->dark.argmax, T);
    reply_end(w, "argmax_token", mark);
    write_floats(w, "argmax_precap", d->dark.argmax_precap, T);
    write_floats(w, "err_logit", s->err_logit, T);
    write_floats(w, "err_share", s->err_share, T);
}

static void write_runs(struct emitter *w, const struct dark_matter *d)
{
    size_t T = d->first[1];
    char name[FIELDS_NAME];
    for (int run = 0; run < DARK_RUNS; run++) {
        if (d->result.kl[run]) {
            (void)snprintf(name, sizeof name, "kl_%s", dark_run_name((enum dark_run)run));
            write_floats(w, name, d->result.kl[run], T);
            (void)snprintf(name, sizeof name, "loss_%s", dark_run_name((enum dark_run)run));
            write_floats(w, name, d->result.loss[run], T - 1);
        }
    }
    write_floats(w, "loss_clean", d->dark.loss_clean, T - 1);
}

static void write_side(struct emitter *w, const struct app *app, const char *name,
                       const int32_t *ids, const float *logits, size_t n)
{
    struct text token = {0};
    emit_key(w, name);
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        text_clear(&token);
        engine_token_text(app->engine, ids[i], &token);
        emit_object(w);
        emit_key(w, "token");
        emit_string_n(w, token.data ? token.data : "", token.length);
        emit_key(w, "id");
        emit_int(w, ids[i]);
        emit_key(w, "logit");
        emit_float(w, logits[i]);
        emit_end_object(w);
    }
    emit_end_array(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

static void write_votes(struct emitter *w, const struct app *app, const struct dark_matter *d)
{
    const struct dark_source *s = &d->result;
    size_t top = d->dark.top;
    emit_key(w, "votes");
    if (!top || !s->leads) {
        emit_null(w);
        return;
    }
    emit_array(w);
    for (size_t t = 0; t < d->first[1]; t++) {
        size_t up = 2 * t * top, down = up + top;
        emit_object(w);
        write_side(w, app, "promoted", s->vote_ids + up, s->votes + up, top);
        write_side(w, app, "suppressed", s->vote_ids + down, s->votes + down, top);
        emit_end_object(w);
    }
    emit_end_array(w);
}

static void write_totals(struct emitter *w, const struct dark_matter *d,
                         const struct dark_totals *totals)
{
    emit_key(w, "totals");
    emit_object(w);
    write_double(w, "mean_l0", totals->mean_l0);
    write_double(w, "mean_l0_skip_first", totals->mean_l0_skip_first);
    write_double(w, "fvu_skip_first", totals->fvu_skip_first);
    write_double(w, "ce_clean", totals->ce_clean);
    char name[FIELDS_NAME];
    for (int run = 0; run < DARK_RUNS; run++) {
        const char *of = dark_run_name((enum dark_run)run);
        if (d->result.kl[run]) {
            (void)snprintf(name, sizeof name, "ce_%s", of);
            write_double(w, name, totals->ce[run]);
            (void)snprintf(name, sizeof name, "kl_%s_mean", of);
            write_double(w, name, totals->kl_mean[run]);
            (void)snprintf(name, sizeof name, "kl_%s_mean_skip_first", of);
            write_double(w, name, totals->kl_mean_skip_first[run]);
        }
    }
    write_double(w, "loss_recovered", totals->loss_recovered);
    write_double(w, "loss_recovered_mean", totals->loss_recovered_mean);
    emit_end_object(w);
}

static enum http_next reply(struct exchange *x)
{
    const struct dark_matter *d = x->state;
    const struct app *app = x->app;
    struct dark_totals totals;
    struct status st = {0};
    if (dark_totals(&d->dark, 0, 0, &totals, &st)) {
        return exchange_fail(x, &st);
    }
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "source");
    emit_string(&w, d->source->name);
    write_tokens(&w, app, d);
    write_errors(&w, app, d);
    write_runs(&w, d);
    write_votes(&w, app, d);
    write_totals(&w, d, &totals);
    emit_end_object(&w);
    return HTTP_DONE;
}

/* --- the job ---------------------------------------------------------------------------------- */

/* A client that has left need not be computed for. */
static bool advanced(struct job *job, bool more, void *user)
{
    (void)job;
    return !more || !exchange_gone(user);
}

static int make_job(struct dark_matter *d, struct engine *engine)
{
    struct status *st = &d->fields.st;
    struct job *job = job_create(0);
    d->await.job = job;
    if (!job) {
        return status_no_memory(st, sizeof *job);
    }
    d->first[1] = d->prompts.items[0].n_ids;
    d->dark.ids = d->prompts.items[0].ids;
    d->dark.first = d->first;
    d->dark.n_prompts = 1;
    d->dark.max_rows = PASS_ROWS;
    d->dark.sources = &d->result;
    d->dark.n_sources = 1;
    job->advanced = advanced;
    job->work_tokens = (1 + (size_t)__builtin_popcount(d->dark.runs)) * d->first[1];
    return dark_reading_open(&job->dark, engine, &d->dark, (const char *const *)&d->source->name,
                             st);
}

enum http_next dark_matter(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct dark_matter *d = memory_zalloc(1, sizeof *d);
    if (!d) {
        cJSON_Delete(body);
        return exchange_error(x, 500, "out of memory");
    }
    d->body = body;
    d->fields.body = body;
    d->await.reply = reply;
    x->state = d;
    x->free_state = free_state;
    read_request(d, x->app);
    const struct app *app = x->app;
    return d->fields.st.code || make_job(d, app->engine) ? exchange_fail(x, &d->fields.st)
                                                         : await_job(x);
}
