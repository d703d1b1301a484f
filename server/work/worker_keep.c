/* What was computed: kept in the database, and handed back. */
#include "core/base/memory.h"
#include "server/work/worker_private.h"

void worker_finish(struct job *job)
{
    job->next = NULL;
    job->done(job, job->user); /* the job may be gone after this */
}

static bool keeps(const struct worker *worker, const struct engine_read *read)
{
    return read->kind == READ_FEATURES && sources_keeps(worker->sources, read->source);
}

static size_t count_features(const struct worker *worker, const struct job *job)
{
    size_t n = 0;
    for (size_t i = 0; i < job->n_prompts; i++) {
        for (size_t r = 0; r < job->prompts[i].n_reads; r++) {
            n += keeps(worker, &job->prompts[i].reads[r]);
        }
    }
    return n;
}

static bool is_kept(const struct job *job)
{
    return job->keep && job->st.code == STATUS_OK;
}

/* Fills one entry for each features read of the job; returns how many. */
static int job_entries(struct worker *worker, const struct job *job,
                       struct store_activations *entries, size_t *n, struct status *st)
{
    for (size_t i = 0; i < job->n_prompts; i++) {
        const struct engine_prompt *prompt = &job->prompts[i];
        for (size_t r = 0; r < prompt->n_reads; r++) {
            const struct engine_read *read = &prompt->reads[r];
            if (!keeps(worker, read)) {
                continue;
            }
            struct store_activations *entry = &entries[*n];
            *entry = (struct store_activations){
                .ids = prompt->ids, .n = prompt->n_ids, .rows = &read->features};
            int code = sources_row(worker->sources, read->source, &entry->source, st);
            if (code) {
                return code;
            }
            (*n)++;
        }
    }
    return STATUS_OK;
}

static int write_kept(struct worker *worker, const struct job *jobs, struct status *st)
{
    size_t capacity = 0;
    for (const struct job *job = jobs; job; job = job->next) {
        capacity += is_kept(job) ? count_features(worker, job) : 0;
    }
    if (!capacity) {
        return STATUS_OK;
    }
    struct store_activations *entries = memory_alloc(capacity, sizeof *entries);
    if (!entries) {
        return status_no_memory(st, capacity * sizeof *entries);
    }
    size_t n = 0;
    int code = STATUS_OK;
    for (const struct job *job = jobs; job && !code; job = job->next) {
        code = is_kept(job) ? job_entries(worker, job, entries, &n, st) : STATUS_OK;
    }
    if (!code) {
        code =
            store_write_activations(worker->store, sources_model(worker->sources), entries, n, st);
    }
    memory_free(entries);
    return code;
}

void worker_keep(struct worker *worker, struct job *jobs)
{
    struct status st = {0};
    int code = write_kept(worker, jobs, &st);
    for (struct job *job = jobs, *next; job; job = next) {
        next = job->next;
        if (code && is_kept(job)) { /* nothing that was answered may be lost: so no answer */
            job->st = st;
            status_prefix(&job->st, "the activations were computed but could not be kept");
        }
        worker_finish(job);
    }
}
