/* Everything that a request passes: guard, secret, targets, the site's files and the real route
 * table over a nano model and a database. Whatever comes, the status is no 500, JSON is valid JSON,
 * and nothing of the secret comes back. */
#include "server/http/static_files.h"
#include "tests/fuzz/request.h"
#include "tests/v1.h"

#define SECRET "opensesame"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct v1 server;

static void open_once(void)
{
    static bool open;
    static struct static_files *files;
    struct status st = {0};
    if (open) {
        return;
    }
    if (!v1_open(&server, V1_ORACLE "/gemma2-nano-bf16") ||
        static_files_load(&files, "static", &st)) {
        abort();
    }
    server.router.files = files;
    server.router.guard.bind_host = "127.0.0.1";
    server.router.guard.secret = SECRET;
    open = true;
}

/* The secret goes in beside the fuzzer's own headers, or no input would come far. */
static struct exchange *run(struct fuzz_request *r)
{
    size_t n = 0;
    while (n < FUZZ_LINES && r->headers[n]) {
        n++;
    }
    if (n < FUZZ_LINES) {
        r->headers[n] = "X-SECRET-KEY: " SECRET;
    }
    return fuzz_request_run(r, &server.router);
}

static void check(const struct fuzz_request *r, const struct exchange *x)
{
    size_t n;
    const char *reply = exchange_reply(x, &n);
    int status = x->response.status;
    const char *type = x->response.content_type;
    if (status < 200 || status > 503 || status == 500 || (status >= 400 && n == 0)) {
        abort();
    }
    if (n && type && strstr(type, "application/json") && !x->response.static_body) {
        cJSON *root;
        struct status st = {0};
        if (json_parse(&root, reply, n, "reply", &st)) {
            abort();
        }
        cJSON_Delete(root);
    }
    /* What was sent once may be in the database since; escapes may spell anything. */
    static bool sent;
    sent = sent || strstr(r->method, SECRET) || strstr(r->target, SECRET) ||
           (r->body && memmem(r->body, r->n_body, SECRET, strlen(SECRET)));
    for (int i = 0; i < FUZZ_LINES && r->headers[i]; i++) {
        sent = sent || (strstr(r->headers[i], SECRET) &&
                        strcmp(r->headers[i], "X-SECRET-KEY: " SECRET) != 0);
    }
    bool escaped = strchr(r->target, '%') || (r->body && memchr(r->body, '\\', r->n_body));
    if (!sent && !escaped && memmem(reply, n, SECRET, strlen(SECRET))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_request r;
    open_once();
    fuzz_request_split(&r, data, size);
    struct exchange *x = run(&r);
    check(&r, x);
    exchange_close(x);
    fuzz_request_free(&r);
    return 0;
}
