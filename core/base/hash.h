/* FNV-1a, 128 bits (Fowler, Noll, Vo; parameters from RFC 9923): names token sequences and tensor
 * contents. It guards against mix-ups, not against an attacker: readers compare what they found. */
#ifndef DM_BASE_HASH_H
#define DM_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

#define HASH_BYTES 16
#define HASH_HEX 33 /* with the NUL */

struct hash {
    uint64_t high, low;
};

struct hash hash_start(void);
void hash_add(struct hash *h, const void *bytes, size_t n);
void hash_bytes(struct hash h, uint8_t out[HASH_BYTES]); /* big endian */
void hash_hex(struct hash h, char out[HASH_HEX]);

#endif
