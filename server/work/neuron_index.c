#include "server/work/neuron_index.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/dashboard/neurons.h"
#include "server/store/neuron_counts.h"

#define COMMIT_SECONDS 1.0 /* at least between two commits */
#define COMMIT_SHARE 20    /* and so many times what the last one took */

struct neuron_index {
    struct store *store;
    const struct sae_source *source;
    int64_t row, corpus;
    struct neuron *neurons; /* [d_sae] */
    size_t bytes;
    int32_t ignored[ENGINE_UNCOUNTED];
    size_t n_ignored;
    int64_t documents, tokens; /* counted, in this corpus */
    int64_t committed;         /* documents */
    double ended, took;        /* the last commit */
};

struct loading {
    struct neuron_index *index;
    size_t n;
};

static int load(void *user, uint32_t number, const void *bytes, size_t n, struct status *st)
{
    struct loading *l = user;
    const struct sae_source *s = l->index->source;
    if (number >= s->d_sae || !neurons_decode(&l->index->neurons[number], bytes, n)) {
        return status_set(st, STATUS_CORRUPT,
                          "what was counted of neuron %u of %s is damaged: index it into another "
                          "database",
                          (unsigned)number, s->name);
    }
    l->n++;
    return 0;
}

static int load_all(struct neuron_index *x, struct status *st)
{
    struct loading l = {.index = x};
    int64_t tokens;
    int code = neuron_counts_tokens(x->store, x->row, &tokens, st);
    if (code || tokens == 0) { /* whoever empties `indexed` wants to count anew */
        return code;
    }
    code = neuron_counts_visit(x->store, x->row, load, &l, st);
    code = code ? code : store_indexed(x->store, x->row, x->corpus, &x->documents, &x->tokens, st);
    if (!code && l.n != x->source->d_sae) {
        code = status_set(st, STATUS_CORRUPT,
                          "of the %zu neurons of %s only %zu were kept: index it into another "
                          "database",
                          x->source->d_sae, x->source->name, l.n);
    }
    x->committed = x->documents;
    return code;
}

static void close_index(struct neuron_index *x)
{
    if (x) {
        memory_free_pages(x->neurons, x->bytes);
        memory_free(x);
    }
}

uint64_t neuron_index_bytes(const struct sae_source *source)
{
    return (uint64_t)source->d_sae * sizeof(struct neuron);
}

int neuron_index_open(struct neuron_index **out, const struct engine *engine, struct store *store,
                      const struct sae_source *source, int64_t row, int64_t corpus,
                      struct status *st)
{
    struct neuron_index *x = memory_zalloc(1, sizeof *x);
    *out = NULL;
    if (!x || !memory_multiply(source->d_sae, sizeof *x->neurons, &x->bytes)) {
        memory_free(x);
        return status_no_memory(st, sizeof *x);
    }
    x->store = store;
    x->source = source;
    x->row = row;
    x->corpus = corpus;
    x->n_ignored = engine_uncounted(engine, x->ignored);
    x->neurons = memory_pages(x->bytes);
    x->ended = clock_seconds();
    int code = x->neurons ? load_all(x, st) : status_no_memory(st, x->bytes);
    if (code) {
        close_index(x);
        return code;
    }
    *out = x;
    return STATUS_OK;
}

struct engine_read neuron_index_read(const struct neuron_index *x)
{
    return (struct engine_read){
        .kind = READ_POINT, .point = x->source->input, .layer = x->source->layer};
}

static int add_document(struct neuron_index *x, int64_t number, const struct store_document *d,
                        const struct engine_prompt *prompt, struct status *st)
{
    const float *values = NULL;
    for (size_t i = 0; i < prompt->n_reads; i++) {
        const struct engine_read *r = &prompt->reads[i];
        if (r->kind == READ_POINT && r->point == x->source->input && r->layer == x->source->layer) {
            values = r->data;
        }
    }
    if (!values || number != x->documents || prompt->n_ids != d->n) {
        return status_set(st, STATUS_INTERNAL,
                          "%s: expected document %lld with its values, found %lld %s them",
                          x->source->name, (long long)x->documents, (long long)number,
                          values ? "with" : "without");
    }
    neurons_add(x->neurons, x->source->d_sae,
                &(struct neurons_text){.ids = d->ids,
                                       .values = values,
                                       .n = d->n,
                                       .place = {x->corpus, number},
                                       .ignored = x->ignored,
                                       .n_ignored = x->n_ignored});
    x->documents++;
    x->tokens += dashboard_counted(d->ids, d->n, x->ignored, x->n_ignored);
    return STATUS_OK;
}

static int write_all(struct neuron_index *x, struct status *st)
{
    struct neuron_counts_writer *writer;
    struct text blob = {0};
    int code = neuron_counts_begin(x->store, x->row, &writer, st);
    for (size_t i = 0; i < x->source->d_sae && !code; i++) {
        text_clear(&blob);
        neurons_encode(&x->neurons[i], &blob);
        code = blob.failed ? status_no_memory(st, blob.capacity)
                           : neuron_counts_put(writer, (uint32_t)i, blob.data, blob.length, st);
        if (code) {
            neuron_counts_abandon(writer);
        }
    }
    text_free(&blob);
    return code ? code : neuron_counts_end(writer, x->corpus, x->documents, x->tokens, st);
}

static int commit(struct neuron_index *x, struct status *st)
{
    double begun = clock_seconds();
    int code = x->committed == x->documents ? STATUS_OK : write_all(x, st);
    x->ended = clock_seconds();
    x->took = x->ended - begun;
    x->committed = code ? x->committed : x->documents;
    return code;
}

int neuron_index_add(struct neuron_index *x, int64_t first, const struct store_document *documents,
                     size_t n, const struct job *job, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < n && !code; i++) {
        int64_t number = first + (int64_t)i;
        code = number < x->documents ? STATUS_OK
                                     : add_document(x, number, &documents[i], &job->prompts[i], st);
    }
    double pause = x->took * COMMIT_SHARE;
    pause = pause > COMMIT_SECONDS ? pause : COMMIT_SECONDS;
    return !code && clock_seconds() - x->ended >= pause ? commit(x, st) : code;
}

int neuron_index_end(struct neuron_index **list, size_t n, int code, struct status *st)
{
    for (size_t i = 0; list && i < n; i++) {
        struct status own = {0};
        int late = list[i] ? commit(list[i], &own) : STATUS_OK;
        if (late && (!code || code == STATUS_CANCELLED)) {
            *st = own;
            code = late;
        }
        close_index(list[i]);
    }
    memory_free(list);
    return code;
}
