#include "core/base/memory.h"
#include "core/gemma/config.h"
#include "core/sae/pool.h"
#include "tests/scratch.h"
#include "tests/test.h"

#include <pthread.h>

#define FOLDER "tests/fixtures/oracle/gemma2-nano-bf16"

static struct gemma_config config;

static bool scan(struct catalogue *catalogue, const char *saes)
{
    struct status st = {0};
    if (config_open(&config, FOLDER "/config.json", &st) ||
        catalogue_scan(catalogue, &saes, 1, &config, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        return false;
    }
    return true;
}

/* Bytes that one SAE counts for. */
static uint64_t size_of(const struct catalogue *catalogue, const char *name)
{
    struct pool *pool;
    struct sae *sae = NULL;
    struct status st = {0};
    uint64_t bytes = 0;
    if (pool_create(&pool, catalogue, UINT64_MAX, &st) == 0 &&
        pool_acquire(pool, name, &sae, &st) == 0) {
        bytes = pool_bytes(pool);
        (void)pool_release(pool, sae, 0, &st);
    }
    pool_destroy(pool);
    CHECK(bytes > 0);
    return bytes;
}

static const char a[] = "1-gemmascope-res-96", b[] = "2-gemmascope-att-160",
                  c[] = "2-gemmascope-transcoder-112";

static void closes_what_was_not_used_for_longest(void)
{
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *sae;
    REQUIRE(scan(&catalogue, FOLDER "/saes"));
    uint64_t A = size_of(&catalogue, a), B = size_of(&catalogue, b), C = size_of(&catalogue, c);
    CHECK(A != B && B != C && A != C); /* so that the sum tells which are open */
    REQUIRE_OK(pool_create(&pool, &catalogue, A + B + C - 1, &st), st);
    const char *order[] = {a, b, a, c}; /* b is the oldest when c comes */
    for (int i = 0; i < 4; i++) {
        REQUIRE_OK(pool_acquire(pool, order[i], &sae, &st), st);
        CHECK(strcmp(sae_source(sae)->name, order[i]) == 0);
        (void)pool_release(pool, sae, 0, &st);
    }
    CHECK(pool_bytes(pool) == A + C);
    pool_destroy(pool);

    uint64_t most = A > B ? A : B; /* room for one */
    REQUIRE_OK(pool_create(&pool, &catalogue, most, &st), st);
    for (int i = 0; i < 2; i++) {
        REQUIRE_OK(pool_acquire(pool, order[i], &sae, &st), st);
        (void)pool_release(pool, sae, 0, &st);
        CHECK(pool_bytes(pool) == (i ? B : A));
    }
    pool_destroy(pool);
    catalogue_free(&catalogue);
}

static void keeps_what_is_in_use_over_the_budget(void)
{
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *first, *again, *other;
    float row[64];
    REQUIRE(scan(&catalogue, FOLDER "/saes"));
    uint64_t A = size_of(&catalogue, a), B = size_of(&catalogue, b);
    REQUIRE_OK(pool_create(&pool, &catalogue, 1, &st), st);
    REQUIRE_OK(pool_acquire(pool, a, &first, &st), st);
    REQUIRE_OK(pool_acquire(pool, a, &again, &st), st);
    CHECK(first == again);
    REQUIRE_OK(pool_acquire(pool, b, &other, &st), st);
    CHECK(pool_bytes(pool) == A + B);
    (void)pool_release(pool, first, 0, &st);
    CHECK(pool_bytes(pool) == A + B); /* one of two releases */
    CHECK(sae_decoder_row(again, 3, row, &st) == 0);
    (void)pool_release(pool, again, 0, &st);
    CHECK(pool_bytes(pool) == B);
    CHECK(sae_decoder_row(other, 3, row, &st) == 0);
    (void)pool_release(pool, other, 0, &st);
    CHECK(pool_bytes(pool) == 0);
    pool_destroy(pool);
    catalogue_free(&catalogue);
}

static void refuses_an_unknown_name(void)
{
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *sae;
    struct hash h;
    REQUIRE(scan(&catalogue, FOLDER "/saes"));
    REQUIRE_OK(pool_create(&pool, &catalogue, 1, &st), st);
    CHECK(pool_acquire(pool, "9-nothing", &sae, &st) == STATUS_NOT_FOUND && !sae);
    CHECK_CONTAINS(st.message, "\"9-nothing\"");
    status_clear(&st);
    CHECK(pool_identity(pool, "9-nothing", &h, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "\"9-nothing\"");
    pool_destroy(pool);
    pool_destroy(NULL);
    catalogue_free(&catalogue);
}

/* A copy of one SAE, so that its file can go away. */
static void copy_sae(struct scratch *s)
{
    static const char path[] = "gemma-scope-nano-pt-res/layer_1/width_96/average_l0_9/params.npz";
    char from[200];
    char *bytes = calloc(1, 1 << 20);
    snprintf(from, sizeof from, FOLDER "/saes/%s", path);
    FILE *f = fopen(from, "rb");
    size_t n = f ? fread(bytes, 1, 1 << 20, f) : 0;
    CHECK(n > 0);
    scratch_open(s);
    scratch_write(s, path, bytes, n);
    if (f) {
        fclose(f);
    }
    free(bytes);
}

static void remembers_identities_and_says_what_it_cannot_open(void)
{
    struct scratch s;
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *sae;
    struct hash first, second;
    copy_sae(&s);
    REQUIRE(scan(&catalogue, s.root));
    REQUIRE_OK(pool_create(&pool, &catalogue, 1, &st), st);
    REQUIRE_OK(pool_identity(pool, a, &first, &st), st);
    CHECK(pool_bytes(pool) == 0); /* closed again: over the budget */
    CHECK(remove(scratch_path(
              &s, "gemma-scope-nano-pt-res/layer_1/width_96/average_l0_9/params.npz")) == 0);
    REQUIRE_OK(pool_identity(pool, a, &second, &st), st);
    CHECK(memcmp(&first, &second, sizeof first) == 0);
    CHECK(pool_acquire(pool, a, &sae, &st) != 0 && !sae);
    CHECK_CONTAINS(st.message, "params.npz");
    CHECK(pool_bytes(pool) == 0);
    pool_destroy(pool);
    catalogue_free(&catalogue);
    scratch_close(&s);
}

#define FILE_OF_A "gemma-scope-nano-pt-res/layer_1/width_96/average_l0_9/params.npz"

/* Written in place, as `cp new old` does. */
static void overwrite(struct scratch *s, long at, const void *bytes, size_t n)
{
    FILE *f = fopen(scratch_path(s, FILE_OF_A), "r+b");
    CHECK(f && fseek(f, at, SEEK_SET) == 0 && fwrite(bytes, 1, n, f) == n && fclose(f) == 0);
}

static void notices_a_file_that_changes_under_it(void)
{
    struct scratch s;
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *sae, *again;
    static char bytes[1 << 20];
    float row[64];
    copy_sae(&s);
    FILE *f = fopen(scratch_path(&s, FILE_OF_A), "rb");
    REQUIRE(f);
    size_t n = fread(bytes, 1, sizeof bytes, f);
    fclose(f);
    REQUIRE(scan(&catalogue, s.root));
    REQUIRE_OK(pool_create(&pool, &catalogue, UINT64_MAX, &st), st);
    REQUIRE_OK(pool_acquire(pool, a, &sae, &st), st);
    CHECK(truncate(scratch_path(&s, FILE_OF_A), 4096) == 0);
    CHECK(sae_decoder_row(sae, 95, row, &st) == 0); /* zeros, and no SIGBUS */
    CHECK(pool_acquire(pool, a, &again, &st) == STATUS_CORRUPT && !again);
    CHECK(pool_release(pool, sae, STATUS_IO, &st) == STATUS_IO); /* an earlier error stays */
    CHECK(pool_acquire(pool, a, &sae, &st) != 0);
    CHECK_CONTAINS(st.message, "params.npz");
    CHECK(pool_bytes(pool) == 0);

    scratch_write(&s, FILE_OF_A, bytes, n); /* back: opened again */
    REQUIRE_OK(pool_acquire(pool, a, &sae, &st), st);
    CHECK(truncate(scratch_path(&s, FILE_OF_A), (off_t)n - 1) == 0);
    CHECK(pool_release(pool, sae, 0, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "was cut short");

    scratch_write(&s, FILE_OF_A, bytes, n);
    REQUIRE_OK(pool_acquire(pool, a, &sae, &st), st);
    CHECK(pool_release(pool, sae, 0, &st) == 0);
    for (size_t i = 1000; i < 18000; i++) { /* other weights of the same size */
        bytes[i] ^= 0x40;
    }
    overwrite(&s, 0, bytes, n);
    CHECK(pool_acquire(pool, a, &sae, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "is another than when it was used first");
    pool_destroy(pool);
    catalogue_free(&catalogue);
    scratch_close(&s);
}

static void runs_out_of_memory_cleanly(void)
{
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct sae *sae;
    REQUIRE(scan(&catalogue, FOLDER "/saes"));
    memory_fail_after(1);
    CHECK(pool_create(&pool, &catalogue, 1, &st) == STATUS_MEMORY && !pool);
    memory_fail_after(0);
    REQUIRE_OK(pool_create(&pool, &catalogue, 1, &st), st);
    int code = 1;
    for (long i = 1; code && i < 200; i++) {
        memory_fail_after(i);
        code = pool_acquire(pool, b, &sae, &st);
        memory_fail_after(0);
        CHECK(!code || (code == STATUS_MEMORY && pool_bytes(pool) == 0));
    }
    CHECK(code == 0);
    (void)pool_release(pool, sae, 0, &st);
    pool_destroy(pool);
    catalogue_free(&catalogue);
}

struct user {
    pthread_t thread;
    struct pool *pool;
    const struct catalogue *catalogue;
    unsigned seed;
    int wrong;
};

static void *use(void *argument)
{
    struct user *u = argument;
    for (int i = 0; i < 60; i++) {
        struct status st;
        struct sae *sae;
        u->seed = u->seed * 1103515245u + 12345u;
        const struct sae_source *s =
            &u->catalogue->sources[(u->seed >> 16) % u->catalogue->n_sources];
        float row[64];
        if (pool_acquire(u->pool, s->name, &sae, &st)) {
            u->wrong++;
            continue;
        }
        u->wrong += sae_source(sae) != s || sae_decoder_row(sae, s->d_sae - 1, row, &st) != 0;
        u->wrong += pool_release(u->pool, sae, 0, &st) != 0;
    }
    return NULL;
}

static void serves_several_threads(void)
{
    struct catalogue catalogue;
    struct pool *pool;
    struct status st = {0};
    struct user users[4];
    REQUIRE(scan(&catalogue, FOLDER "/saes"));
    uint64_t budget = 2 * size_of(&catalogue, a);
    REQUIRE_OK(pool_create(&pool, &catalogue, budget, &st), st);
    for (unsigned i = 0; i < 4; i++) {
        users[i] = (struct user){.pool = pool, .catalogue = &catalogue, .seed = i + 1};
        REQUIRE(pthread_create(&users[i].thread, NULL, use, &users[i]) == 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(users[i].thread, NULL);
        CHECK(users[i].wrong == 0);
    }
    CHECK(pool_bytes(pool) <= budget);
    pool_destroy(pool);
    catalogue_free(&catalogue);
}

static const struct test tests[] = {
    TEST(closes_what_was_not_used_for_longest),
    TEST(keeps_what_is_in_use_over_the_budget),
    TEST(refuses_an_unknown_name),
    TEST(remembers_identities_and_says_what_it_cannot_open),
    TEST(notices_a_file_that_changes_under_it),
    TEST(runs_out_of_memory_cleanly),
    TEST(serves_several_threads),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
