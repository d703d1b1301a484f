#include "core/base/clock.h"
#include "tests/test.h"

#include <time.h>

static void counts_seconds_forward(void)
{
    double before = clock_seconds();
    const struct timespec pause = {.tv_nsec = 20 * 1000 * 1000};
    (void)nanosleep(&pause, NULL);
    double passed = clock_seconds() - before;
    CHECK(passed > 0.015 && passed < 60.0);
}

static const struct test tests[] = {TEST(counts_seconds_forward)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
