#include "core/dashboard/dashboard.h"

#include "core/engine.h"
#include "tests/corpus_oracle.h"

#include <stdlib.h>

static const int32_t special[] = {2, 1, 0};

/* --- small texts by hand ---------------------------------------------------------------------- */

/* One text of three tokens, <bos> first: feature 5 is active on all of them. */
static void hand_text(struct sparse *rows, float bos, float a, float b)
{
    const uint32_t five = 5;
    sparse_append(rows, &five, &bos, 1);
    sparse_append(rows, &five, &a, 1);
    sparse_append(rows, &five, &b, 1);
}

static const int32_t hand_ids[] = {2, 40, 41};

static struct dashboard *open_dashboard(uint32_t first, size_t n, uint64_t seed)
{
    struct dashboard *d;
    struct status st;
    const struct dashboard_options options = {
        .first = first, .n = n, .seed = seed, .ignored = special, .n_ignored = 3};
    if (dashboard_create(&d, &options, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return d;
}

static void leaves_special_tokens_out_of_every_statistic(void)
{
    struct sparse rows = {0};
    struct status st;
    hand_text(&rows, 900.0f, 2.0f, 4.0f);
    const struct dashboard_place place = {1, 7};
    const struct dashboard_text text = {
        .text = 3, .ids = hand_ids, .n = 3, .places = &place, .n_places = 1, .rows = &rows};
    struct dashboard *d = open_dashboard(5, 1, 0);
    REQUIRE(d);
    dashboard_add(d, &text);
    dashboard_turn(d);
    dashboard_add(d, &text);
    REQUIRE_OK(dashboard_finish(d, &st), st);
    const struct dashboard_feature *f = dashboard_feature(d, 0);
    CHECK(f->count == 2);
    CHECK_NEAR(f->maximum, 4, 0);
    CHECK_NEAR(f->minimum, 2, 0);
    CHECK_NEAR(f->sum, 6, 0);
    CHECK(f->n_top == 2);
    CHECK(f->top[0].token == 41 && f->top[0].position == 2 && f->top[0].place.document == 7);
    CHECK(dashboard_tokens(d) == 2);
    CHECK(dashboard_context(d) == 3);
    CHECK(f->histogram.count[0] == 1 && f->histogram.count[HISTOGRAM_BINS - 1] == 1);
    CHECK(f->in_interval[4] == 1 && f->in_interval[2] == 1); /* 2 is over 1.6, not over 2.4 */
    CHECK(dashboard_counted(hand_ids, 3, special, 3) == 2);
    dashboard_destroy(d);
    sparse_free(&rows);
}

static void counts_a_text_once_for_each_place(void)
{
    struct sparse rows = {0};
    struct status st;
    hand_text(&rows, 1.0f, 2.0f, 4.0f);
    const struct dashboard_place places[] = {{1, 3}, {1, 9}, {2, 0}};
    const struct dashboard_text text = {
        .ids = hand_ids, .n = 3, .places = places, .n_places = 3, .rows = &rows};
    struct dashboard *d = open_dashboard(0, 10, 0);
    REQUIRE(d);
    dashboard_add(d, &text);
    dashboard_turn(d);
    dashboard_add(d, &text);
    REQUIRE_OK(dashboard_finish(d, &st), st);
    const struct dashboard_feature *f = dashboard_feature(d, 5);
    CHECK(f->count == 6 && f->n_top == 6);
    CHECK(dashboard_documents(d) == 3 && dashboard_tokens(d) == 6);
    for (size_t i = 0; i < 6; i++) {
        CHECK(f->top[i].place.corpus == places[i % 3].corpus);
        CHECK(f->top[i].place.document == places[i % 3].document);
    }
    CHECK(f->n_samples[4] == 3 && f->in_interval[4] == 3);
    CHECK_NEAR(dashboard_share(d, f, 4), 0.5, 1e-15);
    CHECK_NEAR(dashboard_share(d, f, 0), 0, 0);
    dashboard_destroy(d);
    sparse_free(&rows);
}

static void says_so_when_the_passes_saw_different_texts(void)
{
    struct sparse rows = {0};
    struct status st;
    hand_text(&rows, 1.0f, 2.0f, 4.0f);
    const struct dashboard_place place = {1, 3};
    const struct dashboard_text text = {
        .ids = hand_ids, .n = 3, .places = &place, .n_places = 1, .rows = &rows};
    struct dashboard *d = open_dashboard(0, 10, 0);
    REQUIRE(d);
    dashboard_add(d, &text);
    dashboard_turn(d);
    dashboard_add(d, &text);
    dashboard_add(d, &text);
    CHECK(dashboard_finish(d, &st) == STATUS_BUSY);
    dashboard_destroy(d);
    sparse_free(&rows);
}

static void counts_no_value_that_is_not_above_zero_and_finite(void)
{
    struct sparse rows = {0};
    struct status st;
    hand_text(&rows, 1.0f, NAN, INFINITY);
    const struct dashboard_place place = {1, 0};
    const struct dashboard_text text = {
        .ids = hand_ids, .n = 3, .places = &place, .n_places = 1, .rows = &rows};
    struct dashboard *d = open_dashboard(0, 10, 0);
    REQUIRE(d);
    dashboard_add(d, &text);
    dashboard_turn(d);
    dashboard_add(d, &text);
    REQUIRE_OK(dashboard_finish(d, &st), st);
    CHECK(dashboard_feature(d, 5)->count == 0);
    dashboard_destroy(d);
    sparse_free(&rows);
}

/* --- many texts at random --------------------------------------------------------------------- */

enum { TEXTS = 60, LENGTH = 24 };

struct made {
    int32_t ids[TEXTS][LENGTH];
    struct sparse rows[TEXTS];
    struct dashboard_place places[TEXTS][2];
};

/* Values of few kinds, so that ties are everywhere. Features are drawn from 0 .. d_sae-1. */
static void make_texts(struct made *m, uint32_t d_sae)
{
    memset(m, 0, sizeof *m);
    srand(7);
    for (int t = 0; t < TEXTS; t++) {
        m->places[t][0] = (struct dashboard_place){1, t};
        m->places[t][1] = (struct dashboard_place){2, TEXTS - t};
        for (int p = 0; p < LENGTH; p++) {
            uint32_t index[64];
            float value[64];
            size_t n = 0;
            m->ids[t][p] = p ? 3 + rand() % 500 : 2;
            for (uint32_t j = (uint32_t)rand() % 3; j < d_sae && n < 64;
                 j += 1 + (uint32_t)rand() % (d_sae / 20)) {
                index[n] = j;
                value[n++] = (float)(1 + rand() % 7);
            }
            sparse_append(&m->rows[t], index, value, n);
        }
    }
}

static void free_texts(struct made *m)
{
    for (int t = 0; t < TEXTS; t++) {
        sparse_free(&m->rows[t]);
    }
}

static struct dashboard *run(struct made *m, uint32_t first, size_t n, uint64_t seed,
                             bool backwards)
{
    struct dashboard *d = open_dashboard(first, n, seed);
    struct status st;
    for (int pass = 0; d && pass < 2; pass++) {
        for (int i = 0; i < TEXTS; i++) {
            int t = backwards ? TEXTS - 1 - i : i;
            dashboard_add(d, &(struct dashboard_text){.text = t,
                                                      .ids = m->ids[t],
                                                      .n = LENGTH,
                                                      .places = m->places[t],
                                                      .n_places = 2,
                                                      .rows = &m->rows[t]});
        }
        if (pass == 0) {
            dashboard_turn(d);
        }
    }
    CHECK(d && dashboard_finish(d, &st) == 0);
    return d;
}

static void does_not_depend_on_the_order_of_the_texts(void)
{
    static struct made m;
    make_texts(&m, 200);
    struct dashboard *a = run(&m, 0, 200, 1, false);
    struct dashboard *b = run(&m, 0, 200, 1, true);
    for (size_t i = 0; i < 200; i++) {
        CHECK(memcmp(dashboard_feature(a, i), dashboard_feature(b, i),
                     sizeof(struct dashboard_feature)) == 0);
    }
    dashboard_destroy(a);
    dashboard_destroy(b);
    free_texts(&m);
}

static void gives_the_same_in_chunks(void)
{
    static struct made m;
    make_texts(&m, 200);
    struct dashboard *whole = run(&m, 0, 200, 1, false);
    for (uint32_t first = 0; first < 200; first += 64) {
        size_t n = 200 - first < 64 ? 200 - first : 64;
        struct dashboard *part = run(&m, first, n, 1, false);
        for (size_t i = 0; i < n; i++) {
            CHECK(memcmp(dashboard_feature(whole, first + i), dashboard_feature(part, i),
                         sizeof(struct dashboard_feature)) == 0);
        }
        dashboard_destroy(part);
    }
    dashboard_destroy(whole);
    free_texts(&m);
}

static void draws_other_samples_for_another_seed_and_only_active_ones(void)
{
    static struct made m;
    make_texts(&m, 200);
    struct dashboard *a = run(&m, 0, 200, 1, false);
    struct dashboard *b = run(&m, 0, 200, 2, false);
    size_t different = 0;
    for (size_t i = 0; i < 200; i++) {
        const struct dashboard_feature *f = dashboard_feature(a, i), *g = dashboard_feature(b, i);
        for (int k = 0; k < DASHBOARD_INTERVALS; k++) {
            size_t n = f->in_interval[k] < 5 ? (size_t)f->in_interval[k] : 5;
            CHECK(f->n_samples[k] == n);
            different += memcmp(f->samples[k], g->samples[k], n * sizeof f->samples[k][0]) != 0;
            for (size_t s = 0; s < n; s++) {
                const struct dashboard_example *e = &f->samples[k][s];
                CHECK((double)e->value > dashboard_edge(f, k));
                CHECK((double)e->value <= dashboard_edge(f, k + 1));
                CHECK(sparse_get(&m.rows[e->text], (size_t)e->position, (uint32_t)i) > 0.0f);
            }
        }
    }
    CHECK(different > 100);
    dashboard_destroy(a);
    dashboard_destroy(b);
    free_texts(&m);
}

static void a_million_features_fit_a_small_budget_in_chunks(void)
{
    enum { FEATURES = 1 << 20 };
    const uint64_t budget = 8u << 20;
    static struct made m;
    make_texts(&m, FEATURES);
    size_t chunk = dashboard_chunk(budget);
    CHECK(chunk % DASHBOARD_STEP == 0);
    CHECK(chunk * sizeof(struct dashboard_feature) <= budget);
    CHECK((chunk + DASHBOARD_STEP) * sizeof(struct dashboard_feature) > budget);
    int64_t counted = 0, wanted = 0;
    for (uint32_t first = 0; first < FEATURES; first += (uint32_t)chunk) {
        size_t n = FEATURES - first < chunk ? FEATURES - first : chunk;
        struct dashboard *d = run(&m, first, n, 1, false);
        for (size_t i = 0; i < n; i++) {
            counted += dashboard_feature(d, i)->count;
        }
        dashboard_destroy(d);
    }
    for (int t = 0; t < TEXTS; t++) { /* twice each, the entries of <bos> excepted */
        wanted += 2 * (int64_t)(m.rows[t].start[LENGTH] - m.rows[t].start[1]);
    }
    CHECK(counted == wanted);
    CHECK(dashboard_chunk(1) == DASHBOARD_STEP);
    free_texts(&m);
}

static void refuses_what_does_not_fit_and_survives_no_memory(void)
{
    struct dashboard *d;
    struct status st;
    struct dashboard_options options = {.first = 0, .n = 0};
    CHECK(dashboard_create(&d, &options, &st) == STATUS_INTERNAL && !d);
    options = (struct dashboard_options){.first = UINT32_MAX - 3, .n = 10};
    CHECK(dashboard_create(&d, &options, &st) == STATUS_INTERNAL && !d);
    options = (struct dashboard_options){.n = 10};
    for (long nth = 1; nth <= 2; nth++) {
        memory_fail_after(nth);
        CHECK(dashboard_create(&d, &options, &st) == STATUS_MEMORY && !d);
        memory_fail_after(0);
    }
}

/* --- the oracle ------------------------------------------------------------------------------- */

struct engine_run {
    struct engine *engine;
    struct session *session;
};

static bool open_engine(struct engine_run *r, const struct oracle *o)
{
    struct status st = {0};
    const char *folders[] = {o->saes};
    struct engine_options options = {
        .model = o->folder, .sae_folders = folders, .n_sae_folders = 1, .threads = 1};
    *r = (struct engine_run){0};
    if (engine_open(&r->engine, &options, &st) || session_create(&r->session, r->engine, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static void close_engine(struct engine_run *r)
{
    session_destroy(r->session);
    engine_close(r->engine);
}

/* Every text alone, both passes. */
static struct dashboard *run_corpus(const struct oracle *o, struct engine_run *r)
{
    int32_t ignored[ENGINE_UNCOUNTED];
    struct status st = {0};
    struct dashboard *d = NULL;
    size_t d_sae = catalogue_find(engine_catalogue(r->engine), corpus_source(o))->d_sae;
    const struct dashboard_options options = {
        .n = d_sae, .ignored = ignored, .n_ignored = engine_uncounted(r->engine, ignored)};
    CHECK(dashboard_create(&d, &options, &st) == 0);
    for (int pass = 0; d && pass < 2; pass++) {
        for (size_t t = 0; t < CORPUS_TEXTS; t++) {
            int32_t ids[CORPUS_LENGTH];
            corpus_text(o, t, ids);
            struct engine_read read = {.kind = READ_FEATURES, .source = corpus_source(o)};
            struct engine_prompt prompt = {
                .ids = ids, .n_ids = CORPUS_LENGTH, .reads = &read, .n_reads = 1};
            CHECK(engine_trace(r->session, &prompt, 1, NULL, &st) == 0);
            const struct dashboard_place place = {1, (int64_t)t};
            dashboard_add(d, &(struct dashboard_text){.text = (int64_t)t,
                                                      .ids = ids,
                                                      .n = CORPUS_LENGTH,
                                                      .places = &place,
                                                      .n_places = 1,
                                                      .rows = &read.features});
            engine_read_free(&read);
        }
        if (pass == 0) {
            dashboard_turn(d);
        }
    }
    CHECK(dashboard_finish(d, &st) == 0);
    return d;
}

static void check_feature(const struct dashboard *d, const cJSON *wanted)
{
    const struct dashboard_feature *f =
        dashboard_feature(d, (size_t)corpus_number(wanted, "feature"));
    CHECK(f->count == (int64_t)corpus_number(wanted, "count"));
    double max = corpus_number(wanted, "max"), sum = corpus_number(wanted, "sum");
    CHECK_NEAR(f->maximum, max, corpus_tolerance(max));
    CHECK_NEAR(f->sum, sum, corpus_tolerance(sum));
    CHECK_NEAR((double)f->count / (double)dashboard_tokens(d),
               corpus_number(wanted, "frac_nonzero"), 1e-12);
    float value[DASHBOARD_TOP];
    int64_t document[DASHBOARD_TOP];
    int32_t position[DASHBOARD_TOP];
    for (size_t i = 0; i < f->n_top; i++) {
        value[i] = f->top[i].value;
        document[i] = f->top[i].place.document;
        position[i] = f->top[i].position;
    }
    corpus_check_top(wanted, f->n_top, value, document, position);
    corpus_check_histogram(wanted, f->histogram.n_bins, f->histogram.count);
    if (json_get(wanted, "min")) {
        CHECK_NEAR(f->minimum, corpus_number(wanted, "min"),
                   corpus_tolerance(corpus_number(wanted, "min")));
    }
    const cJSON *edges = json_get(wanted, "edges");
    CHECK((edges != NULL) == (f->count > 0));
    for (int i = 0; edges && i <= DASHBOARD_INTERVALS; i++) {
        double edge = cJSON_GetArrayItem(edges, i)->valuedouble;
        CHECK_NEAR(dashboard_edge(f, i), edge, corpus_tolerance(edge));
    }
    for (int i = 0; edges && i < DASHBOARD_INTERVALS; i++) {
        CHECK(f->in_interval[i] ==
              (int64_t)cJSON_GetArrayItem(json_get(wanted, "interval_active"), i)->valuedouble);
        CHECK_NEAR(dashboard_share(d, f, i),
                   cJSON_GetArrayItem(json_get(wanted, "interval_share"), i)->valuedouble, 1e-12);
    }
}

static void meets_the_oracles_book_keeping(void)
{
    for (size_t n = 0; n < ORACLE_COUNT; n++) {
        struct oracle o;
        struct engine_run r;
        if (!oracle_open(&o, oracle_names[n]) || !open_engine(&r, &o)) {
            return;
        }
        const cJSON *corpus = json_get(o.lenses, "corpus");
        struct dashboard *d = run_corpus(&o, &r);
        const struct tensor *count = oracle_array(&o, "corpus.count");
        const struct tensor *max = oracle_array(&o, "corpus.max");
        const struct tensor *sum = oracle_array(&o, "corpus.sum");
        REQUIRE(d && count && max && sum);
        CHECK(dashboard_tokens(d) == (int64_t)corpus_number(corpus, "n_positions"));
        double total = 0.0, sum_of_maxima = 0.0;
        size_t alive = 0;
        for (size_t j = 0; j < count->shape[0]; j++) {
            const struct dashboard_feature *f = dashboard_feature(d, j);
            CHECK(f->count == oracle_int(count, j));
            CHECK_NEAR(f->maximum, tensor_get(max, j),
                       corpus_tolerance((double)tensor_get(max, j)));
            CHECK_NEAR(f->sum, tensor_get(sum, j), corpus_tolerance((double)tensor_get(sum, j)));
            total += (double)f->count;
            sum_of_maxima += (double)f->maximum;
            alive += f->count > 0;
        }
        CHECK_NEAR(total, corpus_number(corpus, "sum_of_counts"), 0);
        CHECK_NEAR(sum_of_maxima, corpus_number(corpus, "sum_of_maxima"),
                   corpus_tolerance(corpus_number(corpus, "sum_of_maxima")));
        CHECK(alive == (size_t)corpus_number(corpus, "features_alive"));
        const cJSON *wanted;
        cJSON_ArrayForEach(wanted, json_get(corpus, "per_feature"))
        {
            check_feature(d, wanted);
        }
        dashboard_destroy(d);
        close_engine(&r);
        oracle_close(&o);
    }
}

static const struct test tests[] = {
    TEST(leaves_special_tokens_out_of_every_statistic),
    TEST(counts_a_text_once_for_each_place),
    TEST(says_so_when_the_passes_saw_different_texts),
    TEST(counts_no_value_that_is_not_above_zero_and_finite),
    TEST(does_not_depend_on_the_order_of_the_texts),
    TEST(gives_the_same_in_chunks),
    TEST(draws_other_samples_for_another_seed_and_only_active_ones),
    TEST(a_million_features_fit_a_small_budget_in_chunks),
    TEST(refuses_what_does_not_fit_and_survives_no_memory),
    TEST(meets_the_oracles_book_keeping),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
