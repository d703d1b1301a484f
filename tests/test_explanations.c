/* Explanations, their search, and imported lines. */
#include "server/store/explanations.h"

#include "core/base/memory.h"
#include "server/store/dashboards.h"
#include "tests/store_fixture.h"

struct list {
    size_t n, stop_after;
    char text[2048];
    double score[64];
    bool label[64];
};

static void add(struct list *l, const char *what, int64_t index)
{
    size_t used = strlen(l->text);
    (void)snprintf(l->text + used, sizeof l->text - used, "%s%s/%lld", used ? " " : "", what,
                   (long long)index);
    l->n++;
}

static int list_one(void *user, const struct store_explanation *e)
{
    struct list *l = user;
    add(l, e->id, e->index);
    return l->stop_after && l->n == l->stop_after ? 77 : 0;
}

static int list_match(void *user, const struct store_match *m)
{
    struct list *l = user;
    l->score[l->n % 64] = m->score;
    l->label[l->n % 64] = m->is_label;
    add(l, m->is_label ? m->description : m->id, m->index);
    return 0;
}

static const struct store_explanation some[] = {
    {.id = "a",
     .model = "gemma-2-2b",
     .source = "20-gemmascope-res-16k",
     .index = 12082,
     .description = "references to dogs",
     .type_name = "oai_token-act-pair",
     .explainer = "gpt-4o",
     .author = "someone",
     .notes = "n",
     .origin = "imported",
     .created_at = "2024-07-30",
     .other = "{\"umap_x\":1.5}"},
    {.id = "b",
     .model = "gemma-2-2b",
     .source = "20-gemmascope-res-16k",
     .index = 5,
     .description = "an explosion that is explosive; Caf\u00e9 \"na\u00efve\" don't"},
    {.id = "c",
     .model = "gemma-2-2b",
     .source = "20-gemmascope-res-16k",
     .index = 12082,
     .description = "the dog that barks"},
    {.id = "d",
     .model = "gemma-2-2b",
     .source = "3-gemmascope-mlp-16k",
     .index = 7,
     .description = "dogs dogs dogs"},
    {.id = "e",
     .model = "gemma-3-1b",
     .source = "20-gemmascope-res-16k",
     .index = 7,
     .description = "dogs in another model"},
};

static bool open_with_some(struct fixture *f)
{
    if (!fixture_open(f) || store_put_explanations(f->store, some, 5, &f->st) != 0) {
        printf("    %s\n", f->st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static int check_fields(void *user, const struct store_explanation *e)
{
    (void)user;
    if (strcmp(e->id, "a") == 0) {
        CHECK(e->index == 12082);
        CHECK_STRING(e->model, "gemma-2-2b");
        CHECK_STRING(e->source, "20-gemmascope-res-16k");
        CHECK_STRING(e->description, "references to dogs");
        CHECK_STRING(e->author, "someone");
        CHECK_STRING(e->type_name, "oai_token-act-pair");
        CHECK_STRING(e->explainer, "gpt-4o");
        CHECK_STRING(e->notes, "n");
        CHECK_STRING(e->origin, "imported");
        CHECK_STRING(e->created_at, "2024-07-30");
        CHECK_STRING(e->other, "{\"umap_x\":1.5}");
    } else {
        CHECK_STRING(e->author, "");
        CHECK_STRING(e->other, "");
    }
    return 0;
}

static void lists_explanations_of_a_feature_a_source_and_a_model(void)
{
    struct fixture f;
    REQUIRE(open_with_some(&f));
    struct list l = {0};
    REQUIRE_OK(store_explanations(f.store, "gemma-2-2b", "20-gemmascope-res-16k", 12082, list_one,
                                  &l, &f.st),
               f.st);
    CHECK_STRING(l.text, "a/12082 c/12082");
    l = (struct list){0};
    REQUIRE_OK(
        store_explanations(f.store, "gemma-2-2b", "20-gemmascope-res-16k", -1, list_one, &l, &f.st),
        f.st);
    CHECK_STRING(l.text, "b/5 a/12082 c/12082");
    l = (struct list){0};
    REQUIRE_OK(store_explanations(f.store, "gemma-2-2b", NULL, -1, list_one, &l, &f.st), f.st);
    CHECK_STRING(l.text, "b/5 a/12082 c/12082 d/7");
    l = (struct list){.stop_after = 2};
    CHECK(store_explanations(f.store, "gemma-2-2b", NULL, -1, list_one, &l, &f.st) == 77);
    CHECK(l.n == 2);
    REQUIRE_OK(store_explanations(f.store, "gemma-2-2b", NULL, -1, check_fields, NULL, &f.st),
               f.st);
    fixture_close(&f);
}

/* What the query finds in gemma-2-2b, all sources. */
static void check_search(struct fixture *f, const char *query, const char *expected)
{
    struct list l = {0};
    size_t total;
    REQUIRE_OK(
        store_search(f->store, query, "gemma-2-2b", NULL, 0, 0, 50, list_match, &l, &total, &f->st),
        f->st);
    if (strcmp(l.text, expected) != 0 || total != l.n) {
        printf("    \"%s\" (%zu): expected %s, found %s\n", query, total, expected, l.text);
        test_failures_++;
    }
    for (size_t i = 0; i < l.n; i++) {
        CHECK(l.score[i] >= 0 && l.score[i] < 1 && (i == 0 || l.score[i] <= l.score[i - 1]));
    }
}

static void finds_every_word_by_stem_and_by_beginning(void)
{
    struct fixture f;
    REQUIRE(open_with_some(&f));
    check_search(&f, "barks", "c/12082");
    check_search(&f, "bark", "c/12082");
    check_search(&f, "DOG barks", "c/12082");
    check_search(&f, "dogs barks", "c/12082");
    check_search(&f, "explosi", "b/5");
    check_search(&f, "explosions", "b/5");
    check_search(&f, "cafe", "b/5");
    check_search(&f, "na\u00efv", "b/5");
    check_search(&f, "don't", "b/5");
    check_search(&f, "bar dog", ""); /* only the last word may be a beginning */
    check_search(&f, "cat", "");
    fixture_close(&f);
}

static void takes_no_operators_from_a_query(void)
{
    static const char *const queries[] = {"\"",
                                          "\"\"",
                                          "*",
                                          "-",
                                          "( )",
                                          "a OR",
                                          "NOT",
                                          "AND",
                                          "NEAR(",
                                          "dog NEAR/3",
                                          "description:dog",
                                          "{description}: dog",
                                          "^dog AND",
                                          "dog\"; DROP TABLE explanation; --",
                                          "\xff\xfe",
                                          "",
                                          "   ",
                                          "'",
                                          "dog -",
                                          "a* b*",
                                          "\"unfinished",
                                          "\\",
                                          "%",
                                          ":match",
                                          "\x01"};
    struct fixture f;
    REQUIRE(open_with_some(&f));
    for (size_t i = 0; i < sizeof queries / sizeof queries[0]; i++) {
        struct list l = {0};
        size_t total;
        REQUIRE_OK(
            store_search(f.store, queries[i], NULL, NULL, 0, 0, 50, list_match, &l, &total, &f.st),
            f.st);
        CHECK(total == l.n);
    }
    check_search(&f, "dog OR cat", "");
    check_search(&f, "dog -", "d/7 a/12082 c/12082");
    check_search(&f, "description:dog", "");
    fixture_close(&f);
}

static void narrows_by_model_and_sources_and_pages(void)
{
    struct fixture f;
    struct list l = {0};
    size_t total;
    REQUIRE(open_with_some(&f));
    const char *const mlp[] = {"3-gemmascope-mlp-16k", "no \"such\" source"};
    REQUIRE_OK(store_search(f.store, "dog", NULL, mlp, 2, 0, 50, list_match, &l, &total, &f.st),
               f.st);
    CHECK_STRING(l.text, "d/7");
    l = (struct list){0};
    REQUIRE_OK(store_search(f.store, "dog", NULL, NULL, 0, 0, 50, list_match, &l, &total, &f.st),
               f.st);
    CHECK(total == 4 && l.n == 4);
    struct list paged = {0};
    for (size_t at = 0; at < 6; at += 2) {
        REQUIRE_OK(
            store_search(f.store, "dog", NULL, NULL, 0, at, 2, list_match, &paged, &total, &f.st),
            f.st);
        CHECK(total == 4);
    }
    CHECK_STRING(paged.text, l.text);
    fixture_close(&f);
}

/* Among twenty labels that say something else, so that it is rare. */
static int put_label(struct fixture *f, int64_t source, uint32_t index, const char *label)
{
    static uint32_t counts[D_SAE];
    static float maxima[D_SAE];
    struct store_dashboard d = {
        .tokens = 1, .corpora = "[]", .counts = counts, .maxima = maxima, .d_sae = D_SAE};
    struct store_feature feature = {.index = index, .label = label};
    struct store_dashboard_writer *w;
    if (store_dashboard_begin(f->store, source, &d, &w, &f->st) != 0) {
        return (int)f->st.code;
    }
    int code = store_dashboard_put(w, &feature, NULL, 0, &f->st);
    for (uint32_t i = 0; i < 20 && code == 0; i++) {
        feature = (struct store_feature){.index = 100 + i, .label = "something else"};
        code = store_dashboard_put(w, &feature, NULL, 0, &f->st);
    }
    if (code != 0) {
        store_dashboard_abandon(w);
        return code;
    }
    return store_dashboard_end(w, &f->st);
}

static void finds_labels_too_of_the_newest_dashboard_of_a_name(void)
{
    struct fixture f;
    int64_t newer;
    REQUIRE(fixture_open(&f));
    const struct store_explanation e = {.id = "x",
                                        .model = "gemma-2-2b",
                                        .source = "20-gemmascope-res-16k",
                                        .index = 1,
                                        .description = "kennels"};
    /* The word is rarer among the labels, and still they come behind. */
    REQUIRE_OK(store_put_explanations(f.store, &e, 1, &f.st), f.st);
    REQUIRE_OK(put_label(&f, f.source, 16383, "kennel"), f.st);
    check_search(&f, "kenn", "x/1 kennel/16383");
    const char *const names[] = {"20-gemmascope-res-16k"};
    struct list l = {0};
    size_t total;
    REQUIRE_OK(store_search(f.store, "kennel", NULL, names, 1, 0, 9, list_match, &l, &total, &f.st),
               f.st);
    CHECK(total == 2 && !l.label[0] && l.label[1]);
    REQUIRE_OK(fixture_source(&f, f.model, "20-gemmascope-res-16k", "changed", &newer), f.st);
    REQUIRE_OK(put_label(&f, newer, 3, "kennel club"), f.st);
    check_search(&f, "kennel club", "kennel club/3");
    check_search(&f, "kennel", "x/1 kennel club/3");
    REQUIRE_OK(put_label(&f, newer, 3, "cattery"), f.st);
    check_search(&f, "kennel", "x/1");
    fixture_close(&f);
}

static void replaces_by_id_and_deletes_and_the_search_follows(void)
{
    struct fixture f;
    bool found;
    REQUIRE(open_with_some(&f));
    struct store_explanation e = some[2];
    e.description = "the cat that purrs";
    e.origin = "here";
    REQUIRE_OK(store_put_explanations(f.store, &e, 1, &f.st), f.st);
    REQUIRE_OK(store_put_explanations(f.store, some, 2, &f.st), f.st); /* again, as they are */
    check_search(&f, "barks", "");
    check_search(&f, "purr", "c/12082");
    REQUIRE_OK(store_delete_explanation(f.store, "c", &found, &f.st), f.st);
    CHECK(found);
    REQUIRE_OK(store_delete_explanation(f.store, "c", &found, &f.st), f.st);
    CHECK(!found);
    check_search(&f, "purr", "");
    char answer[256];
    fixture_ask(&f, "SELECT group_concat(id || origin) FROM explanation", answer);
    CHECK_STRING(answer, "aimported,b,d,e");
    CHECK(fixture_sql(&f, "INSERT INTO explanation_stem (explanation_stem, rank)"
                          " VALUES ('integrity-check', 1)"));
    CHECK(fixture_sql(&f, "INSERT INTO explanation_word (explanation_word, rank)"
                          " VALUES ('integrity-check', 1)"));
    fixture_close(&f);
}

static int list_line(void *user, const struct store_imported *line)
{
    struct list *l = user;
    add(l, line->line, line->index);
    CHECK_STRING(line->model, "m");
    CHECK_STRING(line->source, "s");
    return l->stop_after && l->n == l->stop_after ? 77 : 0;
}

static void keeps_imported_lines_as_they_came(void)
{
    const struct store_imported lines[] = {
        {NULL, "m", "s", 9, "{f9}"},  {NULL, "m", "s", 10, "{f10}"}, {"i", "m", "s", 10, "{a1}"},
        {"j", "m", "s", 9, "{a2}"},   {"k", "m", "s", 9, "{a3}"},    {NULL, "m", "t", 1, "{f1}"},
        {NULL, "m", "s", 9, "{f9b}"}, {"k", "m", "s", 9, "{a3b}"},
    };
    struct fixture f;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_put_imported(f.store, lines, 8, &f.st), f.st);
    struct list l = {0};
    REQUIRE_OK(store_imported_features(f.store, "m", "s", -1, list_line, &l, &f.st), f.st);
    CHECK_STRING(l.text, "{f9b}/9 {f10}/10");
    l = (struct list){0};
    REQUIRE_OK(store_imported_features(f.store, "m", "s", 10, list_line, &l, &f.st), f.st);
    CHECK_STRING(l.text, "{f10}/10");
    l = (struct list){0};
    REQUIRE_OK(store_imported_examples(f.store, "m", "s", -1, list_line, &l, &f.st), f.st);
    CHECK_STRING(l.text, "{a2}/9 {a3b}/9 {a1}/10");
    l = (struct list){.stop_after = 1};
    CHECK(store_imported_examples(f.store, "m", "s", 9, list_line, &l, &f.st) == 77);
    CHECK_STRING(l.text, "{a2}/9");
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(lists_explanations_of_a_feature_a_source_and_a_model),
    TEST(finds_every_word_by_stem_and_by_beginning),
    TEST(takes_no_operators_from_a_query),
    TEST(narrows_by_model_and_sources_and_pages),
    TEST(finds_labels_too_of_the_newest_dashboard_of_a_name),
    TEST(replaces_by_id_and_deletes_and_the_search_follows),
    TEST(keeps_imported_lines_as_they_came),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
