/* A reply that is written piece by piece while the client reads it: whoever computes it appends
 * frames on one thread, the transport sends them on another, and either may leave first.
 *
 * Frames that repeat all that those before them said (server-sent events whose text grows) may be
 * left out when the client reads too slowly. */
#ifndef DM_HTTP_STREAM_H
#define DM_HTTP_STREAM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct stream;

/* One reference, the caller's; NULL without memory. */
struct stream *stream_create(void);
void stream_retain(struct stream *stream);
void stream_release(struct stream *stream); /* NULL is fine */

/* --- the side that computes ------------------------------------------------------------------- */

/* Appends a frame. One that is not needed (a later one repeats it) is left out while more than
 * STREAM_BACKLOG bytes wait. False once the client has gone (or memory ran out): nothing more will
 * be read. */
#define STREAM_BACKLOG ((size_t)1 << 20)
bool stream_frame(struct stream *stream, const char *bytes, size_t n, bool needed);

/* Called with the first frame that was computed (others may come before it, so that nobody waits in
 * silence), with how long it waited for its turn: from then on stream_began has both. */
void stream_begin(struct stream *stream, int64_t queued_us);

/* No more frames: the reply ends when what waits is sent. */
void stream_end(struct stream *stream);

/* Whether the client has closed its connection; looks at the socket, sends nothing. */
bool stream_gone(struct stream *stream);

/* clock_seconds of stream_begin, and what it was given; 0: not yet. From any thread. */
double stream_began(struct stream *stream, int64_t *queued_us);

/* --- the transport ---------------------------------------------------------------------------- */

/* fd: the client's socket, -1 where there is none. `sleep` is called by stream_read when there is
 * nothing to read, `wake` once when there is again; both under the stream's lock. */
void stream_attach(struct stream *stream, int fd, void (*sleep)(void *user),
                   void (*wake)(void *user), void *user);

/* Bytes read (at most n); 0: nothing yet, sleep was called; -1: the end. */
long stream_read(struct stream *stream, char *to, size_t n);

/* The connection is over: the other side sees stream_gone; the socket is not looked at again. */
void stream_detach(struct stream *stream);

#endif
