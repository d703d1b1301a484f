#include "core/formats/npz.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/formats/npy.h"
#include "core/formats/zip.h"

#include <string.h>
#include <strings.h>

#define TILE 32 /* a transposed block of 32 x 32 floats stays in the first-level cache */

struct member {
    const struct zip_member *packed;
    char *name;         /* without ".npy", borrowed from the zip */
    bool parsed, ready; /* npy is valid; tensor is */
    struct npy npy;
    struct tensor tensor; /* as npz_find gives it */
    void *heap;           /* what tensor.data points into where it is not the file */
    size_t heap_bytes;
};

struct npz {
    struct mapped_file mapped; /* zeroed for bytes of the caller's */
    struct zip zip;
    char *path;
    struct member *members;
    size_t n;
    size_t heap_bytes;
};

static int list_members(struct npz *f, struct status *st)
{
    f->members = memory_zalloc(f->zip.n, sizeof *f->members);
    if (!f->members) {
        return status_no_memory(st, f->zip.n * sizeof *f->members);
    }
    for (size_t i = 0; i < f->zip.n; i++) {
        struct zip_member *packed = &f->zip.members[i];
        if (text_ends_with(packed->name, ".npy")) {
            packed->name[strlen(packed->name) - 4] = '\0';
            f->members[f->n++] = (struct member){.packed = packed, .name = packed->name};
        }
    }
    return STATUS_OK;
}

static struct npz *create(const char *name)
{
    struct npz *f = memory_zalloc(1, sizeof *f);
    char *path = memory_string(name);
    if (!f || !path) {
        memory_free(f);
        memory_free(path);
        return NULL;
    }
    f->path = path;
    return f;
}

static int read_members(struct npz *f, const void *bytes, size_t n, struct status *st)
{
    int code = zip_read(&f->zip, bytes, n, f->path, st);
    return code ? code : list_members(f, st);
}

int npz_open_bytes(struct npz **file, const void *bytes, size_t n, const char *name,
                   struct status *st)
{
    struct npz *f = *file = create(name);
    if (!f) {
        return status_no_memory(st, sizeof *f);
    }
    int code = read_members(f, bytes, n, st);
    if (code) {
        npz_close(f);
        *file = NULL;
    }
    return code;
}

int npz_open(struct npz **file, const char *path, struct status *st)
{
    struct npz *f = *file = create(path);
    if (!f) {
        return status_no_memory(st, sizeof *f);
    }
    int code = mapped_file_open(&f->mapped, path, st);
    if (code == STATUS_OK) {
        code = read_members(f, f->mapped.data, f->mapped.size, st);
    }
    if (code) {
        npz_close(f);
        *file = NULL;
    }
    return code;
}

size_t npz_count(const struct npz *file)
{
    return file->n;
}

const char *npz_name(const struct npz *file, size_t i)
{
    return file->members[i].name;
}

/* An exact name wins over one that differs in case. */
static struct member *lookup(struct npz *f, const char *name)
{
    struct member *other = NULL;
    for (size_t i = 0; i < f->n; i++) {
        if (strcmp(f->members[i].name, name) == 0) {
            return &f->members[i];
        }
        if (!other && strcasecmp(f->members[i].name, name) == 0) {
            other = &f->members[i];
        }
    }
    return other;
}

static bool needs_transposing(const struct npy *npy)
{
    return npy->fortran && npy->tensor.n_dims == 2;
}

static int parse_header(struct npz *f, struct member *m, struct status *st)
{
    size_t limit = NPY_PREFIX + NPY_HEADER_LIMIT;
    size_t n = m->packed->size < limit ? m->packed->size : limit;
    const uint8_t *start = m->packed->data;
    uint8_t *inflated = NULL;
    int code = STATUS_OK;
    if (m->packed->deflated) {
        start = inflated = memory_alloc(n, 1);
        code =
            inflated ? zip_extract(m->packed, inflated, n, f->path, st) : status_no_memory(st, n);
    }
    code = code ? code : npy_parse(&m->npy, start, n, m->packed->size, f->path, m->name, st);
    memory_free(inflated);
    if (code == STATUS_OK && m->npy.fortran && m->npy.tensor.n_dims > 2) {
        code = status_set(
            st, STATUS_UNSUPPORTED,
            "%s: member \"%.200s\": expected at most 2 dimensions in fortran order, found "
            "%d",
            f->path, m->name, m->npy.tensor.n_dims);
    }
    m->parsed = code == STATUS_OK;
    return code;
}

static int find_header(struct npz *f, const char *name, struct member **m, struct status *st)
{
    *m = lookup(f, name);
    if (!*m) {
        return status_set(st, STATUS_NOT_FOUND,
                          "%s: expected a member \"%.200s.npy\", found none among %zu", f->path,
                          name, f->n);
    }
    return (*m)->parsed ? STATUS_OK : parse_header(f, *m, st);
}

int npz_peek(struct npz *file, const char *name, struct tensor *t, struct status *st)
{
    struct member *m;
    int code = find_header(file, name, &m, st);
    if (code) {
        return code;
    }
    if (m->ready) {
        *t = m->tensor;
        return STATUS_OK;
    }
    *t = m->npy.tensor;
    bool in_place = !m->packed->deflated && t->dtype != DTYPE_F64 && !needs_transposing(&m->npy);
    t->dtype = t->dtype == DTYPE_F64 ? DTYPE_F32 : t->dtype;
    t->data = in_place ? m->packed->data + m->npy.data_offset : NULL;
    return STATUS_OK;
}

/* A new block for the member; the one that its data were in until now goes when the caller is done
 * with it (*old). */
static void *new_block(struct member *m, size_t bytes, void **old, struct status *st)
{
    void *block = memory_aligned(bytes, 1);
    if (!block) {
        (void)status_no_memory(st, bytes);
        return NULL;
    }
    *old = m->heap;
    m->heap = block;
    m->heap_bytes = bytes;
    return block;
}

static int inflate_data(struct npz *f, struct member *m, struct status *st)
{
    void *old;
    uint8_t *block = new_block(m, m->packed->size, &old, st);
    if (!block) {
        return (int)st->code;
    }
    m->tensor.data = block + m->npy.data_offset;
    return zip_extract(m->packed, block, m->packed->size, f->path, st);
}

static int narrow(struct member *m, struct status *st)
{
    void *old;
    size_t n = tensor_elements(&m->tensor);
    float *block = new_block(m, n * sizeof *block, &old, st); /* n x 8 was checked */
    if (!block) {
        return (int)st->code;
    }
    tensor_widen(&m->tensor, 0, n, block);
    m->tensor.data = block;
    m->tensor.dtype = DTYPE_F32;
    memory_free(old);
    return STATUS_OK;
}

/* in is [columns, rows], out [rows, columns], elements of `size` bytes. */
static inline void transpose_elements(const uint8_t *in, size_t rows, size_t columns, size_t size,
                                      uint8_t *out)
{
    for (size_t r0 = 0; r0 < rows; r0 += TILE) {
        size_t r1 = rows - r0 < TILE ? rows : r0 + TILE;
        for (size_t c0 = 0; c0 < columns; c0 += TILE) {
            size_t c1 = columns - c0 < TILE ? columns : c0 + TILE;
            for (size_t r = r0; r < r1; r++) {
                for (size_t c = c0; c < c1; c++) {
                    memcpy(out + (r * columns + c) * size, in + (c * rows + r) * size, size);
                }
            }
        }
    }
}

static int transpose(struct member *m, struct status *st)
{
    void *old;
    const struct tensor from = m->tensor;
    uint8_t *block = new_block(m, tensor_bytes(&from), &old, st);
    if (!block) {
        return (int)st->code;
    }
    if (from.dtype ==
        DTYPE_F32) { /* constant sizes, so that an element is one load and one store */
        transpose_elements(from.data, from.shape[0], from.shape[1], 4, block);
    } else {
        transpose_elements(from.data, from.shape[0], from.shape[1], 2, block);
    }
    m->tensor.data = block;
    memory_free(old);
    return STATUS_OK;
}

static int load(struct npz *f, struct member *m, struct status *st)
{
    int code = STATUS_OK;
    m->tensor = m->npy.tensor;
    m->tensor.data = m->packed->data + m->npy.data_offset;
    if (m->packed->deflated) {
        code = inflate_data(f, m, st);
    }
    if (code == STATUS_OK && m->tensor.dtype == DTYPE_F64) {
        code = narrow(m, st);
    }
    if (code == STATUS_OK && needs_transposing(&m->npy)) {
        code = transpose(m, st);
    }
    if (code) {
        memory_free(m->heap);
        m->heap = NULL;
        m->heap_bytes = 0;
        return code;
    }
    f->heap_bytes += m->heap_bytes;
    m->ready = true;
    return STATUS_OK;
}

int npz_find(struct npz *file, const char *name, struct tensor *t, struct status *st)
{
    struct member *m;
    int code = find_header(file, name, &m, st);
    if (code == STATUS_OK && !m->ready) {
        code = load(file, m, st);
    }
    if (code == STATUS_OK) {
        *t = m->tensor;
    }
    return code;
}

size_t npz_heap_bytes(const struct npz *file)
{
    return file->heap_bytes;
}

const char *npz_path(const struct npz *file)
{
    return file->path;
}

void npz_release_pages(const struct npz *file)
{
    mapped_file_release_pages(&file->mapped);
}

enum mapped_state npz_state(const struct npz *file)
{
    return mapped_file_state(&file->mapped);
}

int npz_check(const struct npz *file, struct status *st)
{
    return mapped_file_check(&file->mapped, st);
}

void npz_close(struct npz *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n; i++) {
        memory_free(file->members[i].heap);
    }
    memory_free(file->members);
    zip_free(&file->zip);
    memory_free(file->path);
    mapped_file_close(&file->mapped);
    memory_free(file);
}
