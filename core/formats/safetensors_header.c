#include "core/base/memory.h"
#include "core/formats/safetensors.h"

#include <stdint.h>
#include <string.h>

#define PREFIX 8 /* bytes of the header's length */

/* As JSON: quotes, backslashes and control characters escaped. */
static int append_string(struct text *out, const char *s, struct status *st)
{
    size_t n = strlen(s);
    if (text_utf8_valid(s, n) < n) {
        return status_set(st, STATUS_INVALID,
                          "a tensor name or metadata is not valid UTF-8: \"%.80s\"", s);
    }
    text_char(out, '"');
    for (size_t i = 0; i < n; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c == '"' || c == '\\') {
            text_char(out, '\\');
            text_char(out, s[i]);
        } else if (c < 0x20) {
            text_printf(out, "\\u%04x", (unsigned)c);
        } else {
            text_char(out, s[i]);
        }
    }
    text_char(out, '"');
    return STATUS_OK;
}

static int append_metadata(struct text *out, const char *const *metadata, struct status *st)
{
    text_string(out, "\"__metadata__\":{");
    int code = STATUS_OK;
    for (size_t i = 0; metadata[i] && metadata[i + 1] && code == STATUS_OK; i += 2) {
        text_string(out, i ? "," : "");
        code = append_string(out, metadata[i], st);
        text_char(out, ':');
        code = code ? code : append_string(out, metadata[i + 1], st);
    }
    text_char(out, '}');
    return code;
}

static int append_entry(struct text *out, const struct safetensors_entry *e, size_t *offset,
                        struct status *st)
{
    const struct tensor *t = &e->tensor;
    size_t bytes;
    size_t end;
    if (t->dtype == DTYPE_OTHER || !tensor_checked_bytes(t, &bytes) ||
        !memory_add(*offset, bytes, &end) || strcmp(e->name, "__metadata__") == 0) {
        return status_set(st, STATUS_INVALID, "tensor \"%.200s\" of type %s cannot be written",
                          e->name, dtype_name(t->dtype));
    }
    int code = append_string(out, e->name, st);
    text_printf(out, ":{\"dtype\":\"%s\",\"shape\":[", dtype_name(t->dtype));
    for (int i = 0; i < t->n_dims; i++) {
        text_printf(out, "%s%zu", i ? "," : "", t->shape[i]);
    }
    text_printf(out, "],\"data_offsets\":[%zu,%zu]}", *offset, end);
    *offset = end;
    return code;
}

int safetensors_header(struct text *out, const struct safetensors_entry *entries, size_t n,
                       const char *const *metadata, struct status *st)
{
    size_t start = out->length;
    int code = STATUS_OK;
    text_append(out, "\0\0\0\0\0\0\0\0", PREFIX);
    text_char(out, '{');
    if (metadata) {
        code = append_metadata(out, metadata, st);
    }
    size_t offset = 0;
    for (size_t i = 0; i < n && code == STATUS_OK; i++) {
        text_string(out, i || metadata ? "," : "");
        code = append_entry(out, &entries[i], &offset, st);
    }
    text_char(out, '}');
    while (!out->failed && (out->length - start) % 8) {
        text_char(out, ' ');
    }
    if (code == STATUS_OK && out->failed) {
        code = status_no_memory(st, out->capacity);
    }
    if (code == STATUS_OK) {
        uint64_t length = out->length - start - PREFIX;
        memcpy(out->data + start, &length, sizeof length);
    }
    return code;
}
