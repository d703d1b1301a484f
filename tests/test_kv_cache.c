#include "core/base/memory.h"
#include "core/gemma/kv_cache.h"
#include "tests/test.h"

#include <stdint.h>

static const struct gemma_config config = {.n_layers = 3, .n_kv_heads = 2, .head_dim = 4};

static void keeps_keys_and_values_of_each_layer_apart(void)
{
    struct kv_cache cache;
    struct status st = {0};
    enum { CAPACITY = 5, WIDTH = 8 };
    REQUIRE_OK(kv_cache_create(&cache, &config, CAPACITY, &st), st);
    CHECK(cache.length == 0 && cache.capacity == CAPACITY && cache.width == WIDTH);
    for (size_t layer = 0; layer < 3; layer++) {
        float *both[] = {kv_cache_keys(&cache, layer), kv_cache_values(&cache, layer)};
        for (int i = 0; i < CAPACITY * WIDTH; i++) {
            CHECK(both[0][i] == 0 && both[1][i] == 0); /* nobody else's yet */
            both[0][i] = (float)(2 * layer + 1);
            both[1][i] = (float)(2 * layer + 2);
        }
    }
    for (size_t layer = 0; layer < 3; layer++) {
        for (int i = 0; i < CAPACITY * WIDTH; i++) {
            CHECK(kv_cache_keys(&cache, layer)[i] == (float)(2 * layer + 1));
            CHECK(kv_cache_values(&cache, layer)[i] == (float)(2 * layer + 2));
        }
    }
    kv_cache_free(&cache);
    CHECK(!cache.pages && cache.capacity == 0);
    kv_cache_free(&cache); /* twice is fine */
}

static void cuts_and_never_grows(void)
{
    struct kv_cache cache;
    struct status st = {0};
    REQUIRE_OK(kv_cache_create(&cache, &config, 5, &st), st);
    cache.length = 4;
    kv_cache_cut(&cache, 5);
    CHECK(cache.length == 4);
    kv_cache_cut(&cache, 2);
    CHECK(cache.length == 2);
    kv_cache_cut(&cache, 0);
    CHECK(cache.length == 0);
    kv_cache_free(&cache);
}

static void refuses_a_size_that_overflows_and_a_lack_of_memory(void)
{
    struct kv_cache cache;
    struct status st = {0};
    CHECK(kv_cache_create(&cache, &config, SIZE_MAX / 16, &st) == STATUS_MEMORY);
    CHECK_CONTAINS(st.message, "positions");
    kv_cache_free(&cache);
    CHECK(kv_cache_create(&cache, &config, SIZE_MAX / 192 + 1, &st) == STATUS_MEMORY);
    kv_cache_free(&cache);
    memory_fail_after(1);
    CHECK(kv_cache_create(&cache, &config, 5, &st) == STATUS_MEMORY);
    memory_fail_after(0);
    CHECK_CONTAINS(st.message, "5 positions");
    kv_cache_free(&cache);
}

static const struct test tests[] = {
    TEST(keeps_keys_and_values_of_each_layer_apart),
    TEST(cuts_and_never_grows),
    TEST(refuses_a_size_that_overflows_and_a_lack_of_memory),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
