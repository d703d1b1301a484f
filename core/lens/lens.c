#include "core/lens/lens.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"

#include <string.h>

int lens_logits(const struct weights *w, struct threads *threads, const float *x, size_t rows,
                float *logits, struct status *st)
{
    const struct gemma_config *c = w->config;
    float *normed = memory_alloc(rows * c->hidden_size, sizeof *normed);
    if (!normed) {
        return status_no_memory(st, rows * c->hidden_size * sizeof *normed);
    }
    kernel_rmsnorm(threads, x, rows, c->hidden_size, w->final_gain, c->rms_norm_eps, normed);
    kernel_matmul_as(threads, w->precision, normed, rows, &w->unembedding, logits);
    kernel_softcap_all(threads, logits, rows * c->vocab_size, c->final_softcap);
    memory_free(normed);
    return STATUS_OK;
}

int lens_vector_logits(const struct weights *w, struct threads *threads, const float *v,
                       bool final_gain, float *logits, struct status *st)
{
    size_t D = w->config->hidden_size;
    float *scaled = memory_alloc(D, sizeof *scaled);
    if (!scaled) {
        return status_no_memory(st, D * sizeof *scaled);
    }
    memcpy(scaled, v, D * sizeof *v);
    if (final_gain) {
        kernel_multiply(scaled, w->final_gain, D, scaled);
    }
    kernel_matmul_as(threads, w->precision, scaled, 1, &w->unembedding, logits);
    memory_free(scaled);
    return STATUS_OK;
}
