#include "core/formats/npy.h"

#include "core/base/memory.h"

#include <string.h>

#define MEMBER_SHOWN "%s: member \"%.200s\": "

/* The header is a Python dict literal; p moves through it. */
struct cursor {
    const char *p, *end;
};

static bool is_space(char c)
{
    return c == ' ' || c == '\t' || c == '\r' || c == '\n';
}

static void skip_space(struct cursor *c)
{
    while (c->p < c->end && is_space(*c->p)) {
        c->p++;
    }
}

static bool take(struct cursor *c, const char *word)
{
    size_t n = strlen(word);
    skip_space(c);
    if ((size_t)(c->end - c->p) < n || memcmp(c->p, word, n) != 0) {
        return false;
    }
    c->p += n;
    return true;
}

/* A string in either kind of quotes, without escapes: no key or type needs one. */
static bool take_string(struct cursor *c, char *out, size_t size)
{
    skip_space(c);
    if (c->p == c->end || (*c->p != '\'' && *c->p != '"')) {
        return false;
    }
    const char *start = c->p + 1;
    const char *close = memchr(start, *c->p, (size_t)(c->end - start));
    if (!close || (size_t)(close - start) >= size) {
        return false;
    }
    memcpy(out, start, (size_t)(close - start));
    out[close - start] = '\0';
    c->p = close + 1;
    return true;
}

static bool take_size(struct cursor *c, size_t *out)
{
    skip_space(c);
    const char *start = c->p;
    size_t value = 0;
    for (; c->p < c->end && *c->p >= '0' && *c->p <= '9'; c->p++) {
        if (!memory_multiply(value, 10, &value) ||
            !memory_add(value, (size_t)(*c->p - '0'), &value)) {
            return false;
        }
    }
    *out = value;
    return c->p > start;
}

/* "(48, 160)", "(48,)", "()"; *n counts on beyond TENSOR_DIMENSIONS, and those are not kept. */
static bool take_shape(struct cursor *c, struct tensor *t, int *n)
{
    bool comma = true;
    if (!take(c, "(")) {
        return false;
    }
    while (!take(c, ")")) {
        size_t value;
        if (!comma || !take_size(c, &value)) {
            return false;
        }
        (void)take(c, "L"); /* Python 2's long */
        if (*n < TENSOR_DIMENSIONS) {
            t->shape[*n] = value;
        }
        ++*n;
        comma = take(c, ",");
    }
    return true;
}

struct dictionary {
    char descr[32];
    int n_dims;
    bool has_descr, has_order, has_shape;
};

static bool take_item(struct cursor *c, struct npy *npy, struct dictionary *d)
{
    char key[32];
    if (!take_string(c, key, sizeof key) || !take(c, ":")) {
        return false;
    }
    bool *seen = NULL;
    bool good = false;
    if (strcmp(key, "descr") == 0) {
        seen = &d->has_descr;
        good = take_string(c, d->descr, sizeof d->descr);
    } else if (strcmp(key, "fortran_order") == 0) {
        seen = &d->has_order;
        npy->fortran = take(c, "True");
        good = npy->fortran || take(c, "False");
    } else if (strcmp(key, "shape") == 0) {
        seen = &d->has_shape;
        good = take_shape(c, &npy->tensor, &d->n_dims);
    }
    if (!good || *seen) {
        return false;
    }
    *seen = true;
    return true;
}

static bool take_dictionary(struct cursor *c, struct npy *npy, struct dictionary *d)
{
    bool comma = true;
    if (!take(c, "{")) {
        return false;
    }
    while (!take(c, "}")) {
        if (!comma || !take_item(c, npy, d)) {
            return false;
        }
        comma = take(c, ",");
    }
    skip_space(c);
    return c->p == c->end && d->has_descr && d->has_order && d->has_shape;
}

/* Magic, version and length; the dict's text is then in *c. */
static int find_dictionary(struct cursor *c, struct npy *npy, const uint8_t *bytes, size_t n,
                           const char *file, const char *name, struct status *st)
{
    if (n < 10 || memcmp(bytes, "\x93NUMPY", 6) != 0) {
        return status_set(st, STATUS_CORRUPT,
                          MEMBER_SHOWN "expected a .npy array, found other bytes", file, name);
    }
    unsigned major = bytes[6];
    if (major < 1 || major > 3) {
        return status_set(st, STATUS_UNSUPPORTED,
                          MEMBER_SHOWN "expected .npy version 1, 2 or 3, found %u", file, name,
                          major);
    }
    size_t start = major == 1 ? 10 : NPY_PREFIX;
    size_t length = (size_t)bytes[8] | (size_t)bytes[9] << 8;
    if (major > 1 && n >= NPY_PREFIX) {
        length |= (size_t)bytes[10] << 16 | (size_t)bytes[11] << 24;
    }
    if (n < start || length > n - start || length > NPY_HEADER_LIMIT) {
        return status_set(st, STATUS_CORRUPT,
                          MEMBER_SHOWN
                          "expected a .npy header of %zu bytes, found %zu bytes (at most %d "
                          "are read)",
                          file, name, length, n < start ? 0 : n - start, NPY_HEADER_LIMIT);
    }
    c->p = (const char *)bytes + start;
    c->end = c->p + length;
    npy->data_offset = start + length;
    return STATUS_OK;
}

int npy_parse(struct npy *npy, const uint8_t *bytes, size_t n, size_t size, const char *file,
              const char *name, struct status *st)
{
    *npy = (struct npy){.tensor = {.dtype = DTYPE_OTHER, .shape = {1, 1, 1, 1}}};
    struct cursor c = {0};
    int code = find_dictionary(&c, npy, bytes, n, file, name, st);
    if (code) {
        return code;
    }
    struct dictionary d = {0};
    if (!take_dictionary(&c, npy, &d)) {
        return status_set(st, STATUS_CORRUPT,
                          MEMBER_SHOWN "expected \"descr\" (a plain type), \"fortran_order\" and "
                                       "\"shape\" in the .npy header, found something else",
                          file, name);
    }
    struct tensor *t = &npy->tensor;
    if (d.n_dims > TENSOR_DIMENSIONS) {
        return status_set(st, STATUS_UNSUPPORTED,
                          MEMBER_SHOWN "expected at most %d dimensions, found %d", file, name,
                          TENSOR_DIMENSIONS, d.n_dims);
    }
    t->n_dims = d.n_dims;
    t->dtype = strcmp(d.descr, "<f4") == 0   ? DTYPE_F32
               : strcmp(d.descr, "<f2") == 0 ? DTYPE_F16
               : strcmp(d.descr, "<f8") == 0 ? DTYPE_F64
                                             : DTYPE_OTHER;
    if (t->dtype == DTYPE_OTHER) {
        return status_set(st, STATUS_UNSUPPORTED,
                          MEMBER_SHOWN "expected type <f4, <f2 or <f8, found %s", file, name,
                          d.descr);
    }
    char shape[128];
    if (!tensor_checked_bytes(t, &npy->data_bytes) || npy->data_bytes != size - npy->data_offset) {
        return status_set(
            st, STATUS_CORRUPT, MEMBER_SHOWN "expected the data of %s %s, found %zu bytes", file,
            name, d.descr, tensor_shape_text(t, shape, sizeof shape), size - npy->data_offset);
    }
    return STATUS_OK;
}
