/* The automatic label of a feature: the tokens that it fires on most strongly and the tokens that
 * it promotes, as in
 *     " there", " There" -> " is", " was"
 * Left: the different tokens of the top examples, by how often they occur there, then by value, at
 * most LABEL_TOKENS. Right: the tokens of its largest logits, as many; left out with the arrow
 * where there are none. Search reads labels like explanations. */
#ifndef DM_DASHBOARD_LABEL_H
#define DM_DASHBOARD_LABEL_H

#include "core/base/text.h"

#include <stddef.h>
#include <stdint.h>

enum { LABEL_TOKENS = 3, LABEL_FIRED = 64 };

/* Appends the label; nothing where n_fired is 0. fired: tokens of the top examples, the strongest
 * first, the first LABEL_FIRED are looked at. Quotes, backslashes and control characters are
 * escaped as in C.
 */
void label_write(struct text *out, const int32_t *fired, size_t n_fired, const int32_t *promoted,
                 size_t n_promoted, void (*token_text)(void *user, int32_t id, struct text *out),
                 void *user);

#endif
