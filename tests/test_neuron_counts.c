/* What was counted of neurons, and the marks that move with it. */
#include "server/store/neuron_counts.h"

#include "server/store/documents.h"
#include "tests/store_fixture.h"

struct seen {
    char text[256];
    size_t n;
};

static int note(void *user, uint32_t number, const void *bytes, size_t n, struct status *st)
{
    struct seen *seen = user;
    size_t used = strlen(seen->text);
    (void)st;
    (void)snprintf(seen->text + used, sizeof seen->text - used, "%u=%.*s ", (unsigned)number,
                   (int)n, (const char *)bytes);
    seen->n++;
    return 0;
}

static int note_document(void *user, const struct neuron_document *d, struct status *st)
{
    struct seen *seen = user;
    size_t used = strlen(seen->text);
    (void)st;
    (void)snprintf(seen->text + used, sizeof seen->text - used, "%lld:%lld:%zu ",
                   (long long)d->corpus, (long long)d->number, d->n_tokens);
    return 0;
}

static int stop(void *user, uint32_t number, const void *bytes, size_t n, struct status *st)
{
    (void)note(user, number, bytes, n, st);
    return status_set(st, STATUS_CORRUPT, "that will do");
}

static void neurons_and_mark_are_there_together_or_not_at_all(void)
{
    struct fixture f;
    struct neuron_counts_writer *w;
    int64_t corpus, documents, tokens;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_corpus(f.store, f.model, "pile", "{}", &corpus, &f.st), f.st);
    REQUIRE_OK(neuron_counts_begin(f.store, f.source, &w, &f.st), f.st);
    REQUIRE_OK(neuron_counts_put(w, 1, "one", 3, &f.st), f.st);
    REQUIRE_OK(neuron_counts_put(w, 0, "zero", 4, &f.st), f.st);
    REQUIRE_OK(neuron_counts_end(w, corpus, 5, 600, &f.st), f.st);
    REQUIRE_OK(neuron_counts_begin(f.store, f.source, &w, &f.st), f.st);
    REQUIRE_OK(neuron_counts_put(w, 1, "lost", 4, &f.st), f.st);
    neuron_counts_abandon(w);
    struct seen seen = {.n = 0};
    REQUIRE_OK(neuron_counts_visit(f.store, f.source, note, &seen, &f.st), f.st);
    CHECK_STRING(seen.text, "0=zero 1=one "); /* by number */
    REQUIRE_OK(store_indexed(f.store, f.source, corpus, &documents, &tokens, &f.st), f.st);
    CHECK(documents == 5 && tokens == 600);
    REQUIRE_OK(neuron_counts_begin(f.store, f.source, &w, &f.st), f.st);
    REQUIRE_OK(neuron_counts_put(w, 1, "more", 4, &f.st), f.st);
    REQUIRE_OK(neuron_counts_end(w, corpus, 9, 1000, &f.st), f.st);
    seen = (struct seen){.n = 0};
    CHECK(neuron_counts_visit(f.store, f.source, stop, &seen, &f.st) == STATUS_CORRUPT);
    CHECK(seen.n == 1);
    seen = (struct seen){.n = 0};
    REQUIRE_OK(neuron_counts_visit(f.store, f.source, note, &seen, &f.st), f.st);
    CHECK_STRING(seen.text, "0=zero 1=more ");
    REQUIRE_OK(neuron_counts_tokens(f.store, f.source, &tokens, &f.st), f.st);
    CHECK(tokens == 1000);
    fixture_close(&f);
}

/* Only those in front of the mark, of every corpus; none of another source. */
static void lists_the_documents_that_were_counted(void)
{
    struct fixture f;
    struct neuron_counts_writer *w;
    int64_t corpora[2], other, tokens;
    int32_t ids[3][24];
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(fixture_source(&f, f.model, "3", "n", &other), f.st);
    for (int c = 0; c < 2; c++) {
        struct store_document d[3];
        REQUIRE_OK(store_corpus(f.store, f.model, c ? "b" : "a", "{}", &corpora[c], &f.st), f.st);
        for (size_t i = 0; i < 3; i++) {
            fixture_ids((uint64_t)c * 10 + i, ids[i], 24);
            d[i] = (struct store_document){ids[i], 4 + i, 1};
        }
        REQUIRE_OK(store_write_documents(f.store, f.model, corpora[c], 0, d, 3, NULL, 0, 0, &f.st),
                   f.st);
        REQUIRE_OK(neuron_counts_begin(f.store, f.source, &w, &f.st), f.st);
        REQUIRE_OK(neuron_counts_end(w, corpora[c], 2 - c, 10, &f.st), f.st);
    }
    struct seen seen = {.n = 0};
    char expected[64];
    (void)snprintf(expected, sizeof expected, "%lld:0:4 %lld:1:5 %lld:0:4 ", (long long)corpora[0],
                   (long long)corpora[0], (long long)corpora[1]);
    REQUIRE_OK(neuron_counts_documents(f.store, f.source, note_document, &seen, &f.st), f.st);
    CHECK_STRING(seen.text, expected);
    REQUIRE_OK(neuron_counts_tokens(f.store, f.source, &tokens, &f.st), f.st);
    CHECK(tokens == 20);
    seen = (struct seen){.n = 0};
    REQUIRE_OK(neuron_counts_documents(f.store, other, note_document, &seen, &f.st), f.st);
    CHECK_STRING(seen.text, "");
    fixture_close(&f);
}

static const struct test tests[] = {TEST(neurons_and_mark_are_there_together_or_not_at_all),
                                    TEST(lists_the_documents_that_were_counted)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
