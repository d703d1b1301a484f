#include "server/http/target.h"

#include "core/base/memory.h"

#include <stdbool.h>
#include <string.h>

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* Decodes s up to one of the bytes in `stop` or its end and writes it with a NUL to *out, which
 * moves on. Returns where it stopped, NULL for a bad escape. */
static const char *decode(const char *s, const char *stop, bool plus_is_space, char **out)
{
    for (; *s && !strchr(stop, *s); s++) {
        if (*s == '+' && plus_is_space) {
            *(*out)++ = ' ';
            continue;
        }
        if (*s != '%') {
            *(*out)++ = *s;
            continue;
        }
        int high = hex_digit(s[1]);
        int low = high < 0 ? -1 : hex_digit(s[2]);
        if (low < 0 || high + low == 0) {
            return NULL;
        }
        *(*out)++ = (char)(high * 16 + low);
        s += 2;
    }
    *(*out)++ = '\0';
    return s;
}

int target_decode(char **decoded, size_t *length, const char *target, struct status *st)
{
    *decoded = NULL;
    *length = 0;
    if (target[0] != '/') {
        return status_set(st, STATUS_INVALID, "the address \"%.200s\" does not begin with /",
                          target);
    }
    /* Every '&' becomes at most the two NULs behind a name and its empty value. */
    size_t size = 2 * strlen(target) + 3;
    char *bytes = memory_alloc(size, 1);
    if (!bytes) {
        return status_no_memory(st, size);
    }
    char *out = bytes;
    const char *p = decode(target, "?", false, &out);
    while (p && *p) {
        p = decode(p + 1, "=&", true, &out);
        if (p && *p == '=') {
            p = decode(p + 1, "&", true, &out);
        } else if (p) {
            *out++ = '\0';
        }
    }
    if (!p) {
        memory_free(bytes);
        return status_set(st, STATUS_INVALID,
                          "the address \"%.200s\" holds a %% that is not followed by two "
                          "hexadecimal digits (or %%00)",
                          target);
    }
    *decoded = bytes;
    *length = (size_t)(out - bytes);
    return STATUS_OK;
}

const char *target_query(const char *decoded, size_t length, const char *name)
{
    const char *p = decoded + strlen(decoded) + 1;
    const char *end = decoded + length;
    while (p < end) {
        const char *value = p + strlen(p) + 1;
        if (strcmp(p, name) == 0) {
            return value;
        }
        p = value + strlen(value) + 1;
    }
    return NULL;
}
