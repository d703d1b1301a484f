/* Neuronpedia's export files, right and wrong, into a database. */
#include "server/work/import_lines.h"

#include "core/base/memory.h"
#include "server/store/explanations.h"
#include "tests/scratch.h"
#include "tests/store_fixture.h"

#include <zlib.h>

#define GOOD \
    "{\"id\":\"ok\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"7\",\"description\":\"dogs\"}"

struct run {
    struct fixture f;
    struct scratch files;
    struct import_figures figures;
    int notices;
    char notice[1024]; /* the last one */
};

static void note(void *user, const char *line)
{
    struct run *r = user;
    r->notices++;
    (void)snprintf(r->notice, sizeof r->notice, "%s", line);
}

static bool run_open(struct run *r)
{
    memset(r, 0, sizeof *r);
    scratch_open(&r->files);
    return fixture_open(&r->f);
}

static void run_close(struct run *r)
{
    scratch_close(&r->files);
    fixture_close(&r->f);
}

static int import_path(struct run *r, const char *path)
{
    const struct import_options options = {.notice = note, .user = r};
    r->figures = (struct import_figures){0};
    r->notices = 0;
    r->notice[0] = '\0';
    return import_lines(r->f.store, path, &options, &r->figures, &r->f.st);
}

static int import_text(struct run *r, const char *text)
{
    scratch_text(&r->files, "a.jsonl", text);
    return import_path(r, scratch_path(&r->files, "a.jsonl"));
}

static void write_gz(struct run *r, const char *name, const char *text, size_t n)
{
    scratch_text(&r->files, name, "");
    gzFile gz = gzopen(scratch_path(&r->files, name), "wb");
    CHECK(gz && gzfwrite(text, 1, n, gz) == n && gzclose(gz) == Z_OK);
}

static void check_ask(struct run *r, const char *sql, const char *expected)
{
    char answer[256];
    fixture_ask(&r->f, sql, answer);
    if (strcmp(answer, expected) != 0) {
        printf("    %s: expected %s, found %s\n", sql, expected, answer);
        test_failures_++;
    }
}

static void tells_the_kinds_of_line_apart_by_their_keys(void)
{
    struct run r;
    REQUIRE(run_open(&r));
    REQUIRE_OK(
        import_text(
            &r,
            "{\"id\":\"e1\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":7,\"description\":\"dogs\","
            "\"authorId\":null,\"embedding\":[0.5,1],\"typeName\":\"t\",\"umap_x\":1.5,"
            "\"scores\":[{\"value\":2}]}\n"
            "{\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"7\",\"pos_str\":[\"a\"],"
            "\"pos_values\":[1.5],\"frac_nonzero\":0.01}\n"
            "{\"id\":\"a1\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":7,\"tokens\":[\"x\",\"y\"],"
            "\"values\":[0,null]}\n"
            "{\"id\":\"gemma-2-2b\",\"displayName\":\"Gemma\"}\n"
            "{\"modelId\":\"m\",\"name\":\"set\",\"description\":\"of a set\"}\n"
            "{\"id\":\"s\",\"modelId\":\"m\",\"setName\":\"set\"}\n"
            "\n"
            "{\"id\":\"e2\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":7,\"description\":\" \"}\n"
            "{\"id\":\"e3\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":7,\"description\":null}\n"
            "{\"id\":\"e4\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"7\","
            "\"description\":\"puppies\",\"explanationModelName\":\"gpt\",\"notes\":\"n\","
            "\"createdAt\":\"2024\"}"),
        r.f.st);
    CHECK(r.figures.explanations == 2 && r.figures.features == 1 && r.figures.activations == 1);
    CHECK(r.figures.empty == 2 && r.figures.other == 4 && r.figures.wrong == 0);
    check_ask(&r,
              "SELECT group_concat(id || number || description || type_name || origin) FROM"
              " explanation",
              "e17dogstimported,e47puppiesimported");
    check_ask(&r, "SELECT other FROM explanation", "{\"umap_x\":1.5,\"scores\":[{\"value\":2}]}");
    check_ask(&r, "SELECT explainer || notes || created_at FROM explanation WHERE id = 'e4'",
              "gptn2024");
    check_ask(&r, "SELECT line FROM imported_feature",
              "{\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"7\",\"pos_str\":[\"a\"],"
              "\"pos_values\":[1.5],\"frac_nonzero\":0.01}");
    check_ask(&r, "SELECT id || number FROM imported_example", "a17");
    run_close(&r);
}

static void leaves_embeddings_out_in_every_form_they_come_in(void)
{
    static const char *const forms[] = {
        "[0.5,-1e-3, 2]",
        "\"[0.5,-1]\"",
        "null",
        "[]",
        "[0.5,null]",
        "{\"a\":[1]}",
        "\"[a] \\\"embedding\\\":[1\"",
        "\"\"",
        "[[1],[2]]",
    };
    for (size_t i = 0; i < sizeof forms / sizeof forms[0]; i++) {
        struct run r;
        char text[512];
        REQUIRE(run_open(&r));
        (void)snprintf(
            text, sizeof text,
            "{\"id\":\"a\",\"embedding\":%s,\"modelId\":\"m\",\"layer\":\"s\",\"index\":"
            "7,\"description\":\"an \\\"embedding\\\":[1] in it\"}\n"
            "{\"id\":\"b\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":7,\"description\":"
            "\"dogs\",\"embedding\" : %s}\n",
            forms[i], forms[i]);
        REQUIRE_OK(import_text(&r, text), r.f.st);
        CHECK(r.figures.explanations == 2 && r.figures.wrong == 0);
        check_ask(&r, "SELECT group_concat(description || other, '|') FROM explanation",
                  "an \"embedding\":[1] in it|dogs");
        run_close(&r);
    }
    struct run r;
    REQUIRE(run_open(&r));
    REQUIRE_OK(import_text(&r, "{\"modelId\":\"m\",\"embedding\":[1,2\n"
                               "{\"modelId\":\"m\",\"embedding\":\"[1,2]\n"
                               "\"embedding\"\n{\"embedding\""),
               r.f.st);
    CHECK(r.figures.wrong == 4);
    run_close(&r);
}

static void reads_gz_files_and_folders_and_the_same_again_changes_nothing(void)
{
    struct run r;
    static char text[4096];
    REQUIRE(run_open(&r));
    int n = 0;
    for (int i = 0; i < 20; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "{\"modelId\":\"m\",\"layer\":\"s\",\"index\":%d,\"description\":\"word %d\","
                      "\"typeName\":\"t\"}\n",
                      i, i);
    }
    write_gz(&r, "x/explanations/batch-0.jsonl.gz", text, (size_t)n);
    scratch_text(&r.files, "x/deep/er/batch-1.jsonl", GOOD "\n");
    scratch_text(&r.files, "x/readme.md", "not a line");
    scratch_text(&r.files, "x/notes.txt", "nor this");
    for (int again = 0; again < 2; again++) {
        REQUIRE_OK(import_path(&r, scratch_path(&r.files, "x")), r.f.st);
        CHECK(r.figures.explanations == 21 && r.figures.wrong == 0);
        check_ask(&r, "SELECT count(*) || ' ' || count(DISTINCT id) FROM explanation", "21 21");
        check_ask(&r, "SELECT count(*) FROM explanation_word('word')", "20");
    }
    CHECK(import_path(&r, scratch_path(&r.files, "missing.jsonl")) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(r.f.st.message, "missing.jsonl");
    run_close(&r);
}

/* Each wrong line stands between two right ones, which are kept. */
static void names_each_wrong_line_and_loses_no_other(void)
{
    static const struct {
        const char *line, *reason;
    } wrong[] = {
        {"{\"modelId\":\"m\",", "not valid JSON"},
        {"not JSON at all", "not valid JSON"},
        {"[1,2]", "expected a JSON object"},
        {"17", "expected a JSON object"},
        {"{\"a\":1}", "none of their keys"},
        {"{\"modelId\":5,\"layer\":\"s\",\"index\":1,\"description\":\"d\"}", "modelId: expected"},
        {"{\"layer\":\"s\",\"index\":1,\"description\":\"d\"}", "modelId: expected"},
        {"{\"modelId\":\"m\",\"index\":1,\"description\":\"d\"}", "layer: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"description\":\"d\"}", "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"\",\"index\":1,\"description\":\"d\"}", "not empty"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":-1,\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1.5,\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":4294967296,\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"99999999999999999999\","
         "\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"\",\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":\"1x\",\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":[1],\"description\":\"d\"}",
         "index: expected"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"description\":{\"a\":1}}",
         "description: expected a string"},
        {"{\"id\":3,\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"description\":\"d\"}",
         "id: expected a string"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"description\":\"a\\u0000b\"}", "U+0000"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"description\":\"\xff\"}",
         "not valid UTF-8"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"layer\":\"t\",\"index\":1,\"description\":\"d\"}",
         "stands twice"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"tokens\":[\"a\"],\"values\":[1,2]}",
         "found 1 and 2"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"tokens\":[],\"values\":[]}",
         "at least one"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"tokens\":\"a\",\"values\":[1]}",
         "tokens: expected a list of strings"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"tokens\":[\"a\"],\"values\":[\"b\"]}",
         "values: expected a list of numbers"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"pos_str\":[1]}",
         "pos_str: expected a list of strings"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"freq_hist_data_bar_heights\":[\"a\"]}",
         "freq_hist_data_bar_heights: expected a list of numbers"},
        {"{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"frac_nonzero\":\"1%\"}",
         "frac_nonzero: expected a number"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        struct run r;
        char text[1024];
        REQUIRE(run_open(&r));
        (void)snprintf(text, sizeof text,
                       GOOD "\n%s\n{\"id\":\"after\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":"
                            "0,\"description\":\"cats\"}\n",
                       wrong[i].line);
        REQUIRE_OK(import_text(&r, text), r.f.st);
        CHECK(r.figures.wrong == 1 && r.notices == 1 && r.figures.explanations == 2);
        CHECK_CONTAINS(r.notice, "/a.jsonl:2: ");
        CHECK_CONTAINS(r.notice, wrong[i].reason);
        check_ask(&r, "SELECT group_concat(id) FROM (SELECT id FROM explanation ORDER BY row)",
                  "ok,after");
        run_close(&r);
    }
}

static void takes_marks_line_ends_and_odd_spacing_in_its_stride(void)
{
    struct run r;
    REQUIRE(run_open(&r));
    REQUIRE_OK(import_text(&r, "\xEF\xBB\xBF" GOOD "\r\n\r\n   \n  " GOOD "  \r\n" GOOD), r.f.st);
    CHECK(r.figures.explanations == 3 && r.figures.wrong == 0);
    check_ask(&r, "SELECT count(*) FROM explanation", "1");
    REQUIRE_OK(import_text(&r, ""), r.f.st);
    CHECK(r.figures.explanations == 0 && r.figures.wrong == 0);
    REQUIRE_OK(import_text(&r, "\xEF\xBB\xBF{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1}"),
               r.f.st);
    check_ask(&r, "SELECT line FROM imported_feature",
              "{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1}");
    run_close(&r);
}

static void keeps_what_stands_before_the_cut_of_a_truncated_file(void)
{
    struct run r;
    static char text[1 << 20];
    static char packed[1 << 20];
    REQUIRE(run_open(&r));
    int n = 0;
    uint64_t seed = 1;
    for (int i = 0; i < 4000; i++) {
        n += snprintf(text + n, sizeof text - (size_t)n,
                      "{\"id\":\"i%d\",\"modelId\":\"m\",\"layer\":\"s\",\"index\":%d,"
                      "\"description\":\"word %u\"}\n",
                      i, i, fixture_random(&seed));
    }
    write_gz(&r, "x/a.jsonl.gz", text, (size_t)n);
    FILE *f = fopen(scratch_path(&r.files, "x/a.jsonl.gz"), "rb");
    REQUIRE(f != NULL);
    size_t size = fread(packed, 1, sizeof packed, f);
    (void)fclose(f);
    scratch_write(&r.files, "x/a.jsonl.gz", packed, size / 2);
    scratch_text(&r.files, "x/b.jsonl", GOOD);
    REQUIRE_OK(import_path(&r, scratch_path(&r.files, "x")), r.f.st);
    CHECK(r.figures.wrong == 1 && r.notices == 1);
    CHECK_CONTAINS(r.notice, "a.jsonl.gz: the gzip data are cut off");
    CHECK(r.figures.explanations > 1000 && r.figures.explanations < 4001);
    check_ask(&r, "SELECT count(*) FROM explanation WHERE id = 'ok'", "1");
    /* A flipped byte in the middle. */
    packed[size / 2] = (char)(packed[size / 2] ^ 0x55);
    scratch_write(&r.files, "x/a.jsonl.gz", packed, size);
    REQUIRE_OK(import_path(&r, scratch_path(&r.files, "x")), r.f.st);
    CHECK(r.figures.wrong >= 1);
    run_close(&r);
}

static void takes_a_plain_file_called_gz_and_names_what_is_no_text(void)
{
    struct run r;
    REQUIRE(run_open(&r));
    scratch_text(&r.files, "a.jsonl.gz", GOOD "\n");
    REQUIRE_OK(import_path(&r, scratch_path(&r.files, "a.jsonl.gz")), r.f.st);
    CHECK(r.figures.explanations == 1 && r.figures.wrong == 0);
    scratch_write(&r.files, "b.jsonl.gz", "PK\3\4\0\0\0\n\0\n" GOOD, strlen(GOOD) + 10);
    REQUIRE_OK(import_path(&r, scratch_path(&r.files, "b.jsonl.gz")), r.f.st);
    CHECK(r.figures.explanations == 1 && r.figures.wrong == 2);
    CHECK_CONTAINS(r.notice, "b.jsonl.gz:2: ");
    run_close(&r);
}

static void refuses_a_line_over_the_limit_and_reads_on(void)
{
    struct run r;
    REQUIRE(run_open(&r));
    scratch_text(&r.files, "x/a.jsonl.gz", "");
    gzFile gz = gzopen(scratch_path(&r.files, "x/a.jsonl.gz"), "wb1");
    REQUIRE(gz != NULL);
    static char block[1 << 20];
    memset(block, ' ', sizeof block);
    (void)gzputs(gz, GOOD "\n{\"a\":");
    for (int i = 0; i < 65; i++) {
        (void)gzwrite(gz, block, sizeof block);
    }
    (void)gzputs(gz, "1}\n" GOOD "\n");
    CHECK(gzclose(gz) == Z_OK);
    REQUIRE_OK(import_path(&r, scratch_path(&r.files, "x")), r.f.st);
    CHECK(r.figures.explanations == 2 && r.figures.wrong == 1);
    CHECK_CONTAINS(r.notice, "a.jsonl.gz:2: expected a line of at most 64 MB");
    run_close(&r);
}

static void refuses_deep_nesting(void)
{
    struct run r;
    static char text[1 << 18];
    REQUIRE(run_open(&r));
    int n = snprintf(text, sizeof text, "{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"x\":");
    memset(text + n, '[', 100000);
    (void)snprintf(text + n + 100000, 200, "\n" GOOD);
    REQUIRE_OK(import_text(&r, text), r.f.st);
    CHECK(r.figures.wrong == 1 && r.figures.explanations == 1);
    CHECK_CONTAINS(r.notice, "nested deeper than");
    run_close(&r);
}

static void counts_more_wrong_lines_than_it_names(void)
{
    struct run r;
    static char text[8192];
    REQUIRE(run_open(&r));
    for (int i = 0; i < 250; i++) {
        memcpy(text + (ptrdiff_t)2 * i, "x\n", 3);
    }
    REQUIRE_OK(import_text(&r, text), r.f.st);
    CHECK(r.figures.wrong == 250 && r.notices == IMPORT_NAMED);
    run_close(&r);
}

static int stop_at_once(void *user, const struct import_figures *figures)
{
    (void)user;
    (void)figures;
    return 1;
}

static void stops_when_asked_and_keeps_what_was_read(void)
{
    struct run r;
    REQUIRE(run_open(&r));
    scratch_text(&r.files, "a.jsonl", GOOD);
    const struct import_options options = {.progress = stop_at_once};
    CHECK(import_lines(r.f.store, scratch_path(&r.files, "a.jsonl"), &options, &r.figures,
                       &r.f.st) == STATUS_CANCELLED);
    check_ask(&r, "SELECT count(*) FROM explanation", "1");
    run_close(&r);
}

static void survives_every_failing_allocation(void)
{
    struct run r;
    long nth = 1;
    REQUIRE(run_open(&r));
    scratch_text(&r.files, "a.jsonl",
                 GOOD "\n{\"modelId\":\"m\",\"layer\":\"s\",\"index\":1,\"tokens\":[\"a\"],"
                      "\"values\":[1]}\n");
    for (;; nth++) {
        (void)memory_fail_after(nth);
        int code = import_path(&r, scratch_path(&r.files, "a.jsonl"));
        (void)memory_fail_after(0);
        if (code == 0) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        REQUIRE(nth < 200);
    }
    CHECK(nth > 5 && r.figures.wrong == 0 && r.figures.activations == 1);
    run_close(&r);
}

static const struct test tests[] = {
    TEST(tells_the_kinds_of_line_apart_by_their_keys),
    TEST(leaves_embeddings_out_in_every_form_they_come_in),
    TEST(reads_gz_files_and_folders_and_the_same_again_changes_nothing),
    TEST(names_each_wrong_line_and_loses_no_other),
    TEST(takes_marks_line_ends_and_odd_spacing_in_its_stride),
    TEST(keeps_what_stands_before_the_cut_of_a_truncated_file),
    TEST(takes_a_plain_file_called_gz_and_names_what_is_no_text),
    TEST(refuses_a_line_over_the_limit_and_reads_on),
    TEST(refuses_deep_nesting),
    TEST(counts_more_wrong_lines_than_it_names),
    TEST(stops_when_asked_and_keeps_what_was_read),
    TEST(survives_every_failing_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
