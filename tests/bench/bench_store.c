/* Reading at full size: 16,384 features over 3 million tokens, 70 active on each (210 million
 * activations, 1.4 GB), made up here. Run by hand, with some gigabytes free:
 *
 *     make build/release/tests/bench/bench_store && build/release/tests/bench/bench_store FOLDER
 *         [TOKENS]
 *
 * The database FOLDER/bench.db is made if it is not there, and left there. */
#include "core/base/clock.h"
#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "tests/store_fixture.h"

#include <sys/stat.h>
#include <time.h>

enum { CONTEXT = 128, ACTIVE = 70, BATCH = 64, TOP = 20, INTERVALS = 5, SAMPLES = 5 };
enum { EXAMPLES = TOP + INTERVALS * SAMPLES };

static void must(int code, const struct status *st)
{
    if (code != 0) {
        (void)fprintf(stderr, "%s\n", st->message);
        exit(1);
    }
}

/* Rows of 70 features with gaps that are even on average. */
static void make_rows(uint64_t *seed, struct sparse *rows)
{
    sparse_clear(rows);
    for (int t = 0; t < CONTEXT; t++) {
        uint32_t index[ACTIVE];
        float value[ACTIVE];
        for (uint32_t i = 0; i < ACTIVE; i++) {
            uint32_t width = D_SAE / ACTIVE;
            index[i] = i * width + fixture_random(seed) % width;
            value[i] = (float)fixture_random(seed) / 4e7f;
        }
        sparse_append(rows, index, value, ACTIVE);
    }
}

static void write_texts(struct fixture *f, int64_t corpus, int64_t texts)
{
    static int32_t ids[BATCH][CONTEXT];
    static struct sparse rows[BATCH];
    struct store_activations entries[BATCH];
    struct store_document documents[BATCH];
    uint64_t seed = 1;
    for (int64_t first = 0; first < texts; first += BATCH) {
        size_t n = texts - first < BATCH ? (size_t)(texts - first) : BATCH;
        for (size_t i = 0; i < n; i++) {
            fixture_ids((uint64_t)first + i + 7, ids[i], CONTEXT);
            make_rows(&seed, &rows[i]);
            entries[i] = (struct store_activations){f->source, ids[i], CONTEXT, &rows[i]};
            documents[i] = (struct store_document){ids[i], CONTEXT, first + (int64_t)i + 1};
        }
        must(store_write_activations(f->store, f->model, entries, n, &f->st), &f->st);
        must(store_write_documents(f->store, f->model, corpus, first, documents, n, &f->source, 1,
                                   (int64_t)n * (CONTEXT - 1), &f->st),
             &f->st);
    }
}

static void write_dashboard(struct fixture *f, int64_t corpus, int64_t texts)
{
    static uint32_t counts[D_SAE];
    static float maxima[D_SAE];
    static float along[CONTEXT];
    struct store_dashboard d = {.documents = texts,
                                .tokens = texts * (CONTEXT - 1),
                                .context = CONTEXT,
                                .corpora = "[\"bench\"]",
                                .counts = counts,
                                .maxima = maxima,
                                .d_sae = D_SAE};
    struct store_dashboard_writer *w;
    uint64_t seed = 3;
    must(store_dashboard_begin(f->store, f->source, &d, &w, &f->st), &f->st);
    for (uint32_t index = 0; index < D_SAE; index++) {
        struct store_example examples[EXAMPLES];
        struct store_feature feature = {.index = index,
                                        .count = 1,
                                        .maximum = 1,
                                        .activations = {.n_bins = DASHBOARD_BINS},
                                        .has_logits = true,
                                        .logits = {.n_bins = DASHBOARD_BINS},
                                        .label = "some words that go with it"};
        for (int i = 0; i < CONTEXT; i++) {
            along[i] = i % 9 == 0 ? 1.5f : 0;
        }
        for (int i = 0; i < EXAMPLES; i++) {
            int64_t text = fixture_random(&seed) % texts;
            examples[i] = (struct store_example){.part = i < TOP ? 0 : 1 + (i - TOP) / SAMPLES,
                                                 .place = i < TOP ? i : (i - TOP) % SAMPLES,
                                                 .text = text + 1,
                                                 .corpus = corpus,
                                                 .document = text,
                                                 .along = along,
                                                 .n_tokens = CONTEXT};
        }
        must(store_dashboard_put(w, &feature, examples, EXAMPLES, &f->st), &f->st);
    }
    must(store_dashboard_end(w, &f->st), &f->st);
}

struct sum {
    size_t activations, texts;
    double values;
};

static int add(void *user, const struct store_visit *v, struct status *st)
{
    struct sum *sum = user;
    (void)st;
    size_t n = v->rows->start[v->n];
    sum->activations += n;
    sum->texts++;
    sum->values += (double)v->rows->value[n - 1];
    return 0;
}

enum { PAGES = 1000 };

static int by_time(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void print_times(const char *what, double took[PAGES])
{
    qsort(took, PAGES, sizeof *took, by_time);
    printf("a feature's page, 45 examples of 128 tokens, %s: median %.3f ms, p99 %.3f ms, worst of "
           "%d %.3f ms\n",
           what, 1e3 * took[PAGES / 2], 1e3 * took[PAGES * 99 / 100], PAGES, 1e3 * took[PAGES - 1]);
}

/* The time of the processor does not depend on what else runs. */
static void read_pages(struct fixture *f)
{
    static double took[PAGES], cpu[PAGES];
    uint64_t seed = 99;
    for (int i = 0; i < PAGES; i++) {
        struct store_feature_page page;
        bool found;
        double start = clock_seconds(), start_cpu = (double)clock() / CLOCKS_PER_SEC;
        must(store_read_feature(f->store, f->source, fixture_random(&seed) % D_SAE, 0, &page,
                                &found, &f->st),
             &f->st);
        took[i] = clock_seconds() - start;
        cpu[i] = (double)clock() / CLOCKS_PER_SEC - start_cpu;
        if (!found || page.n_examples != EXAMPLES) {
            (void)fprintf(stderr, "a page lacks examples\n");
            exit(1);
        }
        store_feature_page_free(&page);
    }
    print_times("by the clock", took);
    print_times("processor", cpu);
}

int main(int argc, char **argv)
{
    struct fixture f = {0};
    struct stat info;
    int64_t corpus;
    if (argc < 2) {
        (void)fprintf(stderr, "usage: bench_store FOLDER [TOKENS]\n");
        return 2;
    }
    int64_t texts = (argc > 2 ? atoll(argv[2]) : 3000000) / CONTEXT;
    (void)snprintf(f.path, sizeof f.path, "%s/bench.db", argv[1]);
    bool is_new = stat(f.path, &info) != 0;
    if (!fixture_reopen(&f)) {
        return 1;
    }
    must(store_corpus(f.store, f.model, "bench", "{}", &corpus, &f.st), &f.st);
    if (is_new) {
        struct store_figures figures;
        double start = clock_seconds();
        write_texts(&f, corpus, texts);
        must(store_figures(f.store, &figures, &f.st), &f.st);
        printf("wrote %lld texts in %.1f s; %.3f bytes an activation, texts and documents too\n",
               (long long)texts, clock_seconds() - start,
               (double)figures.bytes / ((double)texts * CONTEXT * ACTIVE));
        start = clock_seconds();
        write_dashboard(&f, corpus, texts);
        printf("wrote the dashboard in %.1f s\n", clock_seconds() - start);
    }
    read_pages(&f);
    for (int i = 0; i < 2; i++) {
        struct sum sum = {0};
        double start = clock_seconds();
        must(store_visit_indexed(f.store, f.source, add, &sum, &f.st), &f.st);
        double took = clock_seconds() - start;
        printf("visited %zu texts, %.1f million activations in %.2f s: %.1f million/s\n", sum.texts,
               (double)sum.activations / 1e6, took, (double)sum.activations / 1e6 / took);
    }
    store_close(f.store);
    return 0;
}
