#include "core/gemma/taps.h"

#include "core/math/kernels.h"
#include "core/math/top.h"

#include <math.h>
#include <string.h>

struct taps_depth taps_depth(const struct taps *taps)
{
    struct taps_depth depth = {0};
    for (size_t i = 0; i < taps->n; i++) {
        const struct tap *t = &taps->taps[i];
        if (point_has_layer(t->point)) {
            size_t layers = (size_t)t->layer + 1;
            depth.layers = layers > depth.layers ? layers : depth.layers;
        } else if (t->point != POINT_EMBED) {
            depth.head = true;
        }
    }
    return depth;
}

/* The taps among which those of a sequence are. */
static const struct tap *first_of(const struct taps *taps, size_t sequence)
{
    return taps->taps + (taps->of_sequence ? taps->of_sequence[sequence] : 0);
}

static const struct tap *end_of(const struct taps *taps, size_t sequence)
{
    return taps->taps + (taps->of_sequence ? taps->of_sequence[sequence + 1] : taps->n);
}

static bool matches(const struct tap *t, enum point point, int layer, size_t sequence)
{
    return t->point == point && t->sequence == sequence &&
           (t->layer == layer || !point_has_layer(point));
}

bool taps_want(const struct taps *taps, enum point point, int layer, size_t sequence)
{
    for (const struct tap *t = first_of(taps, sequence); t < end_of(taps, sequence); t++) {
        if (matches(t, point, layer, sequence)) {
            return true;
        }
    }
    return false;
}

void taps_offer(const struct taps *taps, enum point point, int layer, size_t sequence,
                const float *x, size_t n, size_t width)
{
    for (const struct tap *t = first_of(taps, sequence); t < end_of(taps, sequence); t++) {
        if (!matches(t, point, layer, sequence)) {
            continue;
        }
        if (!t->rows) {
            memcpy(t->out, x, n * width * sizeof *x);
            continue;
        }
        for (size_t r = 0; r < t->n_rows; r++) {
            memcpy(t->out + r * width, x + (size_t)t->rows[r] * width, width * sizeof *x);
        }
    }
}

/* Where a tap's next row for this token is, starting the search at *at; n_rows when there is none.
 * A token may be asked for twice. */
static size_t next_place(const struct tap *t, size_t row, size_t all_rows, size_t *at)
{
    size_t n = t->rows ? t->n_rows : all_rows;
    for (size_t r = *at; r < n; r++) {
        if (t->rows ? (size_t)t->rows[r] == row : r == row) {
            *at = r + 1;
            return r;
        }
    }
    *at = n;
    return n;
}

void taps_offer_attention(const struct taps *taps, enum point point, int layer, size_t sequence,
                          size_t head, size_t row, size_t n_rows, const float *x, size_t keys)
{
    for (const struct tap *t = first_of(taps, sequence); t < end_of(taps, sequence); t++) {
        if (!matches(t, point, layer, sequence)) {
            continue;
        }
        size_t n = t->rows ? t->n_rows : n_rows;
        size_t at = 0;
        for (size_t r = next_place(t, row, n_rows, &at); r < n;
             r = next_place(t, row, n_rows, &at)) {
            memcpy(t->out + (head * n + r) * keys, x, keys * sizeof *x);
        }
    }
}

bool taps_want_logits(const struct taps *taps, size_t sequence, size_t row, size_t n_rows)
{
    for (const struct tap *t = first_of(taps, sequence); t < end_of(taps, sequence); t++) {
        if (t->sequence != sequence) {
            continue;
        }
        size_t at = 0;
        if ((t->point == POINT_LOSS && row + 1 < n_rows) ||
            (t->point == POINT_LOGITS &&
             next_place(t, row, n_rows, &at) < (t->rows ? t->n_rows : n_rows))) {
            return true;
        }
    }
    return false;
}

static void give_logits(const struct tap *t, size_t place, const float *logits, size_t vocabulary)
{
    if (t->top == 0) {
        memcpy(t->out + place * vocabulary, logits, vocabulary * sizeof *logits);
        return;
    }
    float *best = t->out + place * t->top;
    top_pick(logits, vocabulary, t->top, t->top_ids + place * t->top, best);
    double total = kernel_logsumexp(logits, vocabulary);
    for (size_t i = 0; i < t->top; i++) {
        t->top_probs[place * t->top + i] = (float)exp((double)best[i] - total);
    }
}

void taps_offer_logits(const struct taps *taps, size_t sequence, size_t row, size_t n_rows,
                       const float *logits, size_t vocabulary, int32_t next)
{
    for (const struct tap *t = first_of(taps, sequence); t < end_of(taps, sequence); t++) {
        if (t->sequence != sequence) {
            continue;
        }
        if (t->point == POINT_LOSS && next >= 0) {
            t->out[row] = (float)(kernel_logsumexp(logits, vocabulary) - (double)logits[next]);
        }
        size_t n = t->rows ? t->n_rows : n_rows;
        size_t at = 0;
        for (size_t r = next_place(t, row, n_rows, &at); t->point == POINT_LOGITS && r < n;
             r = next_place(t, row, n_rows, &at)) {
            give_logits(t, r, logits, vocabulary);
        }
    }
}
