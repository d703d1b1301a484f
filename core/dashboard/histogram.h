/* Equal bins between the least and the largest of some values, the last one closed, as numpy's
 * histogram has them (neuronpedia.md section 4). Bins are found in float64 from float32 values:
 * bin(v) = min(49, floor((v - low) / (high - low) * 50)). */
#ifndef DM_DASHBOARD_HISTOGRAM_H
#define DM_DASHBOARD_HISTOGRAM_H

#include <stddef.h>
#include <stdint.h>

#define HISTOGRAM_BINS 50

struct histogram {
    uint32_t n_bins; /* HISTOGRAM_BINS, or 0: fewer than two different values, nothing is counted */
    float low, high;
    uint32_t count[HISTOGRAM_BINS];
};

/* Empty bins between low and high; none where low < high does not hold. */
void histogram_start(struct histogram *h, float low, float high);

/* Counts a value of low..high `times` times; values outside go to the outer bins. */
void histogram_add(struct histogram *h, float value, uint32_t times);

/* The histogram of n finite values. */
void histogram_of(struct histogram *h, const float *values, size_t n);

#endif
