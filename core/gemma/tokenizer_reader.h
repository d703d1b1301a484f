/* A pull reader of JSON for files of tens of megabytes: the caller walks the document and no tree
 * is built. Private to tokenizer_*.c; small documents go through core/base/json.h. RFC 8259. */
#ifndef DM_GEMMA_TOKENIZER_READER_H
#define DM_GEMMA_TOKENIZER_READER_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>

/* Start with {.start = bytes, .at = bytes, .end = bytes + n, .name = name, .st = st}; end with
 * text_free(&scratch). All functions return 0 or the code in st. `at` may be kept and set back. */
struct tokenizer_reader {
    const char *start, *at, *end;
    const char *name; /* begins every message */
    struct text scratch;
    struct status *st;
};

/* The first character of the next value, '\0' at the end of the input. */
char tokenizer_reader_peek(struct tokenizer_reader *r);

/* Steps into the object ('{') or array ('[') that comes next. */
int tokenizer_reader_enter(struct tokenizer_reader *r, char bracket);

/* Before each member: *more is false, and the bracket passed, when there is none left. *first is
 * true before the first call and then kept by it. */
int tokenizer_reader_next(struct tokenizer_reader *r, char closing, bool *first, bool *more);

/* Unescaped; good until the next string is read. Any bytes over 0x7F are passed on unchecked. */
int tokenizer_reader_string(struct tokenizer_reader *r, const char **s, size_t *n);

/* A member's name and its colon. */
int tokenizer_reader_key(struct tokenizer_reader *r, const char **s, size_t *n);

/* A whole number from 0 to 999999999999. */
int tokenizer_reader_integer(struct tokenizer_reader *r, long long *value);

/* true or false; null gives false. */
int tokenizer_reader_boolean(struct tokenizer_reader *r, bool *value);

/* Passes over any value; at most 64 levels deep. */
int tokenizer_reader_skip(struct tokenizer_reader *r);

/* "NAME: byte N: expected WHAT, found ...". */
int tokenizer_reader_expected(struct tokenizer_reader *r, const char *what);

#endif
