/* Byte-pair merging as huggingface/tokenizers does it (models/bpe/word.rs, model.rs): candidates in
 * a heap by (rank, position), entries that no longer hold skipped when they surface. O(n log n). */
#include "core/base/memory.h"
#include "core/gemma/tokenizer.h"
#include "core/gemma/tokenizer_tables.h"

#include <string.h>

#define NONE UINT32_MAX

struct symbol {
    int32_t id; /* -1 once merged into its left neighbour */
    uint32_t previous, next;
};

struct candidate {
    uint64_t key; /* rank << 32 | position of the left symbol */
    int32_t result;
};

struct work {
    const struct tokenizer *t;
    struct symbol *symbols; /* of the stretch of text being merged */
    size_t n_symbols, symbol_capacity;
    struct candidate *heap;
    size_t n_heap, heap_capacity;
    int32_t *ids;
    size_t n_ids, id_capacity;
    struct status *st;
};

/* *capacity becomes at least need. */
static bool reserve(void **block, size_t *capacity, size_t need, size_t size, struct status *st)
{
    if (need <= *capacity) {
        return true;
    }
    size_t more = *capacity * 2 > need ? *capacity * 2 : need + 64;
    void *bigger = memory_resize(*block, more, size);
    if (!bigger) {
        (void)status_no_memory(st, more * size);
        return false;
    }
    *block = bigger;
    *capacity = more;
    return true;
}

static int emit(struct work *w, int32_t id)
{
    void *ids = w->ids;
    if (!reserve(&ids, &w->id_capacity, w->n_ids + 1, sizeof *w->ids, w->st)) {
        return w->st->code;
    }
    w->ids = ids;
    w->ids[w->n_ids++] = id;
    return STATUS_OK;
}

static int add_symbol(struct work *w, int32_t id)
{
    void *symbols = w->symbols;
    if (!reserve(&symbols, &w->symbol_capacity, w->n_symbols + 1, sizeof *w->symbols, w->st)) {
        return w->st->code;
    }
    w->symbols = symbols;
    uint32_t at = (uint32_t)w->n_symbols++;
    w->symbols[at] = (struct symbol){id, at ? at - 1 : NONE, at + 1};
    return STATUS_OK;
}

static int push(struct work *w, uint32_t left)
{
    const struct symbol *a = &w->symbols[left];
    const struct tokenizer_merge *merge = tokenizer_find_merge(w->t, a->id, w->symbols[a->next].id);
    if (!merge) {
        return STATUS_OK;
    }
    void *heap = w->heap;
    if (!reserve(&heap, &w->heap_capacity, w->n_heap + 1, sizeof *w->heap, w->st)) {
        return w->st->code;
    }
    w->heap = heap;
    struct candidate c = {(uint64_t)merge->rank << 32 | left, merge->result};
    size_t at = w->n_heap++;
    while (at && w->heap[(at - 1) / 2].key > c.key) {
        w->heap[at] = w->heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    w->heap[at] = c;
    return STATUS_OK;
}

static struct candidate pop(struct work *w)
{
    struct candidate top = w->heap[0], last = w->heap[--w->n_heap];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child >= w->n_heap) {
            break;
        }
        child += child + 1 < w->n_heap && w->heap[child + 1].key < w->heap[child].key;
        if (w->heap[child].key >= last.key) {
            break;
        }
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

static int merge_symbols(struct work *w)
{
    w->symbols[w->n_symbols - 1].next = NONE;
    w->n_heap = 0;
    for (uint32_t i = 0; i + 1 < w->n_symbols; i++) {
        if (push(w, i)) {
            return w->st->code;
        }
    }
    while (w->n_heap) {
        struct candidate top = pop(w);
        uint32_t at = (uint32_t)(top.key & UINT32_MAX);
        struct symbol *left = &w->symbols[at];
        if (left->id < 0 || left->next == NONE) {
            continue;
        }
        struct symbol *right = &w->symbols[left->next];
        /* Another pair may stand here by now; it goes ahead if it gives the same piece, as in HF.
         */
        const struct tokenizer_merge *merge = tokenizer_find_merge(w->t, left->id, right->id);
        if (!merge || merge->result != top.result) {
            continue;
        }
        left->id = top.result;
        left->next = right->next;
        right->id = -1;
        if (left->next != NONE) {
            w->symbols[left->next].previous = at;
        }
        if ((left->previous != NONE && push(w, left->previous)) ||
            (left->next != NONE && push(w, at))) {
            return w->st->code;
        }
    }
    for (uint32_t i = 0; i != NONE; i = w->symbols[i].next) {
        if (emit(w, w->symbols[i].id)) {
            return w->st->code;
        }
    }
    return STATUS_OK;
}

/* The first n bytes of text as symbols: a piece for each character, else its bytes, else <unk>. */
static int add_characters(struct work *w, const char *text, size_t n)
{
    const struct tokenizer *t = w->t;
    int32_t unk = -1; /* not yet added: the next one may be fused with it */
    w->n_symbols = 0;
    for (size_t i = 0, length; i < n; i += length) {
        uint8_t first = (uint8_t)text[i];
        length = first < 0x80 ? 1 : first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4; /* known to be valid */
        int32_t id = first < 0x80 ? t->ascii_ids[first] : tokenizer_lookup(t, text + i, length);
        if (id >= 0) {
            if ((unk >= 0 && add_symbol(w, unk)) || add_symbol(w, id)) {
                return w->st->code;
            }
            unk = -1;
            continue;
        }
        const char *bytes = first == ' ' && t->replace_space ? TOKENIZER_SPACE : text + i;
        size_t n_bytes = bytes == text + i ? length : TOKENIZER_SPACE_BYTES;
        bool has_bytes = t->byte_fallback;
        for (size_t b = 0; b < n_bytes; b++) {
            has_bytes = has_bytes && t->byte_ids[(uint8_t)bytes[b]] >= 0;
        }
        for (size_t b = 0; b < n_bytes && has_bytes; b++) {
            /* A waiting <unk> stays behind the bytes, as in HF. */
            if (add_symbol(w, t->byte_ids[(uint8_t)bytes[b]])) {
                return w->st->code;
            }
        }
        if (!has_bytes) {
            if (unk >= 0 && !t->fuse_unk && add_symbol(w, unk)) {
                return w->st->code;
            }
            unk = t->unk_piece;
        }
    }
    return unk >= 0 ? add_symbol(w, unk) : STATUS_OK;
}

/* How much of the text can be merged on its own: up to a space that no merge can reach across. */
static size_t stretch(const struct tokenizer *t, const char *text, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        bool space = text[i] == ' ' && t->replace_space;
        if (text[i] == TOKENIZER_SPACE[0] && n - i >= TOKENIZER_SPACE_BYTES) {
            space = memcmp(text + i, TOKENIZER_SPACE, TOKENIZER_SPACE_BYTES) == 0;
        }
        if (space) {
            bool after_space = text[i - 1] == ' ' && t->replace_space;
            uint8_t before = (uint8_t)(after_space ? TOKENIZER_SPACE[2] : text[i - 1]);
            if (!t->before_space[before]) {
                return i;
            }
        }
    }
    return n;
}

static int encode_plain(struct work *w, const char *text, size_t n)
{
    const struct tokenizer *t = w->t;
    if (t->ignore_merges) {
        struct text whole = {0};
        for (size_t i = 0; i < n; i++) {
            bool space = text[i] == ' ' && t->replace_space;
            text_append(&whole, space ? TOKENIZER_SPACE : text + i,
                        space ? TOKENIZER_SPACE_BYTES : 1);
        }
        int32_t id = whole.failed ? -1 : tokenizer_lookup(t, whole.data, whole.length);
        bool failed = whole.failed;
        text_free(&whole);
        if (failed) {
            return status_no_memory(w->st, n);
        }
        if (id >= 0) {
            return emit(w, id);
        }
    }
    while (n) {
        /* An <unk> may be fused with one across the cut, so there is none where <unk> can occur. */
        size_t part = t->never_unk ? stretch(t, text, n) : n;
        if (add_characters(w, text, part) || (w->n_symbols && merge_symbols(w))) {
            return w->st->code;
        }
        text += part;
        n -= part;
    }
    return STATUS_OK;
}

/* Unicode's White_Space, which is what \s means where a token strips its surroundings. */
static size_t white_space(const char *s, size_t n)
{
    static const char *const wide[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\x80", "\xE2\x80\x81",
        "\xE2\x80\x82", "\xE2\x80\x83", "\xE2\x80\x84", "\xE2\x80\x85", "\xE2\x80\x86",
        "\xE2\x80\x87", "\xE2\x80\x88", "\xE2\x80\x89", "\xE2\x80\x8A", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80"};
    if (n && (s[0] == ' ' || (s[0] >= '\t' && s[0] <= '\r'))) {
        return 1;
    }
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++) {
        size_t length = strlen(wide[i]);
        if (n >= length && memcmp(s, wide[i], length) == 0) {
            return length;
        }
    }
    return 0;
}

/* Where the white space that ends at `stop` begins, not before `from`. */
static size_t strip_left(const char *text, size_t from, size_t stop)
{
    for (;;) {
        size_t length = 0;
        for (size_t back = 1; back <= 3 && back <= stop - from && !length; back++) {
            length = white_space(text + stop - back, back) == back ? back : 0;
        }
        if (!length) {
            return stop;
        }
        stop -= length;
    }
}

/* Cuts the text at added tokens: those of the raw text first, in what is left of it the normalized
 * ones; the rest goes to the model. Leftmost first, the longest of those (added_vocabulary.rs). */
static int encode_section(struct work *w, const char *text, size_t n, int level)
{
    const struct tokenizer *t = w->t;
    if (level == 2) {
        return n ? encode_plain(w, text, n) : STATUS_OK;
    }
    const struct tokenizer_trie *trie = level == 0 ? &t->raw : &t->normalized;
    if (trie->n == 0) {
        return encode_section(w, text, n, level + 1);
    }
    size_t from = 0; /* what comes before is done */
    for (size_t i = 0, step; i < n; i += step) {
        int32_t id;
        step = tokenizer_trie_match(t, trie, text + i, n - i, &id);
        if (!step) {
            step = 1;
            continue;
        }
        size_t start = i, stop = i + step;
        if ((t->pieces[id].flags & TOKENIZER_LSTRIP) && start > from) {
            start = strip_left(text, from, start);
        }
        if (t->pieces[id].flags & TOKENIZER_RSTRIP) {
            for (size_t space = 1; space; stop += space) {
                space = white_space(text + stop, n - stop);
            }
        }
        if ((start > from && encode_section(w, text + from, start - from, level + 1)) ||
            emit(w, id)) {
            return w->st->code;
        }
        from = stop;
    }
    return from < n ? encode_section(w, text + from, n - from, level + 1) : STATUS_OK;
}

int tokenizer_encode(const struct tokenizer *tokenizer, const char *text, size_t n, int32_t **ids,
                     size_t *n_ids, struct status *st)
{
    *ids = NULL;
    *n_ids = 0;
    if (n > INT32_MAX / TOKENIZER_SPACE_BYTES) {
        return status_set(st, STATUS_TOO_LARGE, "expected a text of at most %d bytes, found %zu",
                          INT32_MAX / TOKENIZER_SPACE_BYTES, n);
    }
    size_t valid = text_utf8_valid(text, n);
    if (valid < n) {
        return status_set(st, STATUS_INVALID,
                          "the text is not valid UTF-8 at byte %zu (0x%02X); send UTF-8", valid,
                          (unsigned)(uint8_t)text[valid]);
    }
    struct work w = {.t = tokenizer, .st = st};
    size_t guess = n / 3 + 8; /* English has 4 bytes a token */
    w.ids = memory_alloc(guess, sizeof *w.ids);
    w.id_capacity = guess;
    int code = w.ids ? encode_section(&w, text, n, 0) : status_no_memory(st, guess * sizeof *w.ids);
    memory_free(w.symbols);
    memory_free(w.heap);
    if (code) {
        memory_free(w.ids);
        return code;
    }
    *ids = w.ids;
    *n_ids = w.n_ids;
    return STATUS_OK;
}
