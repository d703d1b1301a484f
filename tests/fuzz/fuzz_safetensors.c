#include "core/formats/safetensors.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Whatever is accepted must be readable to its last byte and be found by its name. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct status st = {0};
    struct safetensors *f;
    if (safetensors_open_bytes(&f, data, size, "fuzz", &st) != 0) {
        return 0;
    }
    for (size_t i = 0; i < safetensors_count(f); i++) {
        const struct tensor *t = safetensors_at(f, i);
        size_t n = tensor_elements(t);
        if (safetensors_find(f, safetensors_name(f, i)) != t) {
            abort();
        }
        if (tensor_bytes(t) > 0) {
            float last;
            tensor_widen(t, n - 1, 1, &last);
            volatile uint8_t end = ((const uint8_t *)t->data)[tensor_bytes(t) - 1];
            (void)end;
        }
    }
    safetensors_close(f);
    return 0;
}
