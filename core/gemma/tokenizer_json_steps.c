/* The normalizer, pre_tokenizer and decoder of tokenizer.json: the ones of Gemma are accepted. */
#include "core/gemma/tokenizer_json.h"

#include <stdio.h>
#include <string.h>

/* One normalizer, pre-tokenizer or decoder: the fields that any of those accepted has. */
struct component {
    char type[32], pattern[16], content[16];
    const char *list; /* the members of a Sequence */
    bool invert;
};

/* {"String": " "}; a regular expression is kept as "?". */
static int read_pattern(struct tokenizer_json *j, char *out, size_t capacity)
{
    (void)snprintf(out, capacity, "?");
    if (tokenizer_reader_peek(&j->r) != '{') {
        return tokenizer_reader_skip(&j->r);
    }
    j->r.at++;
    for (bool first = true, more;;) {
        const char *key;
        size_t n;
        if (tokenizer_reader_next(&j->r, '}', &first, &more)) {
            return j->r.st->code;
        }
        if (!more) {
            return STATUS_OK;
        }
        if (tokenizer_reader_key(&j->r, &key, &n) ||
            (tokenizer_json_is(key, n, "String") ? tokenizer_json_keep(j, out, capacity)
                                                 : tokenizer_reader_skip(&j->r))) {
            return j->r.st->code;
        }
    }
}

/* null leaves type empty. */
static int read_component(struct tokenizer_json *j, struct component *c)
{
    *c = (struct component){.type = "", .pattern = "?", .content = "?"};
    if (tokenizer_reader_peek(&j->r) == 'n') {
        return tokenizer_reader_skip(&j->r);
    }
    if (tokenizer_reader_enter(&j->r, '{')) {
        return j->r.st->code;
    }
    for (bool first = true, more;;) {
        const char *key;
        size_t n;
        int code;
        if (tokenizer_reader_next(&j->r, '}', &first, &more)) {
            return j->r.st->code;
        }
        if (!more) {
            return STATUS_OK;
        }
        if (tokenizer_reader_key(&j->r, &key, &n)) {
            return j->r.st->code;
        }
        if (tokenizer_json_is(key, n, "type")) {
            code = tokenizer_json_keep(j, c->type, sizeof c->type);
        } else if (tokenizer_json_is(key, n, "pattern")) {
            code = read_pattern(j, c->pattern, sizeof c->pattern);
        } else if (tokenizer_json_is(key, n, "content")) {
            code = tokenizer_json_keep(j, c->content, sizeof c->content);
        } else if (tokenizer_json_is(key, n, "invert")) {
            code = tokenizer_reader_boolean(&j->r, &c->invert);
        } else {
            bool list =
                tokenizer_json_is(key, n, "normalizers") || tokenizer_json_is(key, n, "decoders");
            (void)tokenizer_reader_peek(&j->r);
            c->list = list ? j->r.at : c->list;
            code = tokenizer_reader_skip(&j->r);
        }
        if (code) {
            return code;
        }
    }
}

/* The members of a Sequence that has been passed over already. */
static int read_sequence(struct tokenizer_json *j, const char *list,
                         int (*read)(struct tokenizer_json *))
{
    const char *behind = j->r.at;
    j->r.at = list;
    int code = tokenizer_json_each(j, read);
    j->r.at = behind;
    return code;
}

int tokenizer_json_normalizer(struct tokenizer_json *j)
{
    struct component c;
    if (read_component(j, &c)) {
        return j->r.st->code;
    }
    if (strcmp(c.type, "Sequence") == 0 && c.list) {
        return read_sequence(j, c.list, tokenizer_json_normalizer);
    }
    if (strcmp(c.type, "Replace") == 0) {
        if (strcmp(c.pattern, " ") != 0 || strcmp(c.content, TOKENIZER_SPACE) != 0) {
            return tokenizer_json_unsupported(j, "the normalizer Replace of", c.pattern,
                                              "\" \" replaced by U+2581");
        }
        j->t->replace_space = true;
        return STATUS_OK;
    }
    return c.type[0] ? tokenizer_json_unsupported(j, "the normalizer", c.type, "Replace or null")
                     : STATUS_OK;
}

int tokenizer_json_pre_tokenizer(struct tokenizer_json *j)
{
    struct component c;
    if (read_component(j, &c)) {
        return j->r.st->code;
    }
    if (strcmp(c.type, "Split") == 0 && strcmp(c.pattern, " ") == 0 && !c.invert) {
        j->splits_spaces = true; /* nothing to split once spaces are replaced */
        return STATUS_OK;
    }
    return c.type[0] ? tokenizer_json_unsupported(j, "the pre_tokenizer", c.type,
                                                  "Split on \" \" or null")
                     : STATUS_OK;
}

int tokenizer_json_decoder(struct tokenizer_json *j)
{
    struct component c;
    if (read_component(j, &c)) {
        return j->r.st->code;
    }
    if (strcmp(c.type, "Sequence") == 0 && c.list) {
        return read_sequence(j, c.list, tokenizer_json_decoder);
    }
    bool spaces = strcmp(c.type, "Replace") == 0 && strcmp(c.pattern, TOKENIZER_SPACE) == 0 &&
                  strcmp(c.content, " ") == 0;
    j->restores_spaces = j->restores_spaces || spaces;
    if (spaces || strcmp(c.type, "ByteFallback") == 0 || strcmp(c.type, "Fuse") == 0) {
        return STATUS_OK;
    }
    return tokenizer_json_unsupported(j, "the decoder", c.type,
                                      "U+2581 replaced by \" \", then ByteFallback and Fuse");
}
