#include "core/sae/nearest.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"

#include <math.h>

#define PART 512 /* rows that a thread takes at a time */

struct search {
    nearest_row *row;
    const void *matrix;
    size_t n_rows, width;
    const float *vector;
    float norm;     /* of vector */
    float *scratch; /* [workers, width] */
    float *cosine;  /* [n_rows], NaN where there is none */
};

static void compare_rows(void *argument, size_t part, int worker)
{
    struct search *s = argument;
    float *row = s->scratch + (size_t)worker * s->width;
    size_t last = (part + 1) * PART < s->n_rows ? (part + 1) * PART : s->n_rows;
    for (size_t j = part * PART; j < last; j++) {
        s->row(s->matrix, j, row);
        float norm = sqrtf(kernel_dot(row, row, s->width));
        float cosine = kernel_dot(row, s->vector, s->width) / norm / s->norm;
        s->cosine[j] = norm > 0.0f && isfinite(cosine) ? cosine : NAN;
    }
}

/* Inserts into a list that falls; an equal value goes behind those that are there. */
static void keep(uint32_t j, float value, size_t n, uint32_t *index, float *cosine, size_t *found)
{
    if (*found == n && !(n > 0 && value > cosine[n - 1])) {
        return;
    }
    size_t at = *found < n ? (*found)++ : n - 1;
    for (; at > 0 && cosine[at - 1] < value; at--) {
        cosine[at] = cosine[at - 1];
        index[at] = index[at - 1];
    }
    cosine[at] = value;
    index[at] = j;
}

int nearest_find(struct threads *threads, nearest_row *row, const void *matrix, size_t n_rows,
                 size_t width, const float *vector, size_t n, uint32_t *index, float *cosine,
                 size_t *found, struct status *st)
{
    struct search s = {
        .row = row, .matrix = matrix, .n_rows = n_rows, .width = width, .vector = vector};
    int code = STATUS_OK;
    *found = 0;
    s.norm = sqrtf(kernel_dot(vector, vector, width));
    if (!(s.norm > 0.0f) || !isfinite(s.norm)) {
        return STATUS_OK;
    }
    s.scratch = memory_aligned((size_t)threads_count(threads) * width, sizeof *s.scratch);
    s.cosine = memory_aligned(n_rows, sizeof *s.cosine);
    if (!s.scratch || !s.cosine) {
        code = status_no_memory(st, n_rows * sizeof *s.cosine);
        goto done;
    }
    threads_run(threads, (n_rows + PART - 1) / PART, compare_rows, &s);
    for (size_t j = 0; j < n_rows; j++) {
        if (!isnan(s.cosine[j])) {
            keep((uint32_t)j, s.cosine[j], n, index, cosine, found);
        }
    }
done:
    memory_free(s.scratch);
    memory_free(s.cosine);
    return code;
}
