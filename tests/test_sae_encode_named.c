#include "core/base/memory.h"
#include "core/sae/sae.h"
#include "tests/test.h"

#include <stdlib.h>

#define ORACLE "tests/fixtures/oracle/"

static const struct {
    const char *model, *saes;
} folders[] = {{"demo", "demo/saes"},
               {ORACLE "gemma2-nano-bf16", ORACLE "gemma2-nano-bf16/saes"},
               {ORACLE "gemma2-nano-f32-sharded", ORACLE "gemma2-nano-f32-sharded/saes"},
               {ORACLE "gemma3-nano-bf16", ORACLE "gemma3-nano-bf16/saes"},
               {ORACLE "gemma3-nano-4b-style", ORACLE "gemma3-nano-4b-style/saes"}};

static struct threads *threads;

/* Long rows, so that features are active at thresholds made for a residual stream. */
static float *random_rows(size_t n)
{
    unsigned seed = 7;
    float *x = malloc(n * sizeof *x);
    for (size_t i = 0; x && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        x[i] = ((float)(seed >> 8) / 8388608.0f - 1.0f) * 40.0f;
    }
    return x;
}

static bool same_bits(float a, float b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

/* Features that are active somewhere and the first and last ones, not in order. */
static size_t some_features(const struct sparse *all, size_t d_sae, uint32_t index[6])
{
    size_t n = 0, entries = all->start[all->rows];
    index[n++] = (uint32_t)(d_sae - 1);
    for (size_t i = 0; i < entries && n < 5; i += 1 + entries / 7) {
        bool there = false;
        for (size_t k = 0; k < n; k++) {
            there = there || index[k] == all->index[i];
        }
        index[n] = all->index[i];
        n += !there;
    }
    for (size_t k = 0; k < n; k++) {
        if (index[k] == 0) {
            return n;
        }
    }
    index[n++] = 0;
    return n;
}

/* Number of values that were compared and not 0. */
static size_t check_source(const struct sae_source *source, size_t rows)
{
    struct status st = {0};
    struct sae *sae = NULL;
    struct sparse all = {0}, named = {0};
    uint32_t index[6];
    size_t active = 0;
    float *x = random_rows(rows * source->d_in);
    CHECK(sae_open(&sae, source, &st) == 0);
    CHECK(sae_encode(sae, threads, x, rows, &all, &st) == 0);
    size_t n = some_features(&all, source->d_sae, index);
    for (size_t few = 1; few <= n; few += n - 1) {
        sparse_clear(&named);
        CHECK(sae_encode_named(sae, threads, x, rows, index, few, &named, &st) == 0);
        CHECK(named.rows == rows);
        for (size_t r = 0; r < named.rows; r++) {
            for (size_t i = 0; i < few; i++) {
                float want = sparse_get(&all, r, index[i]);
                CHECK(same_bits(sparse_get(&named, r, (uint32_t)i), want));
                active += want != 0.0f;
            }
        }
    }
    sparse_free(&all);
    sparse_free(&named);
    sae_close(sae);
    free(x);
    return active;
}

static void the_named_features_have_the_bits_that_all_of_them_have(void)
{
    size_t kinds[SAE_NONE + 1] = {0};
    for (size_t f = 0; f < sizeof folders / sizeof folders[0]; f++) {
        char path[256];
        struct status st = {0};
        struct gemma_config config;
        struct catalogue catalogue;
        snprintf(path, sizeof path, "%s/config.json", folders[f].model);
        REQUIRE_OK(config_open(&config, path, &st), st);
        REQUIRE_OK(catalogue_scan(&catalogue, &folders[f].saes, 1, &config, &st), st);
        CHECK(catalogue.n_sources >= 3);
        for (size_t s = 0; s < catalogue.n_sources; s++) {
            const struct sae_source *source = &catalogue.sources[s];
            size_t active = check_source(source, 1) + check_source(source, 7);
            active += check_source(source, 300); /* packed panels, two chunks of rows */
            CHECK(active > 0);
            kinds[source->architecture]++;
        }
        catalogue_free(&catalogue);
    }
    CHECK(kinds[SAE_JUMPRELU] && kinds[SAE_STANDARD] && kinds[SAE_TOPK] && kinds[SAE_GATED]);
}

static void survives_every_failed_allocation(void)
{
    struct status st = {0};
    struct gemma_config config;
    struct catalogue catalogue;
    struct sae *sae = NULL;
    const uint32_t index[] = {3, 1};
    REQUIRE_OK(config_open(&config, "demo/config.json", &st), st);
    REQUIRE_OK(catalogue_scan(&catalogue, &folders[0].saes, 1, &config, &st), st);
    const struct sae_source *source = &catalogue.sources[0];
    float *x = random_rows(4 * source->d_in);
    REQUIRE_OK(sae_open(&sae, source, &st), st);
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 40 && code; nth++) {
        struct sparse named = {0};
        status_clear(&st);
        memory_fail_after(nth);
        code = sae_encode_named(sae, threads, x, 4, index, 2, &named, &st);
        memory_fail_after(0);
        CHECK(code == STATUS_OK || code == STATUS_MEMORY);
        sparse_free(&named);
    }
    CHECK(code == STATUS_OK);
    sae_close(sae);
    catalogue_free(&catalogue);
    free(x);
}

static const struct test tests[] = {
    TEST(the_named_features_have_the_bits_that_all_of_them_have),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    struct status st = {0};
    if (threads_create(&threads, 2, &st)) {
        printf("%s\n", st.message);
        return 1;
    }
    int code = test_main(tests, TEST_COUNT(tests), argc, argv);
    threads_destroy(threads);
    return code;
}
