#include "server/http/guard.h"

#include "core/base/text.h"

#include <arpa/inet.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#define HOST_MAX 256

/* --- Host and Origin ------------------------------------------------------------------------ */

static bool is_port(const char *s)
{
    return *s == '\0' || (*s == ':' && strspn(s + 1, "0123456789") == strlen(s + 1));
}

/* The host of "host", "host:port", "[v6]" or "[v6]:port", without brackets; false if it is none of
 * these. */
static bool host_part(const char *s, char host[HOST_MAX])
{
    bool bracketed = *s == '[';
    s += bracketed;
    size_t n = strcspn(s, bracketed ? "]" : ":");
    if (n == 0 || n >= HOST_MAX || (bracketed && s[n] != ']')) {
        return false;
    }
    memcpy(host, s, n);
    host[n] = '\0';
    return is_port(s + n + bracketed);
}

/* 4 or 6 and the address, 0 if host is a name. */
static int address(const char *host, unsigned char bytes[16])
{
    memset(bytes, 0, 16);
    if (inet_pton(AF_INET, host, bytes) == 1) {
        return 4;
    }
    return inet_pton(AF_INET6, host, bytes) == 1 ? 6 : 0;
}

static bool same_host(const char *a, const char *b)
{
    unsigned char left[16], right[16];
    int kind = address(a, left);
    if (kind) {
        return kind == address(b, right) && memcmp(left, right, sizeof left) == 0;
    }
    return strcasecmp(a, b) == 0;
}

/* What the user wrote after --host or --allow-host: the form of a Host header, or bare IPv6. */
static bool is_named(const char *host, const char *written)
{
    char part[HOST_MAX];
    return same_host(host, written) || (host_part(written, part) && same_host(host, part));
}

static bool is_any_address(const char *host)
{
    static const unsigned char zero[16];
    unsigned char bytes[16];
    return address(host, bytes) && memcmp(bytes, zero, sizeof bytes) == 0;
}

static bool host_allowed(const struct guard *guard, const char *host)
{
    unsigned char bytes[16];
    if (same_host(host, "localhost") || same_host(host, "127.0.0.1") || same_host(host, "::1")) {
        return true;
    }
    /* Rebinding needs a name, so an address is what the user typed. */
    if (guard->bind_host && is_any_address(guard->bind_host) && address(host, bytes)) {
        return true;
    }
    if (guard->bind_host && is_named(host, guard->bind_host)) {
        return true;
    }
    for (size_t i = 0; i < guard->n_allow_hosts; i++) {
        if (is_named(host, guard->allow_hosts[i])) {
            return true;
        }
    }
    return false;
}

static bool admit_host(const struct guard *guard, struct exchange *x)
{
    const char *sent = x->request.header(&x->request, "Host");
    char host[HOST_MAX];
    if (!sent || !*sent) {
        (void)exchange_error(x, 403, "the request has no Host header; send one, as HTTP/1.1 asks");
        return false;
    }
    if (!host_part(sent, host)) {
        (void)exchange_error(x, 403, "the Host header \"%.200s\" is not a host name", sent);
        return false;
    }
    if (!host_allowed(guard, host)) {
        (void)exchange_error(x, 403,
                             "requests for host \"%.200s\" are not answered; if this is a name of "
                             "this machine, start the server with --allow-host %.200s",
                             host, host);
        return false;
    }
    return true;
}

static bool admit_origin(const struct guard *guard, struct exchange *x)
{
    const char *origin = x->request.header(&x->request, "Origin");
    if (!origin) {
        return true;
    }
    const char *start = strncasecmp(origin, "http://", 7) == 0    ? origin + 7
                        : strncasecmp(origin, "https://", 8) == 0 ? origin + 8
                                                                  : NULL;
    char host[HOST_MAX];
    if (!start || !host_part(start, host)) {
        (void)exchange_error(x, 403, "requests from the origin \"%.200s\" are not answered",
                             origin);
        return false;
    }
    if (!host_allowed(guard, host)) {
        (void)exchange_error(
            x, 403,
            "requests from pages of \"%.200s\" are not answered; if you trust them, "
            "start the server with --allow-host %.200s",
            origin, host);
        return false;
    }
    return true;
}

/* --- the secret ----------------------------------------------------------------------------- */

/* Takes as long as the sent string, wherever the two differ. */
static bool same_secret(const char *sent, const char *secret)
{
    size_t n = strlen(sent);
    size_t m = strlen(secret);
    unsigned differ = n != m;
    for (size_t i = 0; i < n; i++) {
        differ |= (unsigned)(sent[i] ^ secret[i < m ? i : m]);
    }
    return differ == 0;
}

static bool is_below(const char *path, const char *folder)
{
    size_t n = strlen(folder);
    return strncmp(path, folder, n) == 0 && (path[n] == '\0' || path[n] == '/');
}

bool guard_is_page(const char *path)
{
    static const char *const others[] = {"/v1", "/api", "/metrics", "/openapi.json", "/health"};
    for (size_t i = 0; i < sizeof others / sizeof *others; i++) {
        if (is_below(path, others[i])) {
            return false;
        }
    }
    return true;
}

/* What the page needs before it can ask for the secret, and the health check. */
static bool is_open(const struct request *request)
{
    if (strcmp(request->method, "GET") != 0 && strcmp(request->method, "HEAD") != 0) {
        return false;
    }
    return guard_is_page(request->path) || is_below(request->path, "/health");
}

static bool admit_secret(const struct guard *guard, struct exchange *x)
{
    if (!guard->secret || is_open(&x->request)) {
        return true;
    }
    const char *sent = x->request.header(&x->request, "X-SECRET-KEY");
    if (sent && same_secret(sent, guard->secret)) {
        return true;
    }
    (void)exchange_error(x, 401, "Invalid or missing X-SECRET-KEY header");
    return false;
}

bool guard_admit(const struct guard *guard, struct exchange *x)
{
    return admit_host(guard, x) && admit_origin(guard, x) && admit_secret(guard, x);
}

/* A client's own id is taken if it can stand in a log without any care: letters, digits, ._:-
 * Others get the time of the start and a number, which no other run has. */
static void identify(struct exchange *x)
{
    static atomic_llong started;
    const char *sent = x->request.header ? x->request.header(&x->request, "X-Request-Id") : NULL;
    size_t n = sent ? strlen(sent) : 0;
    size_t plain = sent ? strspn(sent, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                       "0123456789._:-")
                        : 0;
    if (n > 0 && n <= HTTP_REQUEST_ID && plain == n) {
        memcpy(x->request_id, sent, n + 1);
        return;
    }
    long long none = 0;
    (void)atomic_compare_exchange_strong(&started, &none, (long long)time(NULL));
    (void)snprintf(x->request_id, sizeof x->request_id, "%llx-%llu",
                   (unsigned long long)atomic_load(&started), (unsigned long long)x->id);
}

void guard_response_headers(struct exchange *x)
{
    exchange_header(x, "Content-Security-Policy",
                    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; "
                    "form-action 'self'; frame-ancestors 'self'");
    exchange_header(x, "X-Content-Type-Options", "nosniff");
    exchange_header(x, "Referrer-Policy", "no-referrer");
    exchange_header(x, "Cross-Origin-Resource-Policy", "same-origin");
    exchange_header(x, "Cache-Control", "no-store");
    identify(x);
    exchange_header(x, "X-Request-Id", "%s", x->request_id);
}
