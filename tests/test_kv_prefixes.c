#include "core/gemma/kv_prefixes.h"

#include "core/base/memory.h"
#include "tests/test.h"

static const struct gemma_config config = {.n_layers = 2, .n_kv_heads = 1, .head_dim = 4};
enum { WIDTH = 4, CAPACITY = 40, ROW = 2 * 2 * WIDTH * sizeof(float) };

/* Ids seed, seed + 1, ... */
static void fill_marks(struct kv_mark *marks, size_t n, int32_t seed)
{
    for (size_t i = 0; i < n; i++) {
        marks[i] = (struct kv_mark){.id = seed + (int32_t)i};
    }
}

/* A cache whose numbers say layer, kind, position and whose it is. */
static float number(size_t layer, int kind, size_t position, float whose)
{
    return whose + (float)(100 * layer + 1000 * (size_t)kind + position);
}

static struct kv_cache make_cache(size_t n, float whose)
{
    struct kv_cache cache;
    struct status st = {0};
    CHECK(kv_cache_create(&cache, &config, CAPACITY, &st) == 0);
    for (size_t layer = 0; layer < 2; layer++) {
        for (size_t i = 0; i < n * WIDTH; i++) {
            kv_cache_keys(&cache, layer)[i] = number(layer, 0, i / WIDTH, whose);
            kv_cache_values(&cache, layer)[i] = number(layer, 1, i / WIDTH, whose);
        }
    }
    cache.length = n;
    return cache;
}

static void check_cache(struct kv_cache *cache, size_t n, float whose)
{
    CHECK(cache->length == n);
    size_t wrong = 0;
    for (size_t layer = 0; layer < 2; layer++) {
        for (size_t i = 0; i < cache->capacity * WIDTH; i++) {
            bool there = i < n * WIDTH;
            float key = there ? number(layer, 0, i / WIDTH, whose) : 0.0f;
            float value = there ? number(layer, 1, i / WIDTH, whose) : 0.0f;
            wrong += kv_cache_keys(cache, layer)[i] != key;
            wrong += kv_cache_values(cache, layer)[i] != value;
        }
    }
    CHECK(wrong == 0);
}

static void keep(struct kv_prefixes *p, const struct kv_mark *marks, size_t n, float whose)
{
    struct kv_cache cache = make_cache(n, whose);
    kv_prefixes_keep(p, marks, &cache);
    CHECK(!cache.pages);
}

/* What is found of marks [n], in a cache of another capacity. */
static void check_found(struct kv_prefixes *p, const struct kv_mark *marks, size_t n, size_t want,
                        float whose)
{
    struct kv_cache cache;
    struct status st = {0};
    REQUIRE_OK(kv_cache_create(&cache, &config, n + 3, &st), st);
    kv_prefixes_find(p, marks, n, &cache);
    check_cache(&cache, want, whose);
    kv_cache_free(&cache);
}

static void finds_the_longest_beginning_and_copies_it(void)
{
    struct kv_prefixes *p;
    struct status st = {0};
    struct kv_mark a[40], b[40];
    fill_marks(a, 40, 1);
    fill_marks(b, 40, 1);
    b[12].id = 999;
    REQUIRE_OK(kv_prefixes_create(&p, 1 << 20, &st), st);
    check_found(p, a, 30, 0, 0);
    keep(p, a, 20, 0.25f);
    keep(p, b, 25, 0.5f);
    check_found(p, a, 30, 20, 0.25f); /* all of a */
    check_found(p, a, 15, 15, 0.25f); /* not more than is asked for */
    check_found(p, b, 40, 25, 0.5f);
    b[20].id = 7;
    check_found(p, b, 40, 20, 0.5f);
    b[KV_PREFIXES_LEAST].id = 5;
    check_found(p, b, 40, KV_PREFIXES_LEAST, 0.5f); /* b was used last */
    b[KV_PREFIXES_LEAST - 1].id = 5;
    check_found(p, b, 40, 0, 0); /* too few */
    struct kv_prefixes_figures f = kv_prefixes_figures(p);
    CHECK(f.texts == 2 && f.reused == 20 + 15 + 25 + 20 + KV_PREFIXES_LEAST);
    CHECK(f.bytes == 45 * (ROW + sizeof(struct kv_mark)));
    kv_prefixes_destroy(p);
}

static void what_was_done_to_a_position_counts_like_its_id(void)
{
    struct kv_prefixes *p;
    struct status st = {0};
    struct kv_mark a[40];
    fill_marks(a, 40, 1);
    REQUIRE_OK(kv_prefixes_create(&p, 1 << 20, &st), st);
    keep(p, a, 20, 0.25f);
    a[14].done = 77;
    check_found(p, a, 30, 14, 0.25f);
    keep(p, a, 20, 0.5f);
    check_found(p, a, 30, 20, 0.5f);
    kv_prefixes_destroy(p);
}

static void a_text_takes_the_place_of_its_own_beginning(void)
{
    struct kv_prefixes *p;
    struct status st = {0};
    struct kv_mark a[40], other[40];
    fill_marks(a, 40, 1);
    fill_marks(other, 40, 100);
    REQUIRE_OK(kv_prefixes_create(&p, 1 << 20, &st), st);
    keep(p, a, 10, 0.25f);
    keep(p, other, 10, 0.5f);
    keep(p, a, 20, 0.75f);
    keep(p, a, 20, 0.125f); /* the same again */
    CHECK(kv_prefixes_figures(p).texts == 2);
    check_found(p, a, 40, 20, 0.125f);
    check_found(p, other, 40, 10, 0.5f);
    keep(p, a, KV_PREFIXES_LEAST - 1, 0.5f); /* nobody would look for it */
    CHECK(kv_prefixes_figures(p).texts == 2);
    kv_prefixes_destroy(p);
}

static void the_least_recently_used_go_when_the_budget_is_exceeded(void)
{
    struct kv_prefixes *p;
    struct status st = {0};
    struct kv_mark texts[4][40];
    uint64_t one = 10 * (ROW + sizeof(struct kv_mark));
    REQUIRE_OK(kv_prefixes_create(&p, 3 * one, &st), st);
    for (int i = 0; i < 4; i++) {
        fill_marks(texts[i], 40, 100 * i);
    }
    for (int i = 0; i < 3; i++) {
        keep(p, texts[i], 10, 0.25f);
    }
    check_found(p, texts[0], 40, 10, 0.25f); /* so that 1 is the oldest */
    keep(p, texts[3], 10, 0.25f);
    CHECK(kv_prefixes_figures(p).texts == 3 && kv_prefixes_figures(p).bytes == 3 * one);
    check_found(p, texts[1], 40, 0, 0);
    check_found(p, texts[0], 40, 10, 0.25f);
    keep(p, texts[1], 31, 0.25f); /* larger than all of the budget: as if it had not been there */
    CHECK(kv_prefixes_figures(p).texts == 3);
    check_found(p, texts[1], 40, 0, 0);
    kv_prefixes_destroy(p);
}

static void without_memory_nothing_is_kept_and_nothing_lost(void)
{
    struct kv_prefixes *p = NULL;
    struct status st = {0};
    struct kv_mark a[40];
    fill_marks(a, 40, 1);
    memory_fail_after(1);
    CHECK(kv_prefixes_create(&p, 1, &st) == STATUS_MEMORY && !p);
    memory_fail_after(0);
    kv_prefixes_destroy(p);
    kv_prefixes_find(NULL, a, 40, NULL);
    struct kv_cache cache = make_cache(10, 0);
    kv_prefixes_keep(NULL, a, &cache);
    CHECK(!cache.pages && kv_prefixes_figures(NULL).texts == 0);
    REQUIRE_OK(kv_prefixes_create(&p, 1 << 20, &st), st);
    for (long nth = 1; nth <= 2; nth++) {
        cache = make_cache(10, 0);
        memory_fail_after(nth);
        kv_prefixes_keep(p, a, &cache);
        memory_fail_after(0);
        CHECK(!cache.pages && kv_prefixes_figures(p).texts == 0);
    }
    kv_prefixes_destroy(p);
}

static const struct test tests[] = {
    TEST(finds_the_longest_beginning_and_copies_it),
    TEST(what_was_done_to_a_position_counts_like_its_id),
    TEST(a_text_takes_the_place_of_its_own_beginning),
    TEST(the_least_recently_used_go_when_the_budget_is_exceeded),
    TEST(without_memory_nothing_is_kept_and_nothing_lost),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
