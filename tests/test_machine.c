#include "core/base/machine.h"
#include "tests/scratch.h"
#include "tests/test.h"

static void reads_the_line_that_begins_with_a_name(void)
{
    struct scratch s;
    char out[16];
    scratch_open(&s);
    scratch_text(&s, "info",
                 "MemFree: 12 kB\nMemTotal:\t 34 kB\nmodel name : a long processor's name\n"
                 "limit: max\nlast: 7");
    const char *path = scratch_path(&s, "info");
    CHECK(machine_line(path, "MemTotal", out, sizeof out));
    CHECK_STRING(out, "34 kB");
    CHECK(machine_line(path, "model name", out, sizeof out));
    CHECK_STRING(out, "a long processo"); /* cut */
    CHECK(!machine_line(path, "Total", out, sizeof out));
    CHECK_STRING(out, "");
    CHECK(machine_number(path, "MemFree") == 12);
    CHECK(machine_number(path, "last") == 7);
    CHECK(machine_number(path, "limit") == -1);
    CHECK(machine_number(path, "none") == -1);
    CHECK(!machine_line("/no/such/file", "", out, sizeof out));
    scratch_close(&s);
}

static void has_no_more_memory_than_the_machine(void)
{
    uint64_t memory = machine_memory();
    uint64_t physical = (uint64_t)sysconf(_SC_PHYS_PAGES) * (uint64_t)sysconf(_SC_PAGESIZE);
    CHECK(memory > 0 && memory <= physical);
}

static const struct test tests[] = {TEST(reads_the_line_that_begins_with_a_name),
                                    TEST(has_no_more_memory_than_the_machine)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
