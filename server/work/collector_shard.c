/* One shard: rows in memory, then a file. */
#include "core/base/memory.h"
#include "core/base/new_file.h"
#include "core/formats/narrow.h"
#include "core/formats/safetensors.h"
#include "server/work/collector_private.h"

#include <stdio.h>
#include <string.h>

enum { BESIDE = 4 }; /* documents, tokens, positions, bos */

static void name_column(struct collector_column *column, const struct collector_read *r)
{
    if (point_has_layer(r->point)) {
        (void)snprintf(column->name, sizeof column->name, "%s.%d", point_name(r->point), r->layer);
    } else {
        (void)snprintf(column->name, sizeof column->name, "%s", point_name(r->point));
    }
}

/* Pages that no row has reached are not taken from the system. */
static int allocate(struct collector_shard *s, struct status *st)
{
    for (size_t i = 0; i < s->c->n_reads; i++) {
        struct collector_column *column = &s->columns[i];
        if (!memory_multiply(s->capacity, column->width * dtype_size(s->c->dtype),
                             &column->bytes) ||
            !(column->data = memory_pages(column->bytes))) {
            return status_no_memory(st, s->capacity * s->row_bytes);
        }
    }
    s->documents = memory_alloc(s->capacity, sizeof *s->documents);
    s->tokens = memory_alloc(s->capacity, sizeof *s->tokens);
    s->positions = memory_alloc(s->capacity, sizeof *s->positions);
    s->bos = memory_alloc(s->capacity, sizeof *s->bos);
    return s->documents && s->tokens && s->positions && s->bos
               ? STATUS_OK
               : status_no_memory(st, s->capacity * s->row_bytes);
}

int collector_shard_open(struct collector_shard *s, const struct collector *c, struct status *st)
{
    const struct gemma_config *config = engine_config(c->engine);
    *s = (struct collector_shard){.c = c};
    s->columns = memory_zalloc(c->n_reads, sizeof *s->columns);
    if (!s->columns) {
        return status_no_memory(st, c->n_reads * sizeof *s->columns);
    }
    s->row_bytes = sizeof *s->documents + sizeof *s->tokens + sizeof *s->positions + 1;
    for (size_t i = 0; i < c->n_reads; i++) {
        name_column(&s->columns[i], &c->reads[i]);
        s->columns[i].width = point_width(config, c->reads[i].point);
        s->row_bytes += s->columns[i].width * dtype_size(c->dtype);
    }
    uint64_t size = c->shard_bytes ? c->shard_bytes : COLLECTOR_SHARD;
    s->capacity = (size_t)(size / s->row_bytes);
    s->capacity = s->capacity > config->max_positions ? s->capacity : config->max_positions;
    int code = allocate(s, st);
    if (code) {
        collector_shard_close(s);
    }
    return code;
}

void collector_shard_close(struct collector_shard *s)
{
    for (size_t i = 0; s->columns && i < s->c->n_reads; i++) {
        memory_free_pages(s->columns[i].data, s->columns[i].bytes);
    }
    memory_free(s->columns);
    memory_free(s->documents);
    memory_free(s->tokens);
    memory_free(s->positions);
    memory_free(s->bos);
    *s = (struct collector_shard){0};
}

bool collector_shard_is_full(const struct collector_shard *s, size_t n)
{
    uint64_t size = s->c->shard_bytes ? s->c->shard_bytes : COLLECTOR_SHARD;
    return s->n && (s->n + n) * s->row_bytes > size;
}

int collector_shard_add(struct collector_shard *s, int64_t document,
                        const struct engine_prompt *prompt, struct status *st)
{
    int32_t bos = engine_bos(s->c->engine);
    for (size_t i = 0; i < s->c->n_reads; i++) {
        struct collector_column *column = &s->columns[i];
        const struct engine_read *r = &prompt->reads[i];
        size_t values = prompt->n_ids * column->width;
        unsigned char *to = column->data + s->n * column->width * dtype_size(s->c->dtype);
        size_t good = narrow_all(r->data, values, s->c->dtype, to);
        if (good < values) {
            return status_set(st, STATUS_INVALID,
                              "%s: %g at token %zu of context %lld does not fit %s: give --dtype "
                              "bf16 or f32",
                              column->name, (double)r->data[good], good / column->width,
                              (long long)document, dtype_name(s->c->dtype));
        }
        column->n_dims = r->n_dims;
        memcpy(column->shape, r->shape, sizeof column->shape);
    }
    for (size_t t = 0; t < prompt->n_ids; t++) {
        size_t row = s->n++;
        s->documents[row] = document;
        s->tokens[row] = prompt->ids[t];
        s->positions[row] = (int32_t)t;
        s->bos[row] = prompt->ids[t] == bos;
    }
    return STATUS_OK;
}

static int write_header(const struct collector_shard *s, struct text *header, struct status *st)
{
    size_t n = s->c->n_reads;
    const char *const metadata[] = {"model", engine_model_id(s->c->engine), NULL};
    const struct safetensors_entry beside[BESIDE] = {
        {"documents", {.dtype = DTYPE_I64, .n_dims = 1, .shape = {s->n, 1, 1, 1}}},
        {"tokens", {.dtype = DTYPE_I32, .n_dims = 1, .shape = {s->n, 1, 1, 1}}},
        {"positions", {.dtype = DTYPE_I32, .n_dims = 1, .shape = {s->n, 1, 1, 1}}},
        {"bos", {.dtype = DTYPE_U8, .n_dims = 1, .shape = {s->n, 1, 1, 1}}}};
    struct safetensors_entry *entries = memory_zalloc(n + BESIDE, sizeof *entries);
    if (!entries) {
        return status_no_memory(st, (n + BESIDE) * sizeof *entries);
    }
    memcpy(entries, beside, (BESIDE - 1) * sizeof *entries);
    for (size_t i = 0; i < n; i++) {
        const struct collector_column *column = &s->columns[i];
        entries[BESIDE - 1 + i] = (struct safetensors_entry){
            column->name,
            {.dtype = s->c->dtype,
             .n_dims = column->n_dims,
             .shape = {s->n, column->shape[1], column->n_dims > 2 ? column->shape[2] : 1, 1}}};
    }
    entries[BESIDE - 1 + n] = beside[BESIDE - 1]; /* single bytes last: all others are aligned */
    int code = safetensors_header(header, entries, n + BESIDE, metadata, st);
    memory_free(entries);
    return code;
}

int collector_shard_write(struct collector_shard *s, const char *path, uint64_t *bytes,
                          struct status *st)
{
    struct text header = {0};
    struct new_file file;
    int code = write_header(s, &header, st);
    code = code ? code : new_file_open(&file, path, st);
    if (code) {
        text_free(&header);
        return code;
    }
    (void)((code = new_file_write(&file, header.data, header.length, st)) ||
           (code = new_file_write(&file, s->documents, s->n * sizeof *s->documents, st)) ||
           (code = new_file_write(&file, s->tokens, s->n * sizeof *s->tokens, st)) ||
           (code = new_file_write(&file, s->positions, s->n * sizeof *s->positions, st)));
    for (size_t i = 0; i < s->c->n_reads && !code; i++) {
        size_t row = s->columns[i].width * dtype_size(s->c->dtype);
        code = new_file_write(&file, s->columns[i].data, s->n * row, st);
    }
    code = code ? code : new_file_write(&file, s->bos, s->n, st);
    code = new_file_end(&file, code, st);
    *bytes = header.length + (uint64_t)s->n * s->row_bytes;
    text_free(&header);
    s->n = 0;
    return code;
}
