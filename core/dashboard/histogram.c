#include "core/dashboard/histogram.h"

#include <string.h>

void histogram_start(struct histogram *h, float low, float high)
{
    memset(h, 0, sizeof *h);
    if (low < high) {
        h->n_bins = HISTOGRAM_BINS;
        h->low = low;
        h->high = high;
    }
}

void histogram_add(struct histogram *h, float value, uint32_t times)
{
    if (!h->n_bins) {
        return;
    }
    double low = (double)h->low;
    double at = ((double)value - low) / ((double)h->high - low) * HISTOGRAM_BINS;
    size_t bin = at >= HISTOGRAM_BINS ? HISTOGRAM_BINS - 1 : at > 0.0 ? (size_t)at : 0;
    h->count[bin] += times;
}

void histogram_of(struct histogram *h, const float *values, size_t n)
{
    float low = n ? values[0] : 0.0f;
    float high = low;
    for (size_t i = 1; i < n; i++) {
        low = values[i] < low ? values[i] : low;
        high = values[i] > high ? values[i] : high;
    }
    histogram_start(h, low, high);
    for (size_t i = 0; i < n; i++) {
        histogram_add(h, values[i], 1);
    }
}
