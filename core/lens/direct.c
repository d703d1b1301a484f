#include "core/lens/direct.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"

#include <math.h>
#include <stdlib.h>

bool direct_leads(enum point point)
{
    switch (point) {
    case POINT_EMBED:
    case POINT_RESID_PRE:
    case POINT_Z:
    case POINT_ATTN_OUT_RAW:
    case POINT_ATTN_OUT:
    case POINT_RESID_MID:
    case POINT_NEURONS:
    case POINT_MLP_OUT_RAW:
    case POINT_MLP_OUT:
    case POINT_RESID_POST:
        return true;
    default:
        return false;
    }
}

double direct_dot(const float *a, const float *b, size_t n)
{
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)a[i] * (double)b[i];
    }
    return sum;
}

static double inverse_rms(const float *x, size_t n, float eps)
{
    return 1.0 / sqrt(direct_dot(x, x, n) / (double)n + (double)eps);
}

void direct_directions(const struct weights *w, const int32_t *tokens, size_t n, const float *x,
                       float *u)
{
    size_t D = w->config->hidden_size;
    double r = inverse_rms(x, D, w->config->rms_norm_eps);
    for (size_t i = 0; i < n; i++) {
        float *row = u + i * D;
        tensor_widen(&w->unembedding, (size_t)tokens[i] * D, D, row);
        for (size_t d = 0; d < D; d++) {
            row[d] = (float)(r * (double)row[d] * (double)w->final_gain[d]);
        }
    }
}

int direct_pull(const struct weights *w, struct threads *threads, enum point point, int layer,
                const float *raw, const float *u, size_t n, float *out, struct status *st)
{
    const struct layer_weights *of = &w->layers[layer];
    size_t D = w->config->hidden_size;
    bool attention = point == POINT_Z || point == POINT_ATTN_OUT_RAW;
    bool multiplied = point == POINT_Z || point == POINT_NEURONS;
    bool normed = multiplied || point == POINT_ATTN_OUT_RAW || point == POINT_MLP_OUT_RAW;
    const struct tensor *matrix = attention ? &of->o_proj : &of->down_proj;
    const float *gain = attention ? of->post_attention_gain : of->post_feedforward_gain;
    double r = normed ? inverse_rms(raw, D, w->config->rms_norm_eps) : 1.0;
    float *before = multiplied ? memory_alloc(n * D, sizeof *before) : out;
    if (!before) {
        return status_no_memory(st, n * D * sizeof *before);
    }
    for (size_t i = 0; i < n * D; i++) {
        before[i] = normed ? (float)(r * (double)u[i] * (double)gain[i % D]) : u[i];
    }
    if (multiplied) { /* [D, k] as stored: y = W^T before */
        size_t k = matrix->shape[1];
        kernel_matmul_columns(threads, before, n, matrix, 0, k, out, k);
        memory_free(before);
    }
    return STATUS_OK;
}

static int by_magnitude(const void *a, const void *b)
{
    const struct direct_part *x = a, *y = b;
    float p = fabsf(x->value), q = fabsf(y->value);
    return p != q ? (p < q) - (p > q) : (x->index > y->index) - (x->index < y->index);
}

size_t direct_largest(struct direct_part *parts, size_t n, size_t top)
{
    if (n > 1) {
        qsort(parts, n, sizeof *parts, by_magnitude);
    }
    return n < top ? n : top;
}
