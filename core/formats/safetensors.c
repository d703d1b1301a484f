#include "core/formats/safetensors.h"

#include "core/base/json.h"
#include "core/base/mapped_file.h"
#include "core/base/memory.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define PREFIX 8                             /* bytes of the header's length */
#define OFFSET_LIMIT 9007199254740992LL      /* 2^53: whole numbers that JSON keeps exactly */
#define NAME_SHOWN "%s: tensor \"%.200s\": " /* how every message about an entry begins */
#define DOWNLOAD_AGAIN "; it looks truncated or damaged, download it again"

struct entry {
    char *name;
    struct tensor tensor;
    size_t begin, end; /* from the end of the header */
    size_t order;      /* place in the header */
};

struct safetensors {
    struct mapped_file mapped; /* zeroed for bytes of the caller's */
    char *path;
    struct entry *entries; /* by begin, then by place in the header */
    size_t n;
    const struct entry **by_name;
};

static uint64_t read_u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static enum dtype dtype_of(const char *name)
{
    for (int d = 0; d < DTYPE_OTHER; d++) {
        if (strcmp(name, dtype_name((enum dtype)d)) == 0) {
            return (enum dtype)d;
        }
    }
    return DTYPE_OTHER;
}

static bool whole_number(const cJSON *value, size_t *out)
{
    long long n;
    if (!json_integer(value, 0, OFFSET_LIMIT, &n)) {
        return false;
    }
    *out = (size_t)n;
    return true;
}

static int parse_shape(struct entry *e, const cJSON *shape, const char *path, struct status *st)
{
    struct tensor *t = &e->tensor;
    for (int i = 0; i < TENSOR_DIMENSIONS; i++) {
        t->shape[i] = 1;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, shape)
    {
        if (t->n_dims == TENSOR_DIMENSIONS) {
            return status_set(st, STATUS_UNSUPPORTED,
                              NAME_SHOWN "expected at most %d dimensions, found %d", path, e->name,
                              TENSOR_DIMENSIONS, cJSON_GetArraySize(shape));
        }
        if (!whole_number(item, &t->shape[t->n_dims])) {
            return status_set(st, STATUS_CORRUPT,
                              NAME_SHOWN "expected whole numbers from 0 on in \"shape\", found "
                                         "something else in place %d",
                              path, e->name, t->n_dims);
        }
        t->n_dims++;
    }
    return STATUS_OK;
}

static int check_length(const struct entry *e, const char *path, struct status *st)
{
    const struct tensor *t = &e->tensor;
    size_t bytes;
    char shape[128];
    (void)tensor_shape_text(t, shape, sizeof shape);
    if (!tensor_checked_bytes(t, &bytes)) {
        return status_set(st, STATUS_CORRUPT,
                          NAME_SHOWN "expected a shape that fits into memory, found %s", path,
                          e->name, shape);
    }
    if (t->dtype != DTYPE_OTHER && e->end - e->begin != bytes) {
        return status_set(st, STATUS_CORRUPT,
                          NAME_SHOWN "expected %zu bytes for %s %s, found %zu in \"data_offsets\"",
                          path, e->name, bytes, dtype_name(t->dtype), shape, e->end - e->begin);
    }
    return STATUS_OK;
}

static int parse_entry(struct entry *e, const cJSON *item, const uint8_t *data, size_t size,
                       const char *path, struct status *st)
{
    const cJSON *dtype = json_get(item, "dtype");
    const cJSON *shape = json_get(item, "shape");
    const cJSON *offsets = json_get(item, "data_offsets");
    if (!cJSON_IsObject(item) || !cJSON_IsString(dtype) || !cJSON_IsArray(shape) ||
        !cJSON_IsArray(offsets) || cJSON_GetArraySize(item) != 3) {
        return status_set(st, STATUS_CORRUPT,
                          NAME_SHOWN "expected an object of \"dtype\", \"shape\" and "
                                     "\"data_offsets\", found something else in the header",
                          path, e->name);
    }
    e->tensor.dtype = dtype_of(dtype->valuestring);
    int code = parse_shape(e, shape, path, st);
    if (code) {
        return code;
    }
    if (cJSON_GetArraySize(offsets) != 2 || !whole_number(offsets->child, &e->begin) ||
        !whole_number(offsets->child->next, &e->end) || e->begin > e->end) {
        return status_set(st, STATUS_CORRUPT,
                          NAME_SHOWN "expected [begin, end] with begin <= end in \"data_offsets\", "
                                     "found something else",
                          path, e->name);
    }
    if (e->end > size) {
        return status_set(st, STATUS_CORRUPT,
                          NAME_SHOWN "expected data up to byte %zu behind the header, found a file "
                                     "that ends at %zu" DOWNLOAD_AGAIN,
                          path, e->name, e->end, size);
    }
    e->tensor.data = data + e->begin;
    return check_length(e, path, st);
}

static int by_place(const void *a, const void *b)
{
    const struct entry *x = a;
    const struct entry *y = b;
    if (x->begin != y->begin) {
        return x->begin < y->begin ? -1 : 1;
    }
    if (x->end != y->end) { /* an empty tensor in front of the one that starts where it is */
        return x->end < y->end ? -1 : 1;
    }
    return x->order < y->order ? -1 : x->order > y->order;
}

static int by_name(const void *a, const void *b)
{
    return strcmp((*(const struct entry *const *)a)->name, (*(const struct entry *const *)b)->name);
}

static int sort_entries(struct safetensors *f, struct status *st)
{
    qsort(f->entries, f->n, sizeof *f->entries, by_place);
    for (size_t i = 1; i < f->n; i++) {
        const struct entry *a = &f->entries[i - 1];
        const struct entry *b = &f->entries[i];
        if (b->begin < a->end) {
            return status_set(st, STATUS_CORRUPT,
                              NAME_SHOWN "expected data of its own, found bytes %zu to %zu shared "
                                         "with \"%.200s\"",
                              f->path, b->name, b->begin, a->end < b->end ? a->end : b->end,
                              a->name);
        }
    }
    f->by_name = memory_alloc(f->n, sizeof(void *));
    if (!f->by_name) {
        return status_no_memory(st, f->n * sizeof(void *));
    }
    for (size_t i = 0; i < f->n; i++) {
        f->by_name[i] = &f->entries[i];
    }
    qsort(f->by_name, f->n, sizeof(void *), by_name);
    return STATUS_OK;
}

static int parse_entries(struct safetensors *f, const cJSON *root, const uint8_t *data, size_t size,
                         struct status *st)
{
    if (!cJSON_IsObject(root)) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected a JSON object as the header, found something else",
                          f->path);
    }
    size_t count = (size_t)cJSON_GetArraySize(root);
    f->entries = memory_zalloc(count, sizeof *f->entries);
    if (!f->entries) {
        return status_no_memory(st, count * sizeof *f->entries);
    }
    for (const cJSON *item = root->child; item; item = item->next) {
        if (strcmp(item->string, "__metadata__") == 0) {
            continue;
        }
        struct entry *e = &f->entries[f->n];
        e->order = f->n;
        e->name = memory_string(item->string);
        if (!e->name) {
            return status_no_memory(st, strlen(item->string) + 1);
        }
        f->n++;
        int code = parse_entry(e, item, data, size, f->path, st);
        if (code) {
            return code;
        }
    }
    int code = sort_entries(f, st);
    size_t end = f->n ? f->entries[f->n - 1].end : 0;
    if (code == STATUS_OK && end != size) { /* or a wrong header length would shift every value */
        code = status_set(st, STATUS_CORRUPT,
                          "%s: expected %zu bytes behind the header, where the last tensor ends, "
                          "found %zu",
                          f->path, end, size);
    }
    return code;
}

static int parse(struct safetensors *f, const uint8_t *bytes, size_t n, struct status *st)
{
    if (n < PREFIX) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: expected a safetensors file of at least %d bytes, found %zu" DOWNLOAD_AGAIN,
            f->path, PREFIX, n);
    }
    uint64_t length = read_u64(bytes);
    if (length > n - PREFIX) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected a header of %llu bytes, found only %zu in the file; it is "
                          "truncated or no safetensors file, download it again",
                          f->path, (unsigned long long)length, n - PREFIX);
    }
    if (length > SAFETENSORS_HEADER_LIMIT) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected a header of at most %zu bytes, found %llu", f->path,
                          SAFETENSORS_HEADER_LIMIT, (unsigned long long)length);
    }
    cJSON *root;
    int code = json_parse(&root, (const char *)bytes + PREFIX, (size_t)length, "header", st);
    if (code == STATUS_INVALID) {
        st->code = STATUS_CORRUPT;
    }
    if (code) {
        return status_prefix(st, "%s", f->path);
    }
    const uint8_t *data = bytes + PREFIX + length;
    code = parse_entries(f, root, data, n - PREFIX - (size_t)length, st);
    cJSON_Delete(root);
    return code;
}

static struct safetensors *create(const char *name)
{
    struct safetensors *f = memory_zalloc(1, sizeof *f);
    char *path = memory_string(name);
    if (!f || !path) {
        memory_free(f);
        memory_free(path);
        return NULL;
    }
    f->path = path;
    return f;
}

int safetensors_open_bytes(struct safetensors **file, const void *bytes, size_t n, const char *name,
                           struct status *st)
{
    struct safetensors *f = *file = create(name);
    if (!f) {
        return status_no_memory(st, sizeof *f);
    }
    int code = parse(f, bytes, n, st);
    if (code) {
        safetensors_close(f);
        *file = NULL;
    }
    return code;
}

int safetensors_open(struct safetensors **file, const char *path, struct status *st)
{
    struct safetensors *f = *file = create(path);
    if (!f) {
        return status_no_memory(st, sizeof *f);
    }
    int code = mapped_file_open(&f->mapped, path, st);
    if (code == STATUS_OK) {
        code = parse(f, f->mapped.data, f->mapped.size, st);
    }
    if (code) {
        safetensors_close(f);
        *file = NULL;
    }
    return code;
}

size_t safetensors_count(const struct safetensors *file)
{
    return file->n;
}

const char *safetensors_name(const struct safetensors *file, size_t i)
{
    return file->entries[i].name;
}

const struct tensor *safetensors_at(const struct safetensors *file, size_t i)
{
    return &file->entries[i].tensor;
}

const struct tensor *safetensors_find(const struct safetensors *file, const char *name)
{
    size_t low = 0;
    size_t high = file->n;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        int order = strcmp(file->by_name[middle]->name, name);
        if (order == 0) {
            return &file->by_name[middle]->tensor;
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

const char *safetensors_path(const struct safetensors *file)
{
    return file->path;
}

void safetensors_release_pages(const struct safetensors *file)
{
    mapped_file_release_pages(&file->mapped);
}

enum mapped_state safetensors_state(const struct safetensors *file)
{
    return mapped_file_state(&file->mapped);
}

int safetensors_check(const struct safetensors *file, struct status *st)
{
    return mapped_file_check(&file->mapped, st);
}

void safetensors_accept(struct safetensors *file)
{
    mapped_file_accept(&file->mapped);
}

void safetensors_close(struct safetensors *file)
{
    if (!file) {
        return;
    }
    for (size_t i = 0; i < file->n; i++) {
        memory_free(file->entries[i].name);
    }
    memory_free(file->entries);
    memory_free(file->by_name);
    memory_free(file->path);
    mapped_file_close(&file->mapped);
    memory_free(file);
}
