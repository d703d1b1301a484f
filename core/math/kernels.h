/* Every operation on floats that the model and the SAEs are made of, with its shapes.
 *
 * Weights are read as stored (F32, F16, BF16; unaligned data are fine) and widened in registers or
 * a block at a time in the worker's scratch. The order of every sum is fixed by its length and by
 * the kind of CPU: how many rows are computed together and how many threads run changes no bit of a
 * row. Row-major throughout. */
#ifndef DM_MATH_KERNELS_H
#define DM_MATH_KERNELS_H

#include "core/base/threads.h"
#include "core/formats/tensor.h"
#include "core/math/precision.h"

#include <stddef.h>

/* y [rows, n] = x [rows, k] W^T, W [n, k] as Hugging Face stores linear layers. */
void kernel_matmul(struct threads *threads, const float *x, size_t rows, const struct tensor *w,
                   float *y);

/* kernel_matmul in the given precision. */
void kernel_matmul_as(struct threads *threads, enum precision precision, const float *x,
                      size_t rows, const struct tensor *w, float *y);

/* The same for up to KERNEL_OUTPUTS matrices of one k in one go: y [rows, n] of each = x W^T. */
#define KERNEL_OUTPUTS 3
struct kernel_output {
    const struct tensor *w;
    float *y;
};
void kernel_matmul_each(struct threads *threads, enum precision precision, const float *x,
                        size_t rows, const struct kernel_output *each, size_t n);

/* gate [rows, n] = gelu_tanh(x Wg^T), neurons [rows, n] = gate * (x Wu^T); Wg and Wu [n, k].
 * gelu_tanh(g) = 0.5 g (1 + tanh(sqrt(2/pi) (g + 0.044715 g^3))) */
void kernel_geglu(struct threads *threads, enum precision precision, const float *x, size_t rows,
                  const struct tensor *w_gate, const struct tensor *w_up, float *gate,
                  float *neurons);

/* y [rows, cols] = x [rows, k] W[:, first .. first+cols-1], W [k, n] as SAEs store W_enc.
 * Row r of y starts at y + r * ldy. */
void kernel_matmul_columns(struct threads *threads, const float *x, size_t rows,
                           const struct tensor *w, size_t first, size_t cols, float *y, size_t ldy);

/* y [n] += a * row `row` of W [_, n]. */
void kernel_add_row(float *y, float a, const struct tensor *w, size_t row);

/* a . b */
float kernel_dot(const float *a, const float *b, size_t n);

/* y [rows, n] (ldy) = scale * x [rows, k] (ldx) W^T for W [n, k] (ldw) in fp32, on this thread. */
void kernel_product(const float *x, size_t rows, size_t ldx, const float *w, size_t n, size_t ldw,
                    size_t k, float scale, float *y, size_t ldy);

/* y [rows, n] (ldy) = x [rows, k] (ldx) W for W [k, n] (ldw) in fp32, on this thread. */
void kernel_combine(const float *x, size_t rows, size_t ldx, const float *w, size_t k, size_t ldw,
                    size_t n, float *y, size_t ldy);

/* y = x / sqrt(mean(x^2) + eps) * gain, each of the rows of `width`; gain NULL: no gain. Gemma's
 * gain is 1 + w. y may be x. */
void kernel_rmsnorm(struct threads *threads, const float *x, size_t rows, size_t width,
                    const float *gain, float eps, float *y);

/* The same without a second pass over the rows: y = the norm of x, and sum += y. */
void kernel_rmsnorm_add(struct threads *threads, const float *x, size_t rows, size_t width,
                        const float *gain, float eps, float *y, float *sum);

/* Rotary embedding, half-split: elements i and i + width/2 of a head turn by the row's angle i.
 * x [rows, heads, width]; cosine and sine [rows, width/2]. */
void kernel_rope(struct threads *threads, float *x, size_t rows, size_t heads, size_t width,
                 const float *cosine, const float *sine);

/* x = cap * tanh(x / cap); nothing where cap is 0. */
void kernel_softcap(float *x, size_t n, float cap);

/* The same, shared out over the threads: for logits. */
void kernel_softcap_all(struct threads *threads, float *x, size_t n, float cap);

/* x [n] = softmax(x): the largest is subtracted first, the sum is kept in double. */
void kernel_softmax(float *x, size_t n);

/* log(sum(exp(x))), the sum in double. */
double kernel_logsumexp(const float *x, size_t n);

/* y = a * b; y may be either. */
void kernel_multiply(const float *a, const float *b, size_t n, float *y);

/* "AVX-512, fp32": which kernels this CPU (or DARKMATTER_KERNELS in the environment) chose. */
const char *kernel_backend(void);

#endif
