#define ZLIB_CONST

#include "core/formats/zip.h"

#include "core/base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#define END_SIGNATURE 0x06054b50u
#define END_SIZE 22
#define END64_SIGNATURE 0x06064b50u
#define END64_SIZE 56
#define LOCATOR_SIGNATURE 0x07064b50u
#define LOCATOR_SIZE 20
#define ENTRY_SIGNATURE 0x02014b50u
#define ENTRY_SIZE 46
#define LOCAL_SIGNATURE 0x04034b50u
#define LOCAL_SIZE 30
#define ZIP64_EXTRA 1
#define SATURATED 0xffffffffu /* "look in the ZIP64 field" */
#define DEFLATE_RATIO                                                          \
    1032 /* no deflate stream grows more than this (zlib, "Maximum Expansion") \
          */
#define CHUNK ((size_t)1 << 30) /* zlib counts in 32 bits */

struct directory {
    size_t offset, size;
    uint64_t count;
};

struct archive {
    const uint8_t *bytes;
    size_t n;
    const char *path;
};

static uint16_t u16(const uint8_t *p)
{
    uint16_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint32_t u32(const uint8_t *p)
{
    uint32_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

static uint64_t u64(const uint8_t *p)
{
    uint64_t v;
    memcpy(&v, p, sizeof v);
    return v;
}

/* The last end record whose comment reaches the end of the file, else the last one whose comment
 * ends before it (bytes were appended); false if there is none. */
static bool find_end(const struct archive *a, size_t *end)
{
    bool found = false;
    if (a->n < END_SIZE) {
        return false;
    }
    size_t last = a->n - END_SIZE;
    size_t first = last > UINT16_MAX ? last - UINT16_MAX : 0;
    for (size_t i = last + 1; i-- > first;) {
        if (u32(a->bytes + i) != END_SIGNATURE) {
            continue;
        }
        size_t comment = u16(a->bytes + i + 20);
        if (comment == last - i) {
            *end = i;
            return true;
        }
        if (!found && comment < last - i) {
            *end = i;
            found = true;
        }
    }
    return found;
}

static int find_directory(const struct archive *a, struct directory *d, struct status *st)
{
    size_t end = 0;
    if (!find_end(a, &end)) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: expected a zip archive (.npz) with an end-of-central-directory record, "
            "found none in %zu bytes; it looks truncated, download it again",
            a->path, a->n);
    }
    *d = (struct directory){.offset = u32(a->bytes + end + 16),
                            .size = u32(a->bytes + end + 12),
                            .count = u16(a->bytes + end + 10)};
    bool saturated = d->offset == SATURATED || d->size == SATURATED || d->count == UINT16_MAX;
    if (saturated && end >= LOCATOR_SIZE &&
        u32(a->bytes + end - LOCATOR_SIZE) == LOCATOR_SIGNATURE) {
        uint64_t at = u64(a->bytes + end - LOCATOR_SIZE + 8);
        if (end < LOCATOR_SIZE + END64_SIZE || at > end - LOCATOR_SIZE - END64_SIZE ||
            u32(a->bytes + at) != END64_SIGNATURE) {
            return status_set(st, STATUS_CORRUPT,
                              "%s: expected a ZIP64 end record at byte %llu, found none", a->path,
                              (unsigned long long)at);
        }
        end = (size_t)at;
        *d = (struct directory){.offset = u64(a->bytes + at + 48),
                                .size = u64(a->bytes + at + 40),
                                .count = u64(a->bytes + at + 32)};
    }
    if (d->offset > end || d->size > end - d->offset || d->count > d->size / ENTRY_SIZE) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: expected a central directory of %llu entries in %zu bytes at byte %zu, "
            "found that it does not fit into the %zu bytes before its end record",
            a->path, (unsigned long long)d->count, d->size, d->offset, end);
    }
    return STATUS_OK;
}

/* Takes the 64-bit values of the saturated ones among usize, csize, offset, in that order. */
static bool read_zip64(const uint8_t *extra, size_t n, uint64_t *values[3])
{
    bool complete = true;
    for (int i = 0; i < 3; i++) {
        complete = complete && *values[i] != SATURATED;
    }
    while (!complete && n >= 4) {
        size_t length = u16(extra + 2);
        uint16_t id = u16(extra);
        extra += 4;
        n -= 4;
        if (length > n) {
            return false;
        }
        if (id == ZIP64_EXTRA) {
            for (int i = 0; i < 3; i++) {
                if (*values[i] != SATURATED) {
                    continue;
                }
                if (length < 8) {
                    return false;
                }
                *values[i] = u64(extra);
                extra += 8;
                length -= 8;
            }
            return true;
        }
        extra += length;
        n -= length;
    }
    return complete;
}

/* From the entry's local header to its data, all of it before the central directory. */
static int locate(const struct archive *a, size_t limit, uint64_t offset, struct zip_member *m,
                  struct status *st)
{
    if (limit < LOCAL_SIZE || offset > limit - LOCAL_SIZE ||
        u32(a->bytes + offset) != LOCAL_SIGNATURE) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: member \"%.200s\": expected a local header at byte %llu, found none",
                          a->path, m->name, (unsigned long long)offset);
    }
    const uint8_t *local = a->bytes + offset;
    size_t names = (size_t)u16(local + 26) + u16(local + 28);
    size_t room = limit - (size_t)offset - LOCAL_SIZE;
    if (names > room || m->packed > room - names) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: member \"%.200s\": expected %zu bytes of data, found %zu before the "
                          "central directory",
                          a->path, m->name, m->packed, names > room ? 0 : room - names);
    }
    m->data = local + LOCAL_SIZE + names;
    bool lies = m->deflated ? m->size / DEFLATE_RATIO > m->packed : m->size != m->packed;
    if (lies) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: member \"%.200s\": expected %zu bytes of contents, found %zu %s bytes, "
            "which cannot hold them",
            a->path, m->name, m->size, m->packed, m->deflated ? "deflated" : "stored");
    }
    return STATUS_OK;
}

/* One entry of the central directory at p, of at most `left` bytes; *used is its length. */
static int read_entry(const struct archive *a, const struct directory *d, const uint8_t *p,
                      size_t left, struct zip_member *m, size_t *used, struct status *st)
{
    if (left < ENTRY_SIZE || u32(p) != ENTRY_SIGNATURE) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected %llu entries in the central directory, found fewer",
                          a->path, (unsigned long long)d->count);
    }
    size_t name = u16(p + 28);
    size_t extra = u16(p + 30);
    *used = ENTRY_SIZE + name + extra + u16(p + 32);
    if (*used > left || memchr(p + ENTRY_SIZE, '\0', name)) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: expected an entry's name and fields inside the central directory, found "
            "that they go beyond it or hold a NUL",
            a->path);
    }
    m->name = memory_string_n((const char *)p + ENTRY_SIZE, name);
    if (!m->name) {
        return status_no_memory(st, name + 1);
    }
    unsigned method = u16(p + 10);
    if (u16(p + 8) & 1u || (method != 0 && method != 8)) {
        return status_set(
            st, STATUS_UNSUPPORTED,
            "%s: member \"%.200s\": expected it stored or deflated, found %s (method %u)", a->path,
            m->name, u16(p + 8) & 1u ? "it encrypted" : "another compression", method);
    }
    uint64_t usize = u32(p + 24);
    uint64_t csize = u32(p + 20);
    uint64_t offset = u32(p + 42);
    if (!read_zip64(p + ENTRY_SIZE + name, extra, (uint64_t *[]){&usize, &csize, &offset})) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: member \"%.200s\": expected a ZIP64 field with its size and place, found "
            "none",
            a->path, m->name);
    }
    m->deflated = method == 8;
    m->packed = csize;
    m->size = usize;
    return locate(a, d->offset, offset, m, st);
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int refuse_duplicates(const struct zip *zip, const char *path, struct status *st)
{
    const char **names = memory_alloc(zip->n, sizeof *names);
    if (!names) {
        return status_no_memory(st, zip->n * sizeof *names);
    }
    for (size_t i = 0; i < zip->n; i++) {
        names[i] = zip->members[i].name;
    }
    qsort(names, zip->n, sizeof *names, compare_names);
    int code = STATUS_OK;
    for (size_t i = 1; i < zip->n && code == STATUS_OK; i++) {
        if (strcmp(names[i - 1], names[i]) == 0) {
            code = status_set(st, STATUS_CORRUPT,
                              "%s: member \"%.200s\": expected it once, found it twice", path,
                              names[i]);
        }
    }
    memory_free(names);
    return code;
}

int zip_read(struct zip *zip, const void *bytes, size_t n, const char *path, struct status *st)
{
    *zip = (struct zip){0};
    const struct archive a = {bytes, n, path};
    struct directory d = {0};
    int code = find_directory(&a, &d, st);
    if (code) {
        return code;
    }
    zip->members = memory_zalloc(d.count, sizeof *zip->members);
    if (!zip->members) {
        return status_no_memory(st, d.count * sizeof *zip->members);
    }
    size_t at = 0;
    while (zip->n < d.count && code == STATUS_OK) {
        size_t used = 0;
        code = read_entry(&a, &d, a.bytes + d.offset + at, d.size - at, &zip->members[zip->n],
                          &used, st);
        zip->n++;
        at += used;
    }
    code = code ? code : refuse_duplicates(zip, path, st);
    if (code) {
        zip_free(zip);
    }
    return code;
}

/* Inflates into out[0..want); one byte more is asked for when the whole member is wanted, to see
 * that the stream ends there. */
static bool inflate_member(z_stream *z, const struct zip_member *m, uint8_t *out, size_t want)
{
    uint8_t beyond = 0;
    size_t fed = 0;
    size_t done = 0;
    bool whole = want == m->size;
    int result = Z_OK;
    while (result == Z_OK && (whole ? done <= want : done < want)) {
        if (z->avail_in == 0) {
            size_t more = m->packed - fed < CHUNK ? m->packed - fed : CHUNK;
            z->next_in = m->data + fed;
            z->avail_in = (uInt)more;
            fed += more;
        }
        size_t room = done == want ? sizeof beyond : want - done < CHUNK ? want - done : CHUNK;
        z->next_out = done == want ? &beyond : out + done;
        z->avail_out = (uInt)room;
        result = inflate(z, Z_NO_FLUSH);
        done += room - z->avail_out;
    }
    return done == want && (!whole || result == Z_STREAM_END);
}

int zip_extract(const struct zip_member *member, void *out, size_t want, const char *path,
                struct status *st)
{
    if (!member->deflated) {
        memcpy(out, member->data, want);
        return STATUS_OK;
    }
    z_stream z = {0};
    if (inflateInit2(&z, -MAX_WBITS) != Z_OK) {
        return status_no_memory(st, (size_t)1 << MAX_WBITS);
    }
    bool good = inflate_member(&z, member, out, want);
    (void)inflateEnd(&z);
    if (!good) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: member \"%.200s\": expected a deflate stream of %zu bytes, found a "
                          "damaged one or another length; download it again",
                          path, member->name, member->size);
    }
    return STATUS_OK;
}

void zip_free(struct zip *zip)
{
    for (size_t i = 0; i < zip->n; i++) {
        memory_free(zip->members[i].name);
    }
    memory_free(zip->members);
    *zip = (struct zip){0};
}
