/* The second half of kernels_lanes.h: rows of values rather than products of matrices. */
#ifndef DM_MATH_KERNELS_VALUES_H
#define DM_MATH_KERNELS_VALUES_H

/* Loops of the form y = f(x): whole vectors, then the rest. `load` is v_load(p) or v_load_n(p, n)
 */
#define EACH(n, whole, rest)                 \
    do {                                     \
        size_t i = 0, left = LANES;          \
        for (; (n)-i >= LANES; i += LANES) { \
            whole;                           \
        }                                    \
        if (i < (n)) {                       \
            left = (n)-i;                    \
            rest;                            \
        }                                    \
        (void)left;                          \
    } while (0)

TARGET static void widen(enum dtype dtype, const void *from, size_t n, float *to)
{
    const unsigned char *p = from;
    if (dtype == DTYPE_BF16) {
        EACH(n, v_store(to + i, v_load_as(DTYPE_BF16, p + 2 * i)),
             v_store_n(to + i, v_load_as_n(DTYPE_BF16, p + 2 * i, left), left));
    } else if (dtype == DTYPE_F16) {
        EACH(n, v_store(to + i, v_load_as(DTYPE_F16, p + 2 * i)),
             v_store_n(to + i, v_load_as_n(DTYPE_F16, p + 2 * i, left), left));
    } else {
        memcpy(to, from, n * sizeof *to);
    }
}

TARGET static void to_bf16(const float *x, size_t n, void *to)
{
    float *y = to;
    EACH(n, v_store(y + i, v_to_bf16(v_load(x + i))),
         v_store_n(y + i, v_to_bf16(v_load_n(x + i, left)), left));
}

TARGET static float dot(const float *a, const float *b, size_t n)
{
    vec sum[4] = {v_zero(), v_zero(), v_zero(), v_zero()};
    size_t i = 0;
    for (; n - i >= 4 * LANES; i += 4 * LANES) {
        UNROLL for (size_t v = 0; v < 4; v++)
        {
            sum[v] = v_fma(v_load(a + i + v * LANES), v_load(b + i + v * LANES), sum[v]);
        }
    }
    for (; n - i >= LANES; i += LANES) {
        sum[0] = v_fma(v_load(a + i), v_load(b + i), sum[0]);
    }
    if (i < n) {
        sum[0] = v_fma(v_load_n(a + i, n - i), v_load_n(b + i, n - i), sum[0]);
    }
    float four[4] = {0};
    v_sum4(sum[0], sum[1], sum[2], sum[3], 4, false, four);
    return (four[0] + four[1]) + (four[2] + four[3]);
}

TARGET static void add_scaled(float *y, float a, const float *x, size_t n)
{
    vec f = v_set(a);
    EACH(n, v_store(y + i, v_fma(f, v_load(x + i), v_load(y + i))),
         v_store_n(y + i, v_fma(f, v_load_n(x + i, left), v_load_n(y + i, left)), left));
}

TARGET static void add(const float *a, const float *b, size_t n, float *y)
{
    EACH(n, v_store(y + i, v_add(v_load(a + i), v_load(b + i))),
         v_store_n(y + i, v_add(v_load_n(a + i, left), v_load_n(b + i, left)), left));
}

TARGET static void multiply(const float *a, const float *b, size_t n, float *y)
{
    EACH(n, v_store(y + i, v_mul(v_load(a + i), v_load(b + i))),
         v_store_n(y + i, v_mul(v_load_n(a + i, left), v_load_n(b + i, left)), left));
}

TARGET static void norm(const float *x, size_t n, const float *gain, float eps, float *y)
{
    float scale = 1.0f / sqrtf(dot(x, x, n) / (float)n + eps);
    vec s = v_set(scale);
    if (!gain) {
        EACH(n, v_store(y + i, v_mul(v_load(x + i), s)),
             v_store_n(y + i, v_mul(v_load_n(x + i, left), s), left));
        return;
    }
    EACH(n, v_store(y + i, v_mul(v_mul(v_load(x + i), s), v_load(gain + i))),
         v_store_n(y + i, v_mul(v_mul(v_load_n(x + i, left), s), v_load_n(gain + i, left)), left));
}

INLINE void rotate_one(vec a, vec b, vec c, vec s, vec *low, vec *high)
{
    *low = v_sub(v_mul(a, c), v_mul(b, s));
    *high = v_fma(b, c, v_mul(a, s));
}

TARGET static void rotate(float *low, float *high, size_t n, const float *cosine, const float *sine)
{
    vec l, h;
    EACH(
        n,
        {
            rotate_one(v_load(low + i), v_load(high + i), v_load(cosine + i), v_load(sine + i), &l,
                       &h);
            v_store(low + i, l);
            v_store(high + i, h);
        },
        {
            rotate_one(v_load_n(low + i, left), v_load_n(high + i, left),
                       v_load_n(cosine + i, left), v_load_n(sine + i, left), &l, &h);
            v_store_n(low + i, l, left);
            v_store_n(high + i, h, left);
        });
}

/* e^x = 2^n e^r with n whole and |r| <= ln(2) / 2; e^r by a polynomial fitted to 8e-9, so that the
 * rest of the error, under 1 ulp, is that of its last operations. Beyond the clamp the result is 0
 * or infinity anyway; a NaN passes v_min and v_max as their second operand. */
INLINE vec v_exp(vec x)
{
    x = v_min(v_set(100.0f), v_max(v_set(-110.0f), x));
    vec n = v_round(v_mul(x, v_set(0x1.715476p+0f)));
    vec r = v_fma(n, v_set(-0x1.62e4p-1f), x); /* ln(2) in two parts, the first of few bits */
    r = v_fma(n, v_set(-0x1.7f7d1cp-20f), r);
    vec p = v_set(0x1.6d1606p-10f);
    p = v_fma(p, r, v_set(0x1.12106cp-7f));
    p = v_fma(p, r, v_set(0x1.555516p-5f));
    p = v_fma(p, r, v_set(0x1.5554d8p-3f));
    p = v_fma(p, r, v_set(0.5f));
    p = v_fma(p, v_mul(r, r), r);
    return v_scale(v_add(p, v_set(1.0f)), n);
}

/* An odd polynomial near 0, fitted to 7e-9, 1 - 2 / (e^(2|x|) + 1) elsewhere. */
INLINE vec v_tanh(vec x)
{
    vec a = v_abs(x);
    vec z = v_mul(x, x);
    vec p = v_set(0x1.2977d8p-9f);
    p = v_fma(p, z, v_set(-0x1.10bbf4p-7f));
    p = v_fma(p, z, v_set(0x1.648e8ep-6f));
    p = v_fma(p, z, v_set(-0x1.ba0718p-5f));
    p = v_fma(p, z, v_set(0x1.1110e4p-3f));
    p = v_fma(p, z, v_set(-0x1.555556p-2f));
    p = v_fma(v_mul(p, z), a, a);
    vec one = v_set(1.0f);
    vec e = v_exp(v_add(a, a));
    vec q = v_sub(one, v_div(v_set(2.0f), v_add(e, one)));
    return v_sign(x, v_below(p, q, a, v_set(0.625f)));
}

/* 0.5 g (1 + tanh(u)) = g / (1 + e^(-2u)), which loses no digits where g is very negative. */
INLINE vec v_gelu(vec g)
{
    const float root = 0.7978845608028654f; /* sqrt(2 / pi) */
    vec u = v_fma(v_mul(v_mul(g, g), v_set(0.044715f)), g, g);
    return v_div(g, v_add(v_set(1.0f), v_exp(v_mul(u, v_set(-2.0f * root)))));
}

TARGET static void softcap(float *x, size_t n, float cap)
{
    vec c = v_set(cap);
    EACH(n, v_store(x + i, v_mul(c, v_tanh(v_div(v_load(x + i), c)))),
         v_store_n(x + i, v_mul(c, v_tanh(v_div(v_load_n(x + i, left), c))), left));
}

TARGET static void gelu(float *x, size_t n)
{
    EACH(n, v_store(x + i, v_gelu(v_load(x + i))),
         v_store_n(x + i, v_gelu(v_load_n(x + i, left)), left));
}

TARGET static float largest(const float *x, size_t n)
{
    float most = -INFINITY, lanes[LANES];
    vec m = v_set(-INFINITY);
    size_t i = 0;
    for (; n - i >= LANES; i += LANES) {
        m = v_max(v_load(x + i), m);
    }
    v_store(lanes, m);
    for (size_t l = 0; l < LANES; l++) {
        most = lanes[l] > most ? lanes[l] : most;
    }
    for (; i < n; i++) {
        most = x[i] > most ? x[i] : most;
    }
    return most;
}

TARGET static void softmax(float *x, size_t n)
{
    vec most = v_set(largest(x, n));
    wide sum = w_zero();
    EACH(
        n,
        {
            vec e = v_exp(v_sub(v_load(x + i), most));
            v_store(x + i, e);
            sum = w_add(sum, e);
        },
        {
            vec e = v_exp(v_sub(v_load_n(x + i, left), most));
            v_store_n(x + i, e, left);
            sum = w_add(sum, v_load_n(x + i, left));
        });
    vec scale = v_set((float)(1.0 / w_sum(sum)));
    EACH(n, v_store(x + i, v_mul(v_load(x + i), scale)),
         v_store_n(x + i, v_mul(v_load_n(x + i, left), scale), left));
}

TARGET static double logsumexp(const float *x, size_t n)
{
    float max = largest(x, n), rest[LANES];
    vec most = v_set(max);
    wide sum = w_zero();
    EACH(n, sum = w_add(sum, v_exp(v_sub(v_load(x + i), most))), {
        v_store(rest, v_exp(v_sub(v_load_n(x + i, left), most)));
        sum = w_add(sum, v_load_n(rest, left));
    });
    /* cppcheck-suppress invalidFunctionArg ; n > 0, so the maximum's own term makes sum >= 1 */
    return (double)max + log(w_sum(sum));
}

#define LEVEL_FUNCTIONS                                                                   \
    .product_rows = PRODUCT_ROWS, .column_rows = COLUMN_ROWS,                             \
    .column_width = (size_t)COLUMN_VECTORS * LANES, .product = product, .pack = pack,     \
    .columns = columns, .widen = widen,                                                   \
    .rounded = {.block = KERNELS_BLOCK,                                                   \
                .x_bytes = sizeof(float),                                                 \
                .round = to_bf16,                                                         \
                .pack = pack,                                                             \
                .product = product},                                                      \
    .dot = dot, .add_scaled = add_scaled, .add = add, .multiply = multiply, .norm = norm, \
    .rotate = rotate, .softcap = softcap, .gelu = gelu, .softmax = softmax, .logsumexp = logsumexp

#endif
