#include "core/math/kernels.h"

#include "core/math/kernels_level.h"

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
    float *y, *sum;
    size_t width;
    float eps;
};

static void norm_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct rows *r = argument;
    size_t at = row * r->width;
    kernels_level()->norm(r->x + at, r->width, r->gain, r->eps, r->y + at);
    if (r->sum) {
        kernels_level()->add(r->sum + at, r->y + at, r->width, r->sum + at);
    }
}

void kernel_rmsnorm(struct threads *threads, const float *x, size_t rows, size_t width,
                    const float *gain, float eps, float *y)
{
    kernel_rmsnorm_add(threads, x, rows, width, gain, eps, y, NULL);
}

void kernel_rmsnorm_add(struct threads *threads, const float *x, size_t rows, size_t width,
                        const float *gain, float eps, float *y, float *sum)
{
    struct rows r = {.x = x, .gain = gain, .y = y, .sum = sum, .width = width, .eps = eps};
    threads_run(threads, rows, norm_row, &r);
}

struct turn {
    float *x;
    size_t heads, width;
    const float *cosine, *sine;
};

static void turn_row(void *argument, size_t row, int worker)
{
    (void)worker;
    const struct turn *t = argument;
    size_t half = t->width / 2;
    for (size_t head = 0; head < t->heads; head++) {
        float *low = t->x + (row * t->heads + head) * t->width;
        kernels_level()->rotate(low, low + half, half, t->cosine + row * half,
                                t->sine + row * half);
    }
}

void kernel_rope(struct threads *threads, float *x, size_t rows, size_t heads, size_t width,
                 const float *cosine, const float *sine)
{
    struct turn t = {.x = x, .heads = heads, .width = width, .cosine = cosine, .sine = sine};
    threads_run(threads, rows, turn_row, &t);
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
