#include "core/gemma/pass.h"

#include "core/base/memory.h"

#include <stdlib.h>
#include <string.h>

/* Where a sequence of the batch comes from. */
struct place {
    size_t part, sequence; /* of that part */
    size_t fork_layer;
};

struct batch {
    const struct pass_part *parts;
    size_t n_parts, n_sequences, n_taps;
    struct place *places;       /* [n_sequences] in the order of the batch */
    size_t *begin;              /* [n_parts] where a part's sequences stand in `at` */
    size_t *at;                 /* [n_sequences] the place of each, part by part */
    struct sequence *sequences; /* [n_sequences] */
    struct tap *taps;           /* [n_taps] by sequence */
    size_t *of_sequence;        /* [n_sequences + 1] where each one's taps begin */
    bool hooked;
};

size_t pass_part_rows(const struct pass_part *part)
{
    size_t rows = 0;
    for (size_t i = 0; i < part->n_sequences; i++) {
        rows += part->sequences[i].n;
    }
    return rows;
}

static int by_fork_layer(const void *a, const void *b)
{
    const struct place *x = a, *y = b;
    if (x->fork_layer != y->fork_layer) {
        return x->fork_layer < y->fork_layer ? -1 : 1;
    }
    if (x->part != y->part) {
        return x->part < y->part ? -1 : 1;
    }
    return x->sequence < y->sequence ? -1 : x->sequence > y->sequence;
}

static int allocate(struct batch *b, struct status *st)
{
    for (size_t i = 0; i < b->n_parts; i++) {
        b->n_sequences += b->parts[i].n_sequences;
        b->n_taps += b->parts[i].n_taps;
        b->hooked = b->hooked || b->parts[i].hook.visit;
    }
    b->places = memory_alloc(b->n_sequences, sizeof *b->places);
    b->begin = memory_alloc(b->n_parts, sizeof *b->begin);
    b->at = memory_alloc(b->n_sequences, sizeof *b->at);
    b->sequences = memory_alloc(b->n_sequences, sizeof *b->sequences);
    b->taps = memory_alloc(b->n_taps, sizeof *b->taps);
    b->of_sequence = memory_zalloc(b->n_sequences + 1, sizeof *b->of_sequence);
    bool ok = b->places && b->begin && b->at && b->sequences && b->taps && b->of_sequence;
    return ok ? STATUS_OK
              : status_no_memory(st, b->n_taps * sizeof *b->taps +
                                         b->n_sequences * sizeof *b->sequences);
}

static void free_batch(struct batch *b)
{
    memory_free(b->places);
    memory_free(b->begin);
    memory_free(b->at);
    memory_free(b->sequences);
    memory_free(b->taps);
    memory_free(b->of_sequence);
}

/* Forks join in their layer, so the batch stands in the order of their layers. */
static void place_sequences(struct batch *b)
{
    size_t n = 0;
    for (size_t part = 0; part < b->n_parts; part++) {
        b->begin[part] = n;
        for (size_t s = 0; s < b->parts[part].n_sequences; s++) {
            b->places[n++] = (struct place){part, s, b->parts[part].sequences[s].fork_layer};
        }
    }
    qsort(b->places, n, sizeof *b->places, by_fork_layer);
    for (size_t i = 0; i < n; i++) {
        const struct place *p = &b->places[i];
        b->at[b->begin[p->part] + p->sequence] = i;
        b->sequences[i] = b->parts[p->part].sequences[p->sequence];
    }
    for (size_t i = 0; i < n; i++) {
        struct sequence *q = &b->sequences[i];
        q->fork_of = q->fork_layer ? b->at[b->begin[b->places[i].part] + q->fork_of] : 0;
    }
}

/* By counting: of_sequence[i + 1] is first how many taps sequence i has, then where the next one's
 * begin. */
static void place_taps(struct batch *b)
{
    for (size_t part = 0; part < b->n_parts; part++) {
        for (size_t t = 0; t < b->parts[part].n_taps; t++) {
            b->of_sequence[b->at[b->begin[part] + b->parts[part].taps[t].sequence] + 1]++;
        }
    }
    for (size_t i = 0; i < b->n_sequences; i++) {
        b->of_sequence[i + 1] += b->of_sequence[i];
    }
    for (size_t part = b->n_parts; part-- > 0;) { /* from the end, where of_sequence points now */
        for (size_t t = b->parts[part].n_taps; t-- > 0;) {
            struct tap tap = b->parts[part].taps[t];
            tap.sequence = b->at[b->begin[part] + tap.sequence];
            b->taps[--b->of_sequence[tap.sequence + 1]] = tap;
        }
    }
    /* Now [i + 1] is where sequence i begins. */
    memmove(b->of_sequence, b->of_sequence + 1, b->n_sequences * sizeof *b->of_sequence);
    b->of_sequence[b->n_sequences] = b->n_taps;
}

static void visit(void *user, enum point point, int layer, size_t sequence, float *rows, size_t n,
                  size_t width, size_t past)
{
    const struct batch *b = user;
    const struct place *p = &b->places[sequence];
    const struct forward_hook *hook = &b->parts[p->part].hook;
    if (hook->visit) {
        hook->visit(hook->user, point, layer, p->sequence, rows, n, width, past);
    }
}

int pass_run(struct forward *forward, const struct pass_part *parts, size_t n,
             const atomic_bool *cancel, struct status *st)
{
    struct batch b = {.parts = parts, .n_parts = n};
    int code = allocate(&b, st);
    if (!code && b.n_sequences) {
        place_sequences(&b);
        place_taps(&b);
        const struct taps taps = {.taps = b.taps, .n = b.n_taps, .of_sequence = b.of_sequence};
        const struct forward_hook hook = {.visit = visit, .user = &b};
        code = forward_run(forward, b.sequences, b.n_sequences, &taps, b.hooked ? &hook : NULL,
                           cancel, st);
    }
    free_batch(&b);
    return code;
}
