/* What the tests of both tokenizer formats share. */
#ifndef DM_TESTS_TOKENIZER_CHECK_H
#define DM_TESTS_TOKENIZER_CHECK_H

#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/tokenizer.h"
#include "tests/test.h"

/* The ids as text: "3 17". */
static inline void check_ids(const struct tokenizer *t, const char *text, const char *expected,
                             int line)
{
    struct status st = {0};
    int32_t *ids = NULL;
    size_t n = 0;
    struct text found = {0};
    if (tokenizer_encode(t, text, strlen(text), &ids, &n, &st)) {
        text_string(&found, st.message);
    }
    for (size_t i = 0; i < n; i++) {
        text_printf(&found, "%s%d", i ? " " : "", ids[i]);
    }
    test_check_string_(found.data ? found.data : "", expected, __FILE__, line, text);
    memory_free(ids);
    text_free(&found);
}

#define CHECK_IDS(t, text, expected) check_ids(t, text, expected, __LINE__)

typedef int tokenizer_parser(struct tokenizer **, const char *, size_t, struct status *);

/* Every beginning of the bytes, and every byte changed, in blocks of their exact length so that a
 * sanitizer sees a step too far. What still parses must encode and decode. */
static inline void damage(tokenizer_parser *read, const struct text *whole, bool beginnings_fail)
{
    struct status st = {0};
    size_t n = whole->length;
    for (size_t length = 0; length < n; length++) {
        struct tokenizer *t = NULL;
        char *part = memory_alloc(length, 1);
        REQUIRE(part != NULL);
        memcpy(part, whole->data, length);
        int code = read(&t, part, length, &st);
        CHECK((code != 0) == (t == NULL) && (code != 0 || !beginnings_fail));
        tokenizer_close(t);
        memory_free(part);
    }
    char *copy = memory_string_n(whole->data, n);
    REQUIRE(copy != NULL);
    static const char values[] = {0, 1, '"', '}', ',', '\\', '1', (char)0x80, (char)0xFF};
    for (size_t i = 0; i < n * sizeof values; i++) {
        struct tokenizer *t = NULL;
        copy[i / sizeof values] = values[i % sizeof values];
        if (read(&t, copy, n, &st) == 0) {
            int32_t *ids = NULL;
            size_t n_ids = 0;
            struct text out = {0};
            CHECK(tokenizer_encode(t, "<a> aba\xC3\xA9", 9, &ids, &n_ids, &st) == 0);
            CHECK(tokenizer_decode(t, ids, n_ids, false, &out, &st) == 0);
            memory_free(ids);
            text_free(&out);
        } else {
            CHECK(t == NULL && st.message[0]);
        }
        tokenizer_close(t);
        copy[i / sizeof values] = whole->data[i / sizeof values];
    }
    memory_free(copy);
}

#endif
