/* The store against other files, full disks, missing rights, locks of other processes and SIGKILL.
 */
#include "server/store/store.h"

#include "tests/store_fixture.h"

#include <signal.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>

static void write_file(const char *path, const char *bytes, size_t n)
{
    FILE *file = fopen(path, "wb");
    REQUIRE(file);
    CHECK(fwrite(bytes, 1, n, file) == n);
    CHECK(fclose(file) == 0);
}

static void check_refused(struct fixture *f, const char *migrations, int code, const char *part)
{
    struct store *store = NULL;
    int found = store_open(&store, f->path, migrations, &f->st);
    if (found != code) {
        printf("    expected code %d, found %d: %s\n", code, found, found ? f->st.message : "");
        test_failures_++;
    }
    CHECK(!store);
    CHECK_CONTAINS(f->st.message, part);
    store_close(store);
}

static void refuses_the_database_of_a_newer_darkmatter(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    store_close(f.store);
    f.store = NULL;
    REQUIRE(fixture_sql(&f, "PRAGMA user_version = 7007"));
    check_refused(&f, MIGRATIONS, STATUS_UNSUPPORTED,
                  "made by a newer darkmatter (schema 7007, this one knows ");
    CHECK_CONTAINS(f.st.message, "): use that version, or another --db");
    CHECK_CONTAINS(f.st.message, f.path);
    fixture_close(&f);
}

static void refuses_the_database_of_another_program_and_leaves_it_as_it_is(void)
{
    struct fixture f;
    char answer[256];
    REQUIRE(fixture_folder(&f));
    REQUIRE(fixture_sql(&f, "CREATE TABLE song (title)"));
    check_refused(&f, MIGRATIONS, STATUS_INVALID, "a database of another program");
    REQUIRE(fixture_sql(&f, "PRAGMA application_id = 77; DROP TABLE song"));
    check_refused(&f, MIGRATIONS, STATUS_INVALID, "application id 77");
    fixture_ask(&f, "PRAGMA journal_mode", answer);
    CHECK_STRING(answer, "delete");
    fixture_close(&f);
}

static void refuses_files_that_are_no_database(void)
{
    struct fixture f;
    char bytes[9000];
    REQUIRE(fixture_folder(&f));
    memset(bytes, 'x', sizeof bytes);
    write_file(f.path, bytes, sizeof bytes);
    check_refused(&f, MIGRATIONS, STATUS_CORRUPT, "expected an SQLite database");
    CHECK_CONTAINS(f.st.message, f.path);
    write_file(f.path, "short", 5);
    check_refused(&f, MIGRATIONS, STATUS_CORRUPT, "expected an SQLite database");
    fixture_close(&f);
}

static void takes_an_empty_file_for_a_new_database(void)
{
    struct fixture f;
    REQUIRE(fixture_folder(&f));
    write_file(f.path, "", 0);
    REQUIRE(fixture_reopen(&f));
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 1, 5, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, f.source, 1, 5, &f.st) == SAME);
    fixture_close(&f);
}

/* Overwrites 16 bytes at a time, page after page: never a crash, and an error names the file. A hit
 * inside a float cannot be seen, so any outcome of a read is allowed here. */
static void survives_a_damaged_file(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    for (uint64_t seed = 1; seed <= 4; seed++) {
        REQUIRE_OK(fixture_write(&f, f.model, f.source, seed, 40, &f.st), f.st);
    }
    store_close(f.store);
    f.store = NULL;
    FILE *file = fopen(f.path, "rb");
    REQUIRE(file);
    static char bytes[1 << 20];
    size_t n = fread(bytes, 1, sizeof bytes, file);
    CHECK(fclose(file) == 0);
    REQUIRE(n > 32768 && n < sizeof bytes);
    int refused = 0;
    for (size_t at = 100; at + 16 < n; at += 1021) {
        char kept[16];
        memcpy(kept, bytes + at, sizeof kept);
        memset(bytes + at, 0xFF, sizeof kept);
        write_file(f.path, bytes, n);
        memcpy(bytes + at, kept, sizeof kept);
        struct status st;
        if (store_open(&f.store, f.path, MIGRATIONS, &st) != 0) {
            CHECK_CONTAINS(st.message, f.path);
            refused++;
            continue;
        }
        for (uint64_t seed = 1; seed <= 4; seed++) {
            if (fixture_read(&f, f.model, f.source, seed, 40, &st) == FAILED) {
                CHECK_CONTAINS(st.message, f.path);
                refused++;
            }
        }
        store_close(f.store);
        f.store = NULL;
    }
    /* Cut in the middle. */
    write_file(f.path, bytes, n / 2);
    if (store_open(&f.store, f.path, MIGRATIONS, &f.st) == 0) {
        CHECK(fixture_read(&f, f.model, f.source, 4, 40, &f.st) != SAME);
    }
    CHECK(refused > 0);
    fixture_close(&f);
}

static void says_what_is_wrong_with_the_path(void)
{
    struct fixture f;
    REQUIRE(fixture_folder(&f));
    (void)snprintf(f.path, sizeof f.path, "%s/none/a.db", f.folder);
    check_refused(&f, MIGRATIONS, STATUS_NOT_FOUND, "its folder must exist");
    (void)snprintf(f.path, sizeof f.path, "%s", f.folder);
    check_refused(&f, MIGRATIONS, STATUS_IO, "directory");
    (void)snprintf(f.path, sizeof f.path, "%s/file", f.folder);
    write_file(f.path, "", 0);
    (void)snprintf(f.path, sizeof f.path, "%s/file/a.db", f.folder);
    check_refused(&f, MIGRATIONS, STATUS_IO, "cannot be opened");
    fixture_close(&f);
}

static void says_what_is_wrong_with_the_migrations(void)
{
    struct fixture f;
    char name[128];
    REQUIRE(fixture_folder(&f));
    check_refused(&f, "/nonexistent/migrations", STATUS_NOT_FOUND, "/nonexistent/migrations");
    check_refused(&f, f.folder, STATUS_NOT_FOUND, "found none");
    (void)snprintf(name, sizeof name, "%s/0002_second.sql", f.folder);
    write_file(name, "CREATE TABLE b (x) STRICT;", 26);
    check_refused(&f, f.folder, STATUS_CORRUPT,
                  "0002_second.sql: expected migration 0001_name.sql");
    (void)snprintf(name, sizeof name, "%s/0001_first.sql", f.folder);
    write_file(name, "CREATE TABLE a (x INT) STRICT; CREATE TABL", 42);
    check_refused(&f, f.folder, STATUS_INTERNAL, "0001_first.sql: ");
    CHECK_CONTAINS(f.st.message, "syntax error");
    (void)snprintf(name, sizeof name, "%s/1_odd.sql", f.folder);
    write_file(name, "", 0);
    check_refused(&f, f.folder, STATUS_CORRUPT, "1_odd.sql");
    fixture_close(&f);
}

static void applies_each_migration_once_and_whole(void)
{
    struct fixture f;
    char name[128], answer[256];
    REQUIRE(fixture_folder(&f));
    (void)snprintf(name, sizeof name, "%s/0001_first.sql", f.folder);
    write_file(name, "CREATE TABLE a (x INT) STRICT;", 30);
    REQUIRE_OK(store_open(&f.store, f.path, f.folder, &f.st), f.st);
    store_close(f.store);
    f.store = NULL;
    (void)snprintf(name, sizeof name, "%s/0002_second.sql", f.folder);
    write_file(name, "CREATE TABLE b (x INT) STRICT; INSERT INTO nowhere VALUES (1);", 62);
    check_refused(&f, f.folder, STATUS_INTERNAL, "no such table: nowhere");
    fixture_ask(&f, "SELECT count(*) FROM sqlite_schema", answer);
    CHECK_STRING(answer, "1");
    fixture_ask(&f, "PRAGMA user_version", answer);
    CHECK_STRING(answer, "1");
    write_file(name, "CREATE TABLE b (x INT) STRICT -- no newline at the end", 54);
    REQUIRE_OK(store_open(&f.store, f.path, f.folder, &f.st), f.st);
    store_close(f.store);
    REQUIRE_OK(store_open(&f.store, f.path, f.folder, &f.st), f.st);
    fixture_ask(&f, "PRAGMA user_version", answer);
    CHECK_STRING(answer, "2");
    fixture_close(&f);
}

/* Runs the function in a process of its own, without root's rights; its failures become ours. */
static void without_rights(void (*run)(struct fixture *f), struct fixture *f)
{
    (void)fflush(stdout);
    pid_t child = fork();
    REQUIRE(child >= 0);
    if (child == 0) {
        if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0)) {
            _exit(99);
        }
        test_failures_ = 0;
        run(f);
        (void)fflush(stdout);
        _exit(test_failures_ != 0);
    }
    int status;
    REQUIRE(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static void open_read_only_file(struct fixture *f)
{
    check_refused(f, MIGRATIONS, STATUS_IO, "cannot be written: make the file and its folder");
}

static void open_in_read_only_folder(struct fixture *f)
{
    check_refused(f, MIGRATIONS, STATUS_IO, "(Permission denied): its folder must exist and be");
}

static void refuses_read_only_files_and_folders(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    store_close(f.store);
    f.store = NULL;
    REQUIRE(chmod(f.folder, 0777) == 0 && chmod(f.path, 0444) == 0);
    without_rights(open_read_only_file, &f);
    REQUIRE(unlink(f.path) == 0 && chmod(f.folder, 0555) == 0);
    without_rights(open_in_read_only_folder, &f);
    fixture_close(&f);
}

static void keeps_what_is_there_when_the_disk_is_full(void)
{
    struct fixture f;
    REQUIRE(fixture_folder(&f));
    REQUIRE(fixture_reopen(&f));
    store_close(f.store);
    struct store_options options = {.busy_ms = 100, .max_pages = 96};
    REQUIRE_OK(store_open_with(&f.store, f.path, MIGRATIONS, &options, &f.st), f.st);
    uint64_t seed = 1;
    while (seed < 1000 && fixture_write(&f, f.model, f.source, seed, 50, &f.st) == 0) {
        seed++;
    }
    CHECK(f.st.code == STATUS_IO);
    CHECK_CONTAINS(f.st.message, "the disk is full: free some space");
    CHECK_CONTAINS(f.st.message, f.path);
    REQUIRE(seed > 1 && seed < 1000);
    CHECK(fixture_read(&f, f.model, f.source, seed - 1, 50, &f.st) == SAME);
    CHECK(fixture_read(&f, f.model, f.source, seed, 50, &f.st) == ABSENT);
    CHECK(fixture_write(&f, f.model, f.source, seed, 50, &f.st) == STATUS_IO);
    store_close(f.store);
    REQUIRE(fixture_reopen(&f));
    REQUIRE_OK(fixture_write(&f, f.model, f.source, seed, 50, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, f.source, 1, 50, &f.st) == SAME);
    CHECK(fixture_read(&f, f.model, f.source, seed, 50, &f.st) == SAME);
    fixture_close(&f);
}

/* A process that holds the write lock from the moment this returns until *go is closed. */
static pid_t hold_lock(const char *path, int *go)
{
    int ready[2], release[2];
    if (pipe(ready) != 0 || pipe(release) != 0) {
        return -1;
    }
    pid_t child = fork();
    if (child == 0) {
        sqlite3 *db;
        char byte = 1;
        (void)close(release[1]);
        bool locked = sqlite3_open(path, &db) == SQLITE_OK &&
                      sqlite3_exec(db, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK;
        if (!locked || write(ready[1], &byte, 1) != 1) {
            _exit(1);
        }
        _exit(read(release[0], &byte, 1) == 0 ? 0 : 1);
    }
    char byte;
    (void)close(release[0]);
    (void)close(ready[1]);
    bool locked = read(ready[0], &byte, 1) == 1;
    (void)close(ready[0]);
    *go = release[1];
    return locked ? child : -1;
}

static void waits_for_another_process_and_then_says_so(void)
{
    struct fixture f;
    REQUIRE(fixture_open(&f));
    store_close(f.store);
    f.store = NULL;
    int go;
    pid_t child = hold_lock(f.path, &go);
    REQUIRE(child > 0);
    struct store_options options = {.busy_ms = 150};
    struct timespec before, after;
    REQUIRE_OK(store_open_with(&f.store, f.path, MIGRATIONS, &options, &f.st), f.st);
    (void)clock_gettime(CLOCK_MONOTONIC, &before);
    CHECK(fixture_write(&f, f.model, f.source, 1, 10, &f.st) == STATUS_BUSY);
    (void)clock_gettime(CLOCK_MONOTONIC, &after);
    CHECK((double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9 >
          0.1);
    CHECK_CONTAINS(f.st.message, "another process has held the database's lock for over 0.15 s");
    CHECK_CONTAINS(f.st.message, f.path);
    CHECK(fixture_read(&f, f.model, f.source, 1, 10, &f.st) == ABSENT); /* reading goes on */
    (void)close(go);
    int status;
    CHECK(waitpid(child, &status, 0) == child && status == 0);
    REQUIRE_OK(fixture_write(&f, f.model, f.source, 1, 10, &f.st), f.st);
    CHECK(fixture_read(&f, f.model, f.source, 1, 10, &f.st) == SAME);
    fixture_close(&f);
}

static void lets_several_processes_make_the_same_file(void)
{
    for (int round = 0; round < 5; round++) {
        struct fixture f;
        REQUIRE(fixture_folder(&f));
        pid_t children[4];
        (void)fflush(stdout);
        for (int i = 0; i < 4; i++) {
            children[i] = fork();
            REQUIRE(children[i] >= 0);
            if (children[i] == 0) {
                bool good = fixture_reopen(&f) &&
                            fixture_write(&f, f.model, f.source, 1, 10, &f.st) == 0 &&
                            fixture_write(&f, f.model, f.source, (uint64_t)i + 2, 10, &f.st) == 0;
                if (!good) {
                    printf("    %s\n", f.st.message);
                }
                store_close(f.store);
                (void)fflush(stdout);
                _exit(!good);
            }
        }
        for (int i = 0; i < 4; i++) {
            int status;
            CHECK(waitpid(children[i], &status, 0) == children[i] && status == 0);
        }
        REQUIRE(fixture_reopen(&f));
        CHECK(f.model == 1 && f.source == 1);
        for (uint64_t seed = 1; seed <= 5; seed++) {
            CHECK(fixture_read(&f, f.model, f.source, seed, 10, &f.st) == SAME);
        }
        fixture_close(&f);
    }
}

/* Writes text after text and tells the parent of each one whose write returned. */
static void write_until_killed(struct fixture *f, uint64_t seed, int tell)
{
    if (!fixture_reopen(f)) {
        _exit(1);
    }
    for (;; seed++) {
        if (fixture_write(f, f->model, f->source, seed, 30, &f->st) != 0 ||
            write(tell, &seed, sizeof seed) != (ssize_t)sizeof seed) {
            _exit(1);
        }
    }
}

static void loses_nothing_that_was_written_before_a_kill(void)
{
    struct fixture f;
    char answer[256];
    uint64_t random = 4711;
    uint64_t last = 0; /* texts 1..last were written */
    REQUIRE(fixture_folder(&f));
    for (int round = 0; round < 20; round++) {
        int told[2];
        REQUIRE(pipe(told) == 0);
        (void)fflush(stdout);
        pid_t child = fork();
        REQUIRE(child >= 0);
        if (child == 0) {
            (void)close(told[0]);
            write_until_killed(&f, last + 1, told[1]);
        }
        (void)close(told[1]);
        struct timespec moment = {0, (long)(5000000 + fixture_random(&random) % 40000000)};
        (void)nanosleep(&moment, NULL);
        CHECK(kill(child, SIGKILL) == 0);
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFSIGNALED(status));
        uint64_t seed;
        while (read(told[0], &seed, sizeof seed) == (ssize_t)sizeof seed) {
            last = seed;
        }
        (void)close(told[0]);
        REQUIRE(fixture_reopen(&f));
        for (uint64_t i = last > 20 ? last - 20 : 1; i <= last; i++) {
            CHECK(fixture_read(&f, f.model, f.source, i, 30, &f.st) == SAME);
        }
        /* The one that was under way is there whole or not at all. */
        enum outcome next = fixture_read(&f, f.model, f.source, last + 1, 30, &f.st);
        CHECK(next == SAME || next == ABSENT);
        store_close(f.store);
        f.store = NULL;
        fixture_ask(&f, "PRAGMA integrity_check", answer);
        CHECK_STRING(answer, "ok");
    }
    CHECK(last > 20);
    REQUIRE(fixture_reopen(&f));
    for (uint64_t i = 1; i <= last; i++) {
        CHECK(fixture_read(&f, f.model, f.source, i, 30, &f.st) == SAME);
    }
    fixture_ask(&f, "SELECT (SELECT count(*) FROM activation) - sum(activations) FROM source",
                answer);
    CHECK_STRING(answer, "0");
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(refuses_the_database_of_a_newer_darkmatter),
    TEST(refuses_the_database_of_another_program_and_leaves_it_as_it_is),
    TEST(refuses_files_that_are_no_database),
    TEST(takes_an_empty_file_for_a_new_database),
    TEST(survives_a_damaged_file),
    TEST(says_what_is_wrong_with_the_path),
    TEST(says_what_is_wrong_with_the_migrations),
    TEST(applies_each_migration_once_and_whole),
    TEST(refuses_read_only_files_and_folders),
    TEST(keeps_what_is_there_when_the_disk_is_full),
    TEST(waits_for_another_process_and_then_says_so),
    TEST(lets_several_processes_make_the_same_file),
    TEST(loses_nothing_that_was_written_before_a_kill),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
