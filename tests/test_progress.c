#include "server/command/progress.h"

#include "tests/test.h"

static void times_are_minutes_or_hours(void)
{
    char out[32];
    progress_time(out, 65.9);
    CHECK_STRING(out, "1:05");
    progress_time(out, 3599);
    CHECK_STRING(out, "59:59");
    progress_time(out, 7322);
    CHECK_STRING(out, "2:02:02");
    progress_time(out, -1);
    CHECK_STRING(out, "?");
    progress_time(out, 1e30);
    CHECK_STRING(out, "0:00");
}

static const struct test tests[] = {
    TEST(times_are_minutes_or_hours),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
