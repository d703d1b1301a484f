/* Vectors of 16 floats for the two levels that have them (see kernels_lanes.h). A file defines
 * TARGET before it includes this. */
#ifndef DM_MATH_KERNELS_AVX512_H
#define DM_MATH_KERNELS_AVX512_H

#include "core/math/kernels_level.h"

#include <immintrin.h>
#include <string.h>

#define V static inline __attribute__((always_inline)) TARGET
#define LANES 16

typedef __m512 vec;
typedef struct {
    __m512d low, high;
} wide;

V __mmask16 first(size_t n)
{
    return (__mmask16)((1u << n) - 1u);
}

V vec v_zero(void)
{
    return _mm512_setzero_ps();
}

V vec v_set(float x)
{
    return _mm512_set1_ps(x);
}

V vec v_load(const float *p)
{
    return _mm512_loadu_ps(p);
}

V vec v_load_n(const float *p, size_t n)
{
    return _mm512_maskz_loadu_ps(first(n), p);
}

V void v_store(float *p, vec a)
{
    _mm512_storeu_ps(p, a);
}

V void v_store_n(float *p, vec a, size_t n)
{
    _mm512_mask_storeu_ps(p, first(n), a);
}

V vec v_add(vec a, vec b)
{
    return _mm512_add_ps(a, b);
}

V vec v_sub(vec a, vec b)
{
    return _mm512_sub_ps(a, b);
}

V vec v_mul(vec a, vec b)
{
    return _mm512_mul_ps(a, b);
}

V vec v_div(vec a, vec b)
{
    return _mm512_div_ps(a, b);
}

V vec v_fma(vec a, vec b, vec c)
{
    return _mm512_fmadd_ps(a, b, c);
}

V vec v_max(vec a, vec b)
{
    return _mm512_max_ps(a, b);
}

V vec v_min(vec a, vec b)
{
    return _mm512_min_ps(a, b);
}

V vec v_round(vec a)
{
    return _mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}

V vec v_scale(vec a, vec b)
{
    return _mm512_scalef_ps(a, b);
}

V vec v_abs(vec a)
{
    return _mm512_abs_ps(a);
}

V vec v_sign(vec a, vec b)
{
    return _mm512_or_ps(b, _mm512_and_ps(a, _mm512_set1_ps(-0.0f)));
}

V vec v_below(vec a, vec b, vec c, vec d)
{
    return _mm512_mask_blend_ps(_mm512_cmp_ps_mask(c, d, _CMP_LT_OQ), b, a);
}

V vec from_bf16(__m256i h)
{
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(h), 16));
}

V vec v_load_as(const enum dtype dtype, const void *p)
{
    switch (dtype) {
    case DTYPE_BF16:
        return from_bf16(_mm256_loadu_si256(p));
    case DTYPE_F16:
        return _mm512_cvtph_ps(_mm256_loadu_si256(p));
    default:
        return _mm512_loadu_ps(p);
    }
}

V vec v_load_as_n(const enum dtype dtype, const void *p, size_t n)
{
    switch (dtype) {
    case DTYPE_BF16:
        return from_bf16(_mm256_maskz_loadu_epi16(first(n), p));
    case DTYPE_F16:
        return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(first(n), p));
    default:
        return _mm512_maskz_loadu_ps(first(n), p);
    }
}

/* y[0 .. n-1] = or += the four sums, at the cost of little more than one: lanes of a, b, c, d are
 * brought side by side while they are added. */
V void v_sum4(vec a, vec b, vec c, vec d, size_t n, bool more, float *y)
{
    __m512 ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
    __m512 cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
    __m512 all = _mm512_add_ps(_mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(1, 0, 1, 0)),
                               _mm512_shuffle_ps(ab, cd, _MM_SHUFFLE(3, 2, 3, 2)));
    __m256 half = _mm256_add_ps(_mm512_castps512_ps256(all), _mm512_extractf32x8_ps(all, 1));
    __m128 four = _mm_add_ps(_mm256_castps256_ps128(half), _mm256_extractf128_ps(half, 1));
    if (n == 4) { /* masked stores would hold up the loads that follow */
        _mm_storeu_ps(y, more ? _mm_add_ps(_mm_loadu_ps(y), four) : four);
        return;
    }
    __mmask8 there = (__mmask8)first(n);
    four = more ? _mm_add_ps(_mm_maskz_loadu_ps(there, y), four) : four;
    _mm_mask_storeu_ps(y, there, four);
}

V wide w_zero(void)
{
    return (wide){_mm512_setzero_pd(), _mm512_setzero_pd()};
}

V wide w_add(wide s, vec a)
{
    s.low = _mm512_add_pd(s.low, _mm512_cvtps_pd(_mm512_castps512_ps256(a)));
    s.high = _mm512_add_pd(s.high, _mm512_cvtps_pd(_mm512_extractf32x8_ps(a, 1)));
    return s;
}

V double w_sum(wide s)
{
    double lanes[8], sum = 0.0;
    _mm512_storeu_pd(lanes, _mm512_add_pd(s.low, s.high));
    for (int i = 0; i < 8; i++) {
        sum += lanes[i];
    }
    return sum;
}

/* As VCVTNEPS2BF16 rounds, to nearest even, but that it keeps what is too small for a normal
 * number; NaNs stay. */
V vec v_to_bf16(vec a)
{
    __m512i bits = _mm512_castps_si512(a);
    __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    __m512i near = _mm512_add_epi32(bits, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
    __mmask16 number = _mm512_cmp_ps_mask(a, a, _CMP_ORD_Q);
    near = _mm512_mask_mov_epi32(bits, number, near);
    return _mm512_castsi512_ps(_mm512_and_si512(near, _mm512_set1_epi32(-0x10000)));
}

#endif
