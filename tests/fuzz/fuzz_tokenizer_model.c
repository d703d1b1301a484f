/* tokenizer.model from any bytes; what parses encodes and decodes a fixed text and the input's
 * tail. */
#include "core/base/memory.h"
#include "core/gemma/tokenizer.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(const struct tokenizer *t, const char *text, size_t n)
{
    struct status st = {0};
    int32_t *ids = NULL;
    size_t n_ids = 0;
    struct text out = {0};
    if (tokenizer_encode(t, text, n, &ids, &n_ids, &st) == 0) {
        for (size_t i = 0; i < n_ids; i++) {
            if (ids[i] < 0 || (size_t)ids[i] >= tokenizer_size(t)) {
                abort();
            }
            tokenizer_token(t, ids[i], &out);
        }
        if (tokenizer_decode(t, ids, n_ids, true, &out, &st) != 0) {
            abort();
        }
    }
    memory_free(ids);
    text_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char text[] = "<bos> ab aba  \n\n\xC3\xA9\xE2\x96\x81 <a>b\t0";
    struct status st = {0};
    struct tokenizer *t = NULL;
    if (tokenizer_parse_model(&t, data, size, "fuzz.model", &st) == 0) {
        size_t tail = size < 64 ? size : 64;
        round_trip(t, text, sizeof text - 1);
        round_trip(t, (const char *)data + size - tail, tail);
        (void)tokenizer_find(t, "<a>");
    } else if (t || !st.message[0]) {
        abort();
    }
    tokenizer_close(t);
    return 0;
}
