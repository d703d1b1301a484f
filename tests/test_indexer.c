#include "server/work/indexer.h"

#include "core/dashboard/neurons.h"
#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "tests/corpus_oracle.h"
#include "tests/scratch.h"
#include "tests/v1.h"

/* A model, a database in a folder of its own, a worker that takes whole batches. */
struct bench {
    struct scratch scratch;
    struct engine *engine;
    struct store *store;
    struct sources *sources;
    struct queue *queue;
    struct worker *worker;
    atomic_bool cancel;
    int64_t stop_at;      /* cancel once so many documents are behind; 0: never */
    size_t readings;      /* of the corpus */
    int64_t documents[8]; /* that each of them read, from 1 */
};

static void bench_close(struct bench *b)
{
    if (b->queue) {
        queue_stop(b->queue);
    }
    worker_join(b->worker);
    queue_destroy(b->queue);
    sources_destroy(b->sources);
    store_close(b->store);
    engine_close(b->engine);
    scratch_close(&b->scratch);
}

static bool bench_open(struct bench *b, const char *model, int threads)
{
    struct status st = {0};
    char saes[160];
    memset(b, 0, sizeof *b);
    atomic_init(&b->cancel, false);
    scratch_open(&b->scratch);
    (void)snprintf(saes, sizeof saes, "%s/saes", model);
    const char *folders[] = {saes};
    struct engine_options options = {
        .model = model, .sae_folders = folders, .n_sae_folders = 1, .threads = threads};
    bool ok = !engine_open(&b->engine, &options, &st) &&
              !store_open(&b->store, scratch_path(&b->scratch, "test.db"), "migrations", &st) &&
              !sources_create(&b->sources, b->engine, b->store, &st) &&
              !queue_create(&b->queue, 1 << 14, &st) &&
              !worker_start(&b->worker, b->engine, b->store, b->sources, b->queue, 1024, &st);
    if (!ok) {
        printf("    %s: %s\n", model, st.message);
        test_failures_++;
        bench_close(b);
    }
    return ok;
}

static void stop_there(void *user, const struct indexer_progress *p)
{
    struct bench *b = user;
    if (b->stop_at && p->documents >= b->stop_at) {
        atomic_store(&b->cancel, true);
    }
}

static struct indexer indexer_of(struct bench *b, const char *const *names, size_t n)
{
    return (struct indexer){.engine = b->engine,
                            .store = b->store,
                            .sources = b->sources,
                            .queue = b->queue,
                            .names = names,
                            .n_names = n,
                            .cancel = &b->cancel,
                            .progress = stop_there,
                            .user = b};
}

/* --- what is in the database, for comparisons ---------------------------------------------------
 */

/* Everything a dashboard says, integers as they are and values behind them. */
struct dump {
    struct text exact;
    struct text values;
};

static void dump_value(struct dump *d, float value)
{
    text_append(&d->values, (const char *)&value, sizeof value);
}

static void dump_feature(struct dump *d, const struct store_feature_page *page)
{
    const struct store_feature *f = &page->feature;
    text_printf(&d->exact, "%u %lld %s", f->index, (long long)f->count, f->label);
    dump_value(d, f->maximum);
    for (uint32_t i = 0; i < f->activations.n_bins; i++) {
        text_printf(&d->exact, " %u", f->activations.count[i]);
    }
    for (int i = 0; i < DASHBOARD_LOGITS; i++) {
        text_printf(&d->exact, " %d %d", f->positive_ids[i], f->negative_ids[i]);
        dump_value(d, f->positive[i]);
        dump_value(d, f->negative[i]);
    }
    for (size_t i = 0; i < page->n_examples; i++) {
        const struct store_example *e = &page->examples[i];
        text_printf(&d->exact, "\n  %d %d: %lld %d %zu %.9g", e->part, e->place,
                    (long long)e->document, e->position, e->n_tokens, e->bin_contains);
        dump_value(d, e->value);
        dump_value(d, e->bin_min);
        dump_value(d, e->bin_max);
        for (size_t t = 0; t < e->n_tokens; t++) {
            dump_value(d, e->along[t]);
        }
    }
    text_char(&d->exact, '\n');
}

static bool dump_source(struct bench *b, const char *name, struct dump *d)
{
    struct store_dashboard dashboard = {0};
    struct status st = {0};
    int64_t row;
    bool found = false;
    bool ok = !sources_row(b->sources, name, &row, &st) &&
              !store_read_dashboard(b->store, row, &dashboard, &found, &st) && found;
    if (ok) {
        text_printf(&d->exact, "%lld %lld %lld %s\n", (long long)dashboard.documents,
                    (long long)dashboard.tokens, (long long)dashboard.context, dashboard.corpora);
    }
    for (uint32_t i = 0; ok && i < dashboard.d_sae; i++) {
        struct store_feature_page page;
        ok = !store_read_feature(b->store, row, i, 0, &page, &found, &st) && found;
        if (ok) {
            CHECK(page.feature.count == dashboard.counts[i]);
            CHECK_NEAR(page.feature.maximum, dashboard.maxima[i], 0);
            dump_feature(d, &page);
            store_feature_page_free(&page);
        }
    }
    store_dashboard_free(&dashboard);
    if (!ok) {
        printf("    %s: %s\n", name, st.code ? st.message : "there is no dashboard");
        test_failures_++;
    }
    return ok;
}

static void dump_free(struct dump *d)
{
    text_free(&d->exact);
    text_free(&d->values);
}

/* To the last bit. */
static bool is_same(const struct dump *a, const struct dump *b)
{
    return a->exact.length == b->exact.length && a->values.length == b->values.length &&
           memcmp(a->exact.data, b->exact.data, a->exact.length) == 0 &&
           memcmp(a->values.data, b->values.data, a->values.length) == 0;
}

/* --- the oracle ------------------------------------------------------------------------------- */

static const char *write_oracle_corpus(struct bench *b, const struct oracle *o)
{
    FILE *file = fopen(scratch_path(&b->scratch, "oracle.jsonl"), "w");
    for (size_t t = 0; file && t < CORPUS_TEXTS; t++) {
        int32_t ids[CORPUS_LENGTH];
        corpus_text(o, t, ids);
        (void)fputs("{\"tokens\":[", file);
        for (int i = 0; i < CORPUS_LENGTH; i++) {
            (void)fprintf(file, "%s%d", i ? "," : "", ids[i]);
        }
        (void)fputs("]}\n", file);
    }
    CHECK(file && fclose(file) == 0);
    return b->scratch.path;
}

static void check_page(const struct store_feature_page *page, int64_t tokens, const cJSON *wanted)
{
    const struct store_feature *f = &page->feature;
    float value[DASHBOARD_TOP];
    int64_t document[DASHBOARD_TOP];
    int32_t position[DASHBOARD_TOP];
    size_t n_top = 0, samples = 0, expected = 0;
    CHECK(f->count == (int64_t)corpus_number(wanted, "count"));
    CHECK_NEAR((double)f->count / (double)tokens, corpus_number(wanted, "frac_nonzero"), 1e-12);
    CHECK_NEAR(f->maximum, corpus_number(wanted, "max"),
               corpus_tolerance(corpus_number(wanted, "max")));
    corpus_check_histogram(wanted, f->activations.n_bins, f->activations.count);
    if (f->activations.n_bins) {
        CHECK_NEAR(f->activations.low, corpus_number(wanted, "min"), 1e-2);
    }
    const cJSON *edges = json_get(wanted, "edges");
    for (size_t i = 0; i < page->n_examples; i++) {
        const struct store_example *e = &page->examples[i];
        CHECK_NEAR(e->along[e->position], e->value, 0);
        if (e->part == 0) {
            REQUIRE(n_top < DASHBOARD_TOP);
            value[n_top] = e->value;
            document[n_top] = e->document;
            position[n_top++] = e->position;
            continue;
        }
        int k = DASHBOARD_INTERVALS - e->part; /* parts fall */
        double low = cJSON_GetArrayItem(edges, k)->valuedouble;
        double high = cJSON_GetArrayItem(edges, k + 1)->valuedouble;
        samples++;
        CHECK_NEAR(e->bin_min, low, corpus_tolerance(low));
        CHECK_NEAR(e->bin_max, high, corpus_tolerance(high));
        CHECK((double)e->value > low && (double)e->value <= high + corpus_tolerance(high));
        CHECK_NEAR(e->bin_contains,
                   cJSON_GetArrayItem(json_get(wanted, "interval_share"), k)->valuedouble, 1e-12);
    }
    corpus_check_top(wanted, n_top, value, document, position);
    const cJSON *active;
    cJSON_ArrayForEach(active, json_get(wanted, "interval_active"))
    {
        expected += active->valuedouble < 5 ? (size_t)active->valuedouble : 5;
    }
    CHECK(samples == expected);
    CHECK(f->has_logits);
    CHECK((f->label[0] != '\0') == (f->count > 0));
}

static void meets_the_oracle_through_the_database(void)
{
    for (size_t n = 0; n < ORACLE_COUNT; n++) {
        struct oracle o;
        struct bench b;
        struct status st = {0};
        if (!oracle_open(&o, oracle_names[n]) || !bench_open(&b, o.folder, 1)) {
            return;
        }
        const char *name = corpus_source(&o);
        const cJSON *corpus = json_get(o.lenses, "corpus");
        struct indexer ix = indexer_of(&b, &name, 1);
        struct corpus_figures figures;
        const struct corpus_options options = {.path = write_oracle_corpus(&b, &o),
                                               .context = 16,
                                               .whole_documents = true,
                                               .keep_duplicates = true};
        REQUIRE_OK(indexer_read(&ix, &options, "oracle", &figures, &st), st);
        REQUIRE_OK(indexer_dashboards(&ix, &st), st);
        CHECK(figures.contexts == CORPUS_TEXTS && figures.duplicates == 0);
        CHECK(figures.tokens == (int64_t)corpus_number(corpus, "n_positions"));
        struct store_dashboard d;
        bool found;
        int64_t row;
        REQUIRE_OK(sources_row(b.sources, name, &row, &st), st);
        REQUIRE_OK(store_read_dashboard(b.store, row, &d, &found, &st), st);
        REQUIRE(found);
        CHECK(d.documents == CORPUS_TEXTS && d.tokens == figures.tokens && d.context == 16);
        CHECK_STRING(d.corpora, "[\"oracle\"]");
        const struct tensor *count = oracle_array(&o, "corpus.count");
        const struct tensor *max = oracle_array(&o, "corpus.max");
        for (size_t j = 0; j < d.d_sae; j++) {
            CHECK(d.counts[j] == (uint32_t)oracle_int(count, j));
            CHECK_NEAR(d.maxima[j], tensor_get(max, j),
                       corpus_tolerance((double)tensor_get(max, j)));
        }
        const cJSON *wanted;
        cJSON_ArrayForEach(wanted, json_get(corpus, "per_feature"))
        {
            struct store_feature_page page;
            REQUIRE_OK(store_read_feature(b.store, row, (uint32_t)corpus_number(wanted, "feature"),
                                          0, &page, &found, &st),
                       st);
            REQUIRE(found);
            check_page(&page, d.tokens, wanted);
            store_feature_page_free(&page);
        }
        store_dashboard_free(&d);
        bench_close(&b);
        oracle_close(&o);
    }
}

/* --- the demo: batches, threads, interruptions ------------------------------------------------ */

#define RES "2-gemmascope-res-2k"
#define ATT "2-gemmascope-att-2k"
#define DEMO_CORPUS "demo/corpus/demo-corpus.jsonl"

static const char *const both[] = {RES, ATT};
static const char *const kinds[] = {RES, ATT, "3-mlp_out"}; /* SAEs, neurons */
enum { KINDS = 3 };

static struct corpus_options demo_options(int64_t tokens)
{
    return (struct corpus_options){.path = DEMO_CORPUS, .context = 64, .limit_tokens = tokens};
}

static int read_demo(struct indexer *ix, int64_t tokens, struct status *st)
{
    const struct corpus_options options = demo_options(tokens);
    struct corpus_figures figures;
    return indexer_read(ix, &options, "demo", &figures, st);
}

/* The dump of all kinds over the demo's first tokens, indexed in one go. */
static bool dump_unbroken(struct dump *d, int64_t tokens, size_t batch, int threads)
{
    struct bench b;
    struct status st = {0};
    if (!bench_open(&b, "demo", threads)) {
        return false;
    }
    struct indexer ix = indexer_of(&b, kinds, KINDS);
    ix.batch_tokens = batch;
    bool ok = !read_demo(&ix, tokens, &st) && !indexer_dashboards(&ix, &st);
    CHECK_STRING(st.message, "");
    for (size_t i = 0; i < KINDS; i++) {
        ok = ok && dump_source(&b, kinds[i], d);
    }
    bench_close(&b);
    return ok;
}

static void gives_the_same_for_every_batch_size_and_number_of_threads(void)
{
    struct dump first = {0};
    REQUIRE(dump_unbroken(&first, 3000, 1024, 1));
    const size_t batches[] = {64, 333, 1024};
    for (size_t i = 0; i < 3; i++) {
        struct dump other = {0};
        REQUIRE(dump_unbroken(&other, 3000, batches[i], 2));
        CHECK(is_same(&first, &other));
        dump_free(&other);
    }
    dump_free(&first);
}

static void goes_on_where_it_was_stopped(void)
{
    struct dump unbroken = {0};
    REQUIRE(dump_unbroken(&unbroken, 3000, 256, 1));
    const int64_t stops[] = {1, 9, 30};
    for (size_t i = 0; i < 3; i++) {
        struct bench b;
        struct status st = {0};
        struct dump d = {0};
        if (!bench_open(&b, "demo", 1)) {
            return;
        }
        struct indexer ix = indexer_of(&b, kinds, KINDS);
        ix.batch_tokens = 256;
        b.stop_at = stops[i];
        CHECK(read_demo(&ix, 3000, &st) == STATUS_CANCELLED);
        int64_t row, corpus, documents, tokens;
        REQUIRE_OK(store_corpus(b.store, sources_model(b.sources), "demo",
                                "{\"context\":64,\"pack\":true,\"keep_duplicates\":false,"
                                "\"bos\":true}",
                                &corpus, &st),
                   st);
        REQUIRE_OK(sources_row(b.sources, RES, &row, &st), st);
        REQUIRE_OK(store_indexed(b.store, row, corpus, &documents, &tokens, &st), st);
        CHECK(documents >= stops[i] && documents < 47);
        CHECK(tokens == documents * 63);
        uint64_t computed = engine_tokens_computed(b.engine);
        CHECK(computed == (uint64_t)documents * 64);
        b.stop_at = 0;
        atomic_store(&b.cancel, false);
        REQUIRE_OK(read_demo(&ix, 3000, &st), st);
        CHECK(engine_tokens_computed(b.engine) == 47 * 64); /* nothing twice */
        REQUIRE_OK(indexer_dashboards(&ix, &st), st);
        for (size_t k = 0; k < KINDS; k++) {
            CHECK(dump_source(&b, kinds[k], &d));
        }
        CHECK(is_same(&unbroken, &d));
        dump_free(&d);
        bench_close(&b);
    }
    dump_free(&unbroken);
}

static void computes_nothing_that_the_cache_holds_or_that_is_behind_a_mark(void)
{
    struct bench b;
    struct status st = {0};
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    struct indexer one = indexer_of(&b, both, 1), two = indexer_of(&b, both, 2);
    REQUIRE_OK(read_demo(&one, 1000, &st), st);
    CHECK(engine_tokens_computed(b.engine) == 15 * 64);
    REQUIRE_OK(read_demo(&one, 1000, &st), st);
    CHECK(engine_tokens_computed(b.engine) == 15 * 64);
    REQUIRE_OK(read_demo(&two, 2000, &st), st); /* ATT from the start, RES from its mark */
    CHECK(engine_tokens_computed(b.engine) == (15 + 31) * 64);
    const struct corpus_options options =
        demo_options(2000); /* the same contexts by another name */
    struct corpus_figures figures;
    REQUIRE_OK(indexer_read(&two, &options, "again", &figures, &st), st);
    CHECK(engine_tokens_computed(b.engine) == (15 + 31) * 64);
    bench_close(&b);
}

static void a_second_corpus_extends_what_is_there(void)
{
    struct bench b;
    struct status st = {0};
    struct store_dashboard d;
    struct corpus_figures figures;
    bool found;
    int64_t row;
    const char *const texts[] = {"In the beginning God created the heaven and the earth.",
                                 "And the earth was without form, and void."};
    const struct corpus_options options = {.texts = texts, .n_texts = 2, .context = 64};
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    struct indexer ix = indexer_of(&b, both, 1);
    REQUIRE_OK(read_demo(&ix, 1000, &st), st);
    REQUIRE_OK(indexer_dashboards(&ix, &st), st);
    REQUIRE_OK(sources_row(b.sources, RES, &row, &st), st);
    /* Logits are not made again: what stands in place of feature 0's stays. */
    static struct store_feature logits[2];
    REQUIRE_OK(store_read_logits(b.store, row, 0, 2, logits, &found, &st), st);
    REQUIRE(found);
    struct store_feature swapped = logits[1];
    swapped.index = 0;
    REQUIRE_OK(store_write_logits(b.store, row, &swapped, 1, &st), st);
    REQUIRE_OK(indexer_read(&ix, &options, "genesis", &figures, &st), st);
    REQUIRE_OK(indexer_dashboards(&ix, &st), st);
    REQUIRE_OK(store_read_logits(b.store, row, 0, 1, logits, &found, &st), st);
    CHECK(found && memcmp(logits[0].positive, logits[1].positive, sizeof logits[0].positive) == 0);
    REQUIRE_OK(store_read_dashboard(b.store, row, &d, &found, &st), st);
    REQUIRE(found);
    CHECK(d.documents == 15 + figures.contexts && d.tokens == 15 * 63 + figures.tokens);
    CHECK_STRING(d.corpora, "[\"demo\",\"genesis\"]");
    store_dashboard_free(&d);
    bench_close(&b);
}

static void note_waiting(void *user, const struct indexer_progress *p)
{
    struct indexer_progress *seen = user;
    if (strcmp(p->phase, "waiting") == 0) {
        *seen = *p;
    }
}

static void waits_for_its_turn_and_can_be_stopped_then(void)
{
    struct bench b;
    struct status st = {0};
    struct indexer_progress seen = {0};
    atomic_bool stop = true;
    int lock;
    int64_t holder;
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    REQUIRE_OK(store_lock_index(b.store, &lock, &holder, &st), st);
    REQUIRE(lock >= 0);
    struct indexer ix = indexer_of(&b, both, 1);
    ix.cancel = &stop;
    CHECK(read_demo(&ix, 1000, &st) == STATUS_CANCELLED);
    int other;
    REQUIRE_OK(store_lock_index(b.store, &other, &holder, &st), st);
    CHECK(other == -1 && holder == getpid());
    store_unlock_index(lock);
    stop = false;
    ix.progress = note_waiting;
    ix.user = &seen;
    REQUIRE_OK(read_demo(&ix, 1000, &st), st);
    CHECK(!seen.phase);
    bench_close(&b);
}

/* --- neurons in turns --------------------------------------------------------------------------
 */

static const char *const layers[] = {"0-mlp_out", RES, "1-mlp_out", "2-mlp_out"};
enum { LAYERS = 4, WIDTH = 256, TURN_BATCH = 256 };

static void note_readings(void *user, const struct indexer_progress *p)
{
    struct bench *b = user;
    if (!p->source) { /* no dashboard yet */
        b->readings = p->readings;
        b->documents[p->reading] = p->documents;
    }
}

/* What they come to with room for so many layers at once. */
static bool dump_turns(struct bench *b, size_t at_once, struct dump *d)
{
    struct status st = {0};
    uint64_t each = WIDTH * (sizeof(struct neuron) + 2 * TURN_BATCH * sizeof(float));
    struct indexer ix = indexer_of(b, layers, LAYERS);
    ix.batch_tokens = TURN_BATCH;
    ix.neuron_memory = at_once * each;
    ix.progress = note_readings;
    bool ok = !read_demo(&ix, 2000, &st) && !indexer_dashboards(&ix, &st);
    CHECK_STRING(st.message, "");
    for (size_t i = 0; i < LAYERS; i++) {
        ok = ok && dump_source(b, layers[i], d);
    }
    return ok;
}

static void layers_of_neurons_that_do_not_fit_take_turns_and_come_to_the_same(void)
{
    static const size_t readings[] = {0, 3, 2, 1};
    struct dump together = {0};
    for (size_t at_once = 3; at_once > 0; at_once--) {
        struct bench b;
        struct dump d = {0};
        REQUIRE(bench_open(&b, "demo", 1));
        REQUIRE(dump_turns(&b, at_once, &d));
        CHECK(b.readings == readings[at_once]);
        for (size_t i = 1; i <= b.readings; i++) {
            CHECK(b.documents[i] == 31);
        }
        bench_close(&b);
        if (at_once == 3) {
            together = d;
        } else {
            CHECK(is_same(&together, &d));
            dump_free(&d);
        }
    }
    dump_free(&together);
}

static void the_standard_input_has_no_second_turn(void)
{
    struct bench b;
    struct status st = {0};
    struct corpus_figures figures;
    const struct corpus_options options = {.path = "-", .context = 64};
    REQUIRE(bench_open(&b, "demo", 1));
    struct indexer ix = indexer_of(&b, layers, LAYERS);
    ix.neuron_memory = 1; /* less than one needs: then one at a time */
    CHECK(indexer_read(&ix, &options, "stdin", &figures, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "need 3 readings of the corpus");
    bench_close(&b);
}

static void says_that_a_corpus_has_changed(void)
{
    struct bench b;
    struct status st = {0};
    struct corpus_figures figures;
    const char *before[] = {"In the beginning"}, *after[] = {"In the middle"};
    struct corpus_options options = {.texts = before, .n_texts = 1, .context = 64};
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    struct indexer one = indexer_of(&b, both, 1), two = indexer_of(&b, both + 1, 1);
    REQUIRE_OK(indexer_read(&one, &options, "texts", &figures, &st), st);
    options.texts = after;
    CHECK(indexer_read(&two, &options, "texts", &figures, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "has changed");
    bench_close(&b);
}

static void stops_when_the_queue_is_stopped_and_names_unknown_sources(void)
{
    struct bench b;
    struct status st = {0};
    const char *const unknown = "9-none";
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    struct indexer ix = indexer_of(&b, &unknown, 1);
    CHECK(read_demo(&ix, 1000, &st) == STATUS_NOT_FOUND);
    ix = indexer_of(&b, both, 1);
    queue_stop(b.queue);
    CHECK(read_demo(&ix, 1000, &st) == STATUS_CANCELLED);
    bench_close(&b);
}

static void small_memory_gives_the_same_dashboards(void)
{
    struct bench b;
    struct status st = {0};
    struct dump whole = {0}, chunks = {0};
    if (!bench_open(&b, "demo", 1)) {
        return;
    }
    struct indexer ix = indexer_of(&b, both, 1);
    REQUIRE_OK(read_demo(&ix, 1000, &st), st);
    REQUIRE_OK(indexer_dashboards(&ix, &st), st);
    CHECK(dump_source(&b, RES, &whole));
    ix.memory = 1; /* DASHBOARD_STEP features at a time */
    REQUIRE_OK(indexer_dashboards(&ix, &st), st);
    CHECK(dump_source(&b, RES, &chunks));
    CHECK(is_same(&whole, &chunks));
    dump_free(&whole);
    dump_free(&chunks);
    bench_close(&b);
}

static const struct test tests[] = {
    TEST(meets_the_oracle_through_the_database),
    TEST(gives_the_same_for_every_batch_size_and_number_of_threads),
    TEST(goes_on_where_it_was_stopped),
    TEST(computes_nothing_that_the_cache_holds_or_that_is_behind_a_mark),
    TEST(a_second_corpus_extends_what_is_there),
    TEST(waits_for_its_turn_and_can_be_stopped_then),
    TEST(layers_of_neurons_that_do_not_fit_take_turns_and_come_to_the_same),
    TEST(the_standard_input_has_no_second_turn),
    TEST(says_that_a_corpus_has_changed),
    TEST(stops_when_the_queue_is_stopped_and_names_unknown_sources),
    TEST(small_memory_gives_the_same_dashboards),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
