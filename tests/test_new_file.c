#include "core/base/new_file.h"

#include "tests/scratch.h"
#include "tests/test.h"

#include <unistd.h>

static bool holds(const char *path, const char *text)
{
    char found[64] = "";
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(found, 1, sizeof found - 1, f) : 0;
    if (f) {
        fclose(f);
    }
    return f && n == strlen(text) && memcmp(found, text, n) == 0;
}

static void is_in_its_place_only_when_it_is_whole(void)
{
    struct scratch s;
    struct new_file file;
    struct status st = {0};
    scratch_open(&s);
    REQUIRE_OK(new_file_open(&file, scratch_path(&s, "a"), &st), st);
    REQUIRE_OK(new_file_write(&file, "one ", 4, &st), st);
    REQUIRE_OK(new_file_write(&file, "two", 3, &st), st);
    CHECK(access(scratch_path(&s, "a"), F_OK) != 0);
    REQUIRE_OK(new_file_end(&file, 0, &st), st);
    CHECK(holds(scratch_path(&s, "a"), "one two"));
    CHECK(access(scratch_path(&s, "a.partial"), F_OK) != 0);
    scratch_close(&s);
}

static void leaves_what_was_there_when_something_went_wrong(void)
{
    struct scratch s;
    struct new_file file;
    struct status st = {0};
    scratch_open(&s);
    REQUIRE_OK(new_file_open(&file, scratch_path(&s, "a"), &st), st);
    REQUIRE_OK(new_file_write(&file, "old", 3, &st), st);
    REQUIRE_OK(new_file_end(&file, 0, &st), st);
    REQUIRE_OK(new_file_open(&file, scratch_path(&s, "a"), &st), st);
    REQUIRE_OK(new_file_write(&file, "new", 3, &st), st);
    CHECK(new_file_end(&file, STATUS_CANCELLED, &st) == STATUS_CANCELLED);
    CHECK(holds(scratch_path(&s, "a"), "old"));
    CHECK(access(scratch_path(&s, "a.partial"), F_OK) != 0);
    scratch_close(&s);
}

static void says_what_the_disk_said(void)
{
    struct new_file file;
    struct status st = {0};
    static char much[1 << 16];
    CHECK(new_file_open(&file, "/no/such/folder/a", &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "/no/such/folder/a: cannot be written: No such file");
    struct scratch s;
    scratch_open(&s);
    REQUIRE(symlink("/dev/full", scratch_path(&s, "a.partial")) ==
            0); /* as if the disk were full */
    REQUIRE_OK(new_file_open(&file, scratch_path(&s, "a"), &st), st);
    int code = new_file_write(&file, much, sizeof much, &st);
    CHECK(new_file_end(&file, code, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "No space left on device");
    CHECK(access(scratch_path(&s, "a"), F_OK) != 0);
    scratch_close(&s);
}

static const struct test tests[] = {TEST(is_in_its_place_only_when_it_is_whole),
                                    TEST(leaves_what_was_there_when_something_went_wrong),
                                    TEST(says_what_the_disk_said)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
