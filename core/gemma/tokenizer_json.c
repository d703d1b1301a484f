/* tokenizer.json of huggingface/tokenizers (tokenizer/serialization.rs,
 * models/bpe/serialization.rs), as far as Gemma uses it; anything that would change ids and is not
 * done here is refused. */
#include "core/gemma/tokenizer_json.h"

#include "core/base/memory.h"
#include "core/gemma/tokenizer.h"

#include <stdio.h>
#include <string.h>

bool tokenizer_json_is(const char *s, size_t n, const char *word)
{
    return strlen(word) == n && memcmp(s, word, n) == 0;
}

int tokenizer_json_keep(struct tokenizer_json *j, char *out, size_t capacity)
{
    const char *s;
    size_t n;
    (void)snprintf(out, capacity, "?");
    if (tokenizer_reader_peek(&j->r) != '"') {
        return tokenizer_reader_skip(&j->r);
    }
    if (tokenizer_reader_string(&j->r, &s, &n)) {
        return j->r.st->code;
    }
    if (n < capacity && !memchr(s, '\0', n)) {
        memcpy(out, s, n);
        out[n] = '\0';
    }
    return STATUS_OK;
}

int tokenizer_json_unsupported(struct tokenizer_json *j, const char *what, const char *found,
                               const char *expected)
{
    return status_set(
        j->r.st, STATUS_UNSUPPORTED,
        "%s: %s \"%s\" is not supported (expected %s); use the tokenizer of the Gemma "
        "release",
        j->r.name, what, found, expected);
}

int tokenizer_json_each(struct tokenizer_json *j, int (*read)(struct tokenizer_json *))
{
    if (tokenizer_reader_enter(&j->r, '[')) {
        return j->r.st->code;
    }
    for (bool first = true, more;;) {
        if (tokenizer_reader_next(&j->r, ']', &first, &more)) {
            return j->r.st->code;
        }
        if (!more) {
            return STATUS_OK;
        }
        if (read(j)) {
            return j->r.st->code;
        }
    }
}

struct added {
    struct text content;
    long long id; /* -1: not given */
    bool single_word, lstrip, rstrip, normalized, special;
};

static int read_added_field(struct tokenizer_json *j, const char *key, size_t n, struct added *a)
{
    static const char *const names[] = {"single_word", "lstrip", "rstrip", "normalized", "special"};
    bool *const values[] = {&a->single_word, &a->lstrip, &a->rstrip, &a->normalized, &a->special};
    if (tokenizer_json_is(key, n, "id")) {
        return tokenizer_reader_integer(&j->r, &a->id);
    }
    if (tokenizer_json_is(key, n, "content")) {
        const char *s;
        size_t length;
        if (tokenizer_reader_string(&j->r, &s, &length)) {
            return j->r.st->code;
        }
        if (text_utf8_valid(s, length) < length) {
            return tokenizer_reader_expected(&j->r, "an added token of valid UTF-8 before this");
        }
        text_clear(&a->content);
        text_append(&a->content, s, length);
        return a->content.failed ? status_no_memory(j->r.st, length) : STATUS_OK;
    }
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (tokenizer_json_is(key, n, names[i])) {
            return tokenizer_reader_boolean(&j->r, values[i]);
        }
    }
    return tokenizer_reader_skip(&j->r);
}

static int enter_added(struct tokenizer_json *j, const struct added *a)
{
    struct tokenizer *t = j->t;
    const char *content = a->content.data, *name = j->r.name;
    size_t n = a->content.length;
    if (n == 0 || a->id < 0) {
        return status_set(j->r.st, STATUS_CORRUPT,
                          "%s: expected every member of added_tokens to have an id and a content",
                          name);
    }
    bool strips = a->lstrip || a->rstrip;
    if (a->single_word || (a->normalized && strips)) {
        return status_set(j->r.st, STATUS_UNSUPPORTED,
                          "%s: added token \"%.60s\": %s is not supported; set it to false", name,
                          content,
                          a->single_word ? "single_word" : "normalized with lstrip or rstrip");
    }
    int32_t in_vocab = tokenizer_lookup(t, content, n);
    if (in_vocab >= 0 && in_vocab != a->id) {
        return status_set(j->r.st, STATUS_CORRUPT,
                          "%s: \"%.60s\" has id %d in the vocabulary and %lld in added_tokens",
                          name, content, in_vocab, a->id);
    }
    if (in_vocab < 0 && tokenizer_add_piece(t, a->id, content, n, TOKENIZER_ADDED, name, j->r.st)) {
        return j->r.st->code;
    }
    int32_t id = (int32_t)a->id;
    t->pieces[id].flags |= TOKENIZER_ADDED | (a->special ? TOKENIZER_SPECIAL : 0u) |
                           (a->lstrip ? TOKENIZER_LSTRIP : 0u) |
                           (a->rstrip ? TOKENIZER_RSTRIP : 0u);
    return tokenizer_trie_add(t, a->normalized ? &t->normalized : &t->raw, id, j->r.st);
}

static int read_added(struct tokenizer_json *j)
{
    struct added a = {.id = -1};
    int code = tokenizer_reader_enter(&j->r, '{');
    for (bool first = true, more = true; !code && more;) {
        const char *key;
        size_t n;
        code = tokenizer_reader_next(&j->r, '}', &first, &more);
        if (!code && more) {
            code = tokenizer_reader_key(&j->r, &key, &n);
        }
        if (!code && more) {
            code = read_added_field(j, key, n, &a);
        }
    }
    if (!code) {
        code = enter_added(j, &a);
    }
    text_free(&a.content);
    return code;
}

static int read_top_field(struct tokenizer_json *j, const char *key, size_t n)
{
    if (tokenizer_json_is(key, n, "added_tokens")) {
        (void)tokenizer_reader_peek(&j->r);
        j->added_tokens = j->r.at;
        return tokenizer_reader_skip(&j->r);
    }
    if (tokenizer_json_is(key, n, "normalizer")) {
        return tokenizer_json_normalizer(j);
    }
    if (tokenizer_json_is(key, n, "pre_tokenizer")) {
        return tokenizer_json_pre_tokenizer(j);
    }
    if (tokenizer_json_is(key, n, "decoder")) {
        return tokenizer_json_decoder(j);
    }
    return tokenizer_json_is(key, n, "model") ? tokenizer_json_model(j)
                                              : tokenizer_reader_skip(&j->r);
}

static int read_document(struct tokenizer_json *j)
{
    struct tokenizer_reader *r = &j->r;
    if (tokenizer_reader_enter(r, '{')) {
        return r->st->code;
    }
    for (bool first = true, more;;) {
        const char *key;
        size_t n;
        if (tokenizer_reader_next(r, '}', &first, &more)) {
            return r->st->code;
        }
        if (!more) {
            break;
        }
        if (tokenizer_reader_key(r, &key, &n) || read_top_field(j, key, n)) {
            return r->st->code;
        }
    }
    (void)tokenizer_reader_peek(r);
    if (r->at != r->end) {
        return tokenizer_reader_expected(r, "the end of the file");
    }
    if (!j->has_vocab) {
        return status_set(r->st, STATUS_CORRUPT, "%s: expected a member \"model\", found none",
                          r->name);
    }
    if (!j->restores_spaces) {
        return status_set(
            r->st, STATUS_UNSUPPORTED,
            "%s: expected a decoder that replaces U+2581 by a space, found none; use the "
            "tokenizer of the Gemma release",
            r->name);
    }
    if (j->splits_spaces && !j->t->replace_space) {
        return status_set(r->st, STATUS_UNSUPPORTED,
                          "%s: the pre_tokenizer splits on spaces, which is only supported after a "
                          "normalizer that replaces them by U+2581",
                          r->name);
    }
    r->at = j->added_tokens;
    return j->added_tokens ? tokenizer_json_each(j, read_added) : STATUS_OK;
}

int tokenizer_parse_json(struct tokenizer **tokenizer, const char *bytes, size_t n,
                         const char *name, struct status *st)
{
    *tokenizer = NULL;
    struct tokenizer *t = memory_zalloc(1, sizeof *t);
    if (!t) {
        return status_no_memory(st, sizeof *t);
    }
    struct tokenizer_json j = {
        .r = {.start = bytes, .at = bytes, .end = bytes + n, .name = name, .st = st}, .t = t};
    int code = read_document(&j);
    if (!code) {
        code = tokenizer_finish(t, st);
    }
    text_free(&j.r.scratch);
    if (code) {
        tokenizer_close(t);
        return code;
    }
    *tokenizer = t;
    return STATUS_OK;
}
