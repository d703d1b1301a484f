#include "core/base/machine.h"
#include "core/engine_private.h"
#include "tests/test.h"

#include <time.h>

/* Kilobytes of mapped files that this process has in its tables. */
static int64_t mapped_now(void)
{
    return machine_number("/proc/self/status", "RssFile");
}

static void the_weights_are_there_without_being_read(void)
{
    struct engine *e;
    struct status st = {0};
    struct engine_options options = {.model = "demo", .threads = 1};
    REQUIRE_OK(engine_open(&e, &options, &st), st);
    for (size_t i = 0; i < e->folder.n_shards; i++) {
        safetensors_release_pages(e->folder.shards[i]); /* what opening has looked at */
    }
    int64_t before = mapped_now(), wanted = (int64_t)(e->folder.weight_bytes / 1024 * 8 / 10);
    struct timespec pause = {.tv_nsec = 10 * 1000 * 1000};
    engine_read_ahead(e);
    CHECK(e->read_ahead.runs);
    for (int i = 0; i < 1000 && mapped_now() - before < wanted; i++) {
        (void)nanosleep(&pause, NULL);
    }
    CHECK(mapped_now() - before >= wanted);
    engine_close(e);
}

static void it_ends_with_the_engine_at_any_moment(void)
{
    for (long wait = 0; wait < 5; wait++) {
        struct engine *e;
        struct status st = {0};
        struct engine_options options = {.model = "demo", .threads = 1};
        struct timespec pause = {.tv_nsec = wait * 200 * 1000};
        REQUIRE_OK(engine_open(&e, &options, &st), st);
        engine_read_ahead(e);
        (void)nanosleep(&pause, NULL);
        engine_close(e);
    }
}

static void weights_that_do_not_fit_are_left_alone(void)
{
    const uint64_t GB = 1000000000;
    CHECK(engine_weights_fit(5 * GB, 24 * GB, 20 * 1000 * 1000));
    CHECK(engine_weights_fit(5 * GB, 0, -1));
    CHECK(!engine_weights_fit(5 * GB, 6 * GB, 20 * 1000 * 1000)); /* a small container */
    CHECK(!engine_weights_fit(5 * GB, 24 * GB, 4 * 1000 * 1000)); /* a busy machine */
}

/* Every matrix once, those of layer 0 first. */
static void goes_through_the_matrices_in_the_order_of_the_layers(void)
{
    struct engine *e;
    struct status st = {0};
    struct engine_options options = {.model = "demo", .threads = 1};
    REQUIRE_OK(engine_open(&e, &options, &st), st);
    const struct weights *w = &e->weights;
    size_t bytes = 0, n = 0;
    for (; weights_matrix(w, n); n++) {
        bytes += tensor_bytes(weights_matrix(w, n));
    }
    CHECK(n == 7 * e->config.n_layers + 1);
    CHECK(weights_matrix(w, 0) == &w->layers[0].q_proj);
    CHECK(weights_matrix(w, n - 2) == &w->layers[e->config.n_layers - 1].down_proj);
    CHECK(weights_matrix(w, n - 1) == &w->unembedding);
    CHECK(bytes <= e->folder.weight_bytes && bytes > e->folder.weight_bytes / 10 * 9);
    engine_close(e);
}

static const struct test tests[] = {
    TEST(the_weights_are_there_without_being_read),
    TEST(it_ends_with_the_engine_at_any_moment),
    TEST(weights_that_do_not_fit_are_left_alone),
    TEST(goes_through_the_matrices_in_the_order_of_the_layers),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
