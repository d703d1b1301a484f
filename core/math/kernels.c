#include "core/math/kernels.h"

#include "core/math/kernels_level.h"

void kernel_add(const float *a, const float *b, size_t n, float *y)
{
    kernels_level()->add(a, b, n, y);
}

void kernel_multiply(const float *a, const float *b, size_t n, float *y)
{
    kernels_level()->multiply(a, b, n, y);
}

float kernel_dot(const float *a, const float *b, size_t n)
{
    return kernels_level()->dot(a, b, n);
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
    kernels_level()->norm(x, r->width, r->gain, r->eps, y);
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
            kernels_level()->rotate(low, high, half, c, s);
        }
    }
}

void kernel_softcap(float *x, size_t n, float cap)
{
    if (cap != 0.0f) {
        kernels_level()->softcap(x, n, cap);
    }
}

void kernel_softmax(float *x, size_t n)
{
    kernels_level()->softmax(x, n);
}

double kernel_logsumexp(const float *x, size_t n)
{
    return kernels_level()->logsumexp(x, n);
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
    kernels_level()->gelu(span->x + part * PART, part_length(span, part));
}

void kernel_gelu(struct threads *threads, float *gate, size_t n)
{
    struct span span = {.x = gate, .n = n};
    threads_run(threads, (n + PART - 1) / PART, gelu_part, &span);
}
