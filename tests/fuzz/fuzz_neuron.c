/* Any bytes as a neuron's statistic: refused, or one that encodes to the same bytes, that can be
 * asked for everything, and that goes on counting. The first byte picks what is counted then. */
#include "core/dashboard/neurons.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void ask(const struct neuron *n)
{
    struct neurons_interval interval;
    struct histogram h;
    neurons_histogram(n, &h);
    if (h.n_bins != n->n_bins) {
        abort();
    }
    for (int k = 0; k < DASHBOARD_INTERVALS; k++) {
        neurons_interval(n, k, &interval);
        if (interval.n > DASHBOARD_SAMPLES) {
            abort();
        }
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct neuron n;
    static const float values[] = {1.0f,  -1.0f, 1e-38f, 3.4e38f, -3.4e38f,
                                   1e-7f, 0.0f,  NAN,    2e9f,    0.999f};
    static const int32_t ids[10] = {3, 4, 5, 6, 7, 8, 9, 2, 10, 11};
    struct text again = {0};
    if (size == 0 || !neurons_decode(&n, data + 1, size - 1)) {
        return 0;
    }
    neurons_encode(&n, &again);
    if (again.length != size - 1 || memcmp(again.data, data + 1, size - 1) != 0) {
        abort();
    }
    ask(&n);
    const struct neurons_text text = {.ids = ids,
                                      .values = values + data[0] % 10,
                                      .n = 10 - data[0] % 10,
                                      .place = {1, 1},
                                      .ignored = ids + 7,
                                      .n_ignored = 1};
    neurons_add(&n, 1, &text);
    ask(&n);
    text_free(&again);
    return 0;
}
