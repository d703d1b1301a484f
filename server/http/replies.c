#include "server/http/replies.h"

#include "core/base/hash.h"
#include "core/base/memory.h"

#include <pthread.h>
#include <stdatomic.h>
#include <string.h>

enum { BUCKETS = 1 << 12 };

struct reply {
    struct reply *next;          /* of its bucket */
    struct reply *newer, *older; /* by when they were asked for */
    uint64_t bucket;
    atomic_int holders; /* the table, and exchanges that send it */
    int64_t state, note;
    size_t target_length, body_length; /* of the request */
    size_t length;                     /* of the reply */
    char bytes[];                      /* target, body, reply */
};

struct replies {
    pthread_mutex_t lock; /* guards all that follows */
    size_t budget, used;
    struct reply *newest, *oldest;
    struct reply *buckets[BUCKETS];
};

int replies_create(struct replies **out, size_t budget, struct status *st)
{
    struct replies *r = memory_zalloc(1, sizeof *r);
    *out = r;
    if (!r) {
        return status_no_memory(st, sizeof *r);
    }
    pthread_mutex_init(&r->lock, NULL);
    r->budget = budget;
    return STATUS_OK;
}

size_t replies_bytes(struct replies *r)
{
    if (!r) {
        return 0;
    }
    pthread_mutex_lock(&r->lock);
    size_t used = r->used;
    pthread_mutex_unlock(&r->lock);
    return used;
}

static size_t size_of(const struct reply *reply)
{
    return sizeof *reply + reply->target_length + reply->body_length + reply->length;
}

static void release(void *state)
{
    struct reply *reply = state;
    if (atomic_fetch_sub(&reply->holders, 1) == 1) {
        memory_free(reply);
    }
}

/* --- the list, under the lock ----------------------------------------------------------------- */

static void unlink_age(struct replies *r, const struct reply *reply)
{
    *(reply->newer ? &reply->newer->older : &r->newest) = reply->older;
    *(reply->older ? &reply->older->newer : &r->oldest) = reply->newer;
}

static void link_newest(struct replies *r, struct reply *reply)
{
    reply->newer = NULL;
    reply->older = r->newest;
    *(r->newest ? &r->newest->newer : &r->oldest) = reply;
    r->newest = reply;
}

static void forget(struct replies *r, struct reply *reply)
{
    struct reply **at = &r->buckets[reply->bucket];
    while (*at != reply) {
        at = &(*at)->next;
    }
    *at = reply->next;
    unlink_age(r, reply);
    r->used -= size_of(reply);
    release(reply);
}

/* --- requests --------------------------------------------------------------------------------- */

static size_t body_length(const struct request *request)
{
    return request->body ? request->body_length : 0;
}

static uint64_t bucket_of(const struct request *request)
{
    struct hash h = hash_start();
    uint8_t bytes[HASH_BYTES];
    uint64_t first = 0;
    hash_add(&h, request->target, request->target_length);
    hash_add(&h, request->body ? request->body : "", body_length(request));
    hash_bytes(h, bytes);
    memcpy(&first, bytes, sizeof first);
    return first % BUCKETS;
}

static bool is_for(const struct reply *reply, const struct request *request)
{
    return reply->target_length == request->target_length &&
           reply->body_length == body_length(request) &&
           memcmp(reply->bytes, request->target, reply->target_length) == 0 &&
           memcmp(reply->bytes + reply->target_length, request->body ? request->body : "",
                  reply->body_length) == 0;
}

static struct reply *find(const struct replies *r, uint64_t bucket, const struct request *request)
{
    struct reply *reply = r->buckets[bucket];
    while (reply && !is_for(reply, request)) {
        reply = reply->next;
    }
    return reply;
}

bool replies_take(struct replies *r, struct exchange *x, int64_t state, int64_t *note)
{
    if (!r || !x->request.target) {
        return false;
    }
    uint64_t bucket = bucket_of(&x->request);
    pthread_mutex_lock(&r->lock);
    struct reply *reply = find(r, bucket, &x->request);
    if (reply && reply->state != state) {
        forget(r, reply);
        reply = NULL;
    }
    if (reply) {
        atomic_fetch_add(&reply->holders, 1);
        unlink_age(r, reply);
        link_newest(r, reply);
    }
    pthread_mutex_unlock(&r->lock);
    if (!reply) {
        return false;
    }
    x->state = reply;
    x->free_state = release;
    x->response.static_body = reply->bytes + reply->target_length + reply->body_length;
    x->response.static_length = reply->length;
    *note = reply->note;
    return true;
}

static struct reply *copy_of(const struct exchange *x, int64_t state, int64_t note)
{
    const struct request *request = &x->request;
    const struct text *body = &x->response.body;
    size_t n = body_length(request);
    struct reply *reply =
        memory_alloc(sizeof *reply + request->target_length + n + body->length, 1);
    if (!reply) {
        return NULL;
    }
    *reply = (struct reply){.bucket = bucket_of(request),
                            .holders = 1,
                            .state = state,
                            .note = note,
                            .target_length = request->target_length,
                            .body_length = n,
                            .length = body->length};
    memcpy(reply->bytes, request->target, request->target_length);
    memcpy(reply->bytes + request->target_length, n ? request->body : "", n);
    memcpy(reply->bytes + request->target_length + n, body->data, body->length);
    return reply;
}

void replies_keep(struct replies *r, const struct exchange *x, int64_t state, int64_t note)
{
    const struct response *response = &x->response;
    if (!r || !x->request.target || response->status != 200 || response->body.failed ||
        response->body.length == 0 ||
        response->body.length + body_length(&x->request) > r->budget / 16) {
        return;
    }
    struct reply *reply = copy_of(x, state, note);
    if (!reply) {
        return;
    }
    pthread_mutex_lock(&r->lock);
    struct reply *before = find(r, reply->bucket, &x->request);
    if (before) {
        forget(r, before);
    }
    reply->next = r->buckets[reply->bucket];
    r->buckets[reply->bucket] = reply;
    link_newest(r, reply);
    r->used += size_of(reply);
    while (r->used > r->budget) {
        forget(r, r->oldest);
    }
    pthread_mutex_unlock(&r->lock);
}

void replies_destroy(struct replies *r)
{
    if (!r) {
        return;
    }
    while (r->oldest) {
        forget(r, r->oldest);
    }
    pthread_mutex_destroy(&r->lock);
    memory_free(r);
}
