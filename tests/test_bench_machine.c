#include "server/command/bench_machine.h"
#include "tests/test.h"

#include <string.h>

static void describes_this_machine(void)
{
    struct bench_machine m;
    bench_machine_begin(&m);
    volatile double sum = 0;
    for (int i = 0; i < 30000000; i++) {
        sum += i; /* time of our own, which is not the others' */
    }
    bench_machine_end(&m);
    CHECK(strlen(m.cpu) > 0);
    CHECK(m.processors >= 1 && m.allowed >= 1 && m.allowed <= m.processors);
    CHECK(m.memory_gb > 0.1 && m.load >= 0);
    CHECK(m.others >= 0 && m.others <= 1 && m.stolen >= 0 && m.stolen <= 1);
}

static void doubts_what_was_measured_beside_others(void)
{
    char sentence[200];
    struct bench_machine m = {.allowed = 4, .processors = 4, .load = 0.2};
    CHECK_STRING(bench_machine_doubt(&m, sentence), "");
    m.load = 3;
    CHECK(strstr(bench_machine_doubt(&m, sentence), "load 3.0 on 4 processors") != NULL);
    m.stolen = 0.3;
    CHECK(strstr(bench_machine_doubt(&m, sentence), "took 30 %") != NULL);
    m.others = 0.25;
    CHECK(strstr(bench_machine_doubt(&m, sentence), "other programs took 25 %") != NULL);
}

static const struct test tests[] = {
    TEST(describes_this_machine),
    TEST(doubts_what_was_measured_beside_others),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
