/* A request as bytes, for fuzzers: a line "METHOD target", header lines, an empty line, the body.
 */
#ifndef DM_TESTS_FUZZ_REQUEST_H
#define DM_TESTS_FUZZ_REQUEST_H

#include "core/base/memory.h"
#include "server/http/router.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define FUZZ_LINES 16

struct fuzz_request {
    char *input;
    const char *method, *target;
    const char *headers[FUZZ_LINES + 1];
    const char *body; /* NULL: none */
    size_t n_body;
};

static inline void fuzz_request_split(struct fuzz_request *r, const uint8_t *data, size_t size)
{
    *r = (struct fuzz_request){.method = "GET", .target = "/"};
    r->input = memory_string_n((const char *)data, size);
    size_t n = 0;
    char *p = r->input;
    char *end = r->input + size;
    for (; p < end && *p != '\n' && n <= FUZZ_LINES; n++) {
        char *stop = memchr(p, '\n', (size_t)(end - p));
        if (n) {
            r->headers[n - 1] = p;
        }
        p = stop ? stop + 1 : end;
        if (stop) {
            *stop = '\0';
        }
    }
    if (n) {
        char *space = strchr(r->input, ' ');
        r->method = r->input;
        if (space) {
            *space = '\0';
            r->target = space + 1;
        }
    }
    p += p < end; /* the empty line */
    r->body = p < end ? p : NULL;
    r->n_body = (size_t)(end - p);
}

/* To its end; never NULL. */
static inline struct exchange *fuzz_request_run(const struct fuzz_request *r,
                                                const struct router *router)
{
    struct exchange *x = exchange_run(router, r->method, r->target, r->headers, r->body, r->n_body);
    if (!x) {
        abort();
    }
    return x;
}

static inline void fuzz_request_free(struct fuzz_request *r)
{
    memory_free(r->input);
}

#endif
