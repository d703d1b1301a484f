#include "server/store/evaluations.h"

#include "server/store/documents.h"
#include "tests/store_fixture.h"

struct seen {
    size_t n, state_bytes;
    int64_t contexts, corpora[4];
    bool finished;
    char report[64], state[64];
    int stop;
};

static int see(void *user, const struct store_evaluation *e)
{
    struct seen *s = user;
    s->corpora[s->n++ % 4] = e->corpus;
    s->contexts = e->contexts;
    s->finished = e->finished;
    s->state_bytes = e->state_bytes;
    (void)snprintf(s->report, sizeof s->report, "%s", e->report);
    if (e->state) {
        memcpy(s->state, e->state, e->state_bytes < sizeof s->state ? e->state_bytes : 64);
    }
    CHECK(strlen(e->made_at) == 24);
    return s->stop;
}

static void keeps_one_of_a_source_and_a_corpus(void)
{
    struct fixture f;
    struct seen s = {0};
    int64_t corpus;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    REQUIRE_OK(store_evaluation(f.store, f.source, corpus, see, &s, &f.st), f.st);
    CHECK(s.n == 0);
    struct store_evaluation e = {.source = f.source,
                                 .corpus = corpus,
                                 .contexts = 5,
                                 .tokens = 500,
                                 .report = "{\"a\":1}",
                                 .state = "bytes\0more",
                                 .state_bytes = 10};
    REQUIRE_OK(store_evaluation_write(f.store, &e, &f.st), f.st);
    REQUIRE_OK(store_evaluation(f.store, f.source, corpus, see, &s, &f.st), f.st);
    CHECK(s.n == 1 && s.contexts == 5 && !s.finished && s.state_bytes == 10);
    CHECK(memcmp(s.state, "bytes\0more", 10) == 0);
    CHECK_STRING(s.report, "{\"a\":1}");
    e.state = NULL;
    e.finished = true;
    e.contexts = 9;
    e.report = "{}";
    REQUIRE_OK(store_evaluation_write(f.store, &e, &f.st), f.st);
    s = (struct seen){0};
    REQUIRE_OK(store_evaluation(f.store, f.source, corpus, see, &s, &f.st), f.st);
    CHECK(s.n == 1 && s.contexts == 9 && s.finished && s.state_bytes == 0);
    fixture_close(&f);
}

static long long pages(struct fixture *f)
{
    sqlite3_stmt *s = NULL;
    long long n = -1;
    if (sqlite3_prepare_v2(f->store->writer.db, "PRAGMA page_count", -1, &s, NULL) == SQLITE_OK &&
        sqlite3_step(s) == SQLITE_ROW) {
        n = sqlite3_column_int64(s, 0);
    }
    (void)sqlite3_finalize(s);
    return n;
}

static void a_state_takes_the_room_of_the_one_before(void)
{
    struct fixture f;
    int64_t corpus;
    char report[3][8] = {"{}", "{ }", "{  }"}; /* no length twice: rows are not written in place */
    static const char state[4 << 20];
    long long first = 0;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    for (int i = 0; i < 3; i++) {
        struct store_evaluation e = {.source = f.source,
                                     .corpus = corpus,
                                     .report = report[i],
                                     .state = state,
                                     .state_bytes = sizeof state};
        REQUIRE_OK(store_evaluation_write(f.store, &e, &f.st), f.st);
        first = i ? first : pages(&f);
        CHECK(first > 200 && pages(&f) <= first + 5);
    }
    fixture_close(&f);
}

static void lists_all_of_a_source(void)
{
    struct fixture f;
    struct seen s = {0};
    int64_t corpora[2];
    REQUIRE(fixture_open(&f));
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(store_corpus(f.store, f.model, i ? "two" : "one", "{}", &corpora[i], &f.st),
                   f.st);
        struct store_evaluation e = {.source = f.source,
                                     .corpus = corpora[i],
                                     .report = "{}",
                                     .state = "x",
                                     .state_bytes = 1};
        REQUIRE_OK(store_evaluation_write(f.store, &e, &f.st), f.st);
    }
    REQUIRE_OK(store_evaluations(f.store, f.source, see, &s, &f.st), f.st);
    CHECK(s.n == 2 && s.state_bytes == 0); /* states stay where they are */
    CHECK(s.corpora[0] == corpora[1] && s.corpora[1] == corpora[0]);
    s = (struct seen){.stop = 77};
    CHECK(store_evaluations(f.store, f.source, see, &s, &f.st) == 77 && s.n == 1);
    s = (struct seen){0};
    REQUIRE_OK(store_evaluations(f.store, f.source + 1, see, &s, &f.st), f.st);
    CHECK(s.n == 0);
    struct store_evaluation orphan = {.source = 99, .corpus = corpora[0], .report = "{}"};
    CHECK(store_evaluation_write(f.store, &orphan, &f.st) != 0);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(keeps_one_of_a_source_and_a_corpus),
    TEST(a_state_takes_the_room_of_the_one_before),
    TEST(lists_all_of_a_source),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
