#include "core/base/mapped_file.h"

#include "core/base/mapped_guard.h"
#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>

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

static void *sum(void *argument)
{
    const struct mapped_file *f = argument;
    uintptr_t sum = 0;
    for (size_t i = 0; i < f->size; i += 64) {
        sum += f->data[i];
    }
    return (void *)sum;
}

#define LONG (64 * 4096)

static void open_long(struct scratch *s, struct mapped_file *f)
{
    static char bytes[LONG];
    struct status st = {0};
    memset(bytes, 1, sizeof bytes);
    scratch_open(s);
    scratch_write(s, "file", bytes, sizeof bytes);
    REQUIRE_OK(mapped_file_open(f, scratch_path(s, "file"), &st), st);
    CHECK((uintptr_t)sum(f) == LONG / 64);
    CHECK(mapped_file_state(f) == MAPPED_SAME && mapped_file_check(f, &st) == 0);
}

static void a_file_cut_short_reads_as_zeros_on_every_thread_and_is_named(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f, other;
    pthread_t threads[4];
    open_long(&s, &f);
    REQUIRE_OK(mapped_file_open(&other, "tests/test_mapped_file.c", &st), st);
    CHECK(truncate(scratch_path(&s, "file"), 4096) == 0);
    for (int i = 0; i < 4; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, sum, &f) == 0);
    }
    for (int i = 0; i < 4; i++) {
        void *found;
        pthread_join(threads[i], &found);
        CHECK((uintptr_t)found <= 4096 / 64);
    }
    CHECK(mapped_file_state(&f) == MAPPED_BROKEN);
    CHECK(mapped_file_check(&f, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "/file: was cut short");
    CHECK(truncate(scratch_path(&s, "file"), LONG) == 0); /* the pages do not come back */
    CHECK(mapped_file_state(&f) == MAPPED_BROKEN);
    CHECK(mapped_file_state(&other) == MAPPED_SAME);
    mapped_file_release_pages(&f);
    CHECK((uintptr_t)sum(&f) == 0);
    mapped_file_close(&f);
    mapped_file_close(&other);
    scratch_close(&s);
}

static void a_file_written_in_place_is_named_until_it_is_accepted(void)
{
    struct status st = {0};
    struct scratch s;
    struct mapped_file f;
    open_long(&s, &f);
    const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
    CHECK(utimensat(AT_FDCWD, scratch_path(&s, "file"), times, 0) == 0);
    CHECK(mapped_file_state(&f) == MAPPED_TOUCHED);
    CHECK(mapped_file_check(&f, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "/file: was written to");
    mapped_file_accept(&f);
    CHECK(mapped_file_state(&f) == MAPPED_SAME);
    mapped_file_close(&f);
    scratch_close(&s);
}

static void a_file_that_is_replaced_or_deleted_stays_what_it_was(void)
{
    struct scratch s;
    struct mapped_file f;
    char to[600];
    open_long(&s, &f);
    scratch_text(&s, "new", "short");
    (void)snprintf(to, sizeof to, "%s/file", s.root);
    CHECK(rename(scratch_path(&s, "new"), to) == 0);
    CHECK((uintptr_t)sum(&f) == LONG / 64 && mapped_file_state(&f) == MAPPED_SAME);
    CHECK(remove(to) == 0);
    CHECK((uintptr_t)sum(&f) == LONG / 64 && mapped_file_state(&f) == MAPPED_SAME);
    mapped_file_close(&f);
    scratch_close(&s);
}

/* In a child: the handler is the process's, and the end is what is tested. */
static void any_other_bus_error_still_ends_the_process(void)
{
    for (int sent = 0; sent < 2; sent++) {
        struct scratch s;
        struct mapped_file f;
        open_long(&s, &f);
        pid_t child = fork();
        if (child == 0) {
            struct rlimit none = {0};
            (void)setrlimit(RLIMIT_CORE, &none);
            int fd = open(f.path, O_RDWR);
            volatile char *ours = mmap(NULL, 4096, PROT_READ, MAP_SHARED, fd, 0);
            if (sent) {
                (void)raise(SIGBUS);
            } else if (ftruncate(fd, 0) == 0) {
                (void)*ours;
            }
            _exit(0);
        }
        int how = 0;
        CHECK(waitpid(child, &how, 0) == child && (!WIFEXITED(how) || WEXITSTATUS(how) != 0));
        mapped_file_close(&f);
        scratch_close(&s);
    }
}

static void places_are_given_back(void)
{
    struct status st = {0};
    for (int i = 0; i < 2 * MAPPED_GUARDS; i++) {
        struct mapped_file f;
        REQUIRE_OK(mapped_file_open(&f, "tests/test_mapped_file.c", &st), st);
        CHECK(f.guard == 0);
        mapped_file_close(&f);
    }
}

static const struct test tests[] = {
    TEST(a_file_cut_short_reads_as_zeros_on_every_thread_and_is_named),
    TEST(a_file_written_in_place_is_named_until_it_is_accepted),
    TEST(a_file_that_is_replaced_or_deleted_stays_what_it_was),
    TEST(any_other_bus_error_still_ends_the_process),
    TEST(places_are_given_back),
    TEST(maps_what_the_file_holds),
    TEST(an_empty_file_has_no_data),
    TEST(refuses_what_is_no_file),
    TEST(reports_a_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
