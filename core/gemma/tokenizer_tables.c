#include "core/gemma/tokenizer_tables.h"

#include "core/base/memory.h"
#include "core/gemma/tokenizer.h"

#include <string.h>

static uint64_t mix(uint64_t h)
{
    h *= 0x9E3779B97F4A7C15u; /* 2^64 / golden ratio, Knuth's multiplicative hash */
    return h ^ (h >> 29);
}

static uint64_t hash_of(const char *bytes, size_t n)
{
    uint64_t h = n;
    while (n >= 8) {
        uint64_t word;
        memcpy(&word, bytes, 8);
        h = mix(h ^ word);
        bytes += 8;
        n -= 8;
    }
    uint64_t tail = 0;
    for (size_t i = 0; i < n; i++) {
        tail = tail << 8 | (uint8_t)bytes[i];
    }
    return mix(mix(h ^ tail) + 1);
}

static uint64_t hash_of_pair(int32_t left, int32_t right)
{
    uint64_t h = mix((uint64_t)(uint32_t)left << 32 | (uint32_t)right);
    return h ^ (h >> 32);
}

/* The power of two that leaves a table of n entries at most two thirds full. */
static size_t slots_for(size_t n)
{
    size_t slots = 16;
    while (slots - slots / 3 < n) {
        slots *= 2;
    }
    return slots;
}

static bool grow(void **block, size_t *capacity, size_t need, size_t size, struct status *st)
{
    size_t more = *capacity ? *capacity : 64;
    while (more < need) {
        more *= 2;
    }
    void *bigger = memory_resize(*block, more, size);
    if (!bigger) {
        (void)status_no_memory(st, more * size);
        return false;
    }
    *block = bigger;
    *capacity = more;
    return true;
}

int tokenizer_add_piece(struct tokenizer *t, int64_t id, const char *bytes, size_t n,
                        uint32_t flags, const char *name, struct status *st)
{
    if (id < 0 || id > TOKENIZER_MAX_ID) {
        return status_set(st, STATUS_CORRUPT, "%s: expected token ids from 0 to %d, found %lld",
                          name, TOKENIZER_MAX_ID, (long long)id);
    }
    size_t i = (size_t)id;
    if (i >= t->capacity) {
        void *pieces = t->pieces;
        if (!grow(&pieces, &t->capacity, i + 1, sizeof *t->pieces, st)) {
            return st->code;
        }
        t->pieces = pieces;
    }
    if (i >= t->size) {
        memset(t->pieces + t->size, 0, (i + 1 - t->size) * sizeof *t->pieces);
        t->size = i + 1;
    }
    struct tokenizer_piece *piece = &t->pieces[i];
    if (piece->flags) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: id %zu is given to two pieces, \"%.*s\" and \"%.*s\"", name, i,
                          (int)(piece->length < 60 ? piece->length : 60),
                          t->bytes.data + piece->start, (int)(n < 60 ? n : 60), bytes);
    }
    if (n > UINT32_MAX - t->bytes.length) {
        return status_set(st, STATUS_TOO_LARGE, "%s: the pieces are longer than 4 GB", name);
    }
    *piece = (struct tokenizer_piece){(uint32_t)t->bytes.length, (uint32_t)n, flags};
    text_append(&t->bytes, bytes, n);
    return t->bytes.failed ? status_no_memory(st, t->bytes.length + n) : STATUS_OK;
}

/* The slot that holds this content, or the free one where it belongs. */
static size_t find_slot(const struct tokenizer *t, const char *bytes, size_t n, uint64_t hash)
{
    size_t mask = t->n_slots - 1, at = (size_t)hash & mask;
    for (; t->slots[at]; at = (at + 1) & mask) {
        if (t->slots[at] >> 32 == hash >> 32) {
            const struct tokenizer_piece *piece = &t->pieces[(t->slots[at] & UINT32_MAX) - 1];
            if (piece->length == n && memcmp(t->bytes.data + piece->start, bytes, n) == 0) {
                break;
            }
        }
    }
    return at;
}

int tokenizer_index_pieces(struct tokenizer *t, const char *name, struct status *st)
{
    t->n_slots = slots_for(t->size);
    t->slots = memory_zalloc(t->n_slots, sizeof *t->slots);
    if (!t->slots) {
        return status_no_memory(st, t->n_slots * sizeof *t->slots);
    }
    for (size_t i = 0; i < t->size; i++) {
        const struct tokenizer_piece *piece = &t->pieces[i];
        if (!(piece->flags & TOKENIZER_IN_VOCAB)) {
            continue;
        }
        const char *bytes = t->bytes.data + piece->start;
        uint64_t hash = hash_of(bytes, piece->length);
        size_t at = find_slot(t, bytes, piece->length, hash);
        if (t->slots[at]) {
            return status_set(st, STATUS_CORRUPT,
                              "%s: ids %zu and %zu have the same piece \"%.*s\"", name,
                              (size_t)(t->slots[at] & UINT32_MAX) - 1, i,
                              (int)(piece->length < 60 ? piece->length : 60), bytes);
        }
        t->slots[at] = hash >> 32 << 32 | (i + 1);
    }
    return STATUS_OK;
}

int32_t tokenizer_lookup(const struct tokenizer *t, const char *bytes, size_t n)
{
    size_t at = find_slot(t, bytes, n, hash_of(bytes, n));
    return (int32_t)(t->slots[at] & UINT32_MAX) - 1;
}

int tokenizer_append_merge(struct tokenizer *t, int32_t left, int32_t right, int32_t result,
                           struct status *st)
{
    if (t->n_merges == t->merge_capacity) {
        void *merges = t->merges;
        if (!grow(&merges, &t->merge_capacity, t->n_merges + 1, sizeof *t->merges, st)) {
            return st->code;
        }
        t->merges = merges;
    }
    t->merges[t->n_merges] = (struct tokenizer_merge){left, right, result, (uint32_t)t->n_merges};
    t->n_merges++;
    return STATUS_OK;
}

int tokenizer_add_merge(struct tokenizer *t, int32_t left, int32_t right, const char *name,
                        struct status *st)
{
    const struct tokenizer_piece *a = &t->pieces[left], *b = &t->pieces[right];
    text_clear(&t->joined);
    text_append(&t->joined, t->bytes.data + a->start, a->length);
    text_append(&t->joined, t->bytes.data + b->start, b->length);
    if (t->joined.failed) {
        return status_no_memory(st, (size_t)a->length + b->length);
    }
    /* Merges come in runs with the same result: most need no second search. */
    int32_t result = -1;
    if (t->n_merges) {
        int32_t last = t->merges[t->n_merges - 1].result;
        const struct tokenizer_piece *piece = &t->pieces[last];
        if (piece->length == t->joined.length &&
            memcmp(t->bytes.data + piece->start, t->joined.data, piece->length) == 0) {
            result = last;
        }
    }
    if (result < 0) {
        result = tokenizer_lookup(t, t->joined.data, t->joined.length);
    }
    if (result < 0) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: merge %zu gives \"%.60s\", which is not in the vocabulary", name,
                          t->n_merges, t->joined.data);
    }
    return tokenizer_append_merge(t, left, right, result, st);
}

const struct tokenizer_merge *tokenizer_find_merge(const struct tokenizer *t, int32_t left,
                                                   int32_t right)
{
    size_t mask = t->n_merge_slots - 1, at = (size_t)hash_of_pair(left, right) & mask;
    for (; t->merge_slots[at].left >= 0; at = (at + 1) & mask) {
        if (t->merge_slots[at].left == left && t->merge_slots[at].right == right) {
            return &t->merge_slots[at];
        }
    }
    return NULL;
}

static int index_merges(struct tokenizer *t, struct status *st)
{
    t->n_merge_slots = slots_for(t->n_merges);
    t->merge_slots = memory_alloc(t->n_merge_slots, sizeof *t->merge_slots);
    if (!t->merge_slots) {
        return status_no_memory(st, t->n_merge_slots * sizeof *t->merge_slots);
    }
    memset(t->merge_slots, 0xFF, t->n_merge_slots * sizeof *t->merge_slots);
    size_t mask = t->n_merge_slots - 1;
    for (size_t i = 0; i < t->n_merges; i++) {
        const struct tokenizer_merge *merge = &t->merges[i];
        size_t at = (size_t)hash_of_pair(merge->left, merge->right) & mask;
        const struct tokenizer_merge *slot = &t->merge_slots[at];
        while (slot->left >= 0 && (slot->left != merge->left || slot->right != merge->right)) {
            at = (at + 1) & mask;
            slot = &t->merge_slots[at];
        }
        t->merge_slots[at] = *merge; /* of a pair listed twice the last rank counts, as in HF */
    }
    memory_free(t->merges);
    t->merges = NULL;
    return STATUS_OK;
}

static void note_spaces(struct tokenizer *t)
{
    int32_t last = -1;
    for (size_t m = 0; m < t->n_merges; m++) {
        if (t->merges[m].result == last) {
            continue;
        }
        last = t->merges[m].result;
        const char *bytes = t->bytes.data + t->pieces[last].start;
        size_t n = t->pieces[last].length;
        for (size_t i = 1; n >= TOKENIZER_SPACE_BYTES && i <= n - TOKENIZER_SPACE_BYTES; i++) {
            if (bytes[i] == TOKENIZER_SPACE[0] &&
                memcmp(bytes + i, TOKENIZER_SPACE, TOKENIZER_SPACE_BYTES) == 0) {
                t->before_space[(uint8_t)bytes[i - 1]] = true;
            }
        }
    }
}

int tokenizer_finish(struct tokenizer *t, struct status *st)
{
    t->bos = tokenizer_find(t, "<bos>");
    t->eos = tokenizer_find(t, "<eos>");
    t->pad = tokenizer_find(t, "<pad>");
    t->unk = tokenizer_find(t, "<unk>");
    for (int b = 0; b < 256; b++) {
        static const char hex[] = "0123456789ABCDEF";
        char content[6] = {'<', '0', 'x', hex[b >> 4], hex[b & 15], '>'};
        t->byte_ids[b] = tokenizer_lookup(t, content, sizeof content);
    }
    for (int c = 0; c < 128; c++) {
        char content = (char)c;
        t->ascii_ids[c] = tokenizer_lookup(t, &content, 1);
    }
    if (t->replace_space) {
        t->ascii_ids[' '] = tokenizer_lookup(t, TOKENIZER_SPACE, TOKENIZER_SPACE_BYTES);
    }
    t->never_unk = t->byte_fallback;
    for (int b = 0; b <= 0xF4; b++) { /* the highest byte of UTF-8; 0xC0 and 0xC1 are none either */
        bool piece = b < 128 && t->ascii_ids[b] >= 0;
        if (t->byte_ids[b] < 0 && !piece && b != 0xC0 && b != 0xC1) {
            t->never_unk = false;
        }
    }
    note_spaces(t);
    text_free(&t->joined);
    return index_merges(t, st);
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int tokenizer_byte_of(const char *content, size_t n)
{
    if (n != 6 || memcmp(content, "<0x", 3) != 0 || content[5] != '>') {
        return -1;
    }
    int high = hex_digit(content[3]), low = hex_digit(content[4]);
    return high < 0 || low < 0 ? -1 : high * 16 + low;
}

/* The child of a node by byte, 0 if there is none. */
static uint32_t child_of(const struct tokenizer_trie *trie, uint32_t node, uint8_t byte)
{
    if (node == 0) {
        return trie->first[byte];
    }
    uint32_t child = trie->nodes[node].child;
    while (child && trie->nodes[child].byte != byte) {
        child = trie->nodes[child].sibling;
    }
    return child;
}

int tokenizer_trie_add(struct tokenizer *t, struct tokenizer_trie *trie, int32_t id,
                       struct status *st)
{
    const char *content = t->bytes.data + t->pieces[id].start;
    size_t n = t->pieces[id].length;
    bool spaces = trie == &t->normalized && t->replace_space;
    uint32_t node = 0;
    for (size_t i = 0; i < n; i++) {
        const char *step = spaces && content[i] == ' ' ? TOKENIZER_SPACE : content + i;
        size_t steps = step == content + i ? 1 : TOKENIZER_SPACE_BYTES;
        for (size_t s = 0; s < steps; s++) {
            uint8_t byte = (uint8_t)step[s];
            uint32_t child = child_of(trie, node, byte);
            if (!child) {
                if (trie->n + 2 > trie->capacity) {
                    void *nodes = trie->nodes;
                    if (!grow(&nodes, &trie->capacity, trie->n + 2, sizeof *trie->nodes, st)) {
                        return st->code;
                    }
                    trie->nodes = nodes;
                }
                trie->n += trie->n == 0; /* node 0 is the root, whose children are in first[] */
                child = (uint32_t)trie->n++;
                trie->nodes[child] = (struct tokenizer_node){0, 0, -1, byte};
                if (node == 0) {
                    trie->first[byte] = child;
                } else {
                    trie->nodes[child].sibling = trie->nodes[node].child;
                    trie->nodes[node].child = child;
                }
            }
            node = child;
        }
    }
    if (node) {
        trie->nodes[node].id = id;
    }
    return STATUS_OK;
}

size_t tokenizer_trie_match(const struct tokenizer *t, const struct tokenizer_trie *trie,
                            const char *text, size_t n, int32_t *id)
{
    bool spaces = trie == &t->normalized && t->replace_space;
    uint32_t node = 0;
    size_t longest = 0;
    for (size_t i = 0; i < n; i++) {
        if (spaces && text[i] == ' ') {
            for (size_t s = 0; s < TOKENIZER_SPACE_BYTES && (s == 0 || node); s++) {
                node = child_of(trie, node, (uint8_t)TOKENIZER_SPACE[s]);
            }
        } else {
            node = child_of(trie, node, (uint8_t)text[i]);
        }
        if (!node) {
            break;
        }
        if (trie->nodes[node].id >= 0) {
            longest = i + 1;
            *id = trie->nodes[node].id;
        }
    }
    return longest;
}
