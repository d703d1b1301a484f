#include "core/base/memory.h"
#include "server/work/evaluator_private.h"

void evaluator_batch_free(struct batch *b)
{
    memory_free(b->ids);
    memory_free(b->kept);
    memory_free(b->first);
    memory_free(b->number);
    memory_free(b->line);
}

static void *grow(void *old, size_t n, size_t size, bool *ok)
{
    void *grown = memory_resize(old, n, size);
    *ok = *ok && grown;
    return grown ? grown : old;
}

static int reserve(struct batch *b, size_t tokens, struct status *st)
{
    bool ok = true;
    if (b->n == b->capacity) {
        size_t n = b->capacity ? 2 * b->capacity : 16;
        b->first = grow(b->first, n + 1, sizeof *b->first, &ok);
        b->number = grow(b->number, n, sizeof *b->number, &ok);
        b->line = grow(b->line, n, sizeof *b->line, &ok);
        b->capacity = ok ? n : b->capacity;
    }
    if (tokens > b->token_capacity - b->tokens) {
        size_t n = 2 * b->token_capacity + tokens;
        b->ids = grow(b->ids, n, sizeof *b->ids, &ok);
        b->kept = grow(b->kept, n, sizeof *b->kept, &ok);
        b->token_capacity = ok ? n : b->token_capacity;
    }
    return ok ? STATUS_OK : status_no_memory(st, tokens * sizeof *b->ids);
}

int evaluator_batch_add(struct reading *r, const struct corpus_context *c, int64_t number,
                        struct status *st)
{
    struct batch *b = &r->batch;
    int32_t uncounted[ENGINE_UNCOUNTED];
    size_t n_uncounted = engine_uncounted(r->ev->engine, uncounted);
    int code = reserve(b, c->n, st);
    for (size_t t = 0; t < c->n && !code; t++) {
        bool *kept = &b->kept[b->tokens + t];
        b->ids[b->tokens + t] = c->ids[t];
        *kept = false;
        for (size_t i = 0; i < n_uncounted; i++) {
            *kept = *kept || uncounted[i] == c->ids[t];
        }
    }
    if (!code) {
        b->first[b->n] = b->tokens;
        b->number[b->n] = number;
        b->line[b->n++] = c->line;
        b->tokens += c->n;
        b->first[b->n] = b->tokens;
        b->counted += c->counted;
    }
    return code;
}

/* As in the indexer: by its size, or because a source joins in at the next context. */
bool evaluator_batch_full(const struct reading *r, const struct corpus_context *next)
{
    const struct batch *b = &r->batch;
    size_t most = r->ev->batch_tokens ? r->ev->batch_tokens : EVALUATOR_BATCH;
    if (b->tokens >= most || next->n > most - b->tokens) {
        return true;
    }
    for (size_t i = 0; i < r->n; i++) {
        if (r->subjects[i].active && r->subjects[i].mark == b->number[0] + (int64_t)b->n) {
            return true;
        }
    }
    return false;
}

static bool wants(const struct subject *s, const struct batch *b)
{
    return s->active && s->mark <= b->number[0];
}

/* On the worker's thread. */
static int run_job(struct job *job, struct session *session, struct status *st)
{
    struct reading *r = job->work;
    const struct batch *b = &r->batch;
    const char **names = memory_alloc(r->n, sizeof *names);
    struct dark_source *sources = memory_zalloc(r->n, sizeof *sources);
    struct dark dark = {.ids = b->ids,
                        .first = b->first,
                        .n_prompts = b->n,
                        .kept = b->kept,
                        .runs = EVALUATION_RUNS,
                        .max_rows = EVALUATOR_ROWS,
                        .sources = sources};
    for (size_t i = 0; i < r->n && names; i++) {
        if (wants(&r->subjects[i], b)) {
            names[dark.n_sources++] = r->subjects[i].source->name;
        }
    }
    int code = names && sources ? engine_dark_matter(session, &dark, names, &job->cancel, st)
                                : status_no_memory(st, r->n * sizeof *sources);
    size_t at = 0;
    for (size_t i = 0; i < r->n && !code; i++) {
        if (wants(&r->subjects[i], b)) {
            code = engine_evaluation_add(session, r->subjects[i].evaluation, &dark, at++, b->number,
                                         b->line, st);
        }
    }
    if (names && sources) {
        dark_free(&dark);
    }
    memory_free(names);
    memory_free(sources);
    return code;
}

static void job_done(struct job *job, void *user)
{
    struct reading *r = user;
    (void)job;
    pthread_mutex_lock(&r->lock);
    r->done = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

int evaluator_batch_run(struct reading *r, struct status *st)
{
    struct batch *b = &r->batch;
    struct job *job = job_create(1);
    if (!job) {
        return status_no_memory(st, sizeof *job);
    }
    job->n_prompts = 0;
    job->background = true;
    job->run = run_job;
    job->work = r;
    job->work_tokens = b->tokens;
    job->done = job_done;
    job->user = r;
    r->done = false;
    int code = queue_push(r->ev->queue, job, st);
    if (code == STATUS_BUSY) { /* only a queue that is being stopped refuses */
        code = status_set(st, STATUS_CANCELLED, "the evaluation was stopped");
    }
    if (!code) {
        pthread_mutex_lock(&r->lock);
        while (!r->done) {
            pthread_cond_wait(&r->changed, &r->lock);
        }
        pthread_mutex_unlock(&r->lock);
        *st = job->st;
        code = (int)st->code;
    }
    for (size_t i = 0; i < r->n && !code; i++) {
        struct subject *s = &r->subjects[i];
        s->mark = wants(s, b) ? b->number[0] + (int64_t)b->n : s->mark;
    }
    r->progress.tokens += code ? 0 : b->counted;
    job_free(job);
    b->n = b->tokens = 0;
    b->counted = 0;
    return code;
}
