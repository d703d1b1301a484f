/* Any bytes as an activation blob: refused, or a row that encodes to the same bytes. */
#include "server/store/blob.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sparse rows = {0};
    struct text again = {0};
    if (blob_decode(data, size, &rows)) {
        blob_encode(&again, rows.index, rows.value, rows.start[1]);
        if (again.length != size || memcmp(again.data, data, size) != 0) {
            abort();
        }
    } else if (rows.rows != 0) {
        abort();
    }
    text_free(&again);
    sparse_free(&rows);
    return 0;
}
