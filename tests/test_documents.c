/* Corpora, documents, marks, walking what was indexed, and jobs. */
#include "server/store/documents.h"

#include "core/base/memory.h"
#include "tests/store_fixture.h"

/* Documents of made-up texts, their ids kept alive. */
struct documents {
    int32_t ids[64][24];
    struct store_document d[64];
};

static void make_documents(struct documents *all, const uint64_t *seeds, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        size_t length = 3 + seeds[i] % 20;
        fixture_ids(seeds[i], all->ids[i], length);
        all->d[i] = (struct store_document){all->ids[i], length, (int64_t)(10 * i + 1)};
    }
}

/* Documents and activations of texts named by seeds, as the indexer writes them. */
static int write_all(struct fixture *f, int64_t corpus, int64_t first, const uint64_t *seeds,
                     size_t n, int64_t source)
{
    struct documents all;
    make_documents(&all, seeds, n);
    for (size_t i = 0; i < n; i++) {
        if (fixture_write(f, f->model, source, seeds[i], all.d[i].n, &f->st) != 0) {
            return (int)f->st.code;
        }
    }
    return store_write_documents(f->store, f->model, corpus, first, all.d, n, &source, 1,
                                 (int64_t)(7 * n), &f->st);
}

static void keeps_one_row_for_each_name_and_way_of_cutting(void)
{
    struct fixture f;
    int64_t a, same, cut, named, other;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{\"context\":128}", &a, &f.st), f.st);
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{\"context\":128}", &same, &f.st), f.st);
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{\"context\":64}", &cut, &f.st), f.st);
    REQUIRE_OK(store_corpus(f.store, f.model, "heap", "{\"context\":128}", &named, &f.st), f.st);
    REQUIRE_OK(store_model(f.store, "gemma-3-1b", fixture_identity("m"), &other, &f.st), f.st);
    CHECK(a == same && a != cut && a != named && cut != named);
    REQUIRE_OK(store_corpus(f.store, other, "pile", "{\"context\":128}", &same, &f.st), f.st);
    CHECK(a != same);
    fixture_close(&f);
}

static void moves_the_marks_with_the_documents(void)
{
    struct fixture f;
    int64_t corpus, second, documents, tokens;
    const uint64_t seeds[] = {1, 2, 3, 4, 5};
    struct documents all;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    REQUIRE_OK(fixture_source(&f, f.model, "21-gemmascope-res-16k", "s", &second), f.st);
    REQUIRE_OK(store_indexed(f.store, f.source, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 0 && tokens == 0);
    make_documents(&all, seeds, 5);
    REQUIRE_OK(
        store_write_documents(f.store, f.model, corpus, 0, all.d, 3, &f.source, 1, 30, &f.st),
        f.st);
    REQUIRE_OK(
        store_write_documents(f.store, f.model, corpus, 3, all.d + 3, 2, &f.source, 1, 12, &f.st),
        f.st);
    REQUIRE_OK(store_indexed(f.store, f.source, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 5 && tokens == 42);
    /* A source that comes later goes over the documents that are there; who is ahead stays. */
    const int64_t both[] = {f.source, second};
    REQUIRE_OK(store_write_documents(f.store, f.model, corpus, 0, all.d, 5, both, 2, 42, &f.st),
               f.st);
    REQUIRE_OK(store_indexed(f.store, f.source, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 5 && tokens == 42);
    REQUIRE_OK(store_indexed(f.store, second, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 5 && tokens == 42);
    char answer[256];
    fixture_ask(&f, "SELECT count(*) || ' ' || max(number) || ' ' || max(line) FROM document",
                answer);
    CHECK_STRING(answer, "5 4 41");
    fixture_close(&f);
}

static void refuses_gaps_and_batches_that_do_not_continue(void)
{
    struct fixture f;
    int64_t corpus, documents, tokens;
    const uint64_t seeds[] = {1, 2, 3, 4, 5};
    struct documents all;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    make_documents(&all, seeds, 5);
    CHECK(store_write_documents(f.store, f.model, corpus, 1, all.d, 1, &f.source, 1, 1, &f.st) ==
          STATUS_INTERNAL);
    REQUIRE_OK(store_write_documents(f.store, f.model, corpus, 0, all.d, 3, &f.source, 1, 3, &f.st),
               f.st);
    CHECK(store_write_documents(f.store, f.model, corpus, 2, all.d + 2, 3, &f.source, 1, 3,
                                &f.st) == STATUS_INTERNAL);
    REQUIRE_OK(store_indexed(f.store, f.source, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 3 && tokens == 3);
    char answer[256];
    fixture_ask(&f, "SELECT count(*) FROM document", answer);
    CHECK_STRING(answer, "3");
    fixture_close(&f);
}

static void refuses_a_corpus_that_has_changed_and_keeps_nothing_of_it(void)
{
    struct fixture f;
    int64_t corpus;
    const uint64_t seeds[] = {1, 2, 3};
    const uint64_t changed[] = {1, 9, 3};
    struct documents all;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    make_documents(&all, seeds, 3);
    REQUIRE_OK(store_write_documents(f.store, f.model, corpus, 0, all.d, 3, NULL, 0, 0, &f.st),
               f.st);
    make_documents(&all, changed, 3);
    CHECK(store_write_documents(f.store, f.model, corpus, 0, all.d, 3, NULL, 0, 0, &f.st) ==
          STATUS_INVALID);
    CHECK_CONTAINS(f.st.message, "\"pile\" has changed: document 1 (line 11)");
    char answer[256];
    fixture_ask(&f, "SELECT count(*) FROM text", answer);
    CHECK_STRING(answer, "3");
    fixture_close(&f);
}

/* --- walking ------------------------------------------------------------------------------------
 */

struct seen {
    struct fixture *f;
    int64_t source;
    size_t texts, places, wrong, stop_after;
    int64_t last;
};

/* Checks a visit against what fixture_write wrote: the seed is found by the ids. */
static int see(void *user, const struct store_visit *v, struct status *st)
{
    struct seen *s = user;
    (void)st;
    s->texts++;
    s->places += v->n_places;
    s->wrong += v->text <= s->last || v->n_places == 0 || v->rows->rows != v->n;
    s->last = v->text;
    for (size_t i = 1; i < v->n_places; i++) {
        const struct store_place *a = &v->places[i - 1];
        const struct store_place *b = &v->places[i];
        s->wrong += a->corpus > b->corpus || (a->corpus == b->corpus && a->number >= b->number);
    }
    bool known = false;
    for (uint64_t seed = 1; seed < 64 && !known; seed++) {
        int32_t ids[N_MAX];
        size_t n = 3 + seed % 20;
        fixture_ids(seed, ids, n);
        known = n == v->n && memcmp(ids, v->ids, n * sizeof *ids) == 0;
        if (known) {
            struct sparse expected = {0};
            fixture_rows(seed ^ (uint64_t)s->source << 32, &expected, n, 70);
            s->wrong += !fixture_same(&expected, v->rows);
            sparse_free(&expected);
        }
    }
    s->wrong += !known;
    return s->stop_after && s->texts == s->stop_after ? STATUS_CANCELLED : 0;
}

static void walks_every_indexed_text_once_with_all_its_places(void)
{
    struct fixture f;
    int64_t a, b, other;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "a", "{}", &a, &f.st), f.st);
    REQUIRE_OK(store_corpus(f.store, f.model, "b", "{}", &b, &f.st), f.st);
    REQUIRE_OK(fixture_source(&f, f.model, "21-gemmascope-res-16k", "s", &other), f.st);
    /* Prompts that were only asked about stand in no document. */
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 40, 23, &f.st), f.st);
    const uint64_t first[] = {7, 3, 7, 5};
    const uint64_t second[] = {5, 9};
    REQUIRE_OK(write_all(&f, a, 0, first, 4, f.source), f.st);
    REQUIRE_OK(write_all(&f, b, 0, second, 2, f.source), f.st);
    struct seen s = {.f = &f, .source = f.source};
    REQUIRE_OK(store_visit_indexed(f.store, f.source, see, &s, &f.st), f.st);
    CHECK(s.texts == 4 && s.places == 6 && s.wrong == 0);
    s = (struct seen){.f = &f, .source = other};
    REQUIRE_OK(store_visit_indexed(f.store, other, see, &s, &f.st), f.st);
    CHECK(s.texts == 0);
    fixture_close(&f);
}

static void leaves_out_what_the_source_was_not_run_over(void)
{
    struct fixture f;
    int64_t a, other;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "a", "{}", &a, &f.st), f.st);
    REQUIRE_OK(fixture_source(&f, f.model, "21-gemmascope-res-16k", "s", &other), f.st);
    const uint64_t seeds[] = {7, 3, 7, 5, 9, 13};
    REQUIRE_OK(write_all(&f, a, 0, seeds, 4, f.source), f.st);
    REQUIRE_OK(write_all(&f, a, 0, seeds, 6, other), f.st);
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 9, 12, &f.st), f.st); /* cached, not indexed */
    struct seen s = {.f = &f, .source = f.source};
    REQUIRE_OK(store_visit_indexed(f.store, f.source, see, &s, &f.st), f.st);
    CHECK(s.texts == 3 && s.places == 4 && s.wrong == 0);
    s = (struct seen){.f = &f, .source = other};
    REQUIRE_OK(store_visit_indexed(f.store, other, see, &s, &f.st), f.st);
    CHECK(s.texts == 5 && s.places == 6 && s.wrong == 0);
    s = (struct seen){.f = &f, .source = other, .stop_after = 2};
    CHECK(store_visit_indexed(f.store, other, see, &s, &f.st) == STATUS_CANCELLED);
    CHECK(s.texts == 2);
    fixture_close(&f);
}

static void visits_one_text(void)
{
    struct fixture f;
    int64_t a;
    bool found;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "a", "{}", &a, &f.st), f.st);
    const uint64_t seeds[] = {7, 3, 7};
    REQUIRE_OK(write_all(&f, a, 0, seeds, 3, f.source), f.st);
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 40, 3, &f.st), f.st);
    struct seen s = {.f = &f, .source = f.source};
    REQUIRE_OK(store_visit_text(f.store, f.source, 1, see, &s, &found, &f.st), f.st);
    CHECK(found && s.texts == 1 && s.places == 2 && s.wrong == 0);
    REQUIRE_OK(store_visit_text(f.store, f.source, 3, see, &s, &found, &f.st), f.st);
    CHECK(!found); /* in no document */
    REQUIRE_OK(store_visit_text(f.store, f.source, 99, see, &s, &found, &f.st), f.st);
    CHECK(!found && s.texts == 1);
    fixture_close(&f);
}

static void names_the_text_whose_activations_are_gone_or_damaged(void)
{
    static const char *const damages[] = {
        "DELETE FROM activation",
        "DELETE FROM activation WHERE text = 2 AND position = 0",
        "DELETE FROM activation WHERE text = 2 AND position = 5",
        "UPDATE activation SET features = x'' WHERE text = 2 AND position = 3",
        /* one feature, index 16384: as many as the source has, so one too high */
        "UPDATE activation SET features = x'018080010000803F' WHERE text = 2 AND position = 1",
    };
    for (size_t i = 0; i < sizeof damages / sizeof damages[0]; i++) {
        struct fixture f;
        int64_t a;
        REQUIRE(fixture_open(&f));
        REQUIRE_OK(store_corpus(f.store, f.model, "a", "{}", &a, &f.st), f.st);
        const uint64_t seeds[] = {7, 3, 5};
        REQUIRE_OK(write_all(&f, a, 0, seeds, 3, f.source), f.st);
        CHECK(fixture_sql(&f, damages[i]));
        struct seen s = {.f = &f, .source = f.source};
        CHECK(store_visit_indexed(f.store, f.source, see, &s, &f.st) == STATUS_CORRUPT);
        CHECK_CONTAINS(f.st.message, i ? "text 2, position" : "text 1, position 0");
        CHECK_CONTAINS(f.st.message, "DELETE FROM indexed");
        CHECK(s.texts == (i ? 1 : 0));
        /* The store goes on. */
        REQUIRE_OK(fixture_write(&f, f.model, f.source, 50, 9, &f.st), f.st);
        fixture_close(&f);
    }
}

static void reports_every_allocation_that_fails_while_walking(void)
{
    struct fixture f;
    int64_t a;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "a", "{}", &a, &f.st), f.st);
    const uint64_t seeds[] = {7, 3, 5};
    REQUIRE_OK(write_all(&f, a, 0, seeds, 3, f.source), f.st);
    struct seen warm = {.f = &f, .source = f.source};
    REQUIRE_OK(store_visit_indexed(f.store, f.source, see, &warm, &f.st), f.st);
    long nth = 1;
    for (;; nth++) {
        struct seen s = {.f = &f, .source = f.source, .stop_after = 1};
        (void)memory_fail_after(nth);
        int code = store_visit_indexed(f.store, f.source, see, &s, &f.st);
        (void)memory_fail_after(0);
        if (code != STATUS_MEMORY) {
            CHECK(code == STATUS_CANCELLED);
            break;
        }
        REQUIRE(nth < 100);
    }
    CHECK(nth > 2);
    fixture_close(&f);
}

/* --- jobs ---------------------------------------------------------------------------------------
 */

struct jobs {
    int n;
    char text[512];
};

static int list_job(void *user, const struct store_job *job)
{
    struct jobs *jobs = user;
    size_t used = strlen(jobs->text);
    (void)snprintf(jobs->text + used, sizeof jobs->text - used, "%lld %s %s %s %s %s;",
                   (long long)job->id, job->kind, job->state, job->request, job->progress,
                   job->error);
    CHECK(strlen(job->started_at) == 24 && strcmp(job->started_at, job->changed_at) <= 0);
    return ++jobs->n == 2 ? 77 : 0;
}

static void keeps_jobs_and_marks_those_of_a_killed_process(void)
{
    struct fixture f;
    int64_t a, b, c;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_job_start(f.store, "index", "{\"a\":1}", &a, &f.st), f.st);
    REQUIRE_OK(store_job_start(f.store, "index", "{}", &b, &f.st), f.st);
    REQUIRE_OK(store_job_update(f.store, a, "failed", "{\"documents\":9}", "no room", &f.st), f.st);
    REQUIRE_OK(store_job_update(f.store, b, "running", "{\"documents\":5}", NULL, &f.st), f.st);
    CHECK(store_job_update(f.store, 99, "done", NULL, NULL, &f.st) == STATUS_NOT_FOUND);
    REQUIRE_OK(store_jobs_recover(f.store, &f.st), f.st);
    REQUIRE_OK(store_job_start(f.store, "index", "{}", &c, &f.st), f.st);
    struct jobs all = {.n = -9};
    REQUIRE_OK(store_jobs(f.store, 10, list_job, &all, &f.st), f.st);
    CHECK_STRING(all.text, "3 index running {} {} ;2 index interrupted {} {\"documents\":5} ;"
                           "1 index failed {\"a\":1} {\"documents\":9} no room;");
    struct jobs some = {0};
    CHECK(store_jobs(f.store, 10, list_job, &some, &f.st) == 77);
    CHECK(some.n == 2);
    struct jobs one = {.n = -9};
    REQUIRE_OK(store_jobs(f.store, 1, list_job, &one, &f.st), f.st);
    CHECK(one.n == -8);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(keeps_one_row_for_each_name_and_way_of_cutting),
    TEST(moves_the_marks_with_the_documents),
    TEST(refuses_gaps_and_batches_that_do_not_continue),
    TEST(refuses_a_corpus_that_has_changed_and_keeps_nothing_of_it),
    TEST(walks_every_indexed_text_once_with_all_its_places),
    TEST(leaves_out_what_the_source_was_not_run_over),
    TEST(visits_one_text),
    TEST(names_the_text_whose_activations_are_gone_or_damaged),
    TEST(reports_every_allocation_that_fails_while_walking),
    TEST(keeps_jobs_and_marks_those_of_a_killed_process),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
