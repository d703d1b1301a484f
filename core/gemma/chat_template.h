/* The chat templates of Gemma 2 and Gemma 3 (text), written natively (docs/model.md, "Chat"):
 *
 *     <bos> then for each message <start_of_turn>ROLE\nCONTENT<end_of_turn>\n
 *
 * with CONTENT trimmed, ROLE "user" or "model", beginning with the user and alternating. Gemma 2
 * knows no system message; Gemma 3 puts a leading one in front of the first user turn, with an
 * empty line between. A generation prompt is "<start_of_turn>model\n". */
#ifndef DM_GEMMA_CHAT_TEMPLATE_H
#define DM_GEMMA_CHAT_TEMPLATE_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>

/* "assistant" and "model" are the same role, "developer" is "system". */
struct chat_message {
    const char *role;
    const char *content;
};

enum chat_section { CHAT_BOS, CHAT_HEADER, CHAT_CONTENT, CHAT_END, CHAT_PROMPT };

/* Bytes begin..end-1 of the rendered text. Spans follow one another without gaps. */
struct chat_span {
    size_t begin, end;
    size_t message; /* index of the message; of CHAT_BOS and CHAT_PROMPT: the number of messages */
    enum chat_section section;
};

/* family: 2 or 3. Appends the text to *out. spans may be NULL, else it has room for
 * CHAT_SPANS(n). STATUS_INVALID begins with "messages[i]". */
#define CHAT_SPANS(n) (4 * (n) + 2)
int chat_template_render(int family, const struct chat_message *messages, size_t n,
                         bool add_generation_prompt, struct text *out, struct chat_span *spans,
                         size_t *n_spans, struct status *st);

/* "bos", "header", "content", "end", "generation_prompt". */
const char *chat_template_section(enum chat_section section);

/* What of n bytes of generated text is the reply: up to the first <end_of_turn> (or
 * <start_of_turn>, <eos>), blanks at either end left out. Returns its length; *begin is its first
 * byte. */
size_t chat_template_reply(const char *text, size_t n, size_t *begin);

#endif
