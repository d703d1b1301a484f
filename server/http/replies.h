/* Replies that are kept whole, so that the same request need not be answered from the database
 * again: the bytes of the body, by the request's target and body. The least recently used ones go
 * when together they are over the budget. Safe from any thread. */
#ifndef DM_HTTP_REPLIES_H
#define DM_HTTP_REPLIES_H

#include "core/base/status.h"
#include "server/http/exchange.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct replies;

/* budget: bytes of all kept replies and their requests. */
int replies_create(struct replies **out, size_t budget, struct status *st);
void replies_destroy(struct replies *replies); /* after every exchange; NULL is fine */

/* Bytes of what is kept now, requests included. NULL: 0. */
size_t replies_bytes(struct replies *replies);

/* Answers x with the reply that was kept for the same request in the same state (a number of the
 * handler's that changes with what the answer depends on); *note is what was kept with it. x->state
 * must be free: it holds the reply until the exchange ends. NULL replies have none. */
bool replies_take(struct replies *replies, struct exchange *x, int64_t state, int64_t *note);

/* Keeps the reply that x holds, 200 and JSON in x->response.body, for the next one who asks; a
 * large one, or one that there is no memory for, is not kept. */
void replies_keep(struct replies *replies, const struct exchange *x, int64_t state, int64_t note);

#endif
