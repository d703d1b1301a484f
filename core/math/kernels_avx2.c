/* AVX2 with FMA and F16C: 8 lanes, tiles of 12 registers. */
#include "core/math/kernels_level.h"

#if defined(__x86_64__)
#include <immintrin.h>
#include <string.h>

#define TARGET __attribute__((target("avx2,fma,f16c")))
#define V static inline __attribute__((always_inline)) TARGET
#define LANES 8
#define PRODUCT_ROWS 3
#define COLUMN_ROWS 6
#define COLUMN_VECTORS 2

typedef __m256 vec;
typedef struct {
    __m256d low, high;
} wide;

V vec v_zero(void)
{
    return _mm256_setzero_ps();
}

V vec v_set(float x)
{
    return _mm256_set1_ps(x);
}

V vec v_load(const float *p)
{
    return _mm256_loadu_ps(p);
}

V vec v_load_n(const float *p, size_t n)
{
    float lanes[LANES] = {0};
    memcpy(lanes, p, n * sizeof *p);
    return _mm256_loadu_ps(lanes);
}

V void v_store(float *p, vec a)
{
    _mm256_storeu_ps(p, a);
}

V void v_store_n(float *p, vec a, size_t n)
{
    float lanes[LANES];
    _mm256_storeu_ps(lanes, a);
    memcpy(p, lanes, n * sizeof *p);
}

V vec v_add(vec a, vec b)
{
    return _mm256_add_ps(a, b);
}

V vec v_sub(vec a, vec b)
{
    return _mm256_sub_ps(a, b);
}

V vec v_mul(vec a, vec b)
{
    return _mm256_mul_ps(a, b);
}

V vec v_div(vec a, vec b)
{
    return _mm256_div_ps(a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return _mm256_fmadd_ps(a, b, c);
}

V vec v_max(vec a, vec b)
{
    return _mm256_max_ps(a, b);
}

V vec v_min(vec a, vec b)
{
    return _mm256_min_ps(a, b);
}

V vec v_round(vec a)
{
    return _mm256_round_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

/* 2^n from its exponent, for n in -126 .. 127. */
V vec power_of_two(__m256i n)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
}

/* In two steps, since 2^b alone may be out of range where a 2^b is not. */
V vec v_scale(vec a, vec b)
{
    __m256i n = _mm256_cvtps_epi32(b);
    __m256i half = _mm256_srai_epi32(n, 1);
    return _mm256_mul_ps(_mm256_mul_ps(a, power_of_two(half)),
                         power_of_two(_mm256_sub_epi32(n, half)));
}

V vec v_abs(vec a)
{
    return _mm256_andnot_ps(_mm256_set1_ps(-0.0f), a);
}

V vec v_sign(vec a, vec b)
{
    return _mm256_or_ps(b, _mm256_and_ps(a, _mm256_set1_ps(-0.0f)));
}

V vec v_below(vec a, vec b, vec c, vec d)
{
    return _mm256_blendv_ps(b, a, _mm256_cmp_ps(c, d, _CMP_LT_OQ));
}

V vec from_bf16(__m128i h)
{
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(h), 16));
}

V vec v_load_as(const enum dtype dtype, const void *p)
{
    switch (dtype) {
    case DTYPE_BF16:
        return from_bf16(_mm_loadu_si128(p));
    case DTYPE_F16:
        return _mm256_cvtph_ps(_mm_loadu_si128(p));
    default:
        return _mm256_loadu_ps(p);
    }
}

V vec v_load_as_n(const enum dtype dtype, const void *p, size_t n)
{
    unsigned char bytes[LANES * sizeof(float)] = {0};
    memcpy(bytes, p, n * (dtype == DTYPE_F32 ? sizeof(float) : sizeof(uint16_t)));
    return v_load_as(dtype, bytes);
}

/* y[0 .. n-1] = or += the four sums, at the cost of little more than one: lanes of a, b, c, d are
 * brought side by side while they are added. */
V void v_sum4(vec a, vec b, vec c, vec d, size_t n, bool more, float *y)
{
    __m256 ab = _mm256_add_ps(_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
    __m256 cd = _mm256_add_ps(_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
    __m256 all = _mm256_add_ps(_mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                               _mm256_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(all), _mm256_extractf128_ps(all, 1));
    if (n == 4) {
        _mm_storeu_ps(y, more ? _mm_add_ps(_mm_loadu_ps(y), four) : four);
        return;
    }
    float sums[4];
    _mm_storeu_ps(sums, four);
    for (size_t i = 0; i < n; i++) {
        y[i] = more ? y[i] + sums[i] : sums[i];
    }
}

V wide w_zero(void)
{
    return (wide){_mm256_setzero_pd(), _mm256_setzero_pd()};
}

V wide w_add(wide s, vec a)
{
    s.low = _mm256_add_pd(s.low, _mm256_cvtps_pd(_mm256_castps256_ps128(a)));
    s.high = _mm256_add_pd(s.high, _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)));
    return s;
}

V double w_sum(wide s)
{
    double lanes[4];
    _mm256_storeu_pd(lanes, _mm256_add_pd(s.low, s.high));
    return (lanes[0] + lanes[1]) + (lanes[2] + lanes[3]);
}

V vec v_to_bf16(vec a)
{
    __m256i bits = _mm256_castps_si256(a);
    __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    __m256i near = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
    vec number = _mm256_cmp_ps(a, a, _CMP_ORD_Q);
    vec both = _mm256_blendv_ps(a, _mm256_castsi256_ps(near), number);
    return _mm256_and_ps(both, _mm256_castsi256_ps(_mm256_set1_epi32(-0x10000)));
}

#include "core/math/kernels_lanes.h"

const struct kernels_level kernels_avx2 = {.name = "avx2", .words = "AVX2, fp32", LEVEL_FUNCTIONS};

#endif
