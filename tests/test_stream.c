#include "server/http/stream.h"

#include "core/base/memory.h"
#include "tests/test.h"

#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

static int slept, woken;

static void on_sleep(void *user)
{
    (void)user;
    slept++;
}

static void on_wake(void *user)
{
    (void)user;
    woken++;
}

static struct stream *make(int fd)
{
    struct stream *s = stream_create();
    slept = woken = 0;
    if (s) {
        stream_attach(s, fd, on_sleep, on_wake, NULL);
    }
    return s;
}

static void gives_frames_in_order_and_then_the_end(void)
{
    struct stream *s = make(-1);
    REQUIRE(s != NULL);
    char to[4] = "";
    CHECK(stream_read(s, to, 3) == 0 && slept == 1 && woken == 0);
    CHECK(stream_frame(s, "abcd", 4, false) && woken == 1);
    CHECK(stream_frame(s, "ef", 2, true) && woken == 1);
    stream_end(s);
    CHECK(stream_read(s, to, 3) == 3 && memcmp(to, "abc", 3) == 0);
    CHECK(stream_read(s, to, 3) == 3 && memcmp(to, "def", 3) == 0);
    CHECK(stream_read(s, to, 3) == -1 && slept == 1);
    stream_release(s);
}

static void the_end_wakes_who_sleeps(void)
{
    struct stream *s = make(-1);
    REQUIRE(s != NULL);
    char to;
    CHECK(stream_read(s, &to, 1) == 0);
    stream_end(s);
    CHECK(woken == 1);
    CHECK(stream_read(s, &to, 1) == -1);
    stream_release(s);
}

static void frames_that_nobody_reads_are_left_out_but_for_the_last(void)
{
    struct stream *s = make(-1);
    REQUIRE(s != NULL);
    static char frame[1 << 18];
    size_t total = 0;
    memset(frame, 'x', sizeof frame);
    for (int i = 0; i < 20; i++) {
        CHECK(stream_frame(s, frame, sizeof frame, false));
    }
    CHECK(stream_frame(s, "end", 3, true));
    stream_end(s);
    static char to[1 << 16];
    char last = 0;
    for (long n; (n = stream_read(s, to, sizeof to)) > 0; total += (size_t)n) {
        last = to[n - 1];
    }
    CHECK(total == 5 * sizeof frame + 3); /* 1 MiB waits, one more crosses the line */
    CHECK(last == 'd');
    stream_release(s);
}

static void sees_a_socket_close_without_sending(void)
{
    int fd[2];
    REQUIRE(socketpair(AF_UNIX, SOCK_STREAM, 0, fd) == 0);
    struct stream *s = make(fd[0]);
    REQUIRE(s != NULL);
    CHECK(!stream_gone(s));
    CHECK(stream_frame(s, "a", 1, false));
    (void)close(fd[1]);
    CHECK(stream_gone(s));
    CHECK(!stream_frame(s, "b", 1, false));
    (void)close(fd[0]);
    stream_release(s);
}

static void a_detached_reader_is_gone_and_never_woken(void)
{
    struct stream *s = make(-1);
    REQUIRE(s != NULL);
    char to;
    stream_retain(s);
    CHECK(stream_read(s, &to, 1) == 0);
    stream_detach(s);
    stream_release(s);
    CHECK(stream_gone(s));
    CHECK(!stream_frame(s, "a", 1, false));
    stream_end(s);
    CHECK(woken == 0);
    stream_release(s);
}

static void memory_that_runs_out_ends_the_stream(void)
{
    (void)memory_fail_after(1);
    CHECK(stream_create() == NULL);
    (void)memory_fail_after(0);
    struct stream *s = make(-1);
    REQUIRE(s != NULL);
    (void)memory_fail_after(1);
    CHECK(!stream_frame(s, "a", 1, false));
    (void)memory_fail_after(0);
    char to;
    CHECK(stream_read(s, &to, 1) == -1);
    stream_release(s);
}

static void *produce(void *user)
{
    for (int i = 0; i < 5000 && stream_frame(user, "0123456789", 10, true); i++) {
    }
    stream_end(user);
    return NULL;
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static bool awake;

static void note_wake(void *user)
{
    (void)user;
    pthread_mutex_lock(&lock);
    awake = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void two_threads_lose_nothing(void)
{
    struct stream *s = stream_create();
    REQUIRE(s != NULL);
    pthread_t thread;
    stream_attach(s, -1, on_sleep, note_wake, NULL);
    REQUIRE(pthread_create(&thread, NULL, produce, s) == 0);
    size_t total = 0;
    char to[64];
    for (long n; (n = stream_read(s, to, sizeof to)) >= 0; total += (size_t)n) {
        for (long i = 0; i < n; i++) {
            CHECK(to[i] == (char)('0' + (total + (size_t)i) % 10));
        }
        pthread_mutex_lock(&lock);
        while (n == 0 && !awake) {
            pthread_cond_wait(&changed, &lock);
        }
        awake = n == 0 ? false : awake;
        pthread_mutex_unlock(&lock);
    }
    pthread_join(thread, NULL);
    CHECK(total == 50000);
    stream_release(s);
}

static const struct test tests[] = {
    TEST(gives_frames_in_order_and_then_the_end),
    TEST(the_end_wakes_who_sleeps),
    TEST(frames_that_nobody_reads_are_left_out_but_for_the_last),
    TEST(sees_a_socket_close_without_sending),
    TEST(a_detached_reader_is_gone_and_never_woken),
    TEST(memory_that_runs_out_ends_the_stream),
    TEST(two_threads_lose_nothing),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
