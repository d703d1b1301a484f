/* tokenizer.model (google/sentencepiece, sentencepiece_model.proto) read as Hugging Face converts
 * it (transformers convert_slow_tokenizer.py: GemmaConverter, generate_merges): every split of a
 * piece into two pieces is a merge, ordered by falling score of the piece, then by falling lengths.
 */
#include "core/base/memory.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/tokenizer_tables.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PIECE 1024 /* bytes; Gemma's longest has 93. Splitting costs the square of this. */

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };
enum { MODEL_BPE = 2 };
enum { WIRE_VARINT = 0, WIRE_64 = 1, WIRE_BYTES = 2, WIRE_32 = 5 };

/* A protobuf message, or a field's bytes. */
struct message {
    const uint8_t *at, *end;
};

struct scored {
    float score;
    int32_t id, type;
};

/* One way to split a piece, with lengths in characters. */
struct split {
    int32_t left, right, result;
    uint32_t left_length, right_length;
};

struct model {
    struct tokenizer *t;
    const uint8_t *start;
    const char *name;
    struct status *st;
    struct scored *scored;
    size_t n, capacity;
    struct split *splits;
    size_t n_splits, split_capacity;
    uint64_t model_type;
    bool dummy_prefix, has_charsmap;
};

static int broken(const struct model *m, const struct message *at, const char *expected)
{
    return status_set(m->st, STATUS_CORRUPT,
                      "%s: byte %zu: expected %s; is it a SentencePiece model?", m->name,
                      (size_t)(at->at - m->start), expected);
}

static int read_varint(const struct model *m, struct message *in, uint64_t *value)
{
    *value = 0;
    for (int shift = 0; shift < 70 && in->at < in->end; shift += 7) {
        uint8_t byte = *in->at++;
        if (shift < 63) {
            *value |= (uint64_t)(byte & 0x7F) << shift;
        } else {
            *value |= (uint64_t)(byte & 1) << 63;
        }
        if (byte < 0x80) {
            return STATUS_OK;
        }
    }
    return broken(m, in, "a whole number of at most 10 bytes");
}

/* One field: its number, and its value as a number (varint, 32 bits) or as bytes. */
struct field {
    uint64_t number, value;
    unsigned wire;
    struct message bytes;
};

static int read_field(const struct model *m, struct message *in, struct field *f)
{
    uint64_t tag, length = 0;
    if (read_varint(m, in, &tag)) {
        return m->st->code;
    }
    *f = (struct field){.number = tag >> 3, .wire = (unsigned)(tag & 7)};
    if (f->number == 0) {
        return broken(m, in, "a field number over 0");
    }
    if (f->wire == WIRE_VARINT) {
        return read_varint(m, in, &f->value);
    }
    if (f->wire == WIRE_BYTES && read_varint(m, in, &length)) {
        return m->st->code;
    }
    if (f->wire != WIRE_BYTES && f->wire != WIRE_32 && f->wire != WIRE_64) {
        return broken(m, in, "a field of wire type 0, 1, 2 or 5");
    }
    length = f->wire == WIRE_32 ? 4 : f->wire == WIRE_64 ? 8 : length;
    if (length > (uint64_t)(in->end - in->at)) {
        return broken(m, in, "a field that ends inside its message");
    }
    f->bytes = (struct message){in->at, in->at + length};
    for (size_t i = 0; f->wire == WIRE_32 && i < 4; i++) {
        f->value |= (uint64_t)in->at[i] << (8 * i); /* little endian */
    }
    in->at += length;
    return STATUS_OK;
}

static int add_piece(struct model *m, const struct message *piece, float score, uint64_t type)
{
    size_t n = (size_t)(piece->end - piece->at);
    const char *bytes = (const char *)piece->at;
    if (n == 0 || n > MAX_PIECE || text_utf8_valid(bytes, n) < n) {
        return status_set(m->st, STATUS_CORRUPT,
                          "%s: expected piece %zu to be 1 to %d bytes of UTF-8, found %zu bytes",
                          m->name, m->n, MAX_PIECE, n);
    }
    if (type < NORMAL || type > BYTE || !isfinite(score)) {
        return status_set(
            m->st, STATUS_CORRUPT,
            "%s: piece %zu: expected a type from 1 to 6 and a finite score, found %llu and "
            "%g",
            m->name, m->n, (unsigned long long)type, (double)score);
    }
    if (m->n == m->capacity) {
        size_t more = m->capacity ? m->capacity * 2 : 1024;
        struct scored *scored = memory_resize(m->scored, more, sizeof *scored);
        if (!scored) {
            return status_no_memory(m->st, more * sizeof *scored);
        }
        m->scored = scored;
        m->capacity = more;
    }
    m->scored[m->n] = (struct scored){score, (int32_t)m->n, (int32_t)type};
    return tokenizer_add_piece(m->t, (int64_t)m->n++, bytes, n, TOKENIZER_IN_VOCAB, m->name, m->st);
}

static int read_piece(struct model *m, struct message in)
{
    struct message piece = {in.at, in.at};
    float score = 0.0F;
    uint64_t type = NORMAL;
    while (in.at < in.end) {
        struct field f = {0};
        if (read_field(m, &in, &f)) {
            return m->st->code;
        }
        if (f.number == 1 && f.wire == WIRE_BYTES) {
            piece = f.bytes;
        } else if (f.number == 2 && f.wire == WIRE_32) {
            uint32_t bits = (uint32_t)f.value;
            memcpy(&score, &bits, sizeof score);
        } else if (f.number == 3 && f.wire == WIRE_VARINT) {
            type = f.value;
        }
    }
    return add_piece(m, &piece, score, type);
}

/* TrainerSpec (2) and NormalizerSpec (3): the fields that matter here. */
static int read_spec(struct model *m, struct message in, bool normalizer)
{
    while (in.at < in.end) {
        struct field f = {0};
        if (read_field(m, &in, &f)) {
            return m->st->code;
        }
        if (!normalizer && f.number == 3 && f.wire == WIRE_VARINT) {
            m->model_type = f.value;
        } else if (normalizer && f.number == 2 && f.wire == WIRE_BYTES) {
            m->has_charsmap = f.bytes.at < f.bytes.end;
        } else if (normalizer && f.number == 3 && f.wire == WIRE_VARINT) {
            m->dummy_prefix = f.value != 0;
        }
    }
    return STATUS_OK;
}

static int read_fields(struct model *m, struct message in)
{
    m->model_type = 1; /* defaults of the .proto: Unigram, and a prefix */
    m->dummy_prefix = true;
    while (in.at < in.end) {
        struct field f = {0};
        if (read_field(m, &in, &f)) {
            return m->st->code;
        }
        bool known = f.number >= 1 && f.number <= 3 && f.wire == WIRE_BYTES;
        if (known &&
            (f.number == 1 ? read_piece(m, f.bytes) : read_spec(m, f.bytes, f.number == 3))) {
            return m->st->code;
        }
    }
    if (m->n == 0) {
        return status_set(m->st, STATUS_CORRUPT, "%s: expected pieces, found none", m->name);
    }
    const char *what = m->model_type != MODEL_BPE ? "a model_type other than BPE"
                       : m->has_charsmap          ? "a precompiled_charsmap"
                       : m->dummy_prefix          ? "add_dummy_prefix"
                                                  : NULL;
    if (what) {
        return status_set(m->st, STATUS_UNSUPPORTED,
                          "%s: %s is not supported; use the tokenizer of the Gemma release",
                          m->name, what);
    }
    return STATUS_OK;
}

/* Gemma's first tokenizers have no piece for a tab; Hugging Face names the byte piece after it. */
static int name_the_tab(struct model *m)
{
    struct tokenizer_piece *byte = NULL;
    for (size_t i = 0; i < m->n; i++) {
        struct tokenizer_piece *piece = &m->t->pieces[i];
        const char *bytes = m->t->bytes.data + piece->start;
        if (piece->length == 1 && bytes[0] == '\t') {
            return STATUS_OK;
        }
        if (piece->length == 6 && memcmp(bytes, "<0x09>", 6) == 0) {
            byte = piece;
        }
    }
    if (byte) {
        byte->start = (uint32_t)m->t->bytes.length;
        byte->length = 1;
        text_char(&m->t->bytes, '\t');
    }
    return m->t->bytes.failed ? status_no_memory(m->st, m->t->bytes.length) : STATUS_OK;
}

static int mark_added(struct model *m)
{
    struct tokenizer *t = m->t;
    t->unk_piece = -1;
    for (size_t i = 0; i < m->n; i++) {
        int32_t type = m->scored[i].type, id = (int32_t)i;
        if (type != CONTROL && type != UNKNOWN && type != USER_DEFINED) {
            continue;
        }
        const char *bytes = t->bytes.data + t->pieces[i].start;
        size_t n = t->pieces[i].length;
        bool turn = (n == 15 && memcmp(bytes, "<start_of_turn>", n) == 0) ||
                    (n == 13 && memcmp(bytes, "<end_of_turn>", n) == 0);
        t->pieces[i].flags |=
            TOKENIZER_ADDED | (type != USER_DEFINED || turn ? TOKENIZER_SPECIAL : 0u);
        if (tokenizer_trie_add(t, &t->raw, id, m->st)) {
            return m->st->code;
        }
        if (type == UNKNOWN) {
            if (t->unk_piece >= 0) {
                return status_set(m->st, STATUS_CORRUPT,
                                  "%s: expected one piece of type UNKNOWN, found %d and %d",
                                  m->name, t->unk_piece, id);
            }
            t->unk_piece = id;
        }
    }
    return t->unk_piece >= 0
               ? STATUS_OK
               : status_set(m->st, STATUS_CORRUPT,
                            "%s: expected one piece of type UNKNOWN, found none", m->name);
}

/* All ways to split the piece, the longest left part first. */
static int add_splits(struct model *m, int32_t id)
{
    const struct tokenizer_piece *piece = &m->t->pieces[id];
    const char *bytes = m->t->bytes.data + piece->start;
    uint32_t right_length = 0, length = 0;
    for (uint32_t i = 0; i < piece->length; i++) {
        length += ((uint8_t)bytes[i] & 0xC0) != 0x80;
    }
    for (uint32_t i = piece->length - 1; i > 0; i--) {
        if (((uint8_t)bytes[i] & 0xC0) == 0x80) {
            continue; /* not between two characters */
        }
        right_length++;
        int32_t left = tokenizer_lookup(m->t, bytes, i);
        int32_t right = left < 0 ? -1 : tokenizer_lookup(m->t, bytes + i, piece->length - i);
        if (right < 0) {
            continue;
        }
        if (m->n_splits == m->split_capacity) {
            size_t more = m->split_capacity ? m->split_capacity * 2 : 64;
            struct split *splits = memory_resize(m->splits, more, sizeof *splits);
            if (!splits) {
                return status_no_memory(m->st, more * sizeof *splits);
            }
            m->splits = splits;
            m->split_capacity = more;
        }
        m->splits[m->n_splits++] =
            (struct split){left, right, id, length - right_length, right_length};
    }
    return STATUS_OK;
}

static int by_score(const void *a, const void *b)
{
    const struct scored *x = a, *y = b;
    if (x->score != y->score) {
        return x->score > y->score ? -1 : 1;
    }
    return x->id < y->id ? -1 : 1;
}

static int by_lengths(const void *a, const void *b)
{
    const struct split *x = a, *y = b;
    if (x->left_length != y->left_length) {
        return x->left_length > y->left_length ? -1 : 1;
    }
    if (x->right_length != y->right_length) {
        return x->right_length > y->right_length ? -1 : 1;
    }
    return x->result < y->result ? -1 : 1;
}

static int add_merges(struct model *m)
{
    if (m->n > 1) {
        qsort(m->scored, m->n, sizeof *m->scored, by_score);
    }
    for (size_t i = 0, next; i < m->n; i = next) {
        m->n_splits = 0;
        for (next = i; next < m->n && m->scored[next].score == m->scored[i].score; next++) {
            if (add_splits(m, m->scored[next].id)) {
                return m->st->code;
            }
        }
        if (m->n_splits > 1) {
            qsort(m->splits, m->n_splits, sizeof *m->splits, by_lengths);
        }
        for (size_t s = 0; s < m->n_splits; s++) {
            const struct split *split = &m->splits[s];
            if (tokenizer_append_merge(m->t, split->left, split->right, split->result, m->st)) {
                return m->st->code;
            }
        }
    }
    return STATUS_OK;
}

int tokenizer_parse_model(struct tokenizer **tokenizer, const void *bytes, size_t n,
                          const char *name, struct status *st)
{
    *tokenizer = NULL;
    struct tokenizer *t = memory_zalloc(1, sizeof *t);
    if (!t) {
        return status_no_memory(st, sizeof *t);
    }
    t->replace_space = t->byte_fallback = t->fuse_unk = true;
    struct model m = {.t = t, .start = bytes, .name = name, .st = st};
    struct message whole = {m.start, m.start + n};
    bool failed = read_fields(&m, whole) || name_the_tab(&m) ||
                  tokenizer_index_pieces(t, name, st) || mark_added(&m) || add_merges(&m) ||
                  tokenizer_finish(t, st);
    memory_free(m.scored);
    memory_free(m.splits);
    if (failed) {
        tokenizer_close(t);
        return st->code;
    }
    *tokenizer = t;
    return STATUS_OK;
}
