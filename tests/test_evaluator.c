/* The evaluator's way over a corpus: broken off, gone on with, in turns: always the same reports.
 * tests/cli/evaluate.py says whether they are right. */
#include "server/work/evaluator.h"

#include "server/store/evaluations.h"
#include "tests/corpus_oracle.h"
#include "tests/v1.h"

#define NANO "tests/fixtures/oracle/gemma2-nano-bf16"

static const char *const names[] = {"2-gemmascope-res-160", "2-gemmascope-transcoder-112",
                                    "2-gemmascope-att-160"};
enum { SOURCES = 3 };

struct bench {
    struct v1 v;
    struct corpus_options corpus;
    struct text path;
    atomic_bool cancel;
    int64_t stop_at, seen; /* counted tokens; 0: never */
    size_t reports, readings;
    uint64_t memory; /* 0: as much as usual */
};

/* The corpus of section i as {"tokens"} lines. */
static bool open_bench(struct bench *b, int threads)
{
    struct oracle o;
    memset(b, 0, sizeof *b);
    if (!oracle_open(&o, "gemma2-nano-bf16") || !v1_open_threads(&b->v, NANO, threads)) {
        return false;
    }
    text_printf(&b->path, "%s/corpus.jsonl", b->v.folder);
    FILE *file = fopen(b->path.data, "w");
    for (size_t i = 0; file && i < CORPUS_TEXTS; i++) {
        int32_t ids[CORPUS_LENGTH];
        corpus_text(&o, i, ids);
        for (int t = 0; t < CORPUS_LENGTH; t++) {
            (void)fprintf(file, "%s%d", t ? "," : "{\"tokens\":[", (int)ids[t]);
        }
        (void)fputs("]}\n", file);
    }
    b->corpus =
        (struct corpus_options){.path = b->path.data, .context = 64, .keep_duplicates = true};
    oracle_close(&o);
    return file && fclose(file) == 0;
}

static void close_bench(struct bench *b)
{
    v1_close(&b->v);
    text_free(&b->path);
}

static void look(void *user, const struct evaluator_progress *p)
{
    struct bench *b = user;
    b->reports++;
    b->readings = p->readings;
    b->seen = p->tokens;
    if (b->stop_at && p->tokens >= b->stop_at) {
        atomic_store(&b->cancel, true);
    }
}

static int run(struct bench *b, size_t n, size_t batch, struct status *st)
{
    int64_t corpus;
    const struct evaluator ev = {.engine = b->v.app.engine,
                                 .store = b->v.app.store,
                                 .sources = b->v.app.sources,
                                 .queue = b->v.app.queue,
                                 .names = names,
                                 .n_names = n,
                                 .batch_tokens = batch,
                                 .memory = b->memory,
                                 .keep_seconds = 1e-9,
                                 .cancel = &b->cancel,
                                 .progress = look,
                                 .user = b};
    return evaluator_run(&ev, &b->corpus, "corpus", &corpus, st);
}

struct kept {
    char *report;
    bool finished, has_state;
    size_t n;
};

static int take(void *user, const struct store_evaluation *e)
{
    struct kept *k = user;
    k->report = memory_string(e->report);
    k->finished = e->finished;
    k->n++;
    return 0;
}

static struct kept kept_of(struct bench *b, size_t i)
{
    struct kept k = {0};
    struct status st = {0};
    int64_t row;
    CHECK(!sources_row(b->v.app.sources, names[i], &row, &st) &&
          !store_evaluations(b->v.app.store, row, take, &k, &st));
    return k;
}

static void check_same(struct bench *a, struct bench *b)
{
    for (size_t i = 0; i < SOURCES; i++) {
        struct kept x = kept_of(a, i), y = kept_of(b, i);
        CHECK(x.n == 1 && y.n == 1 && x.finished && y.finished);
        CHECK_STRING(y.report, x.report);
        memory_free(x.report);
        memory_free(y.report);
    }
}

static void runs_that_are_broken_off_come_to_the_same(void)
{
    struct bench whole, broken;
    struct status st = {0};
    REQUIRE(open_bench(&whole, 1));
    REQUIRE_OK(run(&whole, SOURCES, 0, &st), st);
    CHECK(whole.seen == CORPUS_TEXTS * (CORPUS_LENGTH - 1));
    REQUIRE(open_bench(&broken, 2));
    for (int64_t stop = 40; stop < 600; stop += 170) {
        broken.stop_at = stop;
        atomic_store(&broken.cancel, false);
        status_clear(&st);
        CHECK(run(&broken, SOURCES, 48, &st) == STATUS_CANCELLED);
        CHECK(broken.seen >= stop && broken.seen < stop + 60);
        struct kept k = kept_of(&broken, 1);
        CHECK(!k.finished && strstr(k.report, "\"finished\":false") != NULL);
        memory_free(k.report);
    }
    broken.stop_at = 0;
    atomic_store(&broken.cancel, false);
    status_clear(&st);
    REQUIRE_OK(run(&broken, SOURCES, 48, &st), st);
    check_same(&whole, &broken);
    close_bench(&broken);
    close_bench(&whole);
}

/* The first source runs alone and is stopped; the others join in behind it, one reading each. */
static void sources_join_in_and_take_turns(void)
{
    struct bench whole, turns;
    struct status st = {0};
    REQUIRE(open_bench(&whole, 1));
    REQUIRE_OK(run(&whole, SOURCES, 100, &st), st);
    REQUIRE(open_bench(&turns, 1));
    turns.stop_at = 200;
    CHECK(run(&turns, 1, 64, &st) == STATUS_CANCELLED);
    turns.stop_at = 0;
    atomic_store(&turns.cancel, false);
    REQUIRE_OK(run(&turns, 2, 64, &st), st);
    CHECK(turns.readings == 1);
    turns.memory = 1; /* one source at a time, whatever it needs */
    REQUIRE_OK(run(&turns, SOURCES, 64, &st), st);
    CHECK(turns.readings == 3);
    check_same(&whole, &turns);
    close_bench(&turns);
    close_bench(&whole);
}

/* Sums of 2 (d_in^2 + d_in (d_out + 1)) doubles a source. */
static uint64_t sums_of(const struct bench *b, size_t i)
{
    const struct sae_source *s = catalogue_find(engine_catalogue(b->v.app.engine), names[i]);
    return 16 * (uint64_t)s->d_in * (s->d_in + s->d_out + 1);
}

static void as_many_sources_as_fit_the_memory_go_together(void)
{
    struct bench whole, b;
    struct status st = {0};
    REQUIRE(open_bench(&whole, 1));
    REQUIRE_OK(run(&whole, SOURCES, 0, &st), st);
    for (uint64_t less = 0; less < 2; less++) {
        REQUIRE(open_bench(&b, 1));
        b.memory = sums_of(&b, 0) + sums_of(&b, 1) - less;
        REQUIRE_OK(run(&b, 2, 0, &st), st);
        CHECK(b.readings == 1 + less);
        REQUIRE_OK(run(&b, SOURCES, 0, &st), st);
        check_same(&whole, &b);
        close_bench(&b);
    }
    close_bench(&whole);
}

static void what_is_finished_is_left_alone(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b, 1));
    b.corpus.limit_tokens = 100;
    REQUIRE_OK(run(&b, 1, 0, &st), st);
    struct kept k = kept_of(&b, 0);
    CHECK(strstr(k.report, "\"tokens\":90,") != NULL); /* 6 contexts of 15 */
    memory_free(k.report);
    uint64_t computed = engine_tokens_computed(b.v.app.engine);
    size_t reports = b.reports;
    REQUIRE_OK(run(&b, 1, 0, &st), st);
    CHECK(engine_tokens_computed(b.v.app.engine) == computed && b.reports == reports);
    b.corpus.limit_tokens = 200; /* another one */
    REQUIRE_OK(run(&b, 1, 0, &st), st);
    k = kept_of(&b, 0);
    CHECK(strstr(k.report, "\"tokens\":195,") != NULL);
    memory_free(k.report);
    close_bench(&b);
}

static void a_state_of_other_bytes_is_no_state(void)
{
    struct bench whole, b;
    struct status st = {0};
    REQUIRE(open_bench(&whole, 1));
    REQUIRE_OK(run(&whole, SOURCES, 0, &st), st);
    REQUIRE(open_bench(&b, 1));
    b.stop_at = 100;
    CHECK(run(&b, SOURCES, 64, &st) == STATUS_CANCELLED);
    int64_t row;
    REQUIRE_OK(sources_row(b.v.app.sources, names[0], &row, &st), st);
    struct store_evaluation wrong = {.source = row,
                                     .corpus = 1,
                                     .contexts = 7,
                                     .report = "{}",
                                     .state = "nonsense",
                                     .state_bytes = 8};
    REQUIRE_OK(store_evaluation_write(b.v.app.store, &wrong, &st), st);
    b.stop_at = 0;
    atomic_store(&b.cancel, false);
    status_clear(&st);
    REQUIRE_OK(run(&b, SOURCES, 64, &st), st);
    check_same(&whole, &b);
    close_bench(&b);
    close_bench(&whole);
}

static void the_standard_input_is_read_once(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b, 1));
    b.corpus.path = "-";
    b.memory = 1;
    CHECK(run(&b, 2, 0, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "standard input");
    close_bench(&b);
}

static void the_site_gets_the_reports(void)
{
    struct bench b;
    struct status st = {0};
    REQUIRE(open_bench(&b, 1));
    char path[128];
    (void)snprintf(path, sizeof path, "/api/source/%s/%s/evaluation",
                   engine_model_id(b.v.app.engine), names[0]);
    struct exchange *x = exchange_run(&b.v.router, "GET", path, NULL, NULL, 0);
    REQUIRE(x && x->response.status == 200);
    CHECK_CONTAINS(x->response.body.data, "\"evaluations\":[]");
    exchange_close(x);
    REQUIRE_OK(run(&b, 1, 0, &st), st);
    x = exchange_run(&b.v.router, "GET", path, NULL, NULL, 0);
    cJSON *reply = cJSON_Parse(x->response.body.data);
    const cJSON *report = v1_at(reply, "evaluations.0.report");
    CHECK_STRING(v1_string(report, "source"), names[0]);
    CHECK_STRING(v1_string(report, "corpus"), "corpus");
    CHECK(v1_number(report, "contexts") == CORPUS_TEXTS);
    CHECK(v1_number(report, "figures.fvu") > 0 && v1_number(report, "figures.l0") > 0);
    CHECK(v1_size(report, "worstContexts") == 20);
    CHECK(v1_size(report, "worstContexts.0.tokens") == CORPUS_LENGTH);
    CHECK(cJSON_IsNull(v1_at(report, "worstContexts.0.relErrs.0"))); /* <bos> */
    CHECK(v1_number(report, "worstTokens.0.relErr") >= v1_number(report, "worstTokens.1.relErr"));
    cJSON_Delete(reply);
    exchange_close(x);
    x = exchange_run(&b.v.router, "GET", "/api/source/other/x/evaluation", NULL, NULL, 0);
    CHECK(x && x->response.status == 404);
    exchange_close(x);
    close_bench(&b);
}

static const struct test tests[] = {
    TEST(runs_that_are_broken_off_come_to_the_same),
    TEST(sources_join_in_and_take_turns),
    TEST(as_many_sources_as_fit_the_memory_go_together),
    TEST(what_is_finished_is_left_alone),
    TEST(a_state_of_other_bytes_is_no_state),
    TEST(the_standard_input_is_read_once),
    TEST(the_site_gets_the_reports),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
