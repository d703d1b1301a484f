#include "core/base/hash.h"

#include <stdio.h>

__extension__ typedef unsigned __int128 uint128;

struct hash hash_start(void)
{
    return (struct hash){0x6c62272e07bb0142ULL, 0x62b821756295c58dULL};
}

void hash_add(struct hash *h, const void *bytes, size_t n)
{
    const uint128 prime = ((uint128)0x0000000001000000ULL << 64) | 0x000000000000013BULL;
    const unsigned char *b = bytes;
    uint128 state = ((uint128)h->high << 64) | h->low;
    for (size_t i = 0; i < n; i++) {
        state = (state ^ b[i]) * prime;
    }
    h->high = (uint64_t)(state >> 64);
    h->low = (uint64_t)state;
}

void hash_bytes(struct hash h, uint8_t out[HASH_BYTES])
{
    for (int i = 0; i < 8; i++) {
        out[i] = (uint8_t)(h.high >> (56 - 8 * i));
        out[8 + i] = (uint8_t)(h.low >> (56 - 8 * i));
    }
}

void hash_hex(struct hash h, char out[HASH_HEX])
{
    (void)snprintf(out, HASH_HEX, "%016llx%016llx", (unsigned long long)h.high,
                   (unsigned long long)h.low);
}
