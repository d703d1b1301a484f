/* Sums over a corpus: figures, the worst contexts, and the way to bytes and back. tests/cli/
 * evaluate.py counts everything again from traces. */
#include "core/lens/evaluation.h"

#include "tests/engine_fixture.h"

static const char *const name[] = {"2-gemmascope-res-160"};
static const int64_t numbers[] = {0, 1, 2, 3}, lines[] = {10, 20, 30, 40};
enum { N = 40 };
static int32_t ids[N];
static const size_t first[] = {0, 12, 24, 28, N};

struct bench {
    struct engine *engine;
    struct session *session;
    struct dark dark;
    struct dark_source source;
    bool kept[N];
    struct evaluation *evaluation;
};

static bool open_bench(struct bench *b)
{
    struct status st = {0};
    memset(b, 0, sizeof *b);
    for (size_t t = 0; t < N; t++) {
        ids[t] = (int32_t)(t * 37 % 101 + 3);
    }
    for (size_t p = 0; p < 4; p++) {
        ids[first[p]] = 2;
        b->kept[first[p]] = true;
    }
    b->kept[5] = true; /* an <eos> in the middle */
    b->dark = (struct dark){.ids = ids,
                            .first = first,
                            .n_prompts = 4,
                            .kept = b->kept,
                            .runs = EVALUATION_RUNS,
                            .max_rows = 1000,
                            .sources = &b->source,
                            .n_sources = 1};
    return !open_engine(&b->engine, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st) &&
           !session_create(&b->session, b->engine, &st) &&
           !engine_dark_matter(b->session, &b->dark, name, NULL, &st) &&
           !evaluation_create(&b->evaluation, b->source.d_in, b->source.d_out,
                              engine_config(b->engine)->vocab_size,
                              engine_config(b->engine)->hidden_size, &st);
}

static void close_bench(struct bench *b)
{
    evaluation_free(b->evaluation);
    dark_free(&b->dark);
    session_destroy(b->session);
    engine_close(b->engine);
}

static void counts_what_is_not_kept(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b));
    REQUIRE_OK(engine_evaluation_add(b.session, b.evaluation, &b.dark, 0, numbers, lines, &st), st);
    const struct evaluation *e = b.evaluation;
    double rel = 0, err2 = 0, l0 = 0, ce = 0;
    uint64_t in_bins = 0;
    for (size_t t = 0; t < N; t++) {
        bool last = t + 1 == 12 || t + 1 == 24 || t + 1 == 28 || t + 1 == N;
        if (!b.kept[t]) {
            rel += (double)b.source.rel_err[t];
            err2 += (double)b.source.err_norm[t] * (double)b.source.err_norm[t];
            l0 += (double)(b.source.features.start[t + 1] - b.source.features.start[t]);
            ce += last || b.kept[t + 1] ? 0.0 : (double)b.source.loss[DARK_SPLICE][t];
        }
    }
    for (size_t i = 0; i < EVALUATION_ERROR_BINS; i++) {
        in_bins += e->error_bins[i];
    }
    const struct evaluation_figures f = evaluation_figures(e);
    CHECK_NEAR(e->sums.tokens, 35, 0);
    CHECK_NEAR(e->sums.predictions, 30, 0); /* not the four last ones, not the one of the <eos> */
    CHECK(in_bins == 35);
    CHECK_NEAR(f.l0, l0 / 35, 1e-12);
    CHECK_NEAR(f.rel_err, rel / 35, 1e-6);
    CHECK_NEAR(f.mse, err2 / 35 / (double)b.source.d_out, 1e-4);
    CHECK_NEAR(f.ce_splice, ce / 30, 1e-12);
    CHECK(e->tokens[2].count == 0);
    CHECK(linear_rows(&e->linear, true) == 11 && linear_rows(&e->linear, false) == 24);
    /* 3 counted tokens are too few to be among the worst */
    CHECK(e->n_worst == 3 && e->worst[0].rel_err >= e->worst[1].rel_err &&
          e->worst[1].rel_err >= e->worst[2].rel_err);
    for (size_t i = 0; i < e->n_worst; i++) {
        const struct evaluation_context *c = &e->worst[i];
        CHECK(c->line == 10 * (c->number + 1) && c->number != 2 && isnan(c->rel_errs[0]));
    }
    close_bench(&b);
}

static void keeps_the_worst_contexts_in_order(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b));
    for (int64_t round = 0; round < 10; round++) { /* 30 contexts that qualify, 20 are kept */
        const int64_t shifted[] = {4 * round, 4 * round + 1, 4 * round + 2, 4 * round + 3};
        REQUIRE_OK(engine_evaluation_add(b.session, b.evaluation, &b.dark, 0, shifted, lines, &st),
                   st);
    }
    const struct evaluation *e = b.evaluation;
    CHECK(e->n_worst == EVALUATION_WORST);
    for (size_t i = 1; i < e->n_worst; i++) {
        const struct evaluation_context *c = &e->worst[i], *before = &e->worst[i - 1];
        CHECK(before->rel_err >= c->rel_err - 1e-12);
    }
    CHECK(e->worst[0].number % 4 == e->worst[9].number % 4);
    CHECK(e->worst[0].number % 4 != e->worst[10].number % 4);
    close_bench(&b);
}

static void comes_back_from_bytes(void)
{
    struct bench b;
    struct status st = {0};
    struct text bytes = {0}, again = {0};
    struct evaluation *e;
    REQUIRE(open_bench(&b));
    REQUIRE_OK(engine_evaluation_add(b.session, b.evaluation, &b.dark, 0, numbers, lines, &st), st);
    evaluation_save(b.evaluation, &bytes);
    size_t V = b.evaluation->vocabulary;
    REQUIRE_OK(evaluation_create(&e, b.source.d_in, b.source.d_out, V, b.evaluation->hidden, &st),
               st);
    REQUIRE_OK(evaluation_load(e, bytes.data, bytes.length, &st), st);
    evaluation_save(e, &again);
    CHECK(bytes.length == again.length && memcmp(bytes.data, again.data, bytes.length) == 0);
    evaluation_free(e);
    text_free(&again);
    close_bench(&b);
    text_free(&bytes);
}

static void refuses_other_bytes(void)
{
    struct bench b;
    struct status st = {0};
    struct text bytes = {0};
    REQUIRE(open_bench(&b));
    REQUIRE_OK(engine_evaluation_add(b.session, b.evaluation, &b.dark, 0, numbers, lines, &st), st);
    evaluation_save(b.evaluation, &bytes);
    for (size_t n = 0; n < bytes.length; n += n < 2000 ? 37 : 2003) {
        struct evaluation *e;
        REQUIRE_OK(evaluation_create(&e, b.source.d_in, b.source.d_out, b.evaluation->vocabulary,
                                     b.evaluation->hidden, &st),
                   st);
        CHECK(evaluation_load(e, bytes.data, n, &st) == STATUS_CORRUPT);
        evaluation_free(e);
    }
    struct evaluation *other;
    REQUIRE_OK(evaluation_create(&other, b.source.d_in, b.source.d_out + 1,
                                 b.evaluation->vocabulary, b.evaluation->hidden, &st),
               st);
    CHECK(evaluation_load(other, bytes.data, bytes.length, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "kept state");
    evaluation_free(other);
    text_free(&bytes);
    close_bench(&b);
}

static const struct test tests[] = {
    TEST(counts_what_is_not_kept),
    TEST(keeps_the_worst_contexts_in_order),
    TEST(comes_back_from_bytes),
    TEST(refuses_other_bytes),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
