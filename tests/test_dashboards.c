/* Dashboards: written as a whole, read page by page. `test_dashboards --sample FILE` writes a small
 * one and prints it as the page docs/database.md does, for tests/cli/test_database_doc.sh. */
#include "server/store/dashboards.h"

#include "core/base/memory.h"
#include "server/store/documents.h"
#include "tests/store_fixture.h"

enum { TEXTS = 4, LENGTH = 20, EXAMPLES = 12 };

struct board {
    struct fixture f;
    int64_t corpus, texts[TEXTS];
    int32_t ids[TEXTS][LENGTH];
    uint32_t counts[D_SAE];
    float maxima[D_SAE];
    struct store_dashboard dashboard;
};

/* Everything but the dashboard. */
static bool board_fill(struct board *b)
{
    struct store_document documents[TEXTS];
    for (size_t i = 0; i < TEXTS; i++) {
        fixture_ids(i + 1, b->ids[i], LENGTH);
        documents[i] = (struct store_document){b->ids[i], LENGTH, 1};
        b->texts[i] = (int64_t)i + 1;
    }
    for (uint32_t i = 0; i < D_SAE; i++) {
        b->counts[i] = i * 3;
        b->maxima[i] = (float)i / 7;
    }
    b->dashboard = (struct store_dashboard){.documents = TEXTS,
                                            .tokens = TEXTS * (LENGTH - 1),
                                            .context = LENGTH,
                                            .corpora = "[\"pile\"]",
                                            .seed = 42,
                                            .counts = b->counts,
                                            .maxima = b->maxima,
                                            .d_sae = D_SAE};
    if (store_corpus(b->f.store, b->f.model, "pile", "{}", &b->corpus, &b->f.st) != 0 ||
        store_write_documents(b->f.store, b->f.model, b->corpus, 0, documents, TEXTS, NULL, 0, 0,
                              &b->f.st) != 0) {
        printf("    %s\n", b->f.st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static bool board_open(struct board *b)
{
    return fixture_open(&b->f) && board_fill(b);
}

static struct store_feature make_feature(uint32_t index)
{
    struct store_feature f = {.index = index,
                              .count = 3 * (int64_t)index,
                              .maximum = (float)index / 7,
                              .activations = {DASHBOARD_BINS, 0.125f, 9.5f, {0}},
                              .has_logits = true,
                              .logits = {DASHBOARD_BINS, -3, 4, {0}},
                              .label = "dogs, puppies"};
    for (uint32_t i = 0; i < DASHBOARD_BINS; i++) {
        f.activations.count[i] = index + i;
        f.logits.count[i] = 1000 * i;
    }
    for (int i = 0; i < DASHBOARD_LOGITS; i++) {
        f.positive_ids[i] = 100 + i;
        f.negative_ids[i] = 200 + i;
        f.positive[i] = 1 / (1 + (float)i);
        f.negative[i] = -1 / (1 + (float)i);
    }
    return f;
}

/* Two examples in each part; along has what the seed says. */
static void make_examples(const struct board *b, uint32_t index, float along[EXAMPLES][LENGTH],
                          struct store_example examples[EXAMPLES])
{
    uint64_t seed = index;
    for (int i = 0; i < EXAMPLES; i++) {
        for (size_t t = 0; t < LENGTH; t++) {
            along[i][t] = fixture_random(&seed) % 3 ? 0 : (float)fixture_random(&seed) / 65536.0f;
        }
        examples[i] = (struct store_example){.part = i / 2,
                                             .place = i % 2,
                                             .text = b->texts[i % TEXTS],
                                             .corpus = b->corpus,
                                             .document = i % TEXTS,
                                             .position = i,
                                             .value = along[i][i],
                                             .bin_min = i < 2 ? -1 : (float)i / 3,
                                             .bin_max = (float)i / 2,
                                             .bin_contains = i < 2 ? -1 : i / 7.0,
                                             .along = along[i],
                                             .n_tokens = LENGTH};
    }
}

static int put(const struct board *b, struct store_dashboard_writer *w, uint32_t index,
               struct status *st)
{
    float along[EXAMPLES][LENGTH];
    struct store_example examples[EXAMPLES];
    struct store_feature feature = make_feature(index);
    make_examples(b, index, along, examples);
    return store_dashboard_put(w, &feature, examples, EXAMPLES, st);
}

static int write_board(struct board *b, const uint32_t *indices, size_t n, struct status *st)
{
    struct store_dashboard_writer *w;
    if (store_dashboard_begin(b->f.store, b->f.source, &b->dashboard, &w, st) != 0) {
        return (int)st->code;
    }
    for (size_t i = 0; i < n; i++) {
        if (put(b, w, indices[i], st) != 0) {
            store_dashboard_abandon(w);
            return (int)st->code;
        }
    }
    return store_dashboard_end(w, st);
}

static bool same_histogram(const struct store_histogram *a, const struct store_histogram *b)
{
    return a->n_bins == b->n_bins && a->low == b->low && a->high == b->high &&
           memcmp(a->count, b->count, sizeof a->count) == 0;
}

static bool same_feature(const struct store_feature *a, const struct store_feature *b)
{
    return a->index == b->index && a->count == b->count && a->maximum == b->maximum &&
           same_histogram(&a->activations, &b->activations) && a->has_logits == b->has_logits &&
           memcmp(a->positive_ids, b->positive_ids, sizeof a->positive_ids) == 0 &&
           memcmp(a->negative_ids, b->negative_ids, sizeof a->negative_ids) == 0 &&
           memcmp(a->positive, b->positive, sizeof a->positive) == 0 &&
           memcmp(a->negative, b->negative, sizeof a->negative) == 0 &&
           same_histogram(&a->logits, &b->logits) && strcmp(a->label, b->label) == 0;
}

static bool same_example(const struct board *b, const struct store_example *found,
                         const struct store_example *e)
{
    return found->part == e->part && found->place == e->place && found->text == e->text &&
           found->corpus == e->corpus && found->document == e->document &&
           found->position == e->position && found->value == e->value &&
           found->bin_min == e->bin_min && found->bin_max == e->bin_max &&
           found->bin_contains == e->bin_contains && found->n_tokens == LENGTH &&
           memcmp(found->along, e->along, LENGTH * sizeof *e->along) == 0 &&
           memcmp(found->ids, b->ids[e->text - 1], sizeof b->ids[0]) == 0;
}

static void check_page(struct board *b, uint32_t index)
{
    struct store_feature_page page;
    float along[EXAMPLES][LENGTH];
    struct store_example examples[EXAMPLES];
    struct store_feature feature = make_feature(index);
    bool found;
    make_examples(b, index, along, examples);
    REQUIRE_OK(store_read_feature(b->f.store, b->f.source, index, 0, &page, &found, &b->f.st),
               b->f.st);
    REQUIRE(found && page.n_examples == EXAMPLES);
    CHECK(same_feature(&page.feature, &feature));
    for (size_t i = 0; i < EXAMPLES; i++) {
        CHECK(same_example(b, &page.examples[i], &examples[i]));
    }
    store_feature_page_free(&page);
}

static void gives_back_every_number_of_a_feature_and_its_examples(void)
{
    static struct board b;
    const uint32_t indices[] = {0, 16383, 7};
    REQUIRE(board_open(&b));
    REQUIRE_OK(write_board(&b, indices, 3, &b.f.st), b.f.st);
    for (int i = 0; i < 3; i++) {
        check_page(&b, indices[i]);
    }
    struct store_feature_page page;
    bool found;
    REQUIRE_OK(store_read_feature(b.f.store, b.f.source, 8, 0, &page, &found, &b.f.st), b.f.st);
    CHECK(!found && page.memory == NULL);
    store_feature_page_free(&page);
    fixture_close(&b.f);
}

static void gives_back_the_figures_of_the_source(void)
{
    static struct board b;
    struct store_dashboard d;
    bool found;
    REQUIRE(board_open(&b));
    REQUIRE_OK(store_read_dashboard(b.f.store, b.f.source, &d, &found, &b.f.st), b.f.st);
    CHECK(!found);
    store_dashboard_free(&d);
    REQUIRE_OK(write_board(&b, NULL, 0, &b.f.st), b.f.st);
    REQUIRE_OK(store_read_dashboard(b.f.store, b.f.source, &d, &found, &b.f.st), b.f.st);
    REQUIRE(found && d.d_sae == D_SAE);
    CHECK(d.documents == TEXTS && d.tokens == 76 && d.context == LENGTH && d.seed == 42);
    CHECK(memcmp(d.counts, b.counts, sizeof b.counts) == 0);
    CHECK(memcmp(d.maxima, b.maxima, sizeof b.maxima) == 0);
    CHECK_STRING(d.corpora, "[\"pile\"]");
    CHECK(strlen(d.made_at) == 24 && d.made_at[10] == 'T' && d.made_at[23] == 'Z');
    store_dashboard_free(&d);
    CHECK(fixture_sql(&b.f, "UPDATE dashboard SET maxima = x'00000000'"));
    CHECK(store_read_dashboard(b.f.store, b.f.source, &d, &found, &b.f.st) == STATUS_CORRUPT);
    CHECK(!found && d.memory == NULL);
    fixture_close(&b.f);
}

static void limits_the_top_examples_and_never_the_intervals(void)
{
    static struct board b;
    struct store_feature_page page;
    const uint32_t index = 5;
    bool found;
    REQUIRE(board_open(&b));
    REQUIRE_OK(write_board(&b, &index, 1, &b.f.st), b.f.st);
    for (size_t limit = 1; limit <= 3; limit++) {
        REQUIRE_OK(store_read_feature(b.f.store, b.f.source, 5, limit, &page, &found, &b.f.st),
                   b.f.st);
        CHECK(found && page.n_examples == (limit == 1 ? EXAMPLES - 1 : EXAMPLES));
        CHECK(page.examples[0].part == 0 && page.examples[0].place == 0);
        store_feature_page_free(&page);
    }
    fixture_close(&b.f);
}

static void keeps_a_dead_feature_without_logits_or_examples(void)
{
    static struct board b;
    struct store_dashboard_writer *w;
    struct store_feature_page page;
    struct store_feature dead = {.index = 3, .label = NULL};
    bool found;
    REQUIRE(board_open(&b));
    REQUIRE_OK(store_dashboard_begin(b.f.store, b.f.source, &b.dashboard, &w, &b.f.st), b.f.st);
    REQUIRE_OK(store_dashboard_put(w, &dead, NULL, 0, &b.f.st), b.f.st);
    REQUIRE_OK(store_dashboard_end(w, &b.f.st), b.f.st);
    REQUIRE_OK(store_read_feature(b.f.store, b.f.source, 3, 0, &page, &found, &b.f.st), b.f.st);
    dead.label = "";
    CHECK(found && page.n_examples == 0 && same_feature(&page.feature, &dead));
    store_feature_page_free(&page);
    fixture_close(&b.f);
}

static void shows_readers_the_old_dashboard_until_the_new_one_is_whole(void)
{
    static struct board b;
    struct store_dashboard_writer *w;
    struct store_dashboard d;
    const uint32_t old[] = {1, 2};
    bool found;
    REQUIRE(board_open(&b));
    REQUIRE_OK(write_board(&b, old, 2, &b.f.st), b.f.st);
    b.dashboard.seed = 43;
    REQUIRE_OK(store_dashboard_begin(b.f.store, b.f.source, &b.dashboard, &w, &b.f.st), b.f.st);
    REQUIRE_OK(put(&b, w, 9, &b.f.st), b.f.st);
    check_page(&b, 1);
    REQUIRE_OK(store_read_dashboard(b.f.store, b.f.source, &d, &found, &b.f.st), b.f.st);
    CHECK(found && d.seed == 42);
    store_dashboard_free(&d);
    store_dashboard_abandon(w);
    check_page(&b, 2);
    const uint32_t next[] = {2, 9};
    REQUIRE_OK(write_board(&b, next, 2, &b.f.st), b.f.st);
    struct store_feature_page page;
    REQUIRE_OK(store_read_feature(b.f.store, b.f.source, 1, 0, &page, &found, &b.f.st), b.f.st);
    CHECK(!found);
    check_page(&b, 9);
    char answer[256];
    fixture_ask(&b.f, "SELECT group_concat(rowid & 0xFFFFFFFF) FROM label_text", answer);
    CHECK_STRING(answer, "2,9");
    fixture_close(&b.f);
}

static void leaves_other_sources_alone(void)
{
    static struct board b;
    const uint32_t index = 16383;
    int64_t other;
    REQUIRE(board_open(&b));
    REQUIRE_OK(fixture_source(&b.f, b.f.model, "21-gemmascope-res-16k", "s", &other), b.f.st);
    REQUIRE_OK(write_board(&b, &index, 1, &b.f.st), b.f.st);
    int64_t mine = b.f.source;
    b.f.source = other;
    REQUIRE_OK(write_board(&b, &index, 1, &b.f.st), b.f.st);
    REQUIRE_OK(write_board(&b, NULL, 0, &b.f.st), b.f.st);
    b.f.source = mine;
    check_page(&b, index);
    char answer[256];
    fixture_ask(&b.f, "SELECT count(*) || ' ' || (SELECT count(*) FROM label_text) FROM feature",
                answer);
    CHECK_STRING(answer, "1 1");
    fixture_close(&b.f);
}

static void refuses_a_dashboard_of_another_size(void)
{
    static struct board b;
    struct store_dashboard_writer *w;
    REQUIRE(board_open(&b));
    b.dashboard.d_sae = 100;
    CHECK(store_dashboard_begin(b.f.store, b.f.source, &b.dashboard, &w, &b.f.st) ==
          STATUS_INTERNAL);
    CHECK(w == NULL);
    store_dashboard_abandon(w);
    REQUIRE_OK(fixture_write(&b.f, b.f.model, b.f.source, 4, 9, &b.f.st),
               b.f.st); /* turn is over */
    fixture_close(&b.f);
}

/* As another process would: it waits a little for its turn. */
static int write_elsewhere(const struct board *b, uint64_t seed, struct status *st)
{
    struct fixture other = b->f;
    const struct store_options options = {.busy_ms = 1000};
    if (store_open_with(&other.store, b->f.path, MIGRATIONS, &options, st) != 0) {
        return (int)st->code;
    }
    int code = fixture_write(&other, b->f.model, b->f.source, seed, 9, st);
    store_close(other.store);
    return code;
}

static void lets_others_write_while_a_dashboard_is_put(void)
{
    static struct board b;
    struct store_dashboard_writer *w;
    size_t written = 0;
    REQUIRE(board_open(&b));
    REQUIRE_OK(store_dashboard_begin(b.f.store, b.f.source, &b.dashboard, &w, &b.f.st), b.f.st);
    for (uint32_t i = 0; i < 96; i++) {
        REQUIRE_OK(put(&b, w, i, &b.f.st), b.f.st);
        if (i % 32 == 31) {
            written += write_elsewhere(&b, 100 + i, &b.f.st) == 0 &&
                       fixture_write(&b.f, b.f.model, b.f.source, 200 + i, 9, &b.f.st) == 0;
        }
    }
    CHECK(written == 3);
    REQUIRE_OK(store_dashboard_end(w, &b.f.st), b.f.st);
    check_page(&b, 95);
    fixture_close(&b.f);
}

static void removes_what_a_killed_run_left(void)
{
    static struct board b;
    const uint32_t indices[] = {1, 2};
    char answer[256];
    REQUIRE(board_open(&b));
    REQUIRE_OK(write_board(&b, indices, 2, &b.f.st), b.f.st);
    CHECK(fixture_sql(&b.f,
                      "INSERT INTO build VALUES (70, 1);"
                      "INSERT INTO feature SELECT 70, number + 100, count, maximum, statistic,"
                      " label FROM feature;"
                      "INSERT INTO label_text (rowid, label) VALUES ((70 << 32) + 101, 'x');"
                      "INSERT INTO example SELECT 70, number + 100, part, place, text, corpus,"
                      " document, position, value, bin_min, bin_max, bin_contains, along"
                      " FROM example"));
    check_page(&b, 1);
    REQUIRE_OK(write_board(&b, indices, 1, &b.f.st), b.f.st);
    fixture_ask(&b.f,
                "SELECT (SELECT count(*) FROM build) || ' ' || (SELECT count(*) FROM feature)"
                " || ' ' || (SELECT count(*) FROM label_text)"
                " || ' ' || (SELECT count(DISTINCT build) FROM example)",
                answer);
    CHECK_STRING(answer, "1 1 1 1");
    check_page(&b, 1);
    fixture_close(&b.f);
}

static void keeps_logits_whatever_becomes_of_dashboards(void)
{
    static struct board b;
    static struct store_feature features[4], found_features[4];
    bool found;
    REQUIRE(board_open(&b));
    for (uint32_t i = 0; i < 4; i++) {
        features[i] = make_feature(i);
    }
    REQUIRE_OK(store_read_logits(b.f.store, b.f.source, 0, 1, found_features, &found, &b.f.st),
               b.f.st);
    CHECK(!found);
    REQUIRE_OK(store_write_logits(b.f.store, b.f.source, features, 3, &b.f.st), b.f.st);
    REQUIRE_OK(write_board(&b, NULL, 0, &b.f.st), b.f.st);
    REQUIRE_OK(store_read_logits(b.f.store, b.f.source, 0, 3, found_features, &found, &b.f.st),
               b.f.st);
    CHECK(found);
    for (size_t i = 0; i < 3; i++) {
        CHECK(memcmp(found_features[i].positive, features[i].positive,
                     sizeof features[i].positive) == 0);
        CHECK(same_histogram(&found_features[i].logits, &features[i].logits));
    }
    REQUIRE_OK(store_read_logits(b.f.store, b.f.source, 0, 4, found_features, &found, &b.f.st),
               b.f.st);
    CHECK(!found); /* one of them is not there */
    CHECK(fixture_sql(&b.f, "UPDATE feature_logits SET logits = x'00' WHERE number = 1"));
    REQUIRE_OK(store_read_logits(b.f.store, b.f.source, 0, 3, found_features, &found, &b.f.st),
               b.f.st);
    CHECK(!found);
    REQUIRE_OK(store_write_logits(b.f.store, b.f.source, features, 3, &b.f.st), b.f.st);
    REQUIRE_OK(store_read_logits(b.f.store, b.f.source, 0, 3, found_features, &found, &b.f.st),
               b.f.st);
    CHECK(found); /* and mended */
    fixture_close(&b.f);
}

/* What a dashboard was before builds. */
static const char sql_old_dashboard[] =
    "INSERT INTO dashboard VALUES (1, 4, 76, 20, '[\"pile\"]', 42, zeroblob(4 * 16384),"
    " zeroblob(4 * 16384), '2026-01-01T00:00:00.000Z');"
    "INSERT INTO feature VALUES (1, 5, 3, 2.5, zeroblob(12),"
    " zeroblob(172), 'dogs');"
    "INSERT INTO example VALUES (1, 5, 0, 0, 1, 1, 0, 2, 2.5, -1, 2.5, -1, x'010200002040');"
    "INSERT INTO label_text (rowid, label) VALUES ((1 << 32) + 5, 'dogs')";

static void brings_dashboards_of_older_databases_along(void)
{
    static struct board b;
    struct store_feature_page page;
    char command[256], answer[256];
    bool found;
    REQUIRE(fixture_folder(&b.f));
    (void)snprintf(command, sizeof command, "mkdir %s/m && cp %s/0001* %s/0002* %s/m", b.f.folder,
                   MIGRATIONS, MIGRATIONS, b.f.folder);
    REQUIRE(system(command) == 0); /* NOLINT(cert-env33-c): a test's own paths */
    (void)snprintf(command, sizeof command, "%s/m", b.f.folder);
    REQUIRE(fixture_reopen_with(&b.f, command));
    REQUIRE(board_fill(&b));
    CHECK(fixture_sql(&b.f, sql_old_dashboard));
    store_close(b.f.store);
    REQUIRE(fixture_reopen(&b.f));
    REQUIRE_OK(store_read_feature(b.f.store, b.f.source, 5, 0, &page, &found, &b.f.st), b.f.st);
    CHECK(found && page.n_examples == 1 && page.feature.has_logits && page.feature.count == 3);
    CHECK(found && page.examples[0].along[2] == 2.5f);
    store_feature_page_free(&page);
    fixture_ask(&b.f, "SELECT l.label FROM label_text l JOIN dashboard ON build = l.rowid >> 32",
                answer);
    CHECK_STRING(answer, "dogs");
    const uint32_t next = 6;
    REQUIRE_OK(write_board(&b, &next, 1, &b.f.st), b.f.st);
    check_page(&b, 6);
    fixture_ask(&b.f, "SELECT group_concat(number) FROM feature", answer);
    CHECK_STRING(answer, "6");
    fixture_close(&b.f);
}

static void calls_a_damaged_page_damaged(void)
{
    static const char *const damages[] = {
        "UPDATE feature SET statistic = x''",
        "UPDATE feature SET statistic = substr(statistic, 1, 50)",
        "UPDATE feature SET statistic = CAST(statistic || x'00' AS BLOB)",
        "UPDATE feature SET statistic = x'FFFFFFFF0000000000000000'",
        "UPDATE feature_logits SET logits = x'00'",
        "UPDATE example SET along = x'' WHERE part = 3",
        "UPDATE example SET along = x'01140000803F' WHERE part = 5", /* position 20 of 20 */
        "UPDATE example SET position = 20 WHERE part = 0",
        "UPDATE example SET part = 7 WHERE part = 5",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        static struct board b;
        struct store_feature_page page;
        const uint32_t index = 7;
        bool found;
        REQUIRE(board_open(&b));
        REQUIRE_OK(write_board(&b, &index, 1, &b.f.st), b.f.st);
        CHECK(fixture_sql(&b.f, damages[i]));
        CHECK(store_read_feature(b.f.store, b.f.source, 7, 0, &page, &found, &b.f.st) ==
              STATUS_CORRUPT);
        CHECK_CONTAINS(b.f.st.message, "feature 7 of source 1 is damaged");
        CHECK(!found && page.memory == NULL && page.examples == NULL);
        fixture_close(&b.f);
    }
}

static void reports_every_allocation_that_fails(void)
{
    static struct board b;
    const uint32_t index = 7;
    long nth = 1;
    REQUIRE(board_open(&b));
    for (;; nth++) {
        (void)memory_fail_after(nth);
        int code = write_board(&b, &index, 1, &b.f.st);
        (void)memory_fail_after(0);
        if (code == 0) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        REQUIRE(nth < 200);
    }
    CHECK(nth > 3);
    check_page(&b, 7);
    for (nth = 1;; nth++) {
        struct store_feature_page page;
        bool found;
        (void)memory_fail_after(nth);
        int code = store_read_feature(b.f.store, b.f.source, 7, 0, &page, &found, &b.f.st);
        (void)memory_fail_after(0);
        if (code == 0) {
            CHECK(found);
            store_feature_page_free(&page);
            break;
        }
        CHECK(code == STATUS_MEMORY && !found);
        REQUIRE(nth < 200);
    }
    CHECK(nth > 5);
    fixture_close(&b.f);
}

static void keeps_neighbours_by_target(void)
{
    struct fixture f;
    int64_t other;
    const uint32_t index[] = {7, 9, 16383};
    const float cosine[] = {1, 0.5f, -0.25f};
    uint32_t nearest[5];
    float value[5];
    size_t n;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(fixture_source(&f, f.model, "21-gemmascope-res-16k", "s", &other), f.st);
    REQUIRE_OK(store_read_neighbours(f.store, f.source, 7, other, nearest, value, 5, &n, &f.st),
               f.st);
    CHECK(n == 0);
    REQUIRE_OK(store_write_neighbours(f.store, f.source, 7, other, index, cosine, 2, &f.st), f.st);
    REQUIRE_OK(store_write_neighbours(f.store, f.source, 7, other, index, cosine, 3, &f.st), f.st);
    REQUIRE_OK(store_write_neighbours(f.store, f.source, 7, f.source, index, cosine, 1, &f.st),
               f.st);
    REQUIRE_OK(store_read_neighbours(f.store, f.source, 7, other, nearest, value, 5, &n, &f.st),
               f.st);
    CHECK(n == 3 && memcmp(nearest, index, sizeof index) == 0 &&
          memcmp(value, cosine, sizeof cosine) == 0);
    REQUIRE_OK(store_read_neighbours(f.store, f.source, 7, other, nearest, value, 2, &n, &f.st),
               f.st);
    CHECK(n == 2);
    REQUIRE_OK(store_read_neighbours(f.store, f.source, 8, other, nearest, value, 2, &n, &f.st),
               f.st);
    CHECK(n == 0);
    fixture_close(&f);
}

/* --- the sample ------------------------------------------------------------------------------- */

static void print_histogram(const struct store_histogram *h)
{
    printf(" %.1f %.1f (", (double)h->low, (double)h->high);
    for (uint32_t i = 0; i < h->n_bins; i++) {
        printf("%s%u", i ? ", " : "", h->count[i]);
    }
    printf(")\n");
}

static void print_logits(const char *what, const int32_t *ids, const float *values)
{
    printf("%s", what);
    for (int i = 0; i < DASHBOARD_LOGITS; i++) {
        printf(" (%d, %.1f)", ids[i], (double)values[i]);
    }
    printf("\n");
}

/* Values are halves, which C and Python print alike. */
static int write_sample(struct board *b)
{
    struct store_feature f = make_feature(7);
    struct store_dashboard_writer *w;
    float along[LENGTH] = {0};
    along[3] = 2.5f;
    along[19] = 0.5f;
    f.maximum = 2.5f;
    f.activations.low = 0.5f;
    for (int i = 0; i < DASHBOARD_LOGITS; i++) {
        f.positive[i] = 20.5f - (float)i;
        f.negative[i] = -20.5f + (float)i;
    }
    const struct store_example e = {.part = 0,
                                    .place = 0,
                                    .text = 1,
                                    .corpus = b->corpus,
                                    .position = 3,
                                    .value = 2.5f,
                                    .along = along,
                                    .n_tokens = LENGTH};
    if (store_dashboard_begin(b->f.store, b->f.source, &b->dashboard, &w, &b->f.st) != 0) {
        return 1;
    }
    if (store_dashboard_put(w, &f, &e, 1, &b->f.st) != 0) {
        store_dashboard_abandon(w);
        return 1;
    }
    printf("feature 1 7 %lld %.1f %s", (long long)f.count, (double)f.maximum, f.label);
    print_histogram(&f.activations);
    print_logits("promotes", f.positive_ids, f.positive);
    print_logits("suppresses", f.negative_ids, f.negative);
    printf("logits");
    print_histogram(&f.logits);
    printf("example 0 0 3 2.5 %d {3: 2.5, 19: 0.5}\n", LENGTH);
    return store_dashboard_end(w, &b->f.st);
}

static int sample(const char *path)
{
    static struct board b;
    if (!board_open(&b)) {
        return 1;
    }
    int code = write_sample(&b);
    store_close(b.f.store);
    char command[512];
    (void)snprintf(command, sizeof command, "mv %s %s && rm -r %s", b.f.path, path, b.f.folder);
    return code || system(command) != 0; /* NOLINT(cert-env33-c): a test's own paths */
}

static const struct test tests[] = {
    TEST(gives_back_every_number_of_a_feature_and_its_examples),
    TEST(gives_back_the_figures_of_the_source),
    TEST(limits_the_top_examples_and_never_the_intervals),
    TEST(keeps_a_dead_feature_without_logits_or_examples),
    TEST(shows_readers_the_old_dashboard_until_the_new_one_is_whole),
    TEST(leaves_other_sources_alone),
    TEST(lets_others_write_while_a_dashboard_is_put),
    TEST(removes_what_a_killed_run_left),
    TEST(keeps_logits_whatever_becomes_of_dashboards),
    TEST(brings_dashboards_of_older_databases_along),
    TEST(refuses_a_dashboard_of_another_size),
    TEST(calls_a_damaged_page_damaged),
    TEST(reports_every_allocation_that_fails),
    TEST(keeps_neighbours_by_target),
};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--sample") == 0) {
        return sample(argv[2]);
    }
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
