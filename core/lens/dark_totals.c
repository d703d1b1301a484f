/* What a prompt's tokens come to. */
#include "core/base/memory.h"
#include "core/lens/dark_private.h"

#include <math.h>

/* A loss that is recovered needs one that was lost: below this many nats the share says nothing. */
#define LOST_MIN 0.05

static double mean_of(const float *values, size_t begin, size_t end)
{
    double sum = 0.0;
    for (size_t i = begin; i < end; i++) {
        sum += (double)values[i];
    }
    return end > begin ? sum / (double)(end - begin) : (double)NAN;
}

double dark_recovered(double clean, double run, double ablated)
{
    return fabs(ablated - clean) >= LOST_MIN ? (ablated - run) / (ablated - clean) : (double)NAN;
}

static double fvu(const struct dark *d, const struct dark_source *s, size_t prompt, const float *m,
                  size_t width)
{
    double err = 0.0, around = 0.0;
    for (size_t t = d->first[prompt] + 1; t < d->first[prompt + 1]; t++) {
        err += (double)s->err_norm[t] * (double)s->err_norm[t];
        for (size_t i = 0; i < width; i++) {
            double from = (double)s->target[t * width + i] - (double)m[i];
            around += from * from;
        }
    }
    return around > 0.0 ? err / around : (double)NAN;
}

int dark_totals(const struct dark *d, size_t source, size_t prompt, struct dark_totals *out,
                struct status *st)
{
    const struct dark_source *s = &d->sources[source];
    size_t begin = d->first[prompt], end = d->first[prompt + 1];
    size_t width = s->d_out, T = end - begin;
    const size_t *active = s->features.start;
    float *m = memory_alloc(width, sizeof *m);
    if (!m) {
        return status_no_memory(st, width * sizeof *m);
    }
    *out = (struct dark_totals){
        .mean_l0 = (double)(active[end] - active[begin]) / (double)T,
        .mean_l0_skip_first =
            T > 1 ? (double)(active[end] - active[begin + 1]) / (double)(T - 1) : (double)NAN,
        .fvu_skip_first = dark_mean(d, s, prompt, m) ? fvu(d, s, prompt, m, width) : (double)NAN,
        .ce_clean = mean_of(d->loss_clean, begin, end - 1)};
    for (int run = 0; run < DARK_RUNS; run++) {
        bool asked = s->kl[run] != NULL;
        out->ce[run] = asked ? mean_of(s->loss[run], begin, end - 1) : (double)NAN;
        out->kl_mean[run] = asked ? mean_of(s->kl[run], begin, end) : (double)NAN;
        out->kl_mean_skip_first[run] = asked ? mean_of(s->kl[run], begin + 1, end) : (double)NAN;
    }
    out->loss_recovered = dark_recovered(out->ce_clean, out->ce[DARK_SPLICE], out->ce[DARK_ZERO]);
    out->loss_recovered_mean =
        dark_recovered(out->ce_clean, out->ce[DARK_SPLICE], out->ce[DARK_MEAN]);
    memory_free(m);
    return STATUS_OK;
}
