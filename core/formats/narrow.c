#include "core/formats/narrow.h"

#include <math.h>
#include <string.h>

static uint32_t bits_of(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

uint16_t narrow_bf16(float value)
{
    uint32_t bits = bits_of(value);
    if (isnan(value)) {
        return (uint16_t)(bits >> 16 | 0x40u); /* still a NaN when its low bits are gone */
    }
    return (uint16_t)((bits + 0x7FFFu + (bits >> 16 & 1u)) >> 16);
}

/* n >> shift, to the nearest, ties to even; 1 <= shift <= 31. */
static uint32_t shift_rounded(uint32_t n, uint32_t shift)
{
    uint32_t rest = n & ((1u << shift) - 1), half = 1u << (shift - 1);
    uint32_t kept = n >> shift;
    return kept + (rest > half || (rest == half && (kept & 1u)));
}

uint16_t narrow_f16(float value)
{
    uint32_t bits = bits_of(value), sign = bits >> 16 & 0x8000u;
    uint32_t exponent = bits >> 23 & 0xFFu, fraction = bits & 0x7FFFFFu;
    if (exponent == 0xFF) {
        uint32_t nan = fraction ? 0x200u | fraction >> 13 : 0;
        return (uint16_t)(sign | 0x7C00u | nan);
    }
    if (exponent >=
        113) { /* 2^-14 and more: normal; a carry out of the fraction is right as it is */
        uint32_t half = shift_rounded((exponent - 112) << 23 | fraction, 13);
        return (uint16_t)(sign | (half > 0x7C00u ? 0x7C00u : half));
    }
    if (exponent < 102) { /* less than half of the least, 2^-24 */
        return (uint16_t)sign;
    }
    return (uint16_t)(sign | shift_rounded(fraction | 0x800000u, 126 - exponent));
}

size_t narrow_all(const float *values, size_t n, enum dtype dtype, void *to)
{
    if (dtype == DTYPE_F32) {
        memcpy(to, values, n * sizeof *values);
        return n;
    }
    uint16_t *halves = to;
    uint32_t infinite = dtype == DTYPE_BF16 ? 0x7F80u : 0x7C00u;
    size_t first = n;
    for (size_t i = 0; i < n; i++) {
        halves[i] = dtype == DTYPE_BF16 ? narrow_bf16(values[i]) : narrow_f16(values[i]);
        if ((halves[i] & 0x7FFFu) == infinite && first == n && !isinf(values[i])) {
            first = i;
        }
    }
    return first;
}
