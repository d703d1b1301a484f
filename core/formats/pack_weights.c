/* Rounding to BF16 and writing shards. */
#include "core/base/memory.h"
#include "core/formats/narrow.h"
#include "core/formats/pack_private.h"

#include <float.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

bool pack_is_wide(const struct tensor *t)
{
    return t->dtype == DTYPE_F32 || t->dtype == DTYPE_F16;
}

struct tensor pack_tensor(const struct tensor *t)
{
    struct tensor p = *t;
    p.dtype = pack_is_wide(t) ? DTYPE_BF16 : t->dtype;
    return p;
}

#define RELEASE ((uint64_t)64 << 20) /* bytes read between releases of mapped pages */

/* --- rounding --------------------------------------------------------------------------------- */

static float widen_bf16(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static void note_error(struct pack_report *r, const char *tensor, double value, double rounded)
{
    double off = fabs(rounded - value);
    if (off > r->absolute) {
        r->absolute = off;
        r->absolute_value = value;
        (void)snprintf(r->absolute_tensor, sizeof r->absolute_tensor, "%s", tensor);
    }
    if (fabs(value) >= (double)FLT_MIN && off / fabs(value) > r->relative) {
        r->relative = off / fabs(value);
        r->relative_value = value;
        (void)snprintf(r->relative_tensor, sizeof r->relative_tensor, "%s", tensor);
    }
}

/* values [n] -> halves [n]. A number too large for BF16 must not become infinite in silence. */
static int round_chunk(struct packing *p, const char *file, const char *tensor, size_t n,
                       struct status *st)
{
    struct pack_report *r = p->report;
    for (size_t i = 0; i < n; i++) {
        p->halves[i] = narrow_bf16(p->values[i]);
    }
    for (size_t i = 0; i < n; i++) {
        float value = p->values[i];
        float rounded = widen_bf16(p->halves[i]);
        if (rounded != value && !isnan(value)) {
            if (isinf(rounded)) {
                return status_set(st, STATUS_INVALID, "%s: tensor \"%s\": %g does not fit BF16",
                                  file, tensor, (double)value);
            }
            r->n_rounded++;
            note_error(r, tensor, (double)value, (double)rounded);
        }
    }
    r->n_values += n;
    return STATUS_OK;
}

/* --- shards ----------------------------------------------------------------------------------- */

static int advance(struct packing *p, uint64_t bytes, struct status *st)
{
    const struct pack_options *o = p->options;
    p->done += bytes;
    if (o->progress) {
        o->progress(o->user, p->done, p->report->bytes_in);
    }
    return o->cancel && atomic_load(o->cancel) ? status_set(st, STATUS_CANCELLED, "stopped")
                                               : STATUS_OK;
}

static int write_tensor(struct packing *p, FILE *f, const char *path,
                        const struct safetensors *shard, size_t which, struct status *st)
{
    const struct tensor *t = safetensors_at(shard, which);
    const char *name = safetensors_name(shard, which);
    size_t n = tensor_elements(t);
    size_t size = dtype_size(t->dtype);
    int code = STATUS_OK;
    for (size_t first = 0; first < n && !code; first += PACK_CHUNK) {
        size_t count = n - first < PACK_CHUNK ? n - first : PACK_CHUNK;
        const void *bytes = (const char *)t->data + first * size;
        size_t length = count * size;
        if (pack_is_wide(t)) {
            tensor_widen(t, first, count, p->values);
            code = round_chunk(p, path, name, count, st);
            bytes = p->halves;
            length = count * sizeof *p->halves;
        }
        if (!code && fwrite(bytes, 1, length, f) != length) {
            code = pack_no_write(path, st);
        }
        code = code ? code : advance(p, count * size, st);
        if ((p->done & (RELEASE - 1)) < count * size) {
            safetensors_release_pages(shard); /* read once: the memory is others' */
        }
    }
    return code;
}

int pack_shard(struct packing *p, const struct safetensors *shard, struct status *st)
{
    static const char *const metadata[] = {"format", "pt", NULL};
    size_t n = safetensors_count(shard);
    struct safetensors_entry *entries = memory_alloc(n, sizeof *entries);
    struct text header = {0};
    struct text path = {0};
    if (!entries) {
        return status_no_memory(st, n * sizeof *entries);
    }
    for (size_t i = 0; i < n; i++) {
        const struct tensor *t = safetensors_at(shard, i);
        entries[i] = (struct safetensors_entry){safetensors_name(shard, i), pack_tensor(t)};
    }
    int code = safetensors_header(&header, entries, n, metadata, st);
    code = code ? code : pack_join(p->partial, pack_base_name(safetensors_path(shard)), &path, st);
    FILE *f = code ? NULL : fopen(path.data, "wb");
    if (!code && !f) {
        code = pack_no_write(path.data, st);
    }
    if (f) {
        if (fwrite(header.data, 1, header.length, f) != header.length) {
            code = pack_no_write(path.data, st);
        }
        for (size_t i = 0; i < n && !code; i++) {
            code = write_tensor(p, f, path.data, shard, i, st);
        }
        code = code ? code : safetensors_check(shard, st); /* what was read was what lies there */
        code = pack_close(f, path.data, code, st);
    }
    safetensors_release_pages(shard);
    memory_free(entries);
    text_free(&header);
    text_free(&path);
    return code;
}
