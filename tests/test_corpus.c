#include "server/work/corpus.h"

#include "core/base/memory.h"
#include "server/work/lines.h"
#include "tests/scratch.h"
#include "tests/test.h"

#include <zlib.h>

/* The demo's engine, opened once; tests need its tokenizer and its sizes only. */
static struct engine *engine;

enum { MOST = 512 };

struct found {
    int32_t ids[MOST][300];
    size_t n[MOST];
    int64_t line[MOST];
    size_t contexts;
    struct corpus_figures figures;
    struct text notices;
};

static void take_notice(void *user, const char *line)
{
    text_printf(user, "%s\n", line);
}

static int read_all(const struct corpus_options *options, struct found *f, struct status *st)
{
    struct corpus_options o = *options;
    struct corpus *corpus;
    memset(f, 0, sizeof *f);
    o.notice = take_notice;
    o.notice_user = &f->notices;
    int code = corpus_open(&corpus, engine, &o, st);
    bool more = !code;
    while (more && f->contexts < MOST) {
        struct corpus_context c;
        code = corpus_next(corpus, &c, &more, st);
        more = more && !code;
        if (more) {
            memcpy(f->ids[f->contexts], c.ids, c.n * sizeof *c.ids);
            f->n[f->contexts] = c.n;
            f->line[f->contexts++] = c.line;
        }
    }
    if (corpus) {
        f->figures = corpus_figures(corpus);
    }
    corpus_close(corpus);
    return code;
}

static void append_tokens(const char *text, int32_t *ids, size_t *n)
{
    int32_t *own;
    size_t length;
    struct status st;
    CHECK(engine_tokenize(engine, text, strlen(text), false, &own, &length, &st) == 0);
    memcpy(ids + *n, own, length * sizeof *own);
    *n += length;
    memory_free(own);
}

static struct found found; /* large */

static void packs_documents_behind_bos(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    scratch_text(&s, "c.jsonl",
                 "{\"text\":\"In the beginning God created the heaven and the earth.\"}\n\n"
                 "{\"text\":\"And the <bos>earth was without form\",\"id\":7}\r\n"
                 "{\"text\":\"and void\"}");
    struct corpus_options o = {.path = scratch_path(&s, "c.jsonl"), .context = 6};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    int32_t all[256];
    size_t n = 0, at = 0;
    append_tokens("In the beginning God created the heaven and the earth.", all, &n);
    size_t first = n;
    append_tokens("And the ", all, &n);
    append_tokens("earth was without form", all, &n);
    append_tokens("and void", all, &n);
    for (size_t c = 0; c < found.contexts; c++) {
        CHECK(found.ids[c][0] == 2);
        CHECK(found.n[c] == 6 || c + 1 == found.contexts);
        CHECK(found.line[c] == (at < first ? 1 : found.line[c]));
        for (size_t i = 1; i < found.n[c]; i++) {
            CHECK(at < n && found.ids[c][i] == all[at]);
            at++;
        }
    }
    CHECK(at == n);
    CHECK(found.figures.tokens == (int64_t)n);
    CHECK(found.figures.lines == 4 && found.figures.wrong == 0);
    scratch_close(&s);
}

static void says_on_which_line_a_context_begins(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    scratch_text(&s, "c.jsonl", "\n{\"tokens\":[5]}\nnot json\n{\"tokens\":[6]}\n");
    struct corpus_options o = {.path = scratch_path(&s, "c.jsonl"), .context = 6};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 2 && found.line[0] == 2 && found.line[1] == 4);
    text_free(&found.notices);
    scratch_close(&s);
}

static void cuts_each_document_on_its_own_when_not_packed(void)
{
    const char *const texts[] = {"In the beginning God created the heaven", "and the earth"};
    struct status st = {0};
    struct corpus_options o = {.texts = texts, .n_texts = 2, .context = 6, .whole_documents = true};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    size_t c = 0;
    for (size_t t = 0; t < 2; t++) {
        int32_t all[64];
        size_t n = 0;
        append_tokens(texts[t], all, &n);
        for (size_t at = 0; at < n; c++) {
            size_t length = n - at < 5 ? n - at : 5;
            CHECK(found.n[c] == length + 1 && found.ids[c][0] == 2);
            CHECK(memcmp(found.ids[c] + 1, all + at, length * sizeof *all) == 0);
            CHECK(found.line[c] == (int64_t)t + 1);
            at += length;
        }
    }
    CHECK(c == found.contexts);
}

static void takes_token_lines_exactly_as_given(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    scratch_text(&s, "c.jsonl",
                 "{\"text\":\"In the\"}\n{\"tokens\":[2,7,2,1,0,9]}\n{\"text\":\" beginning\"}\n");
    struct corpus_options o = {.path = scratch_path(&s, "c.jsonl"), .context = 128};
    const int32_t given[] = {2, 7, 2, 1, 0, 9};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    REQUIRE(found.contexts == 2);
    CHECK(found.n[0] == 6 && memcmp(found.ids[0], given, sizeof given) == 0);
    CHECK(found.line[0] == 2 && found.line[1] == 1); /* the packed one is ready at the end */
    CHECK(found.figures.tokens == 2 + (int64_t)found.n[1] - 1);
    scratch_close(&s);
}

static void leaves_repeated_documents_out_unless_told_not_to(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    scratch_text(&s, "c.jsonl",
                 "{\"text\":\"In the\"}\n{\"text\":\"In the\"}\n{\"tokens\":[5,6]}\n"
                 "{\"tokens\":[5,6]}\n{\"text\":\"In the \"}\n");
    struct corpus_options o = {
        .path = scratch_path(&s, "c.jsonl"), .context = 16, .whole_documents = true};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 3 && found.figures.duplicates == 2);
    o.keep_duplicates = true;
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 5 && found.figures.duplicates == 0);
    scratch_close(&s);
}

static void remembers_thousands_of_documents(void)
{
    struct scratch s;
    struct status st = {0};
    struct text file = {0};
    scratch_open(&s);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 3000; i++) {
            text_printf(&file, "{\"tokens\":[%d,%d]}\n", i % 4096, 5 + i / 4096);
        }
    }
    scratch_text(&s, "c.jsonl", file.data);
    struct corpus_options o = {.path = scratch_path(&s, "c.jsonl"), .context = 16};
    struct corpus *corpus;
    struct corpus_context c;
    bool more = true;
    REQUIRE_OK(corpus_open(&corpus, engine, &o, &st), st);
    while (more) {
        REQUIRE_OK(corpus_next(corpus, &c, &more, &st), st);
    }
    CHECK(corpus_figures(corpus).contexts == 3000 && corpus_figures(corpus).duplicates == 3000);
    CHECK(corpus_estimate(corpus) == corpus_figures(corpus).tokens);
    corpus_close(corpus);
    text_free(&file);
    scratch_close(&s);
}

static void counts_wrong_lines_and_names_the_first_ten(void)
{
    struct scratch s;
    struct status st = {0};
    struct text file = {0};
    scratch_open(&s);
    static const char *const wrong[] = {"{",
                                        "{\"text\":5}",
                                        "[1]",
                                        "{\"tokens\":[]}",
                                        "{\"tokens\":[4096]}",
                                        "{\"tokens\":[-1]}",
                                        "{\"tokens\":[1.5]}",
                                        "{\"tokens\":\"5\"}",
                                        "{\"text\":\"\\u0000\"}",
                                        "\xff",
                                        "null",
                                        "{}"};
    for (size_t i = 0; i < 12; i++) {
        text_printf(&file, "%s\n{\"tokens\":[%zu]}\n", wrong[i], 10 + i);
    }
    text_string(&file, "{\"tokens\":[");
    for (int i = 0; i < 257; i++) { /* the demo has 256 positions */
        text_printf(&file, "%s7", i ? "," : "");
    }
    text_string(&file, "]}\n{\"text\":\"\"}\n");
    scratch_text(&s, "c.jsonl", file.data);
    struct corpus_options o = {.path = scratch_path(&s, "c.jsonl"), .context = 16};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 12);
    CHECK(found.figures.wrong == 13 && found.figures.lines == 26);
    size_t named = 0;
    for (const char *p = found.notices.data; p && (p = strstr(p, "left out: ")) != NULL; p++) {
        named++;
    }
    CHECK(named == CORPUS_NAMED);
    CHECK_CONTAINS(found.notices.data, "c.jsonl, line 3: ");
    CHECK_CONTAINS(found.notices.data, "expected {\"text\": \"...\"} or {\"tokens\": [ids]}");
    text_free(&found.notices);
    text_free(&file);
    scratch_close(&s);
}

static void stops_before_a_context_that_would_exceed_the_limit(void)
{
    struct status st = {0};
    struct corpus_options o = {
        .path = "demo/corpus/demo-corpus.jsonl", .context = 64, .limit_tokens = 1000};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 15 && found.figures.tokens == 15 * 63);
    static struct found shorter;
    shorter = found;
    o.limit_tokens = 1008;
    REQUIRE_OK(read_all(&o, &found, &st), st);
    CHECK(found.contexts == 16 && found.figures.tokens == 1008);
    CHECK(memcmp(shorter.ids, found.ids, 15 * sizeof found.ids[0]) == 0);
    CHECK(found.figures.lines < 20); /* it does not read on */
}

static void write_gzip(const char *path, const char *text, size_t cut)
{
    unsigned char bytes[4096];
    gzFile f = gzopen(path, "wb");
    CHECK(f && gzputs(f, text) == (int)strlen(text) && gzclose(f) == Z_OK);
    FILE *file = fopen(path, "rb");
    size_t n = file ? fread(bytes, 1, sizeof bytes, file) : 0;
    CHECK(file && fclose(file) == 0);
    file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, n - cut, file) == n - cut && fclose(file) == 0);
}

static void reads_folders_to_the_bottom_in_order_and_gzip(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    (void)scratch_parents(&s, "corpus/b/x");
    (void)scratch_parents(&s, "corpus/.hidden/x");
    scratch_text(&s, "corpus/z.jsonl", "{\"tokens\":[13]}\n");
    scratch_text(&s, "corpus/b/1.txt", "In the\nbeginning\n");
    scratch_text(&s, "corpus/readme.md", "not for the corpus");
    scratch_text(&s, "corpus/.hidden/2.jsonl", "{\"tokens\":[99]}\n");
    scratch_text(&s, "corpus/.3.jsonl", "{\"tokens\":[98]}\n");
    write_gzip(scratch_path(&s, "corpus/a.jsonl.gz"), "{\"tokens\":[11]}\n{\"tokens\":[12]}\n", 0);
    scratch_link(&s, "corpus/c.jsonl", "z.jsonl");
    scratch_link(&s, "corpus/loop", "..");
    struct corpus_options o = {.path = scratch_path(&s, "corpus"),
                               .context = 16,
                               .whole_documents = true,
                               .keep_duplicates = true};
    REQUIRE_OK(read_all(&o, &found, &st), st);
    REQUIRE(found.contexts == 5);
    CHECK(found.ids[0][0] == 11 && found.ids[1][0] == 12);
    int32_t text[16];
    size_t n = 0;
    append_tokens("In the\nbeginning\n", text, &n);
    CHECK(found.n[2] == n + 1 && memcmp(found.ids[2] + 1, text, n * sizeof *text) == 0);
    CHECK(found.ids[3][0] == 13 && found.ids[4][0] == 13); /* c.jsonl, z.jsonl */
    CHECK(found.line[4] == 5);
    scratch_close(&s);
}

static void names_what_cannot_be_read(void)
{
    struct scratch s;
    struct status st = {0};
    scratch_open(&s);
    struct corpus_options o = {.path = scratch_path(&s, "none.jsonl"), .context = 16};
    CHECK(read_all(&o, &found, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "none.jsonl");
    (void)scratch_parents(&s, "empty/x");
    o.path = scratch_path(&s, "empty");
    CHECK(read_all(&o, &found, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, ".jsonl");
    write_gzip(scratch_path(&s, "cut.jsonl.gz"), "{\"tokens\":[11]}\n{\"tokens\":[12]}\n", 9);
    o.path = scratch_path(&s, "cut.jsonl.gz");
    CHECK(read_all(&o, &found, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "cut.jsonl.gz");
    o.path = "demo/corpus/demo-corpus.jsonl";
    o.context = 257;
    CHECK(read_all(&o, &found, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "2 to 256");
    scratch_close(&s);
}

static void a_line_over_the_limit_is_left_out(void)
{
    struct scratch s;
    struct status st = {0};
    struct lines *lines;
    struct lines_record r;
    bool any;
    scratch_open(&s);
    FILE *file = fopen(scratch_path(&s, "long.jsonl"), "w");
    REQUIRE(file);
    CHECK(fseek(file, (long)LINES_RECORD_LIMIT + 1, SEEK_SET) == 0); /* a hole of zeros */
    CHECK(fputs("\n{\"tokens\":[5]}\n", file) >= 0 && fclose(file) == 0);
    REQUIRE_OK(lines_open(&lines, scratch_path(&s, "long.jsonl"), &st), st);
    REQUIRE_OK(lines_next(lines, &r, &any, &st), st);
    CHECK(any && r.is_too_long && r.n == 0 && r.line == 1);
    REQUIRE_OK(lines_next(lines, &r, &any, &st), st);
    CHECK(any && !r.is_too_long && r.n == 14 && r.line == 2);
    REQUIRE_OK(lines_next(lines, &r, &any, &st), st);
    CHECK(!any);
    lines_close(lines);
    scratch_close(&s);
}

static void survives_no_memory(void)
{
    const char *const texts[] = {"In the beginning God created the heaven", "and the earth"};
    struct corpus_options o = {.texts = texts, .n_texts = 2, .context = 6};
    struct status st = {0};
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 1000 && code == STATUS_MEMORY; nth++) {
        memory_fail_after(nth);
        code = read_all(&o, &found, &st);
        memory_fail_after(0);
    }
    CHECK(code == STATUS_OK);
    CHECK(found.contexts == 3);
}

static void names_and_settings_are_canonical(void)
{
    static const char *const names[][2] = {
        {"/a/b/c.jsonl", "c.jsonl"}, {"folder/", "folder"}, {"c.txt", "c.txt"}, {"-", "stdin"}};
    struct text out = {0};
    for (size_t i = 0; i < 4; i++) {
        text_clear(&out);
        corpus_name(names[i][0], &out);
        CHECK_STRING(out.data, names[i][1]);
    }
    const struct corpus_options o = {.context = 64, .whole_documents = true};
    text_clear(&out);
    corpus_settings(engine, &o, &out);
    CHECK_STRING(out.data,
                 "{\"context\":64,\"pack\":false,\"keep_duplicates\":false,\"bos\":true}");
    text_free(&out);
}

static const struct test tests[] = {
    TEST(packs_documents_behind_bos),
    TEST(says_on_which_line_a_context_begins),
    TEST(cuts_each_document_on_its_own_when_not_packed),
    TEST(takes_token_lines_exactly_as_given),
    TEST(leaves_repeated_documents_out_unless_told_not_to),
    TEST(remembers_thousands_of_documents),
    TEST(counts_wrong_lines_and_names_the_first_ten),
    TEST(stops_before_a_context_that_would_exceed_the_limit),
    TEST(reads_folders_to_the_bottom_in_order_and_gzip),
    TEST(names_what_cannot_be_read),
    TEST(a_line_over_the_limit_is_left_out),
    TEST(survives_no_memory),
    TEST(names_and_settings_are_canonical),
};

int main(int argc, char **argv)
{
    struct status st = {0};
    struct engine_options options = {.model = "demo", .threads = 1};
    if (engine_open(&engine, &options, &st)) {
        printf("%s\n", st.message);
        return 1;
    }
    int failed = test_main(tests, TEST_COUNT(tests), argc, argv);
    engine_close(engine);
    return failed;
}
