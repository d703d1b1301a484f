/* The "model" member of tokenizer.json: the vocabulary and the merges of BPE. */
#include "core/gemma/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

static int read_vocab(struct tokenizer_json *j)
{
    if (j->has_vocab) {
        return status_set(j->r.st, STATUS_CORRUPT, "%s: model.vocab stands there twice", j->r.name);
    }
    if (tokenizer_reader_enter(&j->r, '{')) {
        return j->r.st->code;
    }
    for (bool first = true, more;;) {
        const char *piece;
        size_t n;
        long long id;
        if (tokenizer_reader_next(&j->r, '}', &first, &more)) {
            return j->r.st->code;
        }
        if (!more) {
            break;
        }
        if (tokenizer_reader_key(&j->r, &piece, &n)) {
            return j->r.st->code;
        }
        if (text_utf8_valid(piece, n) < n) {
            return tokenizer_reader_expected(&j->r, "a piece of valid UTF-8 before this");
        }
        if (tokenizer_reader_integer(&j->r, &id) ||
            tokenizer_add_piece(j->t, id, piece, n, TOKENIZER_IN_VOCAB, j->r.name, j->r.st)) {
            return j->r.st->code;
        }
    }
    j->has_vocab = true;
    return tokenizer_index_pieces(j->t, j->r.name, j->r.st);
}

static int half_of_merge(struct tokenizer_json *j, const char *s, size_t n, int32_t *id)
{
    *id = tokenizer_lookup(j->t, s, n);
    if (*id < 0) {
        return status_set(j->r.st, STATUS_CORRUPT,
                          "%s: merge %zu names \"%.*s\", which is not in the vocabulary", j->r.name,
                          j->t->n_merges, (int)(n < 60 ? n : 60), s);
    }
    return STATUS_OK;
}

/* "a b", or since tokenizers 0.20 ["a", "b"]. */
static int read_merge(struct tokenizer_json *j)
{
    const char *s;
    size_t n;
    int32_t left, right;
    if (tokenizer_reader_peek(&j->r) == '"') {
        if (tokenizer_reader_string(&j->r, &s, &n)) {
            return j->r.st->code;
        }
        const char *space = memchr(s, ' ', n);
        size_t behind = space ? (size_t)(s + n - space) - 1 : 0;
        if (!space || memchr(space + 1, ' ', behind)) {
            return status_set(
                j->r.st, STATUS_CORRUPT,
                "%s: expected merge %zu to be two pieces and one space, found \"%.*s\"", j->r.name,
                j->t->n_merges, (int)(n < 60 ? n : 60), s);
        }
        if (half_of_merge(j, s, (size_t)(space - s), &left) ||
            half_of_merge(j, space + 1, behind, &right)) {
            return j->r.st->code;
        }
    } else {
        bool first = true, more;
        if (tokenizer_reader_enter(&j->r, '[') || tokenizer_reader_string(&j->r, &s, &n) ||
            half_of_merge(j, s, n, &left)) {
            return j->r.st->code;
        }
        first = false;
        if (tokenizer_reader_next(&j->r, ']', &first, &more) ||
            tokenizer_reader_string(&j->r, &s, &n) || half_of_merge(j, s, n, &right) ||
            tokenizer_reader_next(&j->r, ']', &first, &more)) {
            return j->r.st->code;
        }
        if (more) {
            return tokenizer_reader_expected(&j->r, "a merge of two pieces");
        }
    }
    return tokenizer_add_merge(j->t, left, right, j->r.name, j->r.st);
}

/* Options of BPE that Gemma leaves off: null, "" and 0 pass. */
static int read_absent(struct tokenizer_json *j, const char *field)
{
    (void)tokenizer_reader_peek(&j->r);
    const char *from = j->r.at;
    if (tokenizer_reader_skip(&j->r)) {
        return j->r.st->code;
    }
    size_t n = (size_t)(j->r.at - from);
    if (tokenizer_json_is(from, n, "null") || tokenizer_json_is(from, n, "\"\"") ||
        tokenizer_json_is(from, n, "0") || tokenizer_json_is(from, n, "0.0")) {
        return STATUS_OK;
    }
    char value[32];
    (void)snprintf(value, sizeof value, "%.*s", (int)(n < 30 ? n : 30), from);
    return tokenizer_json_unsupported(j, field, value, "null");
}

static int read_model_field(struct tokenizer_json *j, const char *key, size_t n)
{
    struct tokenizer_reader *r = &j->r;
    if (tokenizer_json_is(key, n, "type")) {
        char type[32];
        if (tokenizer_json_keep(j, type, sizeof type)) {
            return r->st->code;
        }
        j->has_bpe = strcmp(type, "BPE") == 0;
        return j->has_bpe ? STATUS_OK : tokenizer_json_unsupported(j, "model.type", type, "BPE");
    }
    if (tokenizer_json_is(key, n, "vocab")) {
        return read_vocab(j);
    }
    if (tokenizer_json_is(key, n, "merges")) {
        (void)tokenizer_reader_peek(r);
        if (j->merges) {
            return status_set(r->st, STATUS_CORRUPT, "%s: model.merges stands there twice",
                              r->name);
        }
        j->merges = r->at;
        j->has_merges = j->has_vocab;
        return j->has_vocab ? tokenizer_json_each(j, read_merge) : tokenizer_reader_skip(r);
    }
    if (tokenizer_json_is(key, n, "unk_token")) {
        j->has_unk = tokenizer_reader_peek(r) == '"';
        return tokenizer_json_keep(j, j->unk_token, sizeof j->unk_token);
    }
    if (tokenizer_json_is(key, n, "byte_fallback")) {
        return tokenizer_reader_boolean(r, &j->t->byte_fallback);
    }
    if (tokenizer_json_is(key, n, "fuse_unk")) {
        return tokenizer_reader_boolean(r, &j->t->fuse_unk);
    }
    if (tokenizer_json_is(key, n, "ignore_merges")) {
        return tokenizer_reader_boolean(r, &j->t->ignore_merges);
    }
    if (tokenizer_json_is(key, n, "dropout")) {
        return read_absent(j, "model.dropout");
    }
    if (tokenizer_json_is(key, n, "continuing_subword_prefix")) {
        return read_absent(j, "model.continuing_subword_prefix");
    }
    if (tokenizer_json_is(key, n, "end_of_word_suffix")) {
        return read_absent(j, "model.end_of_word_suffix");
    }
    return tokenizer_reader_skip(r);
}

int tokenizer_json_model(struct tokenizer_json *j)
{
    if (tokenizer_reader_enter(&j->r, '{')) {
        return j->r.st->code;
    }
    for (bool first = true, more;;) {
        const char *key;
        size_t n;
        if (tokenizer_reader_next(&j->r, '}', &first, &more)) {
            return j->r.st->code;
        }
        if (!more) {
            break;
        }
        if (tokenizer_reader_key(&j->r, &key, &n) || read_model_field(j, key, n)) {
            return j->r.st->code;
        }
    }
    if (!j->has_bpe || !j->has_vocab || !j->merges) {
        return status_set(
            j->r.st, STATUS_CORRUPT,
            "%s: expected model.type, model.vocab and model.merges, found no model.%s", j->r.name,
            !j->has_bpe     ? "type"
            : !j->has_vocab ? "vocab"
                            : "merges");
    }
    if (!j->has_merges) {
        const char *behind = j->r.at;
        j->r.at = j->merges;
        if (tokenizer_json_each(j, read_merge)) {
            return j->r.st->code;
        }
        j->r.at = behind;
    }
    j->t->unk_piece = -1;
    if (j->has_unk) {
        j->t->unk_piece = tokenizer_lookup(j->t, j->unk_token, strlen(j->unk_token));
        if (j->t->unk_piece < 0) {
            return status_set(j->r.st, STATUS_CORRUPT,
                              "%s: model.unk_token \"%s\" is not in the vocabulary", j->r.name,
                              j->unk_token);
        }
    }
    return STATUS_OK;
}
