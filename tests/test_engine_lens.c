/* The lens over the boundary: chunks, generation, edits and memory that runs out. */
#include "core/base/memory.h"
#include "tests/engine_fixture.h"

enum { TOP = 3, LONG = 150 }; /* more than two chunks */

static const int layers[] = {0, 1, 2, 3};

/* Everything that a reading says, one position behind the other. */
struct said {
    size_t n, n_rows, position[256];
    int32_t id[256], ids[256][16][TOP];
    bool generated[256];
    float logits[256][16][TOP], kl[256][16];
    int steps;
};

static int run(struct engine *e, const struct lens_options *o, struct said *said, struct status *st)
{
    struct session *session = NULL;
    struct lens_reading *reading = NULL;
    bool more = true;
    memset(said, 0, sizeof *said);
    int code = session_create(&session, e, st);
    code = code ? code : lens_reading_open(&reading, e, o, st);
    while (!code && more) {
        code = lens_reading_step(reading, session, NULL, &more, st);
        size_t n = 0;
        const struct lens_position *ready = reading ? lens_reading_ready(reading, &n) : NULL;
        for (size_t i = 0; i < n && !code; i++) {
            size_t at = said->n++;
            said->position[at] = ready[i].position;
            said->id[at] = ready[i].id;
            said->generated[at] = ready[i].generated;
            said->n_rows = ready[i].n_rows;
            for (size_t k = 0; k < ready[i].n_rows; k++) {
                memcpy(said->ids[at][k], ready[i].rows[k].top_ids, sizeof said->ids[at][k]);
                memcpy(said->logits[at][k], ready[i].rows[k].top_logits,
                       sizeof said->logits[at][k]);
                said->kl[at][k] = ready[i].rows[k].kl;
            }
        }
        said->steps++;
    }
    lens_reading_close(reading);
    session_destroy(session);
    return code;
}

static struct said one, two;

/* More tokens than a chunk: the last rows are those of one whole pass, to the bit. */
static void a_long_prompt_in_chunks_gives_the_bits_of_one_pass(void)
{
    static const char *const folders[] = {NANO2, NANO3};
    for (int f = 0; f < 2; f++) {
        struct engine *e;
        struct session *session;
        struct status st = {0};
        REQUIRE_OK(open_engine(&e, folders[f], EMBED_SCALE_AUTO, 2, NULL, &st), st);
        int32_t ids[LONG];
        int last = (int)engine_config(e)->n_layers - 1;
        for (int i = 0; i < LONG; i++) {
            ids[i] = (i * 37 + 11) % 256;
        }
        struct lens_site site = {POINT_RESID_POST, &last, 1};
        struct lens_options o = {.ids = ids,
                                 .n_ids = LONG,
                                 .sites = &site,
                                 .n_sites = 1,
                                 .norm = true,
                                 .softcap = true,
                                 .top_n = TOP};
        REQUIRE_OK(run(e, &o, &one, &st), st);
        CHECK(one.n == LONG && one.steps == 3);
        struct engine_read read = {.kind = READ_POINT, .point = POINT_LOGITS, .top = TOP};
        struct engine_prompt prompt = {.ids = ids, .n_ids = LONG, .reads = &read, .n_reads = 1};
        REQUIRE_OK(session_create(&session, e, &st), st);
        REQUIRE_OK(engine_trace(session, &prompt, 1, NULL, &st), st);
        for (size_t t = 0; t < LONG; t++) {
            CHECK(one.position[t] == t && one.id[t] == ids[t] && !one.generated[t]);
            CHECK(test_same_bytes(one.logits[t][0], read.data + t * TOP, TOP * sizeof(float)));
            CHECK(test_same_bytes(one.ids[t][0], read.top_ids + t * TOP, TOP * sizeof(int32_t)));
            CHECK(one.kl[t][0] == 0.0f);
        }
        engine_read_free(&read);
        session_destroy(session);
        engine_close(e);
    }
}

/* What is generated is what generation_step gives, and it is read like a prompt. */
static void reads_what_it_generates(void)
{
    struct engine *e;
    struct session *session;
    struct status st = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    const int32_t ids[] = {2, 17, 5, 90};
    struct edit edit = {.type = EDIT_SET,
                        .point = POINT_RESID_POST,
                        .layer = 1,
                        .dim = 3,
                        .value = 2.0f,
                        .where = EDIT_GENERATED};
    struct sampler_options sampler = {.temperature = 0.8f, .seed = 5};
    const struct lens_site sites[] = {{POINT_EMBED, NULL, 0}, {POINT_RESID_POST, layers, 4}};
    struct lens_options o = {.ids = ids,
                             .n_ids = 4,
                             .edits = &edit,
                             .n_edits = 1,
                             .sites = sites,
                             .n_sites = 2,
                             .norm = true,
                             .softcap = true,
                             .top_n = TOP,
                             .n_tokens = 8,
                             .sampler = sampler};
    REQUIRE_OK(run(e, &o, &one, &st), st);
    CHECK(one.n == 12 && one.n_rows == 5);
    struct generation *generation;
    const struct generation_start start = {ids, 4, &edit, 1};
    struct generation_options g = {
        .starts = &start, .n_starts = 1, .n_tokens = 8, .sampler = sampler};
    REQUIRE_OK(session_create(&session, e, &st), st);
    REQUIRE_OK(generation_open(&generation, e, &g, &st), st);
    for (bool more = true; more;) {
        REQUIRE_OK(generation_step(generation, session, NULL, &more, &st), st);
    }
    struct generation_text text = generation_text(generation, 0);
    CHECK(text.n == 8);
    for (size_t i = 0; i < 8; i++) {
        CHECK(one.id[4 + i] == text.ids[i] && one.generated[4 + i]);
    }
    /* a stop id ends it, and is read */
    int32_t stop = text.ids[2];
    o.stop_ids = &stop;
    o.n_stop_ids = 1;
    REQUIRE_OK(run(e, &o, &two, &st), st);
    CHECK(two.n >= 5 && two.n <= 7 && two.id[two.n - 1] == stop);
    for (size_t i = 0; i < two.n; i++) {
        CHECK(test_same_bytes(one.logits[i], two.logits[i], sizeof two.logits[i]));
    }
    generation_close(generation);
    session_destroy(session);
    engine_close(e);
}

static void reads_only_the_positions_that_are_wanted(void)
{
    struct engine *e;
    struct status st = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    int32_t ids[LONG];
    bool wanted[LONG] = {false};
    for (int i = 0; i < LONG; i++) {
        ids[i] = (i * 31 + 7) % 256;
    }
    const struct lens_site sites[] = {{POINT_RESID_MID, layers, 4}, {POINT_MLP_OUT, layers, 2}};
    struct lens_options o = {.ids = ids,
                             .n_ids = LONG,
                             .sites = sites,
                             .n_sites = 2,
                             .norm = true,
                             .softcap = true,
                             .top_n = TOP};
    REQUIRE_OK(run(e, &o, &one, &st), st);
    CHECK(one.n == LONG && one.n_rows == 6);
    wanted[3] = wanted[LONG - 1] = true; /* none in the second chunk */
    o.wanted = wanted;
    REQUIRE_OK(run(e, &o, &two, &st), st);
    CHECK(two.n == 2 && two.position[0] == 3 && two.position[1] == LONG - 1);
    CHECK(test_same_bytes(one.logits[3], two.logits[0], sizeof two.logits[0]));
    CHECK(test_same_bytes(one.logits[LONG - 1], two.logits[1], sizeof two.logits[1]));
    wanted[3] = wanted[LONG - 1] = false;
    REQUIRE_OK(run(e, &o, &two, &st), st);
    CHECK(two.n == 0);
    engine_close(e);
}

static void refuses_what_cannot_be_read(void)
{
    struct engine *e;
    struct status st = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    int32_t ids[] = {2, 17}, track = 100000;
    int layer = 4;
    struct lens_site site = {POINT_RESID_POST, &layer, 1};
    struct lens_options o = {.ids = ids, .n_ids = 2, .sites = &site, .n_sites = 1, .top_n = TOP};
    CHECK(run(e, &o, &one, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "layers");
    site = (struct lens_site){POINT_NEURONS, layers, 4};
    CHECK(run(e, &o, &one, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "neurons");
    o.n_sites = 0;
    CHECK(run(e, &o, &one, &st) == STATUS_INVALID);
    site = (struct lens_site){POINT_RESID_POST, layers, 4};
    o.n_sites = 1;
    o.track = &track;
    o.n_track = 1;
    CHECK(run(e, &o, &one, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "track[0]");
    o.n_track = 0;
    ids[1] = -1;
    CHECK(run(e, &o, &one, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "token 1");
    engine_close(e);
}

static void survives_every_failed_allocation(void)
{
    struct engine *e;
    struct status st = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    const int32_t ids[] = {2, 17, 5};
    struct edit edit = {.type = EDIT_ZERO, .point = POINT_MLP_OUT, .layer = 1};
    const struct lens_site sites[] = {{POINT_EMBED, NULL, 0}, {POINT_RESID_POST, layers, 4}};
    struct lens_options o = {.ids = ids,
                             .n_ids = 3,
                             .edits = &edit,
                             .n_edits = 1,
                             .sites = sites,
                             .n_sites = 2,
                             .norm = true,
                             .softcap = true,
                             .top_n = TOP,
                             .n_tokens = 2};
    REQUIRE_OK(run(e, &o, &one, &st), st);
    int failures = 0;
    for (long nth = 1; nth < 200; nth++) {
        memory_fail_after(nth);
        int code = run(e, &o, &two, &st);
        long asked = memory_fail_after(0);
        if (asked < nth) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        failures++;
    }
    CHECK(failures > 15 && failures < 199);
    REQUIRE_OK(run(e, &o, &two, &st), st);
    CHECK(test_same_bytes(&one, &two, sizeof one));
    engine_close(e);
}

static const struct test tests[] = {
    TEST(a_long_prompt_in_chunks_gives_the_bits_of_one_pass), TEST(reads_what_it_generates),
    TEST(reads_only_the_positions_that_are_wanted), TEST(refuses_what_cannot_be_read),
    TEST(survives_every_failed_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
