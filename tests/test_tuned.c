/* Files of tuned lenses: their maps, and what is refused. */
#include "core/lens/tuned.h"

#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "tests/engine_fixture.h"

enum { D = 48, LAYERS = 4 }; /* of gemma2-nano-bf16 */

static const struct gemma_config config = {.hidden_size = D,
                                           .n_layers = LAYERS,
                                           .n_heads = 2,
                                           .n_kv_heads = 1,
                                           .head_dim = 8,
                                           .vocab_size = 100,
                                           .intermediate_size = 96};

static char folder[32];

struct part {
    const char *name;
    size_t rows; /* 0: a bias [D] */
    float diagonal, rest;
};

/* Writes the parts to FILE in the folder; the path is static. */
static const char *put(const char *file, const struct part *parts, size_t n)
{
    static char path[128];
    struct safetensors_entry entries[8] = {0};
    struct text out = {0};
    struct status st;
    for (size_t i = 0; i < n; i++) {
        size_t rows = parts[i].rows;
        entries[i].name = parts[i].name;
        entries[i].tensor = (struct tensor){.dtype = DTYPE_F32,
                                            .n_dims = rows ? 2 : 1,
                                            .shape = {rows ? rows : D, rows ? D : 1, 1, 1}};
    }
    CHECK(safetensors_header(&out, entries, n, NULL, &st) == 0);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < (parts[i].rows ? parts[i].rows : 1) * D; k++) {
            float value = k / D == k % D && parts[i].rows ? parts[i].diagonal : parts[i].rest;
            text_append(&out, (const char *)&value, sizeof value);
        }
    }
    (void)snprintf(path, sizeof path, "%s/%s", folder, file);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(out.data, 1, out.length, f) == out.length);
    if (f) {
        (void)fclose(f);
    }
    text_free(&out);
    return path;
}

static void maps_rows_of_the_points_it_has(void)
{
    static const struct part parts[] = {{"resid_post.1.weight", D, 2.0f, 0.5f},
                                        {"resid_post.1.bias", 0, 0, 3.0f},
                                        {"2.weight", D, -1.0f, 0},
                                        {"embed.weight", D, 1.0f, 0}};
    struct tuned *t;
    struct threads *threads;
    struct status st = {0};
    REQUIRE_OK(tuned_open(&t, put("my.lens.safetensors", parts, 4), &config, &st), st);
    REQUIRE_OK(threads_create(&threads, 2, &st), st);
    CHECK_STRING(tuned_name(t), "my.lens");
    CHECK(tuned_has(t, POINT_RESID_POST, 1) && !tuned_has(t, POINT_RESID_POST, 2));
    CHECK(tuned_has(t, POINT_RESID_PRE, 2) && tuned_has(t, POINT_EMBED, 0));
    float x[3 * D], before[3 * D];
    for (int i = 0; i < 3 * D; i++) {
        before[i] = (float)(i % 7) - 2.5f;
    }
    memcpy(x, before, sizeof x);
    REQUIRE_OK(tuned_apply(t, threads, POINT_RESID_POST, 1, x, 3, &st), st);
    for (int r = 0; r < 3; r++) {
        double sum = 0;
        for (int i = 0; i < D; i++) {
            sum += (double)before[r * D + i];
        }
        for (int i = 0; i < D; i++) {
            double at = (double)before[r * D + i];
            CHECK_NEAR(x[r * D + i], at + 2 * at + 0.5 * (sum - at) + 3, 1e-4);
        }
    }
    REQUIRE_OK(tuned_apply(t, threads, POINT_RESID_PRE, 2, x, 3, &st), st);
    CHECK(x[0] == 0.0f && x[3 * D - 1] == 0.0f);
    memcpy(x, before, sizeof x);
    REQUIRE_OK(tuned_apply(t, threads, POINT_MLP_OUT, 1, x, 3, &st), st);
    CHECK(test_same_bytes(x, before, sizeof x));
    threads_destroy(threads);
    tuned_close(t);
}

static void refuses_files_that_do_not_fit(void)
{
    static const struct {
        struct part part;
        const char *word;
    } bad[] = {{{"resid_post.4.weight", D, 1, 0}, "layer 0..3"},
               {{"resid_post.weight", D, 1, 0}, "resid_post.weight"},
               {{"resid_post.1.scale", D, 1, 0}, "resid_post.1.scale"},
               {{"stream.1.weight", D, 1, 0}, "stream.1.weight"},
               {{"neurons.1.weight", D, 1, 0}, "neurons.1.weight"},
               {{"resid_post.-1.weight", D, 1, 0}, "resid_post.-1.weight"},
               {{"1.2.weight", D, 1, 0}, "1.2.weight"},
               {{"resid_post.1.weight", D - 1, 1, 0}, "[48, 48]"},
               {{"resid_post.1.bias", 0, 0, 1}, "no weight"}};
    struct tuned *t;
    struct status st = {0};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        CHECK(tuned_open(&t, put("bad.safetensors", &bad[i].part, 1), &config, &st) ==
              STATUS_CORRUPT);
        CHECK_CONTAINS(st.message, bad[i].word);
        CHECK_CONTAINS(st.message, "bad.safetensors");
    }
    static const struct part twice[] = {{"1.weight", D, 1, 0}, {"resid_pre.1.weight", D, 1, 0}};
    CHECK(tuned_open(&t, put("bad.safetensors", twice, 2), &config, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "twice");
    CHECK(tuned_open(&t, put("bad.safetensors", twice, 0), &config, &st) == STATUS_CORRUPT);
    CHECK(tuned_open(&t, "nowhere.safetensors", &config, &st) != 0);
}

/* The lens of an engine, at resid_post of layers 1 and 3 (the last). */
static int read_with(struct engine *e, const char *tuned, int layer, float logits[2][3],
                     struct status *st)
{
    static const int32_t ids[] = {2, 17, 5};
    static const bool wanted[] = {false, false, true};
    const int layers[] = {layer, LAYERS - 1};
    const struct lens_site site = {POINT_RESID_POST, layers, 2};
    const struct lens_options o = {.ids = ids,
                                   .n_ids = 3,
                                   .sites = &site,
                                   .n_sites = 1,
                                   .wanted = wanted,
                                   .norm = true,
                                   .softcap = true,
                                   .top_n = 3,
                                   .tuned = tuned};
    struct session *session = NULL;
    struct lens_reading *reading = NULL;
    bool more = true;
    int code = session_create(&session, e, st);
    code = code ? code : lens_reading_open(&reading, e, &o, st);
    while (!code && more) {
        code = lens_reading_step(reading, session, NULL, &more, st);
    }
    size_t n = 0;
    const struct lens_position *ready = reading ? lens_reading_ready(reading, &n) : NULL;
    for (size_t i = 0; n == 1 && i < 2; i++) {
        memcpy(logits[i], ready->rows[i].top_logits, sizeof logits[i]);
    }
    lens_reading_close(reading);
    session_destroy(session);
    return code;
}

static void a_lens_reads_through_it(void)
{
    static const struct part nothing[] = {{"resid_post.1.weight", D, 0, 0}};
    static const struct part something[] = {{"resid_post.1.weight", D, 0.5f, 0.1f}};
    char paths[2][128];
    (void)snprintf(paths[0], sizeof paths[0], "%s", put("zero.safetensors", nothing, 1));
    (void)snprintf(paths[1], sizeof paths[1], "%s", put("some.safetensors", something, 1));
    const char *const files[] = {paths[0], paths[1], paths[0]};
    struct engine_options o = {
        .model = NANO2, .threads = 1, .tuned_lenses = files, .n_tuned_lenses = 2};
    struct engine *e;
    struct status st = {0};
    float plain[2][3], zero[2][3], some[2][3];
    REQUIRE_OK(engine_open(&e, &o, &st), st);
    CHECK(engine_tuned_lenses(e) == 2);
    CHECK_STRING(engine_tuned_lens(e, 1), "some");
    REQUIRE_OK(read_with(e, NULL, 1, plain, &st), st);
    REQUIRE_OK(read_with(e, "zero", 1, zero, &st), st);
    REQUIRE_OK(read_with(e, "some", 1, some, &st), st);
    CHECK(test_same_bytes(plain, zero, sizeof plain));
    CHECK(!test_same_bytes(plain[0], some[0], sizeof plain[0])); /* the last layer needs no map */
    CHECK(test_same_bytes(plain[1], some[1], sizeof plain[1]));
    CHECK(read_with(e, "other", 1, some, &st) == STATUS_NOT_FOUND);
    CHECK(read_with(e, "some", 2, some, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "resid_post.2");
    engine_close(e);
    o.n_tuned_lenses = 3;
    CHECK(engine_open(&e, &o, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "zero");
}

static const struct test tests[] = {TEST(maps_rows_of_the_points_it_has),
                                    TEST(refuses_files_that_do_not_fit),
                                    TEST(a_lens_reads_through_it)};

int main(int argc, char **argv)
{
    strcpy(folder, "/tmp/tuned_XXXXXX");
    if (!mkdtemp(folder)) {
        return 1;
    }
    int code = test_main(tests, TEST_COUNT(tests), argc, argv);
    char command[64];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    return system(command) ? 1 : code;
}
