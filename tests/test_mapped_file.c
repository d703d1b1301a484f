#include "core/base/mapped_file.h"

#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

static void maps_what_the_file_holds(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f;
    scratch_open(&s);
    scratch_text(&s, "file", "twelve bytes");
    scratch_link(&s, "link", "file");
    REQUIRE_OK(mapped_file_open(&f, scratch_path(&s, "link"), &st), st);
    CHECK(f.size == 12 && memcmp(f.data, "twelve bytes", 12) == 0);
    CHECK_STRING(f.path, scratch_path(&s, "link"));
    mapped_file_release_pages(&f);
    CHECK(memcmp(f.data, "twelve bytes", 12) == 0);
    mapped_file_close(&f);
    CHECK(f.data == NULL && f.path == NULL);
    mapped_file_close(&f);
    scratch_close(&s);
}

static void an_empty_file_has_no_data(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f;
    scratch_open(&s);
    scratch_text(&s, "file", "");
    REQUIRE_OK(mapped_file_open(&f, scratch_path(&s, "file"), &st), st);
    CHECK(f.data == NULL && f.size == 0);
    mapped_file_release_pages(&f);
    mapped_file_close(&f);
    scratch_close(&s);
}

static void refuses_what_is_no_file(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f;
    scratch_open(&s);
    CHECK(mapped_file_open(&f, scratch_path(&s, "none"), &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/none: cannot be opened: No such file");
    CHECK(mapped_file_open(&f, s.root, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "expected a file");
    scratch_link(&s, "broken", "gone");
    CHECK(mapped_file_open(&f, scratch_path(&s, "broken"), &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/broken: a symbolic link to a file that is not there");
    CHECK(mkfifo(scratch_path(&s, "pipe"), 0600) == 0);
    CHECK(mapped_file_open(&f, scratch_path(&s, "pipe"), &st) == STATUS_IO);
    CHECK(f.data == NULL && f.path == NULL);
    scratch_close(&s);
}

static void reports_a_failed_allocation(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f;
    scratch_open(&s);
    scratch_text(&s, "file", "x");
    (void)memory_fail_after(1);
    CHECK(mapped_file_open(&f, scratch_path(&s, "file"), &st) == STATUS_MEMORY);
    (void)memory_fail_after(0);
    CHECK(f.data == NULL);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(maps_what_the_file_holds),
    TEST(an_empty_file_has_no_data),
    TEST(refuses_what_is_no_file),
    TEST(reports_a_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
