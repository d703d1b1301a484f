#include "core/math/kernels.h"

#include "core/math/blas.h"

#include <math.h>

void kernel_add(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] + b[i];
    }
}

void kernel_multiply(const float *a, const float *b, size_t n, float *y)
{
    for (size_t i = 0; i < n; i++) {
        y[i] = a[i] * b[i];
    }
}

struct rows {
    const float *x, *gain;
    float *y;
    size_t width;
    float eps;
};

static void norm_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct rows *r = argument;
    const float *x = r->x + row * r->width;
    float *y = r->y + row * r->width;
    float squares = 0.0f;
    for (size_t i = 0; i < r->width; i++) {
        squares += x[i] * x[i];
    }
    float scale = 1.0f / sqrtf(squares / (float)r->width + r->eps);
    for (size_t i = 0; i < r->width; i++) {
        y[i] = x[i] * scale * (r->gain ? r->gain[i] : 1.0f);
    }
}

void kernel_rmsnorm(struct threads *threads, const float *x, size_t rows, size_t width,
                    const float *gain, float eps, float *y)
{
    struct rows r = {.x = x, .gain = gain, .y = y, .width = width, .eps = eps};
    threads_run(threads, rows, norm_row, &r);
}

void kernel_rope(float *x, size_t rows, size_t heads, size_t width, const float *cosine,
                 const float *sine)
{
    size_t half = width / 2;
    for (size_t row = 0; row < rows; row++) {
        const float *c = cosine + row * half;
        const float *s = sine + row * half;
        for (size_t head = 0; head < heads; head++) {
            float *low = x + (row * heads + head) * width;
            float *high = low + half;
            for (size_t i = 0; i < half; i++) {
                float a = low[i];
                float b = high[i];
                low[i] = a * c[i] - b * s[i];
                high[i] = b * c[i] + a * s[i];
            }
        }
    }
}

void kernel_softcap(float *x, size_t n, float cap)
{
    if (cap == 0.0f) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        x[i] = cap * tanhf(x[i] / cap);
    }
}

static float largest(const float *x, size_t n)
{
    float max = -INFINITY;
    for (size_t i = 0; i < n; i++) {
        max = x[i] > max ? x[i] : max;
    }
    return max;
}

void kernel_softmax(float *x, size_t n)
{
    float max = largest(x, n);
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        x[i] = expf(x[i] - max);
        sum += (double)x[i];
    }
    float scale = (float)(1.0 / sum);
    for (size_t i = 0; i < n; i++) {
        x[i] *= scale;
    }
}

double kernel_logsumexp(const float *x, size_t n)
{
    float max = largest(x, n);
    double sum = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)expf(x[i] - max);
    }
    /* cppcheck-suppress invalidFunctionArg ; n > 0, so the maximum's own term makes sum >= 1 */
    return (double)max + log(sum);
}

/* --- long runs of single values, cut into parts of a fixed length ----------------------------- */

#define PART 4096

struct span {
    float *x;
    size_t n;
    float cap;
};

static size_t part_length(const struct span *span, size_t part)
{
    size_t left = span->n - part * PART;
    return left < PART ? left : PART;
}

static void softcap_part(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct span *span = argument;
    kernel_softcap(span->x + part * PART, part_length(span, part), span->cap);
}

void kernel_softcap_all(struct threads *threads, float *x, size_t n, float cap)
{
    struct span span = {.x = x, .n = n, .cap = cap};
    threads_run(threads, cap == 0.0f ? 0 : (n + PART - 1) / PART, softcap_part, &span);
}

static void gelu_part(void *argument, size_t part, int worker)
{
    (void)worker;
    const struct span *span = argument;
    float *x = span->x + part * PART;
    size_t n = part_length(span, part);
    const float root = 0.7978845608028654f; /* sqrt(2 / pi) */
    for (size_t i = 0; i < n; i++) {
        float g = x[i];
        x[i] = 0.5f * g * (1.0f + tanhf(root * (g + 0.044715f * g * g * g)));
    }
}

void kernel_gelu(struct threads *threads, float *gate, size_t n)
{
    struct span span = {.x = gate, .n = n};
    threads_run(threads, (n + PART - 1) / PART, gelu_part, &span);
}

const char *kernel_backend(void)
{
    return blas_name();
}
