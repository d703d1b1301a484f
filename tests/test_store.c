/* What the store keeps and gives back. Faults of files, disks and processes: test_store_faults.c.
 * `test_store --sample FILE` writes a small database and prints what is in it, for
 * tests/cli/test_database_doc.sh. */
#include "server/store/store.h"

#include "core/base/memory.h"
#include "tests/store_fixture.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

static void gives_back_every_bit_of_what_was_written(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    for (uint64_t seed = 1; seed <= 20; seed++) {
        size_t n = seed * 7;
        CHECK(fixture_read(&f, f.model, f.source, seed, n, &f.st) == ABSENT);
        REQUIRE_OK(fixture_write(&f, f.model, f.source, seed, n, &f.st), f.st);
        CHECK(fixture_read(&f, f.model, f.source, seed, n, &f.st) == SAME);
    }
    store_close(f.store);
    REQUIRE(fixture_reopen(&f));
    for (uint64_t seed = 1; seed <= 20; seed++) {
        CHECK(fixture_read(&f, f.model, f.source, seed, seed * 7, &f.st) == SAME);
    }
    fixture_close(&f);
}

static void keeps_rows_without_active_features_and_appends_to_the_callers(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    const int32_t ids[] = {2, 7, -1};
    const uint32_t index = 16383;
    const float value = 1.25f;
    struct sparse rows = {0};
    sparse_append(&rows, NULL, NULL, 0);
    sparse_append(&rows, &index, &value, 1);
    sparse_append(&rows, NULL, NULL, 0);
    struct store_activations entry = {.source = f.source, .ids = ids, .n = 3, .rows = &rows};
    REQUIRE_OK(store_write_activations(f.store, f.model, &entry, 1, &f.st), f.st);
    bool found;
    struct sparse more = {0};
    sparse_append(&more, &index, &value, 1);
    REQUIRE_OK(store_read_activations(f.store, f.model, f.source, ids, 3, &more, &found, &f.st),
               f.st);
    CHECK(found && more.rows == 4 && more.start[4] == 2);
    CHECK_NEAR(sparse_get(&more, 2, 16383), 1.25, 0);
    REQUIRE_OK(store_read_activations(f.store, f.model, f.source, ids, 2, &more, &found, &f.st),
               f.st);
    CHECK(!found && more.rows == 4);
    sparse_free(&rows);
    sparse_free(&more);
    fixture_close(&f);
}

static void keeps_models_sources_and_identities_apart(void)
{
    struct fixture f;
    int64_t other_model, same_model, tuned_model, same_source, other_source, new_source, foreign;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(store_model(f.store, "gemma-2-2b", fixture_identity("m"), &same_model, &f.st), f.st);
    REQUIRE_OK(store_model(f.store, "gemma-2-2b", fixture_identity("t"), &tuned_model, &f.st),
               f.st);
    REQUIRE_OK(store_model(f.store, "gemma-3-1b", fixture_identity("m"), &other_model, &f.st),
               f.st);
    CHECK(same_model == f.model && tuned_model != f.model && other_model != f.model &&
          other_model != tuned_model);
    REQUIRE_OK(fixture_source(&f, f.model, "20-gemmascope-res-16k", "s", &same_source), f.st);
    REQUIRE_OK(fixture_source(&f, f.model, "20-gemmascope-res-16k", "changed", &new_source), f.st);
    REQUIRE_OK(fixture_source(&f, f.model, "21-gemmascope-res-16k", "s", &other_source), f.st);
    REQUIRE_OK(fixture_source(&f, tuned_model, "20-gemmascope-res-16k", "s", &foreign), f.st);
    CHECK(same_source == f.source && new_source != f.source && other_source != f.source);
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 5, 30, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, new_source, 5, 30, &f.st) == ABSENT);
    CHECK(fixture_read(&f, f.model, other_source, 5, 30, &f.st) == ABSENT);
    CHECK(fixture_read(&f, tuned_model, foreign, 5, 30, &f.st) == ABSENT);
    REQUIRE_OK(fixture_write(&f, f.model, other_source, 5, 30, &f.st), f.st);
    REQUIRE_OK(fixture_write(&f, tuned_model, foreign, 5, 30, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, f.source, 5, 30, &f.st) == SAME);
    CHECK(fixture_read(&f, f.model, other_source, 5, 30, &f.st) == SAME);
    CHECK(fixture_read(&f, tuned_model, foreign, 5, 30, &f.st) == SAME);
    CHECK(fixture_read(&f, tuned_model, f.source, 5, 30, &f.st) == ABSENT);
    fixture_close(&f);
}

static void keeps_what_is_there_when_the_same_text_is_written_again(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 8, 12, &f.st), f.st);
    int32_t ids[12];
    struct sparse other = {0};
    fixture_ids(8, ids, 12);
    fixture_rows(99, &other, 12, 20);
    struct store_activations twice[] = {{.source = f.source, .ids = ids, .n = 12, .rows = &other},
                                        {.source = f.source, .ids = ids, .n = 12, .rows = &other}};
    REQUIRE_OK(store_write_activations(f.store, f.model, twice, 2, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, f.source, 8, 12, &f.st) == SAME);
    struct store_figures figures;
    REQUIRE_OK(store_figures(f.store, &figures, &f.st), f.st);
    CHECK(figures.texts == 1 && figures.activations == 12 && figures.bytes >= 4096);
    sparse_free(&other);
    fixture_close(&f);
}

static void treats_missing_and_damaged_rows_as_absent_and_repairs_them(void)
{
    static const char *const damages[] = {
        "DELETE FROM activation WHERE position = 0",
        "DELETE FROM activation WHERE position = 4",
        "DELETE FROM activation WHERE position = 9",
        "UPDATE activation SET features = x'' WHERE position = 3",
        "UPDATE activation SET features = substr(features, 1, 20) WHERE position = 9",
        "UPDATE activation SET features = CAST(features || x'00' AS BLOB) WHERE position = 0",
        /* one feature, index 16384: as many as the source has, so one too high */
        "UPDATE activation SET features = x'018080010000803F' WHERE position = 5",
    };
    for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
        struct fixture f;
        REQUIRE(fixture_open(&f));
        REQUIRE_OK(fixture_write(&f, f.model, f.source, 3, 10, &f.st), f.st);
        REQUIRE(fixture_sql(&f, damages[i]));
        CHECK(fixture_read(&f, f.model, f.source, 3, 10, &f.st) == ABSENT);
        REQUIRE_OK(fixture_write(&f, f.model, f.source, 3, 10, &f.st), f.st);
        CHECK(fixture_read(&f, f.model, f.source, 3, 10, &f.st) == SAME);
        fixture_close(&f);
    }
}

static void takes_another_text_with_the_same_hash_for_not_found(void)
{
    struct fixture f;
    char answer[256];
    REQUIRE(fixture_open(&f));
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 3, 10, &f.st), f.st);
    /* A true collision is out of reach; a row whose ids differ looks the same to the store. */
    REQUIRE(fixture_sql(&f, "UPDATE text SET ids = zeroblob(40)"));
    CHECK(fixture_read(&f, f.model, f.source, 3, 10, &f.st) == ABSENT);
    REQUIRE(fixture_sql(&f, "DELETE FROM activation"));
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 3, 10, &f.st), f.st);
    fixture_ask(&f, "SELECT count(*) FROM activation", answer);
    CHECK_STRING(answer, "0");
    REQUIRE(fixture_sql(&f, "UPDATE text SET n_tokens = 9, ids = zeroblob(36)"));
    CHECK(fixture_read(&f, f.model, f.source, 3, 10, &f.st) == ABSENT);
    fixture_close(&f);
}

static void refuses_entries_whose_rows_do_not_match_their_tokens(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    struct sparse rows = {0};
    const int32_t ids[] = {2, 3};
    sparse_append(&rows, NULL, NULL, 0);
    struct store_activations entry = {.source = f.source, .ids = ids, .n = 2, .rows = &rows};
    CHECK(store_write_activations(f.store, f.model, &entry, 1, &f.st) == STATUS_INTERNAL);
    CHECK_CONTAINS(f.st.message, "2 tokens (at least one), found 1");
    entry.n = 0;
    CHECK(store_write_activations(f.store, f.model, &entry, 1, &f.st) == STATUS_INTERNAL);
    sparse_free(&rows);
    fixture_close(&f);
}

static void writes_all_entries_or_none(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    const int32_t ids[] = {2};
    const int32_t others[] = {3};
    struct sparse rows = {0};
    sparse_append(&rows, NULL, NULL, 0);
    struct store_activations entries[] = {
        {.source = f.source, .ids = ids, .n = 1, .rows = &rows},
        {.source = f.source + 77, .ids = others, .n = 1, .rows = &rows}}; /* no such source */
    CHECK(store_write_activations(f.store, f.model, entries, 2, &f.st) == STATUS_INTERNAL);
    CHECK_CONTAINS(f.st.message, "FOREIGN KEY");
    bool found;
    struct sparse read = {0};
    REQUIRE_OK(store_read_activations(f.store, f.model, f.source, ids, 1, &read, &found, &f.st),
               f.st);
    CHECK(!found);
    REQUIRE_OK(store_write_activations(f.store, f.model, entries, 1, &f.st), f.st);
    REQUIRE_OK(store_read_activations(f.store, f.model, f.source, ids, 1, &read, &found, &f.st),
               f.st);
    CHECK(found);
    sparse_free(&rows);
    sparse_free(&read);
    fixture_close(&f);
}

static void makes_strict_tables_in_a_wal_file_of_its_own_kind(void)
{
    struct fixture f;
    char answer[256];
    REQUIRE(fixture_open(&f));
    fixture_ask(&f,
                "SELECT sum(name IN ('activation', 'model', 'source', 'text')) FROM"
                " pragma_table_list WHERE strict",
                answer);
    CHECK_STRING(answer, "4");
    fixture_ask(&f,
                "SELECT count(*) FROM pragma_table_list WHERE NOT strict AND type = 'table'"
                " AND name NOT LIKE 'sqlite%'",
                answer);
    CHECK_STRING(answer, "0");
    fixture_ask(&f, "PRAGMA journal_mode", answer);
    CHECK_STRING(answer, "wal");
    fixture_ask(&f, "PRAGMA application_id", answer);
    CHECK_STRING(answer, "1684761970");
    fixture_ask(&f, "PRAGMA user_version", answer);
    CHECK_STRING(answer, "6");
    fixture_close(&f);
}

static void takes_odd_names_for_files(void)
{
    struct fixture f;
    char back[4096];
    struct status st;
    REQUIRE(fixture_folder(&f));
    REQUIRE(getcwd(back, sizeof back) != NULL);
    struct text migrations = {0};
    text_printf(&migrations, "%s/" MIGRATIONS, back);
    REQUIRE(chdir(f.folder) == 0);
    const char *const names[] = {":memory:", "file:x.db?mode=memory", "it's"};
    for (size_t i = 0; i < 3; i++) {
        struct store *store = NULL;
        CHECK(store_open(&store, names[i], migrations.data, &st) == 0);
        CHECK(access(names[i], R_OK) == 0);
        store_close(store);
    }
    struct store *store = NULL;
    CHECK(store_open(&store, "", migrations.data, &st) == STATUS_INVALID && !store);
    REQUIRE(chdir(back) == 0);
    text_free(&migrations);
    fixture_close(&f);
}

/* --- several threads -------------------------------------------------------------------------- */

enum { TEXTS = 400, SHARED_TOKENS = 24 };

struct shared {
    struct fixture *f;
    atomic_ullong written; /* texts 0..written-1 are there */
    atomic_bool stop;
    atomic_int wrong, reads, failed;
};

static void *read_until_stopped(void *argument)
{
    struct shared *shared = argument;
    struct status st;
    uint64_t random = (uint64_t)(uintptr_t)&st;
    while (!atomic_load(&shared->stop)) {
        uint64_t seed = fixture_random(&random) % TEXTS;
        bool there = seed < atomic_load(&shared->written);
        enum outcome outcome = fixture_read(shared->f, shared->f->model, shared->f->source,
                                            seed + 1, SHARED_TOKENS, &st);
        if (outcome == FAILED) {
            atomic_fetch_add(&shared->failed, 1);
        } else if (outcome == OTHER || (there && outcome != SAME)) {
            atomic_fetch_add(&shared->wrong, 1);
        }
        atomic_fetch_add(&shared->reads, 1);
    }
    return NULL;
}

static void reads_while_it_writes(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    struct shared shared = {.f = &f};
    pthread_t readers[4];
    struct timespec start, now;
    for (int i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&readers[i], NULL, read_until_stopped, &shared) == 0);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &start);
    double seconds = 0;
    for (uint64_t i = 0; seconds < 1; i++) {
        if (i < TEXTS) {
            CHECK(fixture_write(&f, f.model, f.source, i + 1, SHARED_TOKENS, &f.st) == 0);
            atomic_store(&shared.written, i + 1);
        } else { /* the same again: still a turn at writing */
            CHECK(fixture_write(&f, f.model, f.source, i % TEXTS + 1, SHARED_TOKENS, &f.st) == 0);
        }
        (void)clock_gettime(CLOCK_MONOTONIC, &now);
        seconds = (double)(now.tv_sec - start.tv_sec) + (double)(now.tv_nsec - start.tv_nsec) / 1e9;
    }
    atomic_store(&shared.stop, true);
    for (int i = 0; i < 4; i++) {
        (void)pthread_join(readers[i], NULL);
    }
    CHECK(atomic_load(&shared.failed) == 0);
    CHECK(atomic_load(&shared.wrong) == 0);
    CHECK(atomic_load(&shared.reads) > 4);
    CHECK(atomic_load(&shared.written) > 0);
    fixture_close(&f);
}

static void survives_every_failing_allocation(void)
{
    struct fixture f;
    REQUIRE(fixture_folder(&f));
    long failures = 0;
    for (long nth = 1; nth < 1000; nth++) {
        (void)memory_fail_after(nth);
        int code = store_open(&f.store, f.path, MIGRATIONS, &f.st);
        code = code ? code : store_model(f.store, "m", fixture_identity("m"), &f.model, &f.st);
        code = code ? code : fixture_source(&f, f.model, "s", "s", &f.source);
        if (code == 0) {
            const int32_t ids[] = {2, (int32_t)nth};
            struct sparse none = {0}, rows = {0};
            bool found;
            sparse_append(&none, NULL, NULL, 0);
            sparse_append(&none, NULL, NULL, 0);
            struct store_activations e = {.source = f.source, .ids = ids, .n = 2, .rows = &none};
            code = none.failed ? (int)STATUS_MEMORY
                               : store_write_activations(f.store, f.model, &e, 1, &f.st);
            code = code ? code
                        : store_read_activations(f.store, f.model, f.source, ids, 2, &rows, &found,
                                                 &f.st);
            CHECK(code != 0 || (found && rows.rows == 2));
            CHECK(code == 0 || (rows.rows == 0 && !rows.failed));
            sparse_free(&none);
            sparse_free(&rows);
        }
        (void)memory_fail_after(0);
        store_close(f.store);
        f.store = NULL;
        CHECK(code == 0 || code == STATUS_MEMORY);
        failures += code != 0;
        if (code == 0) {
            break;
        }
    }
    CHECK(failures >= 8);
    fixture_close(&f);
}

/* --- the sample for the documentation's reader ------------------------------------------------ */

static int write_sample(const char *path)
{
    struct fixture f = {0};
    (void)snprintf(f.path, sizeof f.path, "%s", path);
    if (!fixture_reopen(&f)) {
        return 1;
    }
    for (uint64_t seed = 1; seed <= 3; seed++) {
        size_t n = 4 * seed;
        int32_t ids[N_MAX];
        struct sparse rows = {0};
        fixture_ids(seed, ids, n);
        fixture_rows(seed ^ (uint64_t)f.source << 32, &rows, n, 70);
        if (fixture_write(&f, f.model, f.source, seed, n, &f.st) != 0) {
            printf("%s\n", f.st.message);
            return 1;
        }
        for (size_t row = 0; row < n; row++) {
            for (size_t i = rows.start[row]; i < rows.start[row + 1]; i++) {
                uint32_t bits;
                memcpy(&bits, &rows.value[i], sizeof bits);
                printf("%zu %d %u %08x\n", row, ids[row], rows.index[i], bits);
            }
        }
        sparse_free(&rows);
    }
    store_close(f.store);
    return 0;
}

static const struct test tests[] = {
    TEST(gives_back_every_bit_of_what_was_written),
    TEST(keeps_rows_without_active_features_and_appends_to_the_callers),
    TEST(keeps_models_sources_and_identities_apart),
    TEST(keeps_what_is_there_when_the_same_text_is_written_again),
    TEST(treats_missing_and_damaged_rows_as_absent_and_repairs_them),
    TEST(takes_another_text_with_the_same_hash_for_not_found),
    TEST(refuses_entries_whose_rows_do_not_match_their_tokens),
    TEST(writes_all_entries_or_none),
    TEST(makes_strict_tables_in_a_wal_file_of_its_own_kind),
    TEST(takes_odd_names_for_files),
    TEST(reads_while_it_writes),
    TEST(survives_every_failing_allocation),
};

int main(int argc, char **argv)
{
    if (argc == 3 && strcmp(argv[1], "--sample") == 0) {
        return write_sample(argv[2]);
    }
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
