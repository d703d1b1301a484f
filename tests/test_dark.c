/* Dark matter below the boundary: what the arrangement of the passes must not change, and what an
 * edit of a trace says about the same run. tests/test_dark_matter.c has the oracle. */
#include "core/lens/dark.h"

#include "tests/engine_fixture.h"

static const int32_t ids[] = {2, 5, 9, 31, 7, 2, 40, 3};
static const size_t first[] = {0, 5, 8};
enum { N = 8, SOURCES = 4, ALL = (1 << DARK_RUNS) - 1 };

static const char *const names[SOURCES] = {"2-gemmascope-res-160", "2-gemmascope-att-160",
                                           "1-gemmascope-res-96", "2-gemmascope-transcoder-112"};

struct bench {
    struct engine *engine;
    struct session *session;
    struct dark dark;
    struct dark_source sources[SOURCES];
};

static bool open_bench(struct bench *b, int threads)
{
    struct status st = {0};
    memset(b, 0, sizeof *b);
    b->dark = (struct dark){.ids = ids,
                            .first = first,
                            .n_prompts = 2,
                            .runs = ALL,
                            .top = 3,
                            .max_rows = 1000,
                            .sources = b->sources,
                            .n_sources = SOURCES};
    return !open_engine(&b->engine, NANO2, EMBED_SCALE_AUTO, threads, NULL, &st) &&
           !session_create(&b->session, b->engine, &st);
}

static void close_bench(struct bench *b)
{
    dark_free(&b->dark);
    session_destroy(b->session);
    engine_close(b->engine);
}

static int run(struct bench *b, struct status *st)
{
    return engine_dark_matter(b->session, &b->dark, names, NULL, st);
}

static bool same(const void *a, const void *b, size_t floats)
{
    return memcmp(a, b, floats * sizeof(float)) == 0;
}

/* Source i of a and source j of b, tokens from..to-1 of a and from the first on of b. */
static void check_same(const struct bench *a, size_t i, const struct bench *b, size_t j,
                       size_t from, size_t to)
{
    const struct dark_source *s = &a->sources[i], *t = &b->sources[j];
    size_t n = to - from;
    CHECK(same(s->err_norm + from, t->err_norm, n) && same(s->cosine + from, t->cosine, n));
    CHECK(same(s->fvu_token + from, t->fvu_token, n));
    CHECK(same(s->err_logit + from, t->err_logit, n));
    CHECK(same(s->votes + 6 * from, t->votes, 6 * n));
    CHECK(same(s->vote_ids + 6 * from, t->vote_ids, 6 * n));
    for (int r = 0; r < DARK_RUNS; r++) {
        CHECK(same(s->kl[r] + from, t->kl[r], n) && same(s->loss[r] + from, t->loss[r], n));
    }
    CHECK(same(a->dark.argmax_precap + from, b->dark.argmax_precap, n));
    CHECK(same(a->dark.loss_clean + from, b->dark.loss_clean, n));
}

static void bits_do_not_depend_on_passes_threads_or_company(void)
{
    struct bench a, b;
    struct status st = {0};
    REQUIRE(open_bench(&a, 1));
    REQUIRE_OK(run(&a, &st), st);
    for (size_t i = 0; i < SOURCES; i++) { /* alone, two threads, one run a pass, one prompt */
        REQUIRE(open_bench(&b, 2));
        b.dark.n_sources = 1;
        b.dark.max_rows = 1;
        b.dark.n_prompts = 1;
        REQUIRE_OK(engine_dark_matter(b.session, &b.dark, names + i, NULL, &st), st);
        check_same(&a, i, &b, 0, 0, 5);
        dark_free(&b.dark);
        b.dark.first = first + 1; /* the second prompt: its ids begin at 0 of their own list */
        const size_t own[] = {0, 3};
        b.dark.first = own;
        b.dark.ids = ids + 5;
        REQUIRE_OK(engine_dark_matter(b.session, &b.dark, names + i, NULL, &st), st);
        check_same(&a, i, &b, 0, 5, 8);
        close_bench(&b);
    }
    close_bench(&a);
}

/* The losses of a run are those of a trace with the edit that puts the same there. */
static void a_run_is_what_the_edit_does(void)
{
    static const struct {
        enum dark_run run;
        enum edit_type type;
        bool skip_bos;
    } runs[] = {{DARK_SPLICE, EDIT_SPLICE, false},
                {DARK_SPLICE_KEEP_BOS, EDIT_SPLICE, true},
                {DARK_ERROR_ONLY, EDIT_ERROR_ONLY, false}};
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b, 1));
    REQUIRE_OK(run(&b, &st), st);
    for (size_t i = 0; i < SOURCES; i++) {
        for (size_t r = 0; r < 3; r++) {
            struct edit edit = {
                .type = runs[r].type, .source = names[i], .skip_bos = runs[r].skip_bos};
            struct engine_read read = {.kind = READ_POINT, .point = POINT_LOSS};
            struct engine_prompt prompt = {
                .ids = ids, .n_ids = 5, .reads = &read, .n_reads = 1, .edits = &edit, .n_edits = 1};
            REQUIRE_OK(engine_trace(b.session, &prompt, 1, NULL, &st), st);
            CHECK(same(read.data, b.sources[i].loss[runs[r].run], 4));
            engine_read_free(&read);
        }
    }
    close_bench(&b);
}

/* Rows that are kept are not replaced and count in no mean: with all of them kept nothing changes,
 * and there is no mean. */
static void kept_rows_stay(void)
{
    struct bench b;
    struct status st = {0};
    const bool all[N] = {true, true, true, true, true, true, true, true};
    const bool bos[N] = {true, false, false, false, false, true, false, false};
    REQUIRE(open_bench(&b, 1));
    b.dark.kept = all;
    REQUIRE_OK(run(&b, &st), st);
    for (size_t i = 0; i < SOURCES; i++) {
        for (int r = 0; r < DARK_RUNS; r++) {
            for (size_t t = 0; t < N && r != DARK_MEAN; t++) {
                CHECK(b.sources[i].kl[r][t] == 0.0f);
            }
        }
        CHECK(isnan(b.sources[i].kl[DARK_MEAN][0]) && isnan(b.sources[i].fvu_token[1]));
    }
    dark_free(&b.dark);
    b.dark.kept = bos;
    REQUIRE_OK(run(&b, &st), st);
    for (size_t i = 0; i < SOURCES; i++) { /* with <bos> kept the two are one run */
        CHECK(same(b.sources[i].kl[DARK_SPLICE], b.sources[i].kl[DARK_SPLICE_KEEP_BOS], N));
    }
    close_bench(&b);
}

static void totals_are_means_over_the_prompt(void)
{
    struct bench b;
    struct status st = {0};
    struct dark_totals t;
    REQUIRE(open_bench(&b, 1));
    REQUIRE_OK(run(&b, &st), st);
    REQUIRE_OK(dark_totals(&b.dark, 0, 1, &t, &st), st);
    const struct dark_source *s = &b.sources[0];
    CHECK_NEAR(t.ce[DARK_ZERO], ((double)s->loss[DARK_ZERO][5] + (double)s->loss[DARK_ZERO][6]) / 2,
               1e-9);
    CHECK_NEAR(t.kl_mean_skip_first[DARK_SPLICE],
               ((double)s->kl[DARK_SPLICE][6] + (double)s->kl[DARK_SPLICE][7]) / 2, 1e-9);
    CHECK_NEAR(t.mean_l0, (double)(s->features.start[8] - s->features.start[5]) / 3, 1e-12);
    CHECK(isnan(dark_recovered(1.0, 1.01, 1.04)));
    CHECK_NEAR(dark_recovered(1.0, 1.5, 3.0), 0.75, 1e-12);
    close_bench(&b);
}

static void refuses_what_the_model_does_not_have(void)
{
    struct bench b;
    struct status st = {0};
    const char *const unknown[] = {"2-gemmascope-res-160", "9-nothing"};
    const int32_t wrong[N] = {2, 5, 9, 31, 7, 2, 1 << 20, 3};
    REQUIRE(open_bench(&b, 1));
    b.dark.n_sources = 2;
    CHECK(engine_dark_matter(b.session, &b.dark, unknown, NULL, &st) == STATUS_NOT_FOUND);
    b.dark.ids = wrong;
    status_clear(&st);
    CHECK(run(&b, &st) == STATUS_INVALID);
    atomic_bool cancel = true;
    b.dark.ids = ids;
    status_clear(&st);
    CHECK(engine_dark_matter(b.session, &b.dark, names, &cancel, &st) == STATUS_CANCELLED);
    close_bench(&b);
}

/* Every allocation failing once: a status, nothing left behind. */
static void survives_a_lack_of_memory(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b, 1));
    b.dark.n_sources = 1;
    int failed = 0;
    for (long i = 1; i < 400; i++) {
        status_clear(&st);
        memory_fail_after(i);
        int code = run(&b, &st);
        memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        failed += code != 0;
        dark_free(&b.dark);
        if (!code) {
            break;
        }
    }
    CHECK(failed > 5 && st.code == 0);
    close_bench(&b);
}

static const struct test tests[] = {
    TEST(bits_do_not_depend_on_passes_threads_or_company),
    TEST(a_run_is_what_the_edit_does),
    TEST(kept_rows_stay),
    TEST(totals_are_means_over_the_prompt),
    TEST(refuses_what_the_model_does_not_have),
    TEST(survives_a_lack_of_memory),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
