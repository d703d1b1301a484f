/* write_json SEED N: N random documents by server/http/emit.h, one a line, as [document, leaves].
 * Each leaf of the document is a list of its kind and what was written; `leaves` says, in the same
 * order, what went in: bytes of strings in hex, bits of numbers as decimal strings. For
 * tests/cli/formats.py, which reads them with another parser. */
#include "server/http/emit.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { LEAVES_MOST = 200, STRING_MOST = 40 };

static uint64_t state;

static uint64_t number(void) /* splitmix64 (Steele et al. 2014) */
{
    uint64_t z = state += UINT64_C(0x9E3779B97F4A7C15);
    z = (z ^ (z >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94D049BB133111EB);
    return z ^ (z >> 31);
}

struct writing {
    struct emitter document, leaves;
    int n_leaves;
};

/* Any bits, or a value of everyday size, or a whole one. */
static double some_double(void)
{
    uint64_t bits = number();
    double value;
    memcpy(&value, &bits, sizeof value);
    switch (number() % 4) {
    case 0:
        return value;
    case 1:
        return (double)(int64_t)(bits >> 40) - 8e6;
    default:
        return ((double)(bits >> 11) / 9007199254740992.0 - 0.5) * (number() % 2 ? 20.0 : 1e-3);
    }
}

static void note_bits(struct writing *w, uint64_t bits)
{
    char text[24];
    (void)snprintf(text, sizeof text, "%" PRIu64, bits);
    emit_string(&w->leaves, text);
}

/* Plain text, valid UTF-8, or any bytes; 0 too. */
static size_t some_string(char out[STRING_MOST])
{
    static const char *const pieces[] = {"a",
                                         "\"",
                                         "\\",
                                         "/",
                                         "\n",
                                         "\x01",
                                         "\x7f",
                                         "<script>",
                                         "\xc3\xa9",
                                         "\xe2\x80\xa8",
                                         "\xf0\x9f\x98\x80",
                                         "\xef\xbf\xbd"};
    size_t n = 0;
    bool any = number() % 3 == 0;
    for (size_t k = number() % 9; k > 0; k--) {
        const char *piece = pieces[number() % (sizeof pieces / sizeof *pieces)];
        char byte = (char)(number() & 0xFF);
        size_t length = any ? 1 : strlen(piece);
        if (n + length <= STRING_MOST) {
            memcpy(out + n, any ? &byte : piece, length);
            n += length;
        }
    }
    return n;
}

static void leaf_string(struct writing *w)
{
    char bytes[STRING_MOST];
    char hex[2 * STRING_MOST + 1] = "";
    size_t n = some_string(bytes);
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(hex + 2 * i, 3, "%02x", (unsigned char)bytes[i]);
    }
    emit_string(&w->document, "string");
    emit_string_n(&w->document, bytes, n);
    emit_string(&w->leaves, hex);
}

static void leaf_number(struct writing *w, unsigned kind)
{
    double value = some_double();
    uint64_t bits = 0;
    if (kind == 0) {
        uint32_t narrow = (uint32_t)number();
        float f = (float)value;
        if (narrow % 2) {
            memcpy(&f, &narrow, sizeof f);
        }
        memcpy(&narrow, &f, sizeof narrow);
        bits = narrow;
        emit_string(&w->document, "float");
        emit_float(&w->document, f);
    } else if (kind == 1) {
        memcpy(&bits, &value, sizeof bits);
        emit_string(&w->document, "double");
        emit_double(&w->document, value);
    } else if (kind == 2) {
        memcpy(&bits, &value, sizeof bits);
        emit_string(&w->document, "rounded");
        emit_rounded(&w->document, value, 3);
    } else {
        bits = number() >> (number() % 64);
        emit_string(&w->document, "int");
        emit_int(&w->document, (long long)bits);
    }
    note_bits(w, bits);
}

static void leaf(struct writing *w)
{
    unsigned kind = (unsigned)(number() % 8);
    w->n_leaves++;
    emit_array(&w->document);
    if (kind < 4) {
        leaf_number(w, kind);
    } else if (kind == 4) {
        emit_string(&w->document, "bool");
        emit_bool(&w->document, state % 2 != 0);
        note_bits(w, state % 2);
    } else if (kind == 5) {
        emit_string(&w->document, "null");
        emit_null(&w->document);
        note_bits(w, 0);
    } else {
        leaf_string(w);
    }
    emit_end_array(&w->document);
}

static void value(struct writing *w, int depth) /* NOLINT(misc-no-recursion): EMIT_DEPTH deep */
{
    size_t n = number() % 5;
    unsigned kind =
        depth + 2 < EMIT_DEPTH && w->n_leaves < LEAVES_MOST ? (unsigned)(number() % 4) : 3;
    if (kind == 3) {
        leaf(w);
        return;
    }
    (kind ? emit_object : emit_array)(&w->document);
    if (!kind) {
        emit_string(&w->document, "list");
    }
    for (size_t i = 0; i < n; i++) {
        if (kind) {
            char key[STRING_MOST + 1] = "";
            key[some_string(key)] = '\0';
            char unique[2 * STRING_MOST];
            (void)snprintf(unique, sizeof unique, "%zu%s", i, key);
            emit_key(&w->document, unique);
        }
        value(w, depth + 1);
    }
    (kind ? emit_end_object : emit_end_array)(&w->document);
}

int main(int argc, char **argv)
{
    if (argc != 3) {
        (void)fputs("usage: write_json SEED N\n", stderr);
        return 2;
    }
    state = strtoull(argv[1], NULL, 10);
    for (unsigned long i = strtoul(argv[2], NULL, 10); i > 0; i--) {
        struct text document = {0};
        struct text leaves = {0};
        struct writing w = {.document = {.out = &document}, .leaves = {.out = &leaves}};
        emit_array(&w.leaves);
        value(&w, 0);
        emit_end_array(&w.leaves);
        if (document.failed || leaves.failed) {
            return 1;
        }
        (void)printf("[%s,%s]\n", document.data, leaves.data);
        text_free(&document);
        text_free(&leaves);
    }
    return 0;
}
