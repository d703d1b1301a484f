#include "server/http/gzip.h"

#include "core/base/memory.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

/* Fast: the wire is a local one. */
#define LEVEL 1

/* "gzip;q=0.5" -> 0.5; 1 where nothing is said. */
static double quality(const char *parameters, const char *end)
{
    for (const char *p = parameters; p < end; p++) {
        if ((*p == 'q' || *p == 'Q') && p + 1 < end && p[1] == '=') {
            return strtod(p + 2, NULL);
        }
    }
    return 1;
}

bool gzip_wanted(const char *accept_encoding)
{
    double named = -1, any = -1;
    for (const char *p = accept_encoding; p && *p; p += *p == ',') {
        p += strspn(p, " \t");
        const char *end = p + strcspn(p, ",");
        size_t n = strcspn(p, ",; \t");
        if ((n == 4 && strncasecmp(p, "gzip", 4) == 0) ||
            (n == 6 && strncasecmp(p, "x-gzip", 6) == 0)) {
            named = quality(p + n, end);
        } else if (n == 1 && *p == '*') {
            any = quality(p + n, end);
        }
        p = end;
    }
    return named >= 0 ? named > 0 : any > 0;
}

static bool is_text(const char *type)
{
    static const char *const kinds[] = {"text/", "application/json", "image/svg+xml"};
    for (size_t i = 0; type && i < sizeof kinds / sizeof *kinds; i++) {
        if (strncmp(type, kinds[i], strlen(kinds[i])) == 0) {
            return true;
        }
    }
    return false;
}

static const char *reply_header(const struct exchange *x, const char *name)
{
    for (size_t i = 0; i < x->response.n_headers; i++) {
        if (strcasecmp(x->response.headers[i].name, name) == 0) {
            return x->response.headers[i].value;
        }
    }
    return NULL;
}

/* The answer at this address depends on one header more. */
static void vary(struct exchange *x)
{
    char before[sizeof x->response.headers[0].value] = "";
    const char *value = reply_header(x, "Vary");
    if (value) {
        memcpy(before, value, strlen(value) + 1);
    }
    exchange_header(x, "Vary", "%.100s%sAccept-Encoding", before, *before ? ", " : "");
}

/* *to is allocated; false if it cannot be, or would be no smaller. */
static bool compress_bytes(const void *from, size_t n, char **to, size_t *n_to)
{
    enum { GZIP_WINDOW = 15 + 16, MEMORY_LEVEL = 8 };
    z_stream z = {0};
    char *out = memory_alloc(n, 1);
    if (!out || deflateInit2(&z, LEVEL, Z_DEFLATED, GZIP_WINDOW, MEMORY_LEVEL,
                             Z_DEFAULT_STRATEGY) != Z_OK) {
        memory_free(out);
        return false;
    }
    z.next_in = (z_const Bytef *)(uintptr_t)from;
    z.avail_in = (uInt)n;
    z.next_out = (Bytef *)out;
    z.avail_out = (uInt)n;
    bool fits = deflate(&z, Z_FINISH) == Z_STREAM_END;
    *n_to = z.total_out;
    (void)deflateEnd(&z);
    if (!fits) {
        memory_free(out);
        return false;
    }
    *to = out;
    return true;
}

void gzip_reply(struct exchange *x)
{
    struct response *r = &x->response;
    size_t n, n_to;
    char *to;
    const void *bytes = exchange_reply(x, &n);
    if (x->stream || n < GZIP_LEAST || n > GZIP_MOST || !is_text(r->content_type)) {
        return;
    }
    vary(x);
    if (!gzip_wanted(x->request.header(&x->request, "Accept-Encoding")) ||
        !compress_bytes(bytes, n, &to, &n_to)) {
        return;
    }
    text_free(&r->body);
    r->body = (struct text){.data = to, .length = n_to, .capacity = n};
    r->static_body = NULL;
    r->static_length = 0;
    exchange_header(x, "Content-Encoding", "gzip");
    const char *etag = reply_header(x, "ETag");
    if (etag && strncmp(etag, "W/", 2) != 0) {
        char strong[sizeof r->headers[0].value];
        memcpy(strong, etag, strlen(etag) + 1);
        exchange_header(x, "ETag", "W/%.100s", strong);
    }
}
