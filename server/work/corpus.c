#include "server/work/corpus.h"

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/memory.h"
#include "server/work/lines.h"

#include <stdlib.h>
#include <string.h>

/* Hashes of what was seen: open addressing, at most half full; an entry of zeros is free. */
struct seen {
    struct hash *entries;
    size_t n, capacity;
};

struct corpus {
    const struct engine *engine;
    struct corpus_options options;
    struct lines *lines; /* NULL: options.texts */
    size_t next_text;
    int32_t bos; /* -1: none */
    int32_t uncounted[ENGINE_UNCOUNTED];
    size_t n_uncounted;
    struct seen seen;
    struct corpus_figures figures;
    bool ended;
    /* The document that is being cut, and the context that is being filled. */
    int32_t *document;
    size_t document_at, document_n;
    int64_t document_line;
    int32_t *context; /* [context] with <bos> in front */
    size_t context_n; /* <bos> included; context_start: empty */
    size_t context_start;
    int64_t context_line;
};

/* --- what was seen ---------------------------------------------------------------------------- */

static struct hash *find_seen(const struct seen *s, struct hash h)
{
    size_t at = (size_t)h.low & (s->capacity - 1);
    while ((s->entries[at].low || s->entries[at].high) &&
           (s->entries[at].low != h.low || s->entries[at].high != h.high)) {
        at = (at + 1) & (s->capacity - 1);
    }
    return &s->entries[at];
}

static int grow_seen(struct seen *s, struct status *st)
{
    struct seen larger = {.n = s->n, .capacity = s->capacity ? 2 * s->capacity : 1024};
    larger.entries = memory_zalloc(larger.capacity, sizeof *larger.entries);
    if (!larger.entries) {
        return status_no_memory(st, larger.capacity * sizeof *larger.entries);
    }
    for (size_t i = 0; i < s->capacity; i++) {
        if (s->entries[i].low || s->entries[i].high) {
            *find_seen(&larger, s->entries[i]) = s->entries[i];
        }
    }
    memory_free(s->entries);
    *s = larger;
    return STATUS_OK;
}

/* *new says whether these bytes were not there before. */
static int add_seen(struct seen *s, char kind, const void *bytes, size_t n, bool *is_new,
                    struct status *st)
{
    struct hash h = hash_start();
    hash_add(&h, &kind, 1);
    hash_add(&h, bytes, n);
    h.low |= h.low == 0 && h.high == 0;
    if (s->n >= s->capacity / 2) {
        int code = grow_seen(s, st);
        if (code) {
            return code;
        }
    }
    struct hash *entry = find_seen(s, h);
    *is_new = entry->low != h.low || entry->high != h.high;
    s->n += *is_new;
    *entry = h;
    return STATUS_OK;
}

/* --- opening ---------------------------------------------------------------------------------- */

int corpus_open(struct corpus **out, const struct engine *engine, const struct corpus_options *o,
                struct status *st)
{
    *out = NULL;
    size_t positions = engine_config(engine)->max_positions;
    if (o->context < 2 || o->context > positions) {
        return status_set(st, STATUS_INVALID,
                          "context: expected 2 to %zu tokens (the model's positions), found %zu",
                          positions, o->context);
    }
    struct corpus *c = memory_zalloc(1, sizeof *c);
    if (!c) {
        return status_no_memory(st, sizeof *c);
    }
    c->engine = engine;
    c->options = *o;
    c->bos = engine_bos(engine);
    c->n_uncounted = engine_uncounted(engine, c->uncounted);
    c->context = memory_alloc(o->context, sizeof *c->context);
    int code = c->context ? STATUS_OK : status_no_memory(st, o->context * sizeof *c->context);
    if (!code && o->path) {
        code = lines_open(&c->lines, o->path, st);
    }
    if (code) {
        corpus_close(c);
        return code;
    }
    if (c->bos >= 0) {
        c->context[0] = c->bos;
        c->context_start = c->context_n = 1;
    }
    *out = c;
    return STATUS_OK;
}

void corpus_close(struct corpus *c)
{
    if (c) {
        lines_close(c->lines);
        memory_free(c->seen.entries);
        memory_free(c->document);
        memory_free(c->context);
        memory_free(c);
    }
}

/* --- records ---------------------------------------------------------------------------------- */

/* Whether the error is the line's own and not the machine's. */
static bool is_wrong_line(int code)
{
    return code == STATUS_INVALID || code == STATUS_UNPROCESSABLE || code == STATUS_TOO_LARGE;
}

static void note_wrong(struct corpus *c, const struct lines_record *r, const struct status *st)
{
    c->figures.wrong++;
    if (c->figures.wrong > CORPUS_NAMED || !c->options.notice) {
        return;
    }
    struct text line = {0};
    text_printf(&line, "left out: %s, line %lld: %s", r->file, (long long)r->line, st->message);
    if (!line.failed) {
        c->options.notice(c->options.notice_user, line.data);
    }
    text_free(&line);
}

/* The next document's text becomes c->document. */
static int take_text(struct corpus *c, const char *text, size_t n, struct status *st)
{
    bool is_new = true;
    int code =
        c->options.keep_duplicates ? STATUS_OK : add_seen(&c->seen, 't', text, n, &is_new, st);
    if (code || !is_new) {
        c->figures.duplicates += !code && !is_new;
        return code;
    }
    code = engine_tokenize(c->engine, text, n, false, &c->document, &c->document_n, st);
    if (code) {
        return code;
    }
    size_t kept = 0;
    for (size_t i = 0; i < c->document_n; i++) {
        if (c->document[i] != c->bos) {
            c->document[kept++] = c->document[i];
        }
    }
    c->document_n = kept;
    return STATUS_OK;
}

static int take_tokens(struct corpus *c, const cJSON *tokens, struct status *st)
{
    size_t n = cJSON_IsArray(tokens) ? (size_t)cJSON_GetArraySize(tokens) : 0;
    const struct gemma_config *config = engine_config(c->engine);
    if (n == 0 || n > config->max_positions) {
        return status_set(st, STATUS_INVALID,
                          "tokens: expected a list of 1 to %zu ids (the model's positions), found "
                          "%zu",
                          config->max_positions, n);
    }
    int32_t *ids = memory_alloc(n, sizeof *ids);
    if (!ids) {
        return status_no_memory(st, n * sizeof *ids);
    }
    const cJSON *item;
    size_t i = 0;
    bool is_new = true;
    int code = STATUS_OK;
    cJSON_ArrayForEach(item, tokens)
    {
        long long id = 0;
        if (!json_integer(item, 0, (long long)config->vocab_size - 1, &id)) {
            code = status_set(st, STATUS_INVALID, "tokens: entry %zu: expected an id of 0 to %zu",
                              i, config->vocab_size - 1);
            break;
        }
        ids[i++] = (int32_t)id;
    }
    if (!code && !c->options.keep_duplicates) {
        code = add_seen(&c->seen, 'i', ids, n * sizeof *ids, &is_new, st);
    }
    if (code || !is_new) {
        c->figures.duplicates += !code && !is_new;
        memory_free(ids);
        return code;
    }
    c->document = ids;
    c->document_n = n;
    return STATUS_OK;
}

/* *as_given: the document is a context of its own. */
static int take_record(struct corpus *c, const struct lines_record *r, bool *as_given,
                       struct status *st)
{
    *as_given = false;
    if (r->is_too_long) {
        return status_set(st, STATUS_TOO_LARGE, "longer than %zu MB; split it",
                          LINES_RECORD_LIMIT >> 20);
    }
    if (r->is_plain) {
        return take_text(c, r->bytes, r->n, st);
    }
    if (r->n == strspn(r->bytes, " \t")) {
        return STATUS_OK; /* a blank line */
    }
    cJSON *root;
    int code = json_parse(&root, r->bytes, r->n, "JSON", st);
    if (code) {
        return code;
    }
    const cJSON *text = json_get(root, "text"), *tokens = json_get(root, "tokens");
    if (tokens) {
        *as_given = true;
        code = take_tokens(c, tokens, st);
    } else if (cJSON_IsString(text)) {
        code = take_text(c, text->valuestring, strlen(text->valuestring), st);
    } else {
        code = status_set(st, STATUS_UNPROCESSABLE,
                          "expected {\"text\": \"...\"} or {\"tokens\": [ids]}");
    }
    cJSON_Delete(root);
    return code;
}

static int next_record(struct corpus *c, struct lines_record *r, bool *found, struct status *st)
{
    if (c->lines) {
        return lines_next(c->lines, r, found, st);
    }
    *found = c->next_text < c->options.n_texts;
    if (*found) {
        const char *text = c->options.texts[c->next_text++];
        *r = (struct lines_record){.bytes = text,
                                   .n = strlen(text),
                                   .is_plain = true,
                                   .file = "texts",
                                   .line = (int64_t)c->next_text,
                                   .number = (int64_t)c->next_text};
    }
    return STATUS_OK;
}

/* Reads on until there is a document with tokens, or the end. */
static int next_document(struct corpus *c, bool *found, bool *as_given, struct status *st)
{
    struct lines_record r;
    memory_free(c->document);
    c->document = NULL;
    c->document_at = c->document_n = 0;
    for (;;) {
        int code = next_record(c, &r, found, st);
        if (code || !*found) {
            return code;
        }
        c->figures.lines++;
        code = take_record(c, &r, as_given, st);
        if (code && !is_wrong_line(code)) {
            return code;
        }
        if (code) {
            note_wrong(c, &r, st);
            status_clear(st);
        }
        if (c->document_n) {
            c->document_line = r.number;
            return STATUS_OK;
        }
        memory_free(c->document);
        c->document = NULL;
    }
}

/* --- contexts --------------------------------------------------------------------------------- */

static void give(struct corpus *c, const int32_t *ids, size_t n, int64_t line,
                 struct corpus_context *out, bool *found)
{
    int64_t counted = 0;
    for (size_t i = 0; i < n; i++) {
        bool counts = true;
        for (size_t u = 0; u < c->n_uncounted; u++) {
            counts = counts && ids[i] != c->uncounted[u];
        }
        counted += counts;
    }
    int64_t limit = c->options.limit_tokens;
    if (limit && counted > limit - c->figures.tokens) {
        c->ended = true;
        *found = false;
        return;
    }
    c->figures.contexts++;
    c->figures.tokens += counted;
    *out = (struct corpus_context){ids, n, line, counted};
    *found = true;
}

/* Moves tokens of the document into the context; true when the context is full, or the document is
 * at its end and contexts do not go beyond it. */
static bool fill_context(struct corpus *c)
{
    size_t room = c->options.context - c->context_n;
    size_t left = c->document_n - c->document_at;
    size_t n = room < left ? room : left;
    if (c->context_n == c->context_start) {
        c->context_line = c->document_line;
    }
    memcpy(c->context + c->context_n, c->document + c->document_at, n * sizeof *c->context);
    c->context_n += n;
    c->document_at += n;
    return n == room || c->options.whole_documents;
}

int corpus_next(struct corpus *c, struct corpus_context *out, bool *found, struct status *st)
{
    *found = false;
    while (!c->ended) {
        if (c->document_at < c->document_n) {
            if (!fill_context(c)) {
                continue;
            }
        } else {
            bool any = false, as_given = false;
            int code = next_document(c, &any, &as_given, st);
            if (code) {
                return code;
            }
            if (any && as_given) {
                c->document_at = c->document_n;
                give(c, c->document, c->document_n, c->document_line, out, found);
                return STATUS_OK;
            }
            if (any) {
                continue;
            }
            c->ended = true;
            if (c->context_n == c->context_start) {
                return STATUS_OK; /* nothing is left over */
            }
        }
        size_t n = c->context_n;
        c->context_n = c->context_start;
        give(c, c->context, n, c->context_line, out, found);
        return STATUS_OK;
    }
    return STATUS_OK;
}

struct corpus_figures corpus_figures(const struct corpus *c)
{
    return c->figures;
}

int64_t corpus_estimate(const struct corpus *c)
{
    uint64_t done = c->next_text, total = c->options.n_texts;
    if (c->lines) {
        lines_position(c->lines, &done, &total);
    }
    int64_t limit = c->options.limit_tokens;
    if (c->ended) {
        return c->figures.tokens;
    }
    if (!done || !total) {
        return limit;
    }
    double tokens = (double)c->figures.tokens * (double)total / (double)done;
    int64_t estimate = tokens < 1e15 ? (int64_t)tokens : 0;
    return limit && estimate > limit ? limit : estimate;
}

void corpus_settings(const struct engine *engine, const struct corpus_options *o, struct text *out)
{
    text_printf(out, "{\"context\":%zu,\"pack\":%s,\"keep_duplicates\":%s,\"bos\":%s}", o->context,
                o->whole_documents ? "false" : "true", o->keep_duplicates ? "true" : "false",
                engine_bos(engine) >= 0 ? "true" : "false");
}

void corpus_name(const char *path, struct text *out)
{
    size_t end = strlen(path);
    while (end > 1 && path[end - 1] == '/') {
        end--;
    }
    size_t start = end;
    while (start > 0 && path[start - 1] != '/') {
        start--;
    }
    if (strcmp(path, "-") == 0) {
        text_string(out, "stdin");
    } else {
        text_append(out, path + start, end - start);
    }
}
