#include "core/formats/tensor.h"

#include "core/base/memory.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "safetensors and .npy files are little endian and are read in place");

/* gcc's -O2 vectorises loops of a known length only; a run is widened in blocks of this many. */
#define BLOCK 16

static const struct {
    const char *name;
    size_t size;
} dtypes[] = {
    [DTYPE_F32] = {"F32", 4},   [DTYPE_F16] = {"F16", 2},
    [DTYPE_BF16] = {"BF16", 2}, [DTYPE_F64] = {"F64", 8},
    [DTYPE_I32] = {"I32", 4},   [DTYPE_I64] = {"I64", 8},
    [DTYPE_U8] = {"U8", 1},     [DTYPE_OTHER] = {"an unknown type", 0},
};

size_t dtype_size(enum dtype dtype)
{
    return dtypes[dtype].size;
}

const char *dtype_name(enum dtype dtype)
{
    return dtypes[dtype].name;
}

size_t tensor_elements(const struct tensor *t)
{
    size_t n = 1;
    for (int i = 0; i < t->n_dims; i++) {
        n *= t->shape[i];
    }
    return n;
}

size_t tensor_bytes(const struct tensor *t)
{
    return tensor_elements(t) * dtype_size(t->dtype);
}

bool tensor_checked_bytes(const struct tensor *t, size_t *bytes)
{
    size_t size = dtype_size(t->dtype);
    size_t product = size ? size : 1;
    bool fits = true;
    bool empty = false; /* a zero anywhere makes it 0, whatever the others would give */
    for (int i = 0; i < t->n_dims; i++) {
        fits = fits && memory_multiply(product, t->shape[i], &product);
        empty = empty || t->shape[i] == 0;
    }
    *bytes = empty || size == 0 ? 0 : product;
    return fits || empty;
}

static inline float from_bits(uint32_t bits)
{
    float f;
    memcpy(&f, &bits, sizeof f);
    return f;
}

static inline float from_bf16(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    return from_bits((uint32_t)h << 16);
}

/* IEEE 754 binary16, exactly: both halves of each choice are computed, so that loops vectorise. */
static inline float from_f16(const unsigned char *p)
{
    uint16_t h;
    memcpy(&h, p, sizeof h);
    uint32_t magnitude = h & 0x7fffu;
    uint32_t normal = (magnitude << 13) + (112u << 23);
    uint32_t special = normal + (112u << 23); /* exponent 31 becomes 255: infinity and NaN */
    float small = (float)(int32_t)magnitude * 0x1p-24f;
    uint32_t bits;
    memcpy(&bits, &small, sizeof bits);
    bits = magnitude >= 0x0400u ? normal : bits;
    bits = magnitude >= 0x7c00u ? special : bits;
    return from_bits(bits | ((uint32_t)(h & 0x8000u) << 16));
}

static inline float from_f64(const unsigned char *p)
{
    double d;
    memcpy(&d, p, sizeof d);
    return (float)d;
}

static inline float from_f32(const unsigned char *p)
{
    float f;
    memcpy(&f, p, sizeof f);
    return f;
}

#define WIDEN(name, one, size)                                                       \
    static void name(const unsigned char *restrict p, size_t n, float *restrict out) \
    {                                                                                \
        size_t i = 0;                                                                \
        for (; n - i >= BLOCK; i += BLOCK) {                                         \
            for (size_t j = 0; j < BLOCK; j++) {                                     \
                out[i + j] = one(p + (i + j) * (size));                              \
            }                                                                        \
        }                                                                            \
        for (; i < n; i++) {                                                         \
            out[i] = one(p + i * (size));                                            \
        }                                                                            \
    }

WIDEN(widen_bf16, from_bf16, 2)
WIDEN(widen_f16, from_f16, 2)
WIDEN(widen_f64, from_f64, 8)

float tensor_get(const struct tensor *t, size_t i)
{
    const unsigned char *p = (const unsigned char *)t->data + i * dtype_size(t->dtype);
    switch (t->dtype) {
    case DTYPE_F32:
        return from_f32(p);
    case DTYPE_F16:
        return from_f16(p);
    case DTYPE_BF16:
        return from_bf16(p);
    case DTYPE_F64:
        return from_f64(p);
    default:
        return NAN;
    }
}

void tensor_widen(const struct tensor *t, size_t first, size_t n, float *out)
{
    if (n == 0) {
        return;
    }
    const unsigned char *p = (const unsigned char *)t->data + first * dtype_size(t->dtype);
    switch (t->dtype) {
    case DTYPE_F32:
        memcpy(out, p, n * sizeof *out);
        break;
    case DTYPE_F16:
        widen_f16(p, n, out);
        break;
    case DTYPE_BF16:
        widen_bf16(p, n, out);
        break;
    case DTYPE_F64:
        widen_f64(p, n, out);
        break;
    default:
        for (size_t i = 0; i < n; i++) {
            out[i] = NAN;
        }
    }
}

int tensor_expect(const struct tensor *t, const char *file, const char *name, int n_dims,
                  const size_t *shape, struct status *st)
{
    struct tensor expected = {.n_dims = n_dims};
    memcpy(expected.shape, shape, (size_t)n_dims * sizeof *shape);
    char want[128];
    char found[128];
    (void)tensor_shape_text(&expected, want, sizeof want);
    if (!t) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: tensor \"%s\": expected %s, found no such tensor", file, name, want);
    }
    bool same = t->n_dims == n_dims;
    for (int i = 0; same && i < n_dims; i++) {
        same = t->shape[i] == shape[i];
    }
    if (!same) {
        return status_set(st, STATUS_CORRUPT, "%s: tensor \"%s\": expected shape %s, found %s",
                          file, name, want, tensor_shape_text(t, found, sizeof found));
    }
    if (t->dtype != DTYPE_F32 && t->dtype != DTYPE_F16 && t->dtype != DTYPE_BF16) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: tensor \"%s\": expected F32, F16 or BF16, found %s", file, name,
                          dtype_name(t->dtype));
    }
    return STATUS_OK;
}

const char *tensor_shape_text(const struct tensor *t, char *buffer, size_t size)
{
    size_t used = 0;
    for (int i = 0; i <= t->n_dims && used < size; i++) {
        int n = i < t->n_dims
                    ? snprintf(buffer + used, size - used, "%s%zu", i ? ", " : "[", t->shape[i])
                    : snprintf(buffer + used, size - used, "%s", i ? "]" : "[]");
        used += n > 0 ? (size_t)n : 0;
    }
    return buffer;
}

void tensor_hash(const struct tensor *t, struct hash *h)
{
    enum { SAMPLES = 32, SAMPLE_BYTES = 64 };
    const unsigned char *bytes = t->data;
    size_t n = tensor_bytes(t);
    hash_add(h, dtype_name(t->dtype), strlen(dtype_name(t->dtype)));
    hash_add(h, t->shape, sizeof t->shape);
    if (n <= (size_t)SAMPLES * SAMPLE_BYTES) {
        hash_add(h, bytes, n);
        return;
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        hash_add(h, bytes + (n - SAMPLE_BYTES) / (SAMPLES - 1) * i, SAMPLE_BYTES);
    }
}
