#include "core/gemma/sampler.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"

#include <math.h>
#include <stdbool.h>
#include <stdlib.h>

struct candidate {
    float logit; /* penalised */
    int32_t id;
};

struct sampler {
    struct sampler_options options;
    size_t vocabulary;
    uint64_t state;
    uint32_t *counts;             /* [vocabulary] */
    struct candidate *candidates; /* [vocabulary] scratch */
};

int sampler_create(struct sampler **out, const struct sampler_options *options, size_t vocabulary,
                   struct status *st)
{
    struct sampler *s = memory_zalloc(1, sizeof *s);
    *out = NULL;
    if (!s) {
        return status_no_memory(st, sizeof *s);
    }
    s->options = *options;
    s->vocabulary = vocabulary;
    s->state = options->seed;
    s->counts = memory_zalloc(vocabulary, sizeof *s->counts);
    s->candidates = memory_alloc(vocabulary, sizeof *s->candidates);
    if (!s->counts || !s->candidates) {
        sampler_destroy(s);
        return status_no_memory(st, vocabulary * sizeof *s->candidates);
    }
    *out = s;
    return STATUS_OK;
}

void sampler_destroy(struct sampler *s)
{
    if (s) {
        memory_free(s->counts);
        memory_free(s->candidates);
        memory_free(s);
    }
}

void sampler_count(struct sampler *s, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        s->counts[ids[i]]++;
    }
}

/* Uniform in [0, 1). */
static double draw(struct sampler *s)
{
    uint64_t z = s->state += 0x9E3779B97F4A7C15u;
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
    z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
    z ^= z >> 31;
    return (double)(z >> 11) * 0x1p-53;
}

/* Best first; equal ones by their ids, so that the order is one and the same everywhere. */
static int compare(const void *a, const void *b)
{
    const struct candidate *x = a, *y = b;
    if (x->logit != y->logit) {
        return x->logit > y->logit ? -1 : 1;
    }
    return x->id < y->id ? -1 : x->id > y->id;
}

static int32_t best(const struct candidate *c, size_t n)
{
    size_t at = 0;
    for (size_t i = 1; i < n; i++) {
        at = c[i].logit > c[at].logit ? i : at;
    }
    return c[at].id;
}

/* The candidates' weights are e^((l - largest) / temperature); `total` of the first n. */
static double weight(const struct sampler *s, const struct candidate *c, float largest)
{
    return exp(((double)c->logit - (double)largest) / (double)s->options.temperature);
}

int32_t sampler_pick(struct sampler *s, const float *logits)
{
    const struct sampler_options *o = &s->options;
    struct candidate *c = s->candidates;
    size_t n = s->vocabulary;
    for (size_t i = 0; i < n; i++) {
        c[i].id = (int32_t)i;
        c[i].logit = logits[i] - o->freq_penalty * (float)s->counts[i];
    }
    int32_t top = best(c, n);
    if (!(o->temperature > 0.0f)) {
        return top;
    }
    float largest = c[top].logit;
    bool nucleus = o->top_p > 0.0f && o->top_p < 1.0f;
    if (nucleus || (o->top_k > 0 && o->top_k < n)) {
        qsort(c, n, sizeof *c, compare);
        n = o->top_k > 0 && o->top_k < n ? o->top_k : n;
    }
    double total = 0.0;
    for (size_t i = 0; i < n; i++) {
        total += weight(s, &c[i], largest);
    }
    double reached = 0.0;
    for (size_t i = 0; nucleus && i < n; i++) {
        reached += weight(s, &c[i], largest);
        if (reached >= (double)o->top_p * total) {
            n = i + 1;
            total = reached;
        }
    }
    double target = draw(s) * total;
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += weight(s, &c[i], largest);
        if (sum > target) {
            return c[i].id;
        }
    }
    return top; /* only if rounding kept the sum below the target */
}

float sampler_logprob(const float *logits, size_t vocabulary, int32_t id, size_t n,
                      int32_t *top_ids, float *top_logprobs)
{
    double whole = kernel_logsumexp(logits, vocabulary);
    size_t found = 0;
    for (size_t i = 0; i < vocabulary && n > 0; i++) {
        size_t at = found;
        while (at > 0 && logits[i] > logits[top_ids[at - 1]]) {
            at--;
        }
        if (at == n) {
            continue;
        }
        found += found < n;
        for (size_t j = found - 1; j > at; j--) {
            top_ids[j] = top_ids[j - 1];
        }
        top_ids[at] = (int32_t)i;
    }
    for (size_t i = 0; i < found; i++) {
        top_logprobs[i] = (float)((double)logits[top_ids[i]] - whole);
    }
    return (float)((double)logits[id] - whole);
}
