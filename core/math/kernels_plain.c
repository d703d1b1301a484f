/* Any CPU: vectors of 4 lanes in the compiler's own notation, which become SSE2, NEON or scalar
 * code. A product and its sum are rounded one after the other. */
#include "core/math/kernels_level.h"

#include <math.h>
#include <string.h>

#define TARGET
#define V static inline __attribute__((always_inline))
#define LANES 4
#define PRODUCT_ROWS 2
#define COLUMN_ROWS 4
#define COLUMN_VECTORS 2

typedef float vec __attribute__((vector_size(16)));
typedef int32_t whole_numbers __attribute__((vector_size(16)));
typedef uint32_t bits __attribute__((vector_size(16)));
typedef struct {
    double lanes[LANES];
} wide;

V vec v_zero(void)
{
    return (vec){0};
}

V vec v_set(float x)
{
    return (vec){x, x, x, x};
}

V vec v_load_n(const float *p, size_t n)
{
    vec a = {0};
    memcpy(&a, p, n * sizeof *p);
    return a;
}

V vec v_load(const float *p)
{
    return v_load_n(p, LANES);
}

V void v_store_n(float *p, vec a, size_t n)
{
    memcpy(p, &a, n * sizeof *p);
}

V void v_store(float *p, vec a)
{
    v_store_n(p, a, LANES);
}

V vec v_add(vec a, vec b)
{
    return a + b;
}

V vec v_sub(vec a, vec b)
{
    return a - b;
}

V vec v_mul(vec a, vec b)
{
    return a * b;
}

V vec v_div(vec a, vec b)
{
    return a / b;
}

V vec v_fma(vec a, vec b, vec c)
{
    vec product = a * b;
    return product + c;
}

/* The bits of a where the mask is set, those of b elsewhere. */
V vec choose(whole_numbers mask, vec a, vec b)
{
    return (vec)(((whole_numbers)a & mask) | ((whole_numbers)b & ~mask));
}

V vec v_below(vec a, vec b, vec c, vec d)
{
    return choose(c < d, a, b);
}

V vec v_max(vec a, vec b)
{
    return choose(a > b, a, b);
}

V vec v_min(vec a, vec b)
{
    return choose(a < b, a, b);
}

/* Adding 1.5 2^23 leaves no bits for a fraction; right for |a| < 2^22. */
V vec v_round(vec a)
{
    vec big = v_set(0x1.8p23f);
    vec sum = a + big;
    return sum - big;
}

/* 2^n from its exponent, for n in -126 .. 127. */
V vec power_of_two(whole_numbers n)
{
    return (vec)((n + 127) << 23);
}

/* A mask of the lanes that are no NaN. */
V whole_numbers is_number(vec a)
{
    return ((whole_numbers)a & 0x7fffffff) <= 0x7f800000;
}

/* In two steps, since 2^b alone may be out of range where a 2^b is not. */
V vec v_scale(vec a, vec b)
{
    whole_numbers n = (whole_numbers)(b + v_set(0x1.8p23f)) - 0x4b400000; /* as v_round */
    n = n & is_number(b); /* a NaN has no exponent */
    whole_numbers half = n >> 1;
    return a * power_of_two(half) * power_of_two(n - half);
}

V vec v_abs(vec a)
{
    return (vec)((whole_numbers)a & 0x7fffffff);
}

V vec v_sign(vec a, vec b)
{
    return (vec)((whole_numbers)b | ((whole_numbers)a & ~0x7fffffff));
}

V vec v_load_as_n(const enum dtype dtype, const void *p, size_t n)
{
    if (dtype == DTYPE_F32) {
        vec a = {0};
        memcpy(&a, p, n * sizeof(float));
        return a;
    }
    float lanes[LANES] = {0};
    struct tensor t = {.data = p, .dtype = dtype, .n_dims = 1, .shape = {n, 1, 1, 1}};
    for (size_t i = 0; i < n; i++) {
        lanes[i] = tensor_get(&t, i);
    }
    return v_load(lanes);
}

V vec v_load_as(const enum dtype dtype, const void *p)
{
    if (dtype == DTYPE_BF16) {
        uint16_t h[LANES];
        memcpy(h, p, sizeof h);
        return (vec)((bits){h[0], h[1], h[2], h[3]} << 16);
    }
    return v_load_as_n(dtype, p, LANES);
}

V float sum_of(vec a)
{
    return (a[0] + a[2]) + (a[1] + a[3]);
}

V void v_sum4(vec a, vec b, vec c, vec d, size_t n, bool more, float *y)
{
    const vec four = {sum_of(a), sum_of(b), sum_of(c), sum_of(d)};
    for (size_t i = 0; i < n; i++) {
        y[i] = more ? y[i] + four[i] : four[i];
    }
}

V wide w_zero(void)
{
    return (wide){{0}};
}

V wide w_add(wide s, vec a)
{
    for (int i = 0; i < LANES; i++) {
        s.lanes[i] += (double)a[i];
    }
    return s;
}

V double w_sum(wide s)
{
    return (s.lanes[0] + s.lanes[1]) + (s.lanes[2] + s.lanes[3]);
}

V vec v_to_bf16(vec a)
{
    bits b = (bits)a;
    vec near = (vec)(b + ((b >> 16) & 1u) + 0x7fffu);
    return (vec)((bits)choose(is_number(a), near, a) & 0xffff0000u);
}

#include "core/math/kernels_lanes.h"

const struct kernels_level kernels_plain = {
    .name = "plain", .words = "plain C, fp32", LEVEL_FUNCTIONS};
