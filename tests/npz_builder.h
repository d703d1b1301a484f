/* Writes small zip archives of .npy members in every shape that zipfile and numpy give them. */
#ifndef DM_TESTS_NPZ_BUILDER_H
#define DM_TESTS_NPZ_BUILDER_H

#include "core/base/text.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

struct npz_member {
    const char *name;  /* "W_enc.npy" */
    const char *descr; /* "<f4" */
    const char *shape; /* "(2, 3)" */
    const void *data;
    size_t bytes;
    bool fortran;
    bool deflate;
    bool numpy_local; /* local sizes 0xFFFFFFFF and in a ZIP64 field, as numpy's force_zip64 */
    bool zip64;       /* the central directory's too */
    bool descriptor;  /* local sizes 0, a data descriptor behind the data */
    int version;      /* of the .npy header; 0 means 1 */
    size_t padding;   /* bytes of an extra field in the local header: shifts the data */
};

static inline void put_u16(struct text *t, unsigned v)
{
    uint16_t w = (uint16_t)v;
    text_append(t, (const char *)&w, sizeof w);
}

static inline void put_u32(struct text *t, size_t v)
{
    uint32_t w = (uint32_t)v;
    text_append(t, (const char *)&w, sizeof w);
}

static inline void put_u64(struct text *t, uint64_t v)
{
    text_append(t, (const char *)&v, sizeof v);
}

static inline void put_npy(struct text *t, const struct npz_member *m)
{
    struct text dict = {0};
    int version = m->version ? m->version : 1;
    size_t prefix = version == 1 ? 10 : 12;
    text_printf(&dict, "{'descr': '%s', 'fortran_order': %s, 'shape': %s, }", m->descr,
                m->fortran ? "True" : "False", m->shape);
    while ((prefix + dict.length + 1) % 64) {
        text_char(&dict, ' ');
    }
    text_char(&dict, '\n');
    text_append(t, "\x93NUMPY", 6);
    text_char(t, (char)version);
    text_char(t, 0);
    if (version == 1) {
        put_u16(t, (unsigned)dict.length);
    } else {
        put_u32(t, dict.length);
    }
    text_append(t, dict.data, dict.length);
    text_append(t, m->data, m->bytes);
    text_free(&dict);
}

static inline void deflate_text(struct text *t)
{
    uLong bound = compressBound(t->length);
    struct text out = {0};
    z_stream z = {0};
    if (text_reserve(&out, bound) &&
        deflateInit2(&z, 9, Z_DEFLATED, -15, 8, Z_DEFAULT_STRATEGY) == Z_OK) {
        z.next_in = (Bytef *)t->data;
        z.avail_in = (uInt)t->length;
        z.next_out = (Bytef *)out.data;
        z.avail_out = (uInt)bound;
        (void)deflate(&z, Z_FINISH);
        out.length = z.total_out;
        (void)deflateEnd(&z);
    }
    text_free(t);
    *t = out;
}

/* The local header and data of m; what its central entry needs goes to `central`. */
static inline void put_member(struct text *zip, struct text *central, const struct npz_member *m)
{
    struct text body = {0};
    put_npy(&body, m);
    size_t size = body.length;
    size_t crc = crc32(0, (const Bytef *)body.data, (uInt)size);
    if (m->deflate) {
        deflate_text(&body);
    }
    size_t offset = zip->length;
    unsigned flags = m->descriptor ? 8 : 0;
    unsigned method = m->deflate ? 8 : 0;
    size_t hidden = m->descriptor ? 0 : 0xffffffffu;
    bool hide = m->descriptor || m->numpy_local;
    put_u32(zip, 0x04034b50);
    put_u16(zip, 45);
    put_u16(zip, flags);
    put_u16(zip, method);
    put_u32(zip, 0x00210000); /* time, date */
    put_u32(zip, m->descriptor ? 0 : crc);
    put_u32(zip, hide ? hidden : body.length);
    put_u32(zip, hide ? hidden : size);
    put_u16(zip, (unsigned)strlen(m->name));
    put_u16(zip, (unsigned)((m->numpy_local ? 20 : 0) + (m->padding ? 4 + m->padding : 0)));
    text_string(zip, m->name);
    if (m->numpy_local) {
        put_u16(zip, 1);
        put_u16(zip, 16);
        put_u64(zip, size);
        put_u64(zip, body.length);
    }
    if (m->padding) {
        put_u16(zip, 0x7777);
        put_u16(zip, (unsigned)m->padding);
        for (size_t i = 0; i < m->padding; i++) {
            text_char(zip, 'p');
        }
    }
    text_append(zip, body.data, body.length);
    if (m->descriptor) {
        put_u32(zip, 0x08074b50);
        put_u32(zip, crc);
        put_u32(zip, body.length);
        put_u32(zip, size);
    }
    put_u32(central, 0x02014b50);
    put_u32(central, 45 | 45 << 16);
    put_u16(central, flags);
    put_u16(central, method);
    put_u32(central, 0x00210000);
    put_u32(central, crc);
    put_u32(central, m->zip64 ? 0xffffffffu : body.length);
    put_u32(central, m->zip64 ? 0xffffffffu : size);
    put_u16(central, (unsigned)strlen(m->name));
    put_u16(central, m->zip64 ? 6 + 28 : 0);
    put_u16(central, 0);
    put_u32(central, 0);
    put_u32(central, 0);
    put_u32(central, m->zip64 ? 0xffffffffu : offset);
    text_string(central, m->name);
    if (m->zip64) { /* behind a field that means nothing here */
        put_u16(central, 0x5455);
        put_u16(central, 2);
        put_u16(central, 0);
        put_u16(central, 1);
        put_u16(central, 24);
        put_u64(central, size);
        put_u64(central, body.length);
        put_u64(central, offset);
    }
    text_free(&body);
}

/* The whole archive; zip64 gives it ZIP64 end records, comment may be NULL. */
static inline struct text npz_build(const struct npz_member *members, size_t n, bool zip64,
                                    const char *comment)
{
    struct text zip = {0};
    struct text central = {0};
    for (size_t i = 0; i < n; i++) {
        put_member(&zip, &central, &members[i]);
    }
    size_t offset = zip.length;
    text_append(&zip, central.data, central.length);
    if (zip64) {
        size_t end = zip.length;
        put_u32(&zip, 0x06064b50);
        put_u64(&zip, 44);
        put_u32(&zip, 45 | 45 << 16);
        put_u32(&zip, 0);
        put_u32(&zip, 0);
        put_u64(&zip, n);
        put_u64(&zip, n);
        put_u64(&zip, central.length);
        put_u64(&zip, offset);
        put_u32(&zip, 0x07064b50);
        put_u32(&zip, 0);
        put_u64(&zip, end);
        put_u32(&zip, 1);
    }
    put_u32(&zip, 0x06054b50);
    put_u32(&zip, 0);
    put_u16(&zip, zip64 ? 0xffff : (unsigned)n);
    put_u16(&zip, zip64 ? 0xffff : (unsigned)n);
    put_u32(&zip, zip64 ? 0xffffffffu : central.length);
    put_u32(&zip, zip64 ? 0xffffffffu : offset);
    put_u16(&zip, comment ? (unsigned)strlen(comment) : 0);
    text_string(&zip, comment ? comment : "");
    text_free(&central);
    return zip;
}

#endif
