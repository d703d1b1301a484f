#include "core/gemma/tokenizer.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/gemma/tokenizer_tables.h"

#include <string.h>

int tokenizer_open_json(struct tokenizer **tokenizer, const char *path, struct status *st)
{
    *tokenizer = NULL;
    struct mapped_file file;
    int code = mapped_file_open(&file, path, st);
    if (code) {
        return code;
    }
    code = tokenizer_parse_json(tokenizer, file.data ? (const char *)file.data : "", file.size,
                                path, st);
    if (code == STATUS_OK && (code = mapped_file_check(&file, st))) {
        tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    mapped_file_close(&file);
    return code;
}

int tokenizer_open_model(struct tokenizer **tokenizer, const char *path, struct status *st)
{
    *tokenizer = NULL;
    struct mapped_file file;
    int code = mapped_file_open(&file, path, st);
    if (code) {
        return code;
    }
    code = tokenizer_parse_model(tokenizer, file.data ? (const void *)file.data : "", file.size,
                                 path, st);
    if (code == STATUS_OK && (code = mapped_file_check(&file, st))) {
        tokenizer_close(*tokenizer);
        *tokenizer = NULL;
    }
    mapped_file_close(&file);
    return code;
}

/* NULL for an id that no piece has. */
static const struct tokenizer_piece *piece_of(const struct tokenizer *t, int32_t id)
{
    if (id < 0 || (size_t)id >= t->size || !t->pieces[id].flags) {
        return NULL;
    }
    return &t->pieces[id];
}

/* A piece with its U+2581 as spaces. */
static void append_piece(const struct tokenizer *t, const struct tokenizer_piece *piece,
                         struct text *out)
{
    const char *bytes = t->bytes.data + piece->start;
    size_t n = piece->length, from = 0;
    for (size_t i = 0; n >= TOKENIZER_SPACE_BYTES && i <= n - TOKENIZER_SPACE_BYTES; i++) {
        if (bytes[i] == TOKENIZER_SPACE[0] &&
            memcmp(bytes + i, TOKENIZER_SPACE, TOKENIZER_SPACE_BYTES) == 0) {
            text_append(out, bytes + from, i - from);
            text_char(out, ' ');
            i += TOKENIZER_SPACE_BYTES - 1;
            from = i + 1;
        }
    }
    text_append(out, bytes + from, n - from);
}

int tokenizer_decode(const struct tokenizer *tokenizer, const int32_t *ids, size_t n,
                     bool skip_special, struct text *out, struct status *st)
{
    struct text run = {0}; /* of byte pieces */
    for (size_t i = 0; i < n; i++) {
        const struct tokenizer_piece *piece = piece_of(tokenizer, ids[i]);
        if (!piece || (skip_special && (piece->flags & TOKENIZER_SPECIAL))) {
            continue;
        }
        int byte = tokenizer_byte_of(tokenizer->bytes.data + piece->start, piece->length);
        if (byte >= 0) {
            text_char(&run, (char)byte);
            continue;
        }
        text_append_utf8(out, run.data, run.length);
        text_clear(&run);
        append_piece(tokenizer, piece, out);
    }
    text_append_utf8(out, run.data, run.length);
    bool failed = run.failed || out->failed;
    text_free(&run);
    return failed ? status_no_memory(st, out->length) : STATUS_OK;
}

void tokenizer_token(const struct tokenizer *tokenizer, int32_t id, struct text *out)
{
    const struct tokenizer_piece *piece = piece_of(tokenizer, id);
    if (!piece) {
        text_printf(out, "<id:%d>", id);
        return;
    }
    int byte = tokenizer_byte_of(tokenizer->bytes.data + piece->start, piece->length);
    if (byte >= 0) {
        char c = (char)byte;
        text_append_utf8(out, &c, 1);
    } else {
        append_piece(tokenizer, piece, out);
    }
}

bool tokenizer_is_special(const struct tokenizer *tokenizer, int32_t id)
{
    const struct tokenizer_piece *piece = piece_of(tokenizer, id);
    return piece && (piece->flags & TOKENIZER_SPECIAL);
}

size_t tokenizer_size(const struct tokenizer *tokenizer)
{
    return tokenizer->size;
}

int32_t tokenizer_find(const struct tokenizer *tokenizer, const char *content)
{
    size_t n = strlen(content);
    int32_t id = -1;
    if (n && (tokenizer_trie_match(tokenizer, &tokenizer->raw, content, n, &id) == n ||
              tokenizer_trie_match(tokenizer, &tokenizer->normalized, content, n, &id) == n)) {
        return id;
    }
    return tokenizer_lookup(tokenizer, content, n);
}

int32_t tokenizer_bos(const struct tokenizer *tokenizer)
{
    return tokenizer->bos;
}

int32_t tokenizer_eos(const struct tokenizer *tokenizer)
{
    return tokenizer->eos;
}

int32_t tokenizer_pad(const struct tokenizer *tokenizer)
{
    return tokenizer->pad;
}

int32_t tokenizer_unk(const struct tokenizer *tokenizer)
{
    return tokenizer->unk;
}

void tokenizer_close(struct tokenizer *tokenizer)
{
    if (!tokenizer) {
        return;
    }
    text_free(&tokenizer->bytes);
    text_free(&tokenizer->joined);
    memory_free(tokenizer->pieces);
    memory_free(tokenizer->slots);
    memory_free(tokenizer->merges);
    memory_free(tokenizer->merge_slots);
    memory_free(tokenizer->raw.nodes);
    memory_free(tokenizer->normalized.nodes);
    memory_free(tokenizer);
}
