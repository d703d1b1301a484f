/* Gemma's tokenizer: Hugging Face's ids, from tokenizer.json or from tokenizer.model.
 *
 * Byte-pair merging over the whole text (no word splitting), byte fallback, added tokens matched on
 * the raw text before anything else (huggingface/tokenizers models/bpe, added_vocabulary;
 * google/sentencepiece sentencepiece_model.proto for .model). Where SentencePiece and Hugging Face
 * give different ids, these are Hugging Face's. */
#ifndef DM_GEMMA_TOKENIZER_H
#define DM_GEMMA_TOKENIZER_H

#include "core/base/status.h"
#include "core/base/text.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct tokenizer;

/* Reads the file; everything needed is copied out of it. */
int tokenizer_open_json(struct tokenizer **tokenizer, const char *path, struct status *st);
int tokenizer_open_model(struct tokenizer **tokenizer, const char *path, struct status *st);

/* The same on bytes; name stands in for the path in messages. */
int tokenizer_parse_json(struct tokenizer **tokenizer, const char *bytes, size_t n,
                         const char *name, struct status *st);
int tokenizer_parse_model(struct tokenizer **tokenizer, const void *bytes, size_t n,
                          const char *name, struct status *st);

/* Ids of n bytes of UTF-8 (invalid bytes are STATUS_INVALID with their offset). No <bos> is added;
 * special tokens written out in the text become their ids. *ids is the caller's (memory_free). */
int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n, int32_t **ids,
                     size_t *n_ids, struct status *st);

/* Appends the text of the ids: pieces joined, runs of byte pieces decoded as UTF-8 (each invalid
 * byte U+FFFD), U+2581 as a space; special tokens left out when skip_special is set. An id that no
 * piece has gives nothing, as in Hugging Face. */
int tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n,
                     bool skip_special, struct text *out, struct status *st);

/* Appends the text of one id on its own, as token lists show it: "<bos>", " dog", "\n"; a byte
 * piece that is not a character of its own gives U+FFFD; an id beyond the tokenizer "<id:262145>".
 */
void tokenizer_token(const struct tokenizer *tokenizer, int32_t id, struct text *out);

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id);
size_t tokenizer_size(const struct tokenizer *tokenizer); /* one more than the highest id */

/* The id of a piece or added token by its exact content ("<end_of_turn>"), -1 if there is none. */
int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *content);

/* <bos>, <eos>, <pad>, <unk>, by name; -1 where the tokenizer has none. */
int32_t tokenizer_bos(const struct tokenizer *tokenizer);
int32_t tokenizer_eos(const struct tokenizer *tokenizer);
int32_t tokenizer_pad(const struct tokenizer *tokenizer);
int32_t tokenizer_unk(const struct tokenizer *tokenizer);

void tokenizer_close(struct tokenizer *tokenizer); /* NULL is fine */

#endif
