#include "server/work/collector.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/dashboard/dashboard.h"
#include "server/work/collector_private.h"
#include "server/work/pace.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { BATCH = 512 }; /* tokens of a pass */

struct collecting {
    const struct collector *c;
    struct session *session;
    struct collector_index index;
    struct collector_shard shard;
    struct collector_entry entry;  /* of the shard that is being filled */
    struct collector_entry behind; /* the last shard that was there; documents 0: none */
    struct hash ids;               /* of all contexts so far */
    int64_t number;                /* of the next context */
    struct engine_prompt *prompts; /* the batch: [n_prompts], contexts that follow on each other */
    size_t n_prompts, capacity, batch_tokens;
    struct collector_progress p;
    int64_t before; /* rows that were there when the run began */
    double started;
};

/* --- the batch -------------------------------------------------------------------------------- */

static void free_prompt(struct engine_prompt *p)
{
    for (size_t i = 0; i < p->n_reads; i++) {
        engine_read_free(&p->reads[i]);
    }
    memory_free(p->reads);
    memory_free((void *)(uintptr_t)p->ids);
}

static void clear_batch(struct collecting *x)
{
    for (size_t i = 0; i < x->n_prompts; i++) {
        free_prompt(&x->prompts[i]);
    }
    x->n_prompts = 0;
    x->batch_tokens = 0;
}

static int add_prompt(struct collecting *x, const struct corpus_context *context, struct status *st)
{
    if (x->n_prompts == x->capacity) {
        size_t capacity = x->capacity ? 2 * x->capacity : 16;
        struct engine_prompt *grown = memory_resize(x->prompts, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        x->prompts = grown;
        x->capacity = capacity;
    }
    int32_t *ids = memory_alloc(context->n, sizeof *ids);
    struct engine_read *reads = memory_zalloc(x->c->n_reads, sizeof *reads);
    if (!ids || !reads) {
        memory_free(ids);
        memory_free(reads);
        return status_no_memory(st, context->n * sizeof *ids);
    }
    memcpy(ids, context->ids, context->n * sizeof *ids);
    for (size_t i = 0; i < x->c->n_reads; i++) {
        reads[i] = (struct engine_read){
            .kind = READ_POINT, .point = x->c->reads[i].point, .layer = x->c->reads[i].layer};
    }
    x->prompts[x->n_prompts++] = (struct engine_prompt){
        .ids = ids, .n_ids = context->n, .reads = reads, .n_reads = x->c->n_reads};
    x->batch_tokens += context->n;
    return STATUS_OK;
}

/* --- shards ----------------------------------------------------------------------------------- */

static int end_shard(struct collecting *x, struct status *st)
{
    struct text path = {0};
    char name[COLLECTOR_NAME];
    if (x->shard.n == 0) {
        return STATUS_OK;
    }
    collector_shard_name(x->index.n, name);
    text_printf(&path, "%s/%s", x->c->out, name);
    x->entry.rows = (int64_t)x->shard.n;
    int code = path.failed ? status_no_memory(st, 256)
                           : collector_shard_write(&x->shard, path.data, &x->entry.bytes, st);
    code = code ? code : collector_index_add(&x->index, &x->entry, st);
    code = code ? code : collector_index_write(&x->index, x->c, st);
    x->entry =
        (struct collector_entry){.first_document = x->entry.first_document + x->entry.documents};
    text_free(&path);
    return code;
}

static void report(struct collecting *x, const struct corpus *corpus)
{
    struct collector_progress *p = &x->p;
    struct pace pace = pace_of(corpus_estimate(corpus), p->tokens, p->rows - x->before,
                               clock_seconds() - x->started);
    p->shards = x->index.n;
    p->total_tokens = pace.total_tokens;
    p->rows_per_second = pace.per_second;
    p->seconds_left = pace.seconds_left;
    if (x->c->progress) {
        x->c->progress(x->c->user, p);
    }
}

/* Runs the batch and puts its contexts into shards. */
static int run_batch(struct collecting *x, const struct corpus *corpus, struct status *st)
{
    int32_t ignored[ENGINE_UNCOUNTED];
    size_t n_ignored = engine_uncounted(x->c->engine, ignored);
    int code = x->n_prompts ? engine_trace(x->session, x->prompts, x->n_prompts, x->c->cancel, st)
                            : STATUS_OK;
    int64_t document = x->number - (int64_t)x->n_prompts;
    for (size_t i = 0; i < x->n_prompts && !code; i++, document++) {
        const struct engine_prompt *p = &x->prompts[i];
        if (collector_shard_is_full(&x->shard, p->n_ids)) {
            code = end_shard(x, st);
        }
        code = code ? code : collector_shard_add(&x->shard, document, p, st);
        int64_t counted = dashboard_counted(p->ids, p->n_ids, ignored, n_ignored);
        hash_add(&x->ids, p->ids, p->n_ids * sizeof *p->ids);
        x->entry.documents++;
        x->entry.tokens += counted;
        hash_hex(x->ids, x->entry.ids);
        x->p.contexts++;
        x->p.rows += (int64_t)p->n_ids;
        x->p.tokens += counted;
    }
    clear_batch(x);
    if (!code) {
        report(x, corpus);
    }
    return code;
}

/* --- the corpus ------------------------------------------------------------------------------- */

/* A context that a shard has already: it must be the one that was there then. */
static int pass_by(struct collecting *x, const struct corpus_context *context, struct status *st)
{
    char ids[HASH_HEX];
    hash_add(&x->ids, context->ids, context->n * sizeof *context->ids);
    x->p.contexts++;
    x->p.rows += (int64_t)context->n;
    x->p.tokens += context->counted;
    x->before = x->p.rows;
    hash_hex(x->ids, ids);
    if (x->number + 1 == x->behind.first_document + x->behind.documents &&
        strcmp(ids, x->behind.ids) != 0) {
        return status_set(
            st, STATUS_INVALID,
            "%s: the corpus has changed: its first %lld contexts are not those in the "
            "shards; collect it into another folder",
            x->c->out, (long long)x->number + 1);
    }
    x->started = clock_seconds();
    return STATUS_OK;
}

static int read_corpus(struct collecting *x, struct corpus *corpus, int64_t first,
                       struct status *st)
{
    int code = STATUS_OK;
    for (;;) {
        struct corpus_context context;
        bool found;
        if (x->c->cancel && atomic_load(x->c->cancel)) {
            return status_set(st, STATUS_CANCELLED, "collecting was stopped");
        }
        code = corpus_next(corpus, &context, &found, st);
        if (!code && (!found || (x->n_prompts && x->batch_tokens + context.n > BATCH))) {
            code = run_batch(x, corpus, st);
        }
        if (code || !found) {
            return code;
        }
        code = x->number < first ? pass_by(x, &context, st) : add_prompt(x, &context, st);
        if (code) {
            return code;
        }
        x->number++;
    }
}

static int collect(struct collecting *x, struct status *st)
{
    int code = STATUS_OK;
    if (x->index.n) {
        x->behind = x->index.entries[x->index.n - 1];
    }
    int64_t first = x->behind.first_document + x->behind.documents;
    x->entry.first_document = first;
    for (size_t i = 0; i < x->c->n_corpora && !code; i++) {
        struct corpus_options options = x->c->corpus;
        struct corpus *corpus;
        options.path = x->c->corpora[i];
        code = corpus_open(&corpus, x->c->engine, &options, st);
        if (!code) {
            code = read_corpus(x, corpus, first, st);
            corpus_close(corpus);
        }
    }
    if (!code && x->number < first) {
        code = status_set(st, STATUS_INVALID,
                          "%s: the corpus has changed (or the limit is lower): it has %lld "
                          "contexts, and the shards have "
                          "%lld; collect it into another folder",
                          x->c->out, (long long)x->number, (long long)first);
    }
    code = code ? code : end_shard(x, st);
    if (!code) {
        x->index.complete = true;
        code = collector_index_write(&x->index, x->c, st);
    }
    x->p.shards = x->index.n;
    return code;
}

/* --- the folder ------------------------------------------------------------------------------- */

/* Holds the folder for this run alone; *fd is to be closed. */
static int take_folder(const char *out, int *fd, struct status *st)
{
    if (mkdir(out, 0755) != 0 && errno != EEXIST) {
        return status_set(st, STATUS_IO, "%s: cannot be made: %s", out, strerror(errno));
    }
    *fd = open(out, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (*fd < 0) {
        return status_set(st, STATUS_IO, "%s: expected a folder: %s", out, strerror(errno));
    }
    if (flock(*fd, LOCK_EX | LOCK_NB) != 0) {
        (void)close(*fd);
        return status_set(st, STATUS_BUSY, "%s: another darkmatter collect writes there", out);
    }
    return STATUS_OK;
}

int collector_run(const struct collector *c, struct collector_progress *progress, struct status *st)
{
    struct collecting x = {.c = c, .ids = hash_start(), .started = clock_seconds()};
    int fd = -1;
    *progress = (struct collector_progress){.seconds_left = -1.0};
    int code = take_folder(c->out, &fd, st);
    if (code) {
        return code;
    }
    code = collector_index_read(&x.index, c, st);
    if (!code && x.index.complete) {
        for (size_t i = 0; i < x.index.n; i++) {
            x.p.contexts += x.index.entries[i].documents;
            x.p.rows += x.index.entries[i].rows;
        }
        x.p.shards = x.index.n;
        x.p.was_complete = true;
    } else {
        (void)(code || (code = session_create(&x.session, c->engine, st)) ||
               (code = collector_shard_open(&x.shard, c, st)) || (code = collect(&x, st)));
    }
    *progress = x.p;
    clear_batch(&x);
    collector_shard_close(&x.shard);
    session_destroy(x.session);
    memory_free(x.prompts);
    memory_free(x.index.entries);
    (void)close(fd);
    return code;
}
