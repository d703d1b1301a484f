#include "core/base/bytes.h"

#include <string.h>

void bytes_put(struct text *out, const void *from, size_t n)
{
    text_append(out, (const char *)from, n);
}

bool bytes_get(struct bytes *b, void *to, size_t n)
{
    if (n > b->left) {
        return false;
    }
    memcpy(to, b->at, n);
    b->at += n;
    b->left -= n;
    return true;
}
