#include "server/store/blob.h"

#include "core/base/memory.h"

#include <string.h>

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
               "float32 values are copied as they stand: a big endian machine has to swap them");

enum { VARINT_MAX = 5, VARINT_MAX_64 = 10 };

static size_t put_varint(uint8_t *to, uint64_t value)
{
    size_t n = 0;
    while (value >= 0x80) {
        to[n++] = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    to[n++] = (uint8_t)value;
    return n;
}

void blob_encode(struct text *out, const uint32_t *index, const float *value, size_t n)
{
    size_t worst;
    if (!memory_multiply(n, VARINT_MAX + sizeof *value, &worst) ||
        !memory_add(worst, VARINT_MAX_64, &worst) || !text_reserve(out, worst)) {
        out->failed = true;
        return;
    }
    uint8_t *start = (uint8_t *)out->data + out->length;
    uint8_t *to = start + put_varint(start, n);
    uint32_t before = 0;
    for (size_t i = 0; i < n; i++) {
        to += put_varint(to, index[i] - before);
        before = index[i];
    }
    if (n) {
        memcpy(to, value, n * sizeof *value);
        to += n * sizeof *value;
    }
    *to = '\0';
    out->length += (size_t)(to - start);
}

struct reader {
    const uint8_t *at, *end;
};

/* The next number, in the one form that put_varint gives it: up to 32 bits, no padding. Refusing
 * other forms finds more of the damage. */
static bool get_varint(struct reader *r, uint32_t *value)
{
    uint64_t sum = 0;
    for (unsigned shift = 0; shift < 7 * VARINT_MAX && r->at < r->end; shift += 7) {
        uint8_t byte = *r->at++;
        sum |= (uint64_t)(byte & 0x7F) << shift;
        if (byte < 0x80) {
            *value = (uint32_t)sum;
            return sum <= UINT32_MAX && (byte != 0 || shift == 0);
        }
    }
    return false;
}

static bool get_indices(struct reader *r, uint32_t *index, size_t n)
{
    uint32_t before = 0;
    for (size_t i = 0; i < n; i++) {
        uint32_t step;
        if (!get_varint(r, &step) || (i > 0 && step == 0) || step > UINT32_MAX - before) {
            return false;
        }
        before += step;
        index[i] = before;
    }
    return true;
}

bool blob_decode(const void *bytes, size_t n, struct sparse *rows)
{
    if (n == 0) {
        return false;
    }
    struct reader r = {bytes, (const uint8_t *)bytes + n};
    uint32_t count;
    /* Every entry takes at least 5 bytes, so a lying count is refused before memory is asked for.
     */
    if (!get_varint(&r, &count) || count > (size_t)(r.end - r.at) / (1 + sizeof(float))) {
        return false;
    }
    uint32_t *index = memory_alloc(count, sizeof *index + sizeof(float));
    if (!index) {
        rows->failed = true;
        return false;
    }
    bool good = get_indices(&r, index, count) && (size_t)(r.end - r.at) == count * sizeof(float);
    if (good) {
        float *value = (float *)(void *)(index + count);
        memcpy(value, r.at, count * sizeof *value);
        sparse_append(rows, index, value, count);
        good = !rows->failed;
    }
    memory_free(index);
    return good;
}
