#include "core/formats/npz.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted must be readable to its last byte, and look the same to npz_peek. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status st = {0};
    struct npz *f;
    if (npz_open_bytes(&f, data, size, "fuzz", &st) != 0) {
        return 0;
    }
    for (size_t i = 0; i < npz_count(f); i++) {
        struct tensor peeked;
        struct tensor t;
        int peek = npz_peek(f, npz_name(f, i), &peeked, &st);
        if (npz_find(f, npz_name(f, i), &t, &st) != 0) {
            continue;
        }
        size_t n = tensor_elements(&t);
        if (peek != 0 || peeked.n_dims != t.n_dims || peeked.dtype != t.dtype ||
            tensor_elements(&peeked) != n) {
            abort();
        }
        if (n > 0) {
            volatile float sum = tensor_get(&t, 0) + tensor_get(&t, n - 1);
            (void)sum;
        }
    }
    npz_close(f);
    return 0;
}
