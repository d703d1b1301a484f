#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/store/documents.h"
#include "server/work/index_turn.h"
#include "server/work/indexer_private.h"
#include "server/work/neuron_index.h"
#include "server/work/pace.h"

#include <pthread.h>
#include <string.h>

/* Documents that go through the model together. */
struct batch {
    struct run *run;
    int64_t first; /* number of the first document */
    struct store_document *documents;
    size_t n, capacity;
    size_t tokens;
    int64_t counted;
    struct job *job; /* NULL: everything was in the cache */
    bool done;       /* under the run's lock */
};

struct run {
    const struct indexer *ix;
    int64_t corpus;
    int64_t *rows;  /* [n_names] of the sources */
    int64_t *marks; /* [n_names] documents that were behind each source when the run began */
    struct neuron_index **neurons; /* [n_names] NULL: an SAE */
    struct batch batches[INDEXER_IN_FLIGHT];
    size_t sent, finished; /* batches so far; batch i is batches[i % INDEXER_IN_FLIGHT] */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct indexer_progress progress;
    int64_t tokens_before; /* counted tokens that were there already */
    double started;
};

static bool is_set(const atomic_bool *flag)
{
    return flag && atomic_load(flag);
}

static int check_stop(const struct indexer *ix, struct status *st)
{
    return is_set(ix->cancel) || is_set(ix->abandon)
               ? status_set(st, STATUS_CANCELLED, "indexing was stopped")
               : STATUS_OK;
}

/* --- batches ---------------------------------------------------------------------------------- */

static void clear_batch(struct batch *b)
{
    for (size_t i = 0; i < b->n; i++) {
        memory_free((void *)(uintptr_t)b->documents[i].ids);
    }
    job_free(b->job);
    b->job = NULL;
    b->n = 0;
    b->tokens = 0;
    b->counted = 0;
    b->done = false;
}

static int add_document(struct batch *b, const struct corpus_context *context, struct status *st)
{
    if (b->n == b->capacity) {
        size_t capacity = b->capacity ? 2 * b->capacity : 16;
        struct store_document *grown = memory_resize(b->documents, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        b->documents = grown;
        b->capacity = capacity;
    }
    int32_t *ids = memory_alloc(context->n, sizeof *ids);
    if (!ids) {
        return status_no_memory(st, context->n * sizeof *ids);
    }
    memcpy(ids, context->ids, context->n * sizeof *ids);
    b->documents[b->n++] =
        (struct store_document){.ids = ids, .n = context->n, .line = context->line};
    b->tokens += context->n;
    b->counted += context->counted;
    return STATUS_OK;
}

/* Whether the batch is at its end before this context: by its size, or because a source joins in
 * there (a batch is new to each of its sources as a whole, or not at all). */
static bool is_full(const struct run *r, const struct batch *b, const struct corpus_context *next)
{
    size_t most = r->ix->batch_tokens ? r->ix->batch_tokens : INDEXER_BATCH;
    if (b->n == 0) {
        return false;
    }
    if (b->tokens >= most || next->n > most - b->tokens) {
        return true;
    }
    for (size_t s = 0; s < r->ix->n_names; s++) {
        if (r->marks[s] == b->first + (int64_t)b->n) {
            return true;
        }
    }
    return false;
}

static bool wants(const struct run *r, size_t s, const struct batch *b)
{
    return r->marks[s] <= b->first;
}

/* Adds a read for each source of the batch whose rows of this document are not in the cache. */
static int missing_reads(struct run *r, const struct batch *b, const struct store_document *d,
                         struct engine_read *reads, size_t *n, struct status *st)
{
    const struct indexer *ix = r->ix;
    *n = 0;
    for (size_t s = 0; s < ix->n_names; s++) {
        struct sparse rows = {0};
        bool found;
        if (!wants(r, s, b)) {
            continue;
        }
        if (r->neurons[s]) {
            reads[(*n)++] = neuron_index_read(r->neurons[s]);
            continue;
        }
        int code = store_read_activations(ix->store, sources_model(ix->sources), r->rows[s], d->ids,
                                          d->n, &rows, &found, st);
        sparse_free(&rows);
        if (code) {
            return code;
        }
        if (!found) {
            const struct catalogue *catalogue = engine_catalogue(ix->engine);
            reads[(*n)++] = (struct engine_read){
                .kind = READ_FEATURES, .source = catalogue_find(catalogue, ix->names[s])->name};
        }
    }
    return STATUS_OK;
}

static int add_prompt(struct job *job, const struct store_document *d,
                      const struct engine_read *reads, size_t n, struct status *st)
{
    struct engine_prompt *prompt = &job->prompts[job->n_prompts];
    int32_t *ids = memory_alloc(d->n, sizeof *ids);
    prompt->reads = memory_alloc(n, sizeof *reads);
    prompt->ids = ids;
    job->n_prompts++;
    if (!ids || !prompt->reads) {
        return status_no_memory(st, d->n * sizeof *ids);
    }
    memcpy(ids, d->ids, d->n * sizeof *ids);
    memcpy(prompt->reads, reads, n * sizeof *reads);
    prompt->n_ids = d->n;
    prompt->n_reads = n;
    return STATUS_OK;
}

static int make_job(struct run *r, struct batch *b, struct status *st)
{
    struct engine_read *reads = memory_alloc(r->ix->n_names, sizeof *reads);
    b->job = job_create(b->n);
    if (!reads || !b->job) {
        memory_free(reads);
        return status_no_memory(st, b->n * sizeof(struct engine_prompt));
    }
    b->job->n_prompts = 0; /* they are added as they are needed */
    b->job->keep = true;
    b->job->background = true;
    int code = STATUS_OK;
    for (size_t i = 0; i < b->n && !code; i++) {
        size_t n;
        code = missing_reads(r, b, &b->documents[i], reads, &n, st);
        if (!code && n) {
            code = add_prompt(b->job, &b->documents[i], reads, n, st);
        }
    }
    memory_free(reads);
    return code;
}

static void job_done(struct job *job, void *user)
{
    struct batch *b = user;
    struct run *r = b->run;
    (void)job;
    pthread_mutex_lock(&r->lock);
    b->done = true;
    pthread_cond_signal(&r->changed);
    pthread_mutex_unlock(&r->lock);
}

/* Sends the batch on its way. */
static int send_batch(struct run *r, struct batch *b, struct status *st)
{
    int code = make_job(r, b, st);
    if (!code && b->job->n_prompts == 0) {
        b->done = true;
        r->sent++;
        return STATUS_OK;
    }
    if (!code) {
        b->job->done = job_done;
        b->job->user = b;
        b->run = r;
        code = queue_push(r->ix->queue, b->job, st);
        if (code == STATUS_BUSY) { /* only a queue that is being stopped refuses */
            code = status_set(st, STATUS_CANCELLED, "indexing was stopped");
        }
    }
    r->sent += code == STATUS_OK;
    return code;
}

/* --- marks and progress ----------------------------------------------------------------------- */

static void report(struct run *r, const struct corpus *corpus)
{
    struct indexer_progress *p = &r->progress;
    struct pace pace = pace_of(corpus_estimate(corpus), p->tokens, p->tokens - r->tokens_before,
                               clock_seconds() - r->started);
    p->total_tokens = pace.total_tokens;
    p->tokens_per_second = pace.per_second;
    p->seconds_left = pace.seconds_left;
    if (r->ix->progress) {
        r->ix->progress(r->ix->user, p);
    }
}

static int write_batch(struct run *r, const struct batch *b, struct status *st)
{
    int64_t *rows = memory_alloc(r->ix->n_names, sizeof *rows);
    size_t n = 0;
    if (!rows) {
        return status_no_memory(st, r->ix->n_names * sizeof *rows);
    }
    for (size_t s = 0; s < r->ix->n_names; s++) {
        if (wants(r, s, b) && !r->neurons[s]) {
            rows[n++] = r->rows[s];
        }
    }
    int code = store_write_documents(r->ix->store, sources_model(r->ix->sources), r->corpus,
                                     b->first, b->documents, b->n, rows, n, b->counted, st);
    memory_free(rows);
    for (size_t s = 0; s < r->ix->n_names && !code; s++) {
        if (r->neurons[s] && wants(r, s, b)) {
            code = neuron_index_add(r->neurons[s], b->first, b->documents, b->n, b->job, st);
        }
    }
    return code;
}

/* Waits for the oldest batch and, if all is well so far (code), moves the marks over it. */
static int finish_oldest(struct run *r, int code, struct status *st)
{
    struct batch *b = &r->batches[r->finished % INDEXER_IN_FLIGHT];
    pthread_mutex_lock(&r->lock);
    while (!b->done) {
        pthread_cond_wait(&r->changed, &r->lock);
    }
    pthread_mutex_unlock(&r->lock);
    r->finished++;
    if (!code && b->job->st.code) {
        *st = b->job->st;
        code = (int)st->code;
    }
    if (!code) {
        code = write_batch(r, b, st);
    }
    if (!code) {
        r->progress.documents = b->first + (int64_t)b->n;
        r->progress.tokens += b->counted;
    }
    clear_batch(b);
    return code;
}

/* --- a corpus --------------------------------------------------------------------------------- */

static int send_full(struct run *r, const struct corpus *corpus, struct status *st)
{
    int code = send_batch(r, &r->batches[r->sent % INDEXER_IN_FLIGHT], st);
    if (!code && r->sent - r->finished == INDEXER_IN_FLIGHT) {
        code = finish_oldest(r, STATUS_OK, st);
        if (!code) {
            report(r, corpus);
        }
    }
    return code ? code : check_stop(r->ix, st);
}

static int64_t lowest_mark(const struct run *r)
{
    int64_t lowest = INT64_MAX;
    for (size_t s = 0; s < r->ix->n_names; s++) {
        lowest = r->marks[s] < lowest ? r->marks[s] : lowest;
    }
    return lowest;
}

static int read_contexts(struct run *r, struct corpus *corpus, struct status *st)
{
    int64_t lowest = lowest_mark(r);
    int code = check_stop(r->ix, st);
    for (int64_t number = 0; !code; number++) {
        struct corpus_context context;
        bool found;
        code = corpus_next(corpus, &context, &found, st);
        struct batch *b = &r->batches[r->sent % INDEXER_IN_FLIGHT];
        if (!code && b->n && (!found || is_full(r, b, &context))) {
            code = send_full(r, corpus, st);
            b = &r->batches[r->sent % INDEXER_IN_FLIGHT];
        }
        if (code || !found) {
            break;
        }
        if (number < lowest) {
            r->progress.documents++;
            r->progress.tokens += context.counted;
            r->tokens_before = r->progress.tokens;
            r->started = clock_seconds();
            code = number % 256 == 0 ? check_stop(r->ix, st) : STATUS_OK;
            continue;
        }
        b->first = b->n ? b->first : number;
        code = add_document(b, &context, st);
    }
    if (code) {
        clear_batch(&r->batches[r->sent % INDEXER_IN_FLIGHT]); /* it was not sent */
    }
    while (r->finished < r->sent) {
        /* What was computed before a stop is kept; behind an error nothing may follow. */
        int earlier = code == STATUS_CANCELLED ? STATUS_OK : code;
        struct status own = {0};
        int late = finish_oldest(r, earlier, &own);
        if (late && !code) {
            *st = own;
            code = late;
        } else if (late && late != code) {
            code = late == STATUS_CANCELLED ? code : late;
            *st = late == STATUS_CANCELLED ? *st : own;
        }
    }
    report(r, corpus);
    return code;
}

static int read_marks(struct run *r, struct status *st)
{
    const struct indexer *ix = r->ix;
    for (size_t s = 0; s < ix->n_names; s++) {
        int64_t tokens;
        int code = sources_row(ix->sources, ix->names[s], &r->rows[s], st);
        code = code ? code
                    : store_indexed(ix->store, r->rows[s], r->corpus, &r->marks[s], &tokens, st);
        if (!code && !sources_keeps(ix->sources, ix->names[s])) {
            code = neuron_index_open(&r->neurons[s], ix->engine, ix->store,
                                     catalogue_find(engine_catalogue(ix->engine), ix->names[s]),
                                     r->rows[s], r->corpus, st);
        }
        if (code) {
            return code;
        }
    }
    return STATUS_OK;
}

static int open_run(struct run *r, const struct corpus_options *options, const char *name,
                    struct status *st)
{
    const struct indexer *ix = r->ix;
    struct text settings = {0};
    corpus_settings(ix->engine, options, &settings);
    int code = settings.failed ? status_no_memory(st, 128)
                               : store_corpus(ix->store, sources_model(ix->sources), name,
                                              settings.data, &r->corpus, st);
    text_free(&settings);
    if (code) {
        return code;
    }
    r->rows = memory_alloc(ix->n_names, sizeof *r->rows);
    r->marks = memory_alloc(ix->n_names, sizeof *r->marks);
    r->neurons = memory_zalloc(ix->n_names, sizeof(struct neuron_index *));
    if (!r->rows || !r->marks || !r->neurons) {
        return status_no_memory(st, ix->n_names * sizeof *r->marks);
    }
    return read_marks(r, st);
}

static int run_turn(struct run *r, struct corpus *corpus, const struct corpus_options *options,
                    const char *name, struct status *st)
{
    int turn;
    int code = index_turn_take(r->ix, &turn, st);
    if (code) {
        return code;
    }
    r->started = clock_seconds();
    code = open_run(r, options, name, st);
    code = code ? code : read_contexts(r, corpus, st);
    code = neuron_index_end(r->neurons, r->ix->n_names, code, st);
    index_turn_end(turn);
    return code;
}

int indexer_read_once(const struct indexer *ix, const struct corpus_options *options,
                      const char *name, size_t reading, size_t readings,
                      struct corpus_figures *figures, struct status *st)
{
    struct run r = {.ix = ix,
                    .progress = {.phase = "activations",
                                 .seconds_left = -1.0,
                                 .reading = reading,
                                 .readings = readings}};
    struct corpus *corpus;
    *figures = (struct corpus_figures){0};
    int code = corpus_open(&corpus, ix->engine, options, st);
    if (code) {
        return code;
    }
    pthread_mutex_init(&r.lock, NULL);
    pthread_cond_init(&r.changed, NULL);
    code = run_turn(&r, corpus, options, name, st);
    *figures = corpus_figures(corpus);
    corpus_close(corpus);
    for (size_t i = 0; i < INDEXER_IN_FLIGHT; i++) {
        clear_batch(&r.batches[i]);
        memory_free(r.batches[i].documents);
    }
    pthread_cond_destroy(&r.changed);
    pthread_mutex_destroy(&r.lock);
    memory_free(r.rows);
    memory_free(r.marks);
    return code;
}
