#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/store/evaluations.h"
#include "server/work/evaluation_report.h"
#include "server/work/evaluator_private.h"

#include <math.h>

static int take_state(void *user, const struct store_evaluation *row)
{
    struct subject *s = user;
    struct status st = {0};
    if (row->state && !row->finished &&
        evaluation_load(s->evaluation, row->state, row->state_bytes, &st) == 0) {
        s->mark = row->contexts;
    }
    return 0;
}

struct lookup {
    int64_t token_limit;
    bool finished;
};

static int look(void *user, const struct store_evaluation *row)
{
    struct lookup *l = user;
    l->finished = row->finished && row->token_limit == l->token_limit;
    return 0;
}

static int create(const struct evaluator *ev, struct subject *s, struct status *st)
{
    const struct gemma_config *c = engine_config(ev->engine);
    return evaluation_create(&s->evaluation, s->source->d_in, s->source->d_out, c->vocab_size,
                             c->hidden_size, st);
}

/* Where the source goes on, with sums of its own; one that cannot be read starts anew. */
int evaluator_open_subject(const struct reading *r, struct subject *s, struct status *st)
{
    const struct evaluator *ev = r->ev;
    struct lookup l = {.token_limit = r->token_limit};
    int code = sources_row(ev->sources, s->source->name, &s->row, st);
    code = code ? code : store_evaluation(ev->store, s->row, r->corpus, look, &l, st);
    if (code || l.finished) {
        return code;
    }
    s->active = true;
    code = create(ev, s, st);
    code = code ? code : store_evaluation(ev->store, s->row, r->corpus, take_state, s, st);
    if (!code && s->mark == 0 && s->evaluation->sums.contexts > 0.0) { /* read by half */
        evaluation_free(s->evaluation);
        s->evaluation = NULL;
        code = create(ev, s, st);
    }
    return code;
}

static int keep_subject(const struct reading *r, const struct subject *s, bool finished,
                        struct status *st)
{
    struct text report = {0}, state = {0};
    struct evaluation_about about = {.source = s->source->name,
                                     .corpus = r->name,
                                     .settings = r->settings,
                                     .token_limit = r->token_limit,
                                     .finished = finished,
                                     .linear_r2 = (double)NAN,
                                     .linear_norm_r2 = (double)NAN};
    int code = STATUS_OK;
    if (finished) {
        code = engine_evaluation_linear(r->ev->engine, s->evaluation, &about.linear_r2,
                                        &about.linear_norm_r2, st);
        code = code ? code
                    : engine_evaluation_votes(r->ev->engine, s->evaluation, &about.votes,
                                              &about.has_votes, st);
    } else {
        evaluation_save(s->evaluation, &state);
    }
    evaluation_report(r->ev->engine, s->evaluation, &about, &report);
    if (!code && (report.failed || state.failed)) {
        code = status_no_memory(st, report.length + state.length);
    }
    const struct store_evaluation row = {.source = s->row,
                                         .corpus = r->corpus,
                                         .contexts = s->mark,
                                         .tokens = (int64_t)s->evaluation->sums.tokens,
                                         .token_limit = r->token_limit,
                                         .finished = finished,
                                         .report = report.data,
                                         .state = finished ? NULL : state.data,
                                         .state_bytes = state.length};
    code = code ? code : store_evaluation_write(r->ev->store, &row, st);
    text_free(&report);
    text_free(&state);
    return code;
}

int evaluator_keep(struct reading *r, bool finished, struct status *st)
{
    int code = STATUS_OK;
    double began = clock_seconds();
    for (size_t i = 0; i < r->n && !code; i++) {
        code = r->subjects[i].active ? keep_subject(r, &r->subjects[i], finished, st) : STATUS_OK;
    }
    r->kept_at = clock_seconds();
    r->kept_for = r->kept_at - began;
    return code;
}

bool evaluator_time_to_keep(const struct reading *r)
{
    double pause = r->ev->keep_seconds > 0.0 ? r->ev->keep_seconds : 30.0;
    pause = pause > 20.0 * r->kept_for ? pause : 20.0 * r->kept_for;
    return clock_seconds() - r->kept_at >= pause;
}
