#include "server/http/stream.h"

#include "core/base/clock.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <poll.h>
#include <pthread.h>
#include <string.h>

struct stream {
    pthread_mutex_t lock;
    int references;
    struct text waiting;
    size_t sent; /* bytes of `waiting` that were read */
    bool ended, gone, asleep;
    double began;
    int64_t queued_us;
    int fd;
    void (*sleep)(void *user);
    void (*wake)(void *user);
    void *user;
};

struct stream *stream_create(void)
{
    struct stream *s = memory_zalloc(1, sizeof *s);
    if (s) {
        pthread_mutex_init(&s->lock, NULL);
        s->references = 1;
        s->fd = -1;
    }
    return s;
}

void stream_retain(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->references++;
    pthread_mutex_unlock(&s->lock);
}

void stream_release(struct stream *s)
{
    if (!s) {
        return;
    }
    pthread_mutex_lock(&s->lock);
    bool last = --s->references == 0;
    pthread_mutex_unlock(&s->lock);
    if (last) {
        text_free(&s->waiting);
        pthread_mutex_destroy(&s->lock);
        memory_free(s);
    }
}

/* A client that has shut its side down is told from one that is only silent: POLLRDHUP. */
static bool closed(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return fd >= 0 && poll(&p, 1, 0) == 1 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static void wake(struct stream *s)
{
    if (s->asleep) {
        s->asleep = false;
        s->wake(s->user);
    }
}

void stream_begin(struct stream *s, int64_t queued_us)
{
    pthread_mutex_lock(&s->lock);
    if (s->began <= 0.0) {
        s->began = clock_seconds();
        s->queued_us = queued_us;
    }
    pthread_mutex_unlock(&s->lock);
}

double stream_began(struct stream *s, int64_t *queued_us)
{
    pthread_mutex_lock(&s->lock);
    double began = s->began;
    *queued_us = s->queued_us;
    pthread_mutex_unlock(&s->lock);
    return began;
}

bool stream_frame(struct stream *s, const char *bytes, size_t n, bool needed)
{
    pthread_mutex_lock(&s->lock);
    s->gone = s->gone || closed(s->fd);
    size_t backlog = s->waiting.length - s->sent;
    if (!s->gone && (needed || backlog <= STREAM_BACKLOG)) {
        if (s->sent == s->waiting.length) {
            text_clear(&s->waiting);
            s->sent = 0;
        }
        text_append(&s->waiting, bytes, n);
        s->gone = s->waiting.failed;
    }
    wake(s);
    bool wanted = !s->gone;
    pthread_mutex_unlock(&s->lock);
    return wanted;
}

void stream_end(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->ended = true;
    wake(s);
    pthread_mutex_unlock(&s->lock);
}

bool stream_gone(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->gone = s->gone || closed(s->fd);
    bool gone = s->gone;
    pthread_mutex_unlock(&s->lock);
    return gone;
}

void stream_attach(struct stream *s, int fd, void (*sleep)(void *user), void (*wake_up)(void *user),
                   void *user)
{
    pthread_mutex_lock(&s->lock);
    s->fd = fd;
    s->sleep = sleep;
    s->wake = wake_up;
    s->user = user;
    pthread_mutex_unlock(&s->lock);
}

long stream_read(struct stream *s, char *to, size_t n)
{
    pthread_mutex_lock(&s->lock);
    size_t left = s->waiting.failed ? 0 : s->waiting.length - s->sent;
    n = n < left ? n : left;
    long result = (long)n;
    if (n > 0) {
        memcpy(to, s->waiting.data + s->sent, n);
        s->sent += n;
    } else if (s->ended || s->waiting.failed) {
        result = -1;
    } else {
        s->asleep = true;
        s->sleep(s->user);
    }
    pthread_mutex_unlock(&s->lock);
    return result;
}

void stream_detach(struct stream *s)
{
    pthread_mutex_lock(&s->lock);
    s->gone = true;
    s->asleep = false;
    s->fd = -1;
    pthread_mutex_unlock(&s->lock);
}
