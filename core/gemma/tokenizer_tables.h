/* What both file formats are read into: pieces, merges, added tokens. Private to tokenizer_*.c. */
#ifndef DM_GEMMA_TOKENIZER_TABLES_H
#define DM_GEMMA_TOKENIZER_TABLES_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TOKENIZER_SPACE "\xE2\x96\x81" /* U+2581, which stands for a space inside pieces */
#define TOKENIZER_SPACE_BYTES 3
#define TOKENIZER_MAX_ID ((1 << 22) - 1) /* bounds the memory that a wrong id can ask for */

enum {
    TOKENIZER_IN_VOCAB = 1, /* a piece of the model: found by encoding and by merging */
    TOKENIZER_ADDED = 2,    /* matched in the text before the model sees it */
    TOKENIZER_SPECIAL = 4,
    TOKENIZER_LSTRIP = 8, /* the match swallows the white space before it, */
    TOKENIZER_RSTRIP = 16 /* behind it */
};

struct tokenizer_piece {
    uint32_t start, length; /* in tokenizer.bytes */
    uint32_t flags;         /* 0: no piece has this id */
};

struct tokenizer_merge {
    int32_t left, right; /* ids; left is -1 in a free slot of the hash table */
    int32_t result;
    uint32_t rank; /* lower goes first */
};

/* A trie of added tokens; node 0 is its root. Children of a node are a linked list. */
struct tokenizer_trie {
    struct tokenizer_node {
        uint32_t child, sibling; /* 0: none */
        int32_t id;              /* of the token that ends here, else -1 */
        uint8_t byte;
    } * nodes;
    size_t n, capacity;
    uint32_t first[256]; /* the root's children by byte */
};

struct tokenizer {
    struct text bytes; /* all pieces, end to end */
    struct tokenizer_piece *pieces;
    size_t size, capacity;
    uint64_t *slots; /* by hash of the content: 32 bits of the hash, then id + 1; 0 is free */
    size_t n_slots;  /* a power of two */

    struct tokenizer_merge *merges; /* by rank, while reading */
    size_t n_merges, merge_capacity;
    struct tokenizer_merge *merge_slots; /* by hash of (left, right) */
    size_t n_merge_slots;                /* a power of two */
    struct text joined;                  /* scratch of tokenizer_add_merge */

    struct tokenizer_trie raw;        /* added tokens matched on the text as it comes */
    struct tokenizer_trie normalized; /* those matched after spaces became U+2581 */

    bool replace_space; /* ' ' becomes U+2581 */
    bool byte_fallback, fuse_unk, ignore_merges;
    bool never_unk;    /* every character has a piece or all its bytes */
    int32_t unk_piece; /* what a character becomes that has neither piece nor bytes; -1: nothing */
    int32_t byte_ids[256];  /* ids of <0x00>..<0xFF>, -1 where there is none */
    int32_t ascii_ids[128]; /* ids of single characters, after normalisation */
    /* before_space[b]: some merge gives a piece in which U+2581 follows byte b. Where it is false,
     * no merge can cross the border between b and U+2581, so the text may be cut there: a shorter
     * heap, the same ids. */
    bool before_space[256];
    int32_t bos, eos, pad, unk;
};

/* Room for a piece with this id; refuses an id that is taken, or too high. */
int tokenizer_add_piece(struct tokenizer *t, int64_t id, const char *bytes, size_t n,
                        uint32_t flags, const char *name, struct status *st);

/* Once, after the last TOKENIZER_IN_VOCAB piece: builds the table behind tokenizer_lookup. Refuses
 * two ids with the same content. */
int tokenizer_index_pieces(struct tokenizer *t, const char *name, struct status *st);

/* The id of a TOKENIZER_IN_VOCAB piece, or -1. */
int32_t tokenizer_lookup(const struct tokenizer *t, const char *bytes, size_t n);

/* The next merge by rank, of two ids that lookup gave, whose result is known / is looked up. */
int tokenizer_append_merge(struct tokenizer *t, int32_t left, int32_t right, int32_t result,
                           struct status *st);
int tokenizer_add_merge(struct tokenizer *t, int32_t left, int32_t right, const char *name,
                        struct status *st);

/* NULL if the two do not merge. */
const struct tokenizer_merge *tokenizer_find_merge(const struct tokenizer *t, int32_t left,
                                                   int32_t right);

/* Enters a token of id's content into one of the tries. */
int tokenizer_trie_add(struct tokenizer *t, struct tokenizer_trie *trie, int32_t id,
                       struct status *st);

/* Length in bytes of the longest added token at the beginning of text, 0 if there is none. In the
 * normalized trie a space of the text matches U+2581. */
size_t tokenizer_trie_match(const struct tokenizer *t, const struct tokenizer_trie *trie,
                            const char *text, size_t n, int32_t *id);

/* Once, after everything was added: the merge table and the tables by character. */
int tokenizer_finish(struct tokenizer *t, struct status *st);

/* The byte that "<0x0A>" stands for, -1 for any other content. */
int tokenizer_byte_of(const char *content, size_t n);

#endif
