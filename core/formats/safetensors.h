/* safetensors files (huggingface/safetensors, "Format"): u64 header length, JSON header, bytes.
 *
 * Opening maps the file and checks every entry: known keys, shape x size = byte length (products
 * checked for overflow), offsets inside the file (by subtraction), no overlap, nothing behind the
 * last. A file that lies is
 * STATUS_CORRUPT with file, tensor, expected, found. */
#ifndef DM_FORMATS_SAFETENSORS_H
#define DM_FORMATS_SAFETENSORS_H

#include "core/base/mapped_file.h"
#include "core/base/status.h"
#include "core/base/text.h"
#include "core/formats/tensor.h"

struct safetensors;

#define SAFETENSORS_HEADER_LIMIT ((size_t)100 << 20)

int safetensors_open(struct safetensors **file, const char *path, struct status *st);

/* The same on bytes that the caller keeps alive; name stands in for the path in messages. */
int safetensors_open_bytes(struct safetensors **file, const void *bytes, size_t n, const char *name,
                           struct status *st);

size_t safetensors_count(const struct safetensors *file);
const char *safetensors_name(const struct safetensors *file, size_t i);        /* in file order */
const struct tensor *safetensors_at(const struct safetensors *file, size_t i); /* borrowed */
const struct tensor *safetensors_find(const struct safetensors *file,
                                      const char *name); /* or NULL */
const char *safetensors_path(const struct safetensors *file);
void safetensors_release_pages(const struct safetensors *file);

/* mapped_file.h, of the file; bytes of the caller's stay what they are. */
enum mapped_state safetensors_state(const struct safetensors *file);
int safetensors_check(const struct safetensors *file, struct status *st);
void safetensors_accept(struct safetensors *file);
void safetensors_close(struct safetensors *file); /* NULL is fine */

/* Writing: appends the header for n tensors whose bytes will follow in the same order, without
 * gaps; the header is padded so that the data start at a multiple of 8. Tensors' data are not read.
 * metadata may be NULL or a flat list of key, value, key, value, NULL. */
struct safetensors_entry {
    const char *name;
    struct tensor tensor;
};
int safetensors_header(struct text *out, const struct safetensors_entry *entries, size_t n,
                       const char *const *metadata, struct status *st);

#endif
