/* The number that changes with what pages of features show. */
#include "server/store/dashboards.h"
#include "server/store/explanations.h"
#include "tests/store_fixture.h"

#define MODEL "gemma-2-2b"
#define SOURCE "20-gemmascope-res-16k"

/* Whether the number is another than at the last call. */
static bool changed(struct fixture *f)
{
    static int64_t last;
    int64_t now = -1;
    bool read = store_pages_state(f->store, &now, &f->st) == STATUS_OK && now > 0;
    bool is_new = now != last;
    last = now;
    return read && is_new;
}

static bool put_explanation(struct fixture *f, const char *description)
{
    const struct store_explanation e = {
        .id = "x", .model = MODEL, .source = SOURCE, .index = 5, .description = description};
    return !store_put_explanations(f->store, &e, 1, &f->st);
}

static bool put_imported(struct fixture *f, const char *id)
{
    const struct store_imported line = {id, MODEL, SOURCE, 5, "{}"};
    return !store_put_imported(f->store, &line, 1, &f->st);
}

static struct store_dashboard_writer *begin_dashboard(struct fixture *f)
{
    static uint32_t counts[D_SAE];
    static float maxima[D_SAE];
    /* Static: the writer borrows it until the end. */
    static const struct store_dashboard d = {
        .tokens = 1, .corpora = "[]", .counts = counts, .maxima = maxima, .d_sae = D_SAE};
    const struct store_feature feature = {.index = 5, .label = "light"};
    struct store_dashboard_writer *w = NULL;
    (void)(store_dashboard_begin(f->store, f->source, &d, &w, &f->st) ||
           store_dashboard_put(w, &feature, NULL, 0, &f->st));
    return w;
}

static void changes_with_all_that_a_page_shows(void)
{
    struct fixture f;
    static const uint32_t nearest[] = {7};
    static const float cosine[] = {0.5F};
    REQUIRE(fixture_open(&f));
    CHECK(changed(&f));
    CHECK(!changed(&f));
    CHECK(put_explanation(&f, "a") && changed(&f));
    CHECK(put_explanation(&f, "b") && changed(&f));
    CHECK(put_imported(&f, NULL) && changed(&f));
    CHECK(put_imported(&f, "an example") && changed(&f));
    CHECK(!store_write_neighbours(f.store, f.source, 5, f.source, nearest, cosine, 1, &f.st));
    CHECK(changed(&f));
    for (int i = 0; i < 2; i++) { /* a first dashboard, and one in its place */
        struct store_dashboard_writer *w = begin_dashboard(&f);
        REQUIRE_OK(f.st.code, f.st);
        (void)changed(&f); /* one that is being written is not shown */
        CHECK(!store_dashboard_end(w, &f.st) && changed(&f));
    }
    fixture_close(&f);
}

static void stays_while_activations_are_kept(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    (void)changed(&f);
    for (uint64_t i = 0; i < 3; i++) {
        REQUIRE_OK(fixture_write(&f, f.model, f.source, i, 20, &f.st), f.st);
    }
    CHECK(!changed(&f));
    fixture_close(&f);
}

static void changes_when_another_program_writes(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    CHECK(put_explanation(&f, "a"));
    (void)changed(&f);
    REQUIRE(fixture_sql(&f, "UPDATE explanation SET description = 'c'"));
    CHECK(changed(&f));
    REQUIRE(fixture_sql(&f, "DELETE FROM imported_feature"));
    CHECK(!changed(&f)); /* there were none */
    REQUIRE(fixture_sql(&f, "DELETE FROM explanation"));
    CHECK(changed(&f));
    fixture_close(&f);
}

static void is_unknown_once_the_table_was_emptied(void)
{
    struct fixture f;
    int64_t state = 7;
    REQUIRE(fixture_open(&f));
    REQUIRE(fixture_sql(&f, "DELETE FROM pages"));
    REQUIRE_OK(store_pages_state(f.store, &state, &f.st), f.st);
    CHECK(state == 0);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(changes_with_all_that_a_page_shows),
    TEST(stays_while_activations_are_kept),
    TEST(changes_when_another_program_writes),
    TEST(is_unknown_once_the_table_was_emptied),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
