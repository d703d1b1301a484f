#include "server/store/inspect.h"

#include "tests/store_fixture.h"

/* A database with one text of five tokens, closed. */
static void make(struct fixture *f)
{
    REQUIRE(fixture_open(f));
    REQUIRE_OK(fixture_write(f, f->model, f->source, 1, 5, &f->st), f->st);
    store_close(f->store);
    f->store = NULL;
}

static void says_whose_numbers_a_database_holds(void)
{
    struct fixture f;
    struct inspect_report r;
    make(&f);
    REQUIRE_OK(inspect_database(&r, f.path, MIGRATIONS, &f.st), f.st);
    CHECK(r.schema == r.known && r.known >= 5);
    CHECK(r.texts == 1 && r.explanations == 0);
    CHECK(r.bytes > 0 && r.free_bytes == 0);
    CHECK(!r.damage[0] && r.writing.code == STATUS_OK);
    REQUIRE(r.n_models == 1);
    CHECK_STRING(r.models[0].name, "gemma-2-2b");
    uint8_t identity[HASH_BYTES];
    hash_bytes(fixture_identity("m"), identity);
    CHECK(memcmp(r.models[0].identity, identity, sizeof identity) == 0);
    CHECK(r.models[0].sources >= 1 && r.models[0].texts == 1);
    fixture_close(&f);
}

static void changes_nothing_and_makes_nothing(void)
{
    struct fixture f;
    struct inspect_report r;
    REQUIRE(fixture_folder(&f));
    CHECK(inspect_database(&r, f.path, MIGRATIONS, &f.st) == STATUS_NOT_FOUND);
    CHECK(access(f.path, F_OK) != 0);
    REQUIRE(fixture_sql(&f, "PRAGMA application_id = 0x646B6D72; CREATE TABLE x (y)"));
    REQUIRE_OK(inspect_database(&r, f.path, MIGRATIONS, &f.st), f.st);
    CHECK(r.schema == 0 && r.n_models == 0);
    char answer[256];
    fixture_ask(&f, "PRAGMA journal_mode", answer);
    CHECK_STRING(answer, "delete");
    fixture_ask(&f, "SELECT count(*) FROM sqlite_schema", answer);
    CHECK_STRING(answer, "1");
    fixture_close(&f);
}

static void refuses_what_store_open_refuses(void)
{
    struct fixture f;
    struct inspect_report r;
    make(&f);
    REQUIRE(fixture_sql(&f, "PRAGMA user_version = 7007"));
    CHECK(inspect_database(&r, f.path, MIGRATIONS, &f.st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(f.st.message, "newer darkmatter");
    REQUIRE(fixture_sql(&f, "PRAGMA user_version = 1; PRAGMA application_id = 77"));
    CHECK(inspect_database(&r, f.path, MIGRATIONS, &f.st) == STATUS_INVALID);
    CHECK_CONTAINS(f.st.message, "another program");
    fixture_close(&f);
}

static void tells_an_older_schema(void)
{
    struct fixture f;
    struct inspect_report r;
    make(&f);
    REQUIRE(fixture_sql(&f, "PRAGMA user_version = 1"));
    REQUIRE_OK(inspect_database(&r, f.path, MIGRATIONS, &f.st), f.st);
    CHECK(r.schema == 1 && r.known > 1);
    CHECK(r.texts == 1);
    fixture_close(&f);
}

static void names_the_first_damage(void)
{
    struct fixture f;
    struct inspect_report r;
    make(&f);
    FILE *file = fopen(f.path, "r+b");
    REQUIRE(file);
    REQUIRE(fseek(file, 2 * 8192, SEEK_SET) == 0);
    for (int i = 0; i < 2 * 8192; i++) {
        REQUIRE(fputc(0xA5, file) == 0xA5);
    }
    REQUIRE(fclose(file) == 0);
    REQUIRE_OK(inspect_database(&r, f.path, MIGRATIONS, &f.st), f.st);
    CHECK(r.damage[0] && r.damage[0] != '*' && !strchr(r.damage, '\n'));
    fixture_close(&f);
}

static void says_that_another_writes(void)
{
    struct fixture f;
    struct inspect_report r;
    sqlite3 *other = NULL;
    make(&f);
    REQUIRE(sqlite3_open(f.path, &other) == SQLITE_OK);
    REQUIRE(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL) == SQLITE_OK);
    REQUIRE_OK(inspect_database(&r, f.path, MIGRATIONS, &f.st), f.st);
    CHECK(r.texts == 1);
    CHECK(r.writing.code == STATUS_BUSY);
    CHECK_CONTAINS(r.writing.message, f.path);
    REQUIRE(sqlite3_close(other) == SQLITE_OK);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(says_whose_numbers_a_database_holds),
    TEST(changes_nothing_and_makes_nothing),
    TEST(refuses_what_store_open_refuses),
    TEST(tells_an_older_schema),
    TEST(names_the_first_damage),
    TEST(says_that_another_writes),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
