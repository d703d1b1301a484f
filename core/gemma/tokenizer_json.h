/* State shared by the readers of tokenizer.json's sections. Private to tokenizer_json*.c. */
#ifndef DM_GEMMA_TOKENIZER_JSON_H
#define DM_GEMMA_TOKENIZER_JSON_H

#include "core/gemma/tokenizer_reader.h"
#include "core/gemma/tokenizer_tables.h"

#include <stdbool.h>
#include <stddef.h>

struct tokenizer_json {
    struct tokenizer_reader r;
    struct tokenizer *t;
    const char
        *added_tokens;  /* where this member stands: it needs the vocabulary; NULL: not seen */
    const char *merges; /* the same, where merges come before the vocabulary */
    char unk_token[64]; /* "?" if it is something else than a short string */
    bool has_unk, has_vocab, has_merges, has_bpe;
    bool restores_spaces; /* the decoder turns U+2581 into a space */
    bool splits_spaces;   /* the pre-tokenizer splits on ' ' */
};

/* s is this word. */
bool tokenizer_json_is(const char *s, size_t n, const char *word);

/* Copies a string value; one that does not fit, holds a NUL or is no string becomes "?", which is
 * nothing that is accepted anywhere. */
int tokenizer_json_keep(struct tokenizer_json *j, char *out, size_t capacity);

/* Calls read on each member of the array that comes next. */
int tokenizer_json_each(struct tokenizer_json *j, int (*read)(struct tokenizer_json *));

/* STATUS_UNSUPPORTED, naming what was found and what would be read. */
int tokenizer_json_unsupported(struct tokenizer_json *j, const char *what, const char *found,
                               const char *expected);

/* The top level's members of these names. */
int tokenizer_json_normalizer(struct tokenizer_json *j);
int tokenizer_json_pre_tokenizer(struct tokenizer_json *j);
int tokenizer_json_decoder(struct tokenizer_json *j);
int tokenizer_json_model(struct tokenizer_json *j);

#endif
