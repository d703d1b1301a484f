/* Tasks of every kind in one pass: the bits that each has alone, and errors that stay where they
 * arose. */
#include "core/base/memory.h"
#include "tests/engine_fixture.h"

enum { LENGTH = 24, TOP = 3, TOKENS = 5, STEPS_MAX = 400 };

static const int layers[] = {0, 1, 2};
static const struct lens_site sites[] = {{POINT_RESID_POST, layers, 3}, {POINT_MLP_OUT, layers, 2}};

/* A request of each kind, its answer as bytes once it is done. */
struct work {
    int32_t ids[LENGTH], again[70];
    struct engine_read reads[4];
    struct edit edit;
    uint32_t index;
    struct engine_prompt prompt;
    struct attribution attribution;
    struct attribution_source of_source;
    struct dark dark;
    struct dark_source source;
    size_t first[2];
    struct lens_options lens;
    struct generation_start starts[2];
    struct generation_options generation;
    const char *res, *tc;
    struct engine_task tasks[5];
    struct text answers[5];
};

static void make_work(struct work *w, const struct oracle *o)
{
    struct oracle_prompt p = oracle_prompt_named(o, "window");
    *w = (struct work){.first = {0, p.n}, .index = 5};
    memcpy(w->ids, p.ids, p.n * sizeof *p.ids);
    for (size_t i = 0; i < 70; i++) { /* more than a chunk */
        w->again[i] = p.ids[i % p.n];
    }
    w->res = cJSON_GetStringValue(json_get(json_get(o->lenses, "names"), "res"));
    w->tc = cJSON_GetStringValue(json_get(json_get(o->lenses, "names"), "tc"));
    w->reads[0] = (struct engine_read){.kind = READ_FEATURES, .source = w->res};
    w->reads[1] = (struct engine_read){.kind = READ_ERROR, .source = w->tc};
    w->reads[2] = (struct engine_read){.kind = READ_POINT, .point = POINT_LOGITS};
    w->reads[3] = (struct engine_read){.kind = READ_POINT, .point = POINT_PATTERN, .layer = 1};
    w->edit = (struct edit){
        .type = EDIT_ADD, .source = w->res, .indices = &w->index, .n = 1, .strength = 2.5f};
    w->prompt = (struct engine_prompt){.ids = w->ids, .n_ids = 9, .reads = w->reads, .n_reads = 4};
    w->of_source.name = w->tc;
    w->attribution = (struct attribution){.ids = w->ids,
                                          .n_ids = p.n,
                                          .position = 7,
                                          .edits = &w->edit,
                                          .n_edits = 1,
                                          .sources = &w->of_source,
                                          .n_sources = 1,
                                          .neuron_layer = 1,
                                          .top = TOP};
    w->dark = (struct dark){.ids = w->ids,
                            .first = w->first,
                            .n_prompts = 1,
                            .runs = (1u << DARK_RUNS) - 1,
                            .top = TOP,
                            .max_rows = 3 * p.n, /* two runs a pass */
                            .sources = &w->source,
                            .n_sources = 1};
    w->lens = (struct lens_options){.ids = w->again,
                                    .n_ids = 70,
                                    .edits = &w->edit,
                                    .n_edits = 1,
                                    .sites = sites,
                                    .n_sites = 2,
                                    .norm = true,
                                    .softcap = true,
                                    .top_n = TOP,
                                    .n_tokens = TOKENS};
    w->starts[0] = (struct generation_start){.ids = w->ids, .n_ids = 7};
    w->starts[1] =
        (struct generation_start){.ids = w->ids + 1, .n_ids = 5, .edits = &w->edit, .n_edits = 1};
    w->generation = (struct generation_options){.starts = w->starts,
                                                .n_starts = 2,
                                                .n_tokens = TOKENS,
                                                .sampler = {.temperature = 0.8f, .seed = 3},
                                                .n_logprobs = TOP,
                                                .sources = (const char *const *)&w->res,
                                                .n_sources = 1,
                                                .n_features = TOP};
}

static bool open_tasks(struct work *w, struct engine *e)
{
    struct status st = {0};
    w->tasks[0] = (struct engine_task){.prompts = &w->prompt, .n_prompts = 1};
    w->tasks[1] = (struct engine_task){.attribution = &w->attribution};
    bool ok =
        !dark_reading_open(&w->tasks[2].dark, e, &w->dark, (const char *const *)&w->tc, &st) &&
        !lens_reading_open(&w->tasks[3].lens, e, &w->lens, &st) &&
        !generation_open(&w->tasks[4].generation, e, &w->generation, &st);
    if (!ok) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return ok;
}

static void close_work(struct work *w)
{
    free_reads(w->reads, 4);
    attribution_free(&w->attribution);
    dark_reading_close(w->tasks[2].dark);
    dark_free(&w->dark);
    lens_reading_close(w->tasks[3].lens);
    generation_close(w->tasks[4].generation);
    for (int i = 0; i < 5; i++) {
        text_free(&w->answers[i]);
    }
}

/* --- answers as bytes ------------------------------------------------------------------------- */

static void put(struct text *out, const void *bytes, size_t n)
{
    if (n) { /* nothing may be NULL */
        text_append(out, bytes, n);
    }
}

static void put_trace(struct work *w)
{
    struct text *out = &w->answers[0];
    for (int i = 0; i < 4; i++) {
        const struct engine_read *r = &w->reads[i];
        if (r->kind == READ_FEATURES) {
            put(out, r->features.value, r->features.start[r->features.rows] * sizeof(float));
        } else {
            put(out, r->data, elements(r) * sizeof(float));
        }
    }
}

static void put_attribution(struct work *w, const struct gemma_config *c)
{
    const struct attribution *a = &w->attribution;
    size_t floats = a->n * (6 + c->n_layers * (2 + c->n_heads)) + 3 * a->n;
    put(&w->answers[1], a->block, floats * sizeof(float));
    put(&w->answers[1], a->neurons, a->n * a->n_neurons * sizeof *a->neurons);
    put(&w->answers[1], w->of_source.features, a->n * w->of_source.n_features * sizeof *a->neurons);
}

static void put_dark(struct work *w)
{
    struct text *out = &w->answers[2];
    size_t N = w->first[1];
    put(out, w->source.block, (6 + 2 * DARK_RUNS) * N * sizeof(float));
    put(out, w->source.votes, 2 * N * TOP * sizeof(float));
    put(out, w->source.vote_ids, 2 * N * TOP * sizeof(int32_t));
    put(out, w->dark.loss_clean, N * sizeof(float));
}

static void put_lens(struct work *w)
{
    size_t n;
    const struct lens_position *ready = lens_reading_ready(w->tasks[3].lens, &n);
    for (size_t i = 0; i < n; i++) {
        put(&w->answers[3], &ready[i].position, sizeof ready[i].position);
        put(&w->answers[3], &ready[i].id, sizeof ready[i].id);
        for (size_t r = 0; r < ready[i].n_rows; r++) {
            const struct readout_row *row = &ready[i].rows[r];
            put(&w->answers[3], row->top_ids, row->n_top * sizeof(int32_t));
            put(&w->answers[3], row->top_probs, row->n_top * sizeof(float));
            put(&w->answers[3], &row->kl, sizeof row->kl);
        }
    }
}

static void put_texts(struct work *w)
{
    for (size_t s = 0; s < 2; s++) {
        struct generation_text text = generation_text(w->tasks[4].generation, s);
        for (size_t i = 0; i < text.n; i++) {
            const struct generation_token *t = &text.tokens[i];
            put(&w->answers[4], &t->id, sizeof t->id);
            put(&w->answers[4], t->top_logprobs, TOP * sizeof(float));
            put(&w->answers[4], t->feature_value, t->n_active[0] * sizeof(float));
        }
    }
}

/* --- running ---------------------------------------------------------------------------------- */

/* Moves the tasks from..to-1 in common passes until none has more to do. */
static int run(struct work *w, struct session *session, const struct gemma_config *c, int from,
               int to)
{
    bool more[5] = {true, true, true, true, true};
    int passes = 0;
    for (bool any = true; any && passes < STEPS_MAX; passes++) {
        struct engine_task tasks[5];
        int which[5];
        size_t n = 0;
        for (int i = from; i < to; i++) {
            if (more[i]) {
                which[n] = i;
                tasks[n++] = w->tasks[i];
            }
        }
        struct status st = {0};
        if (engine_pass(session, tasks, n, NULL, &st)) {
            printf("    %s\n", st.message);
            test_failures_++;
            return passes;
        }
        any = false;
        for (size_t k = n; k-- > 0;) { /* in any order */
            CHECK(tasks[k].st.code == 0 && engine_finish(session, &tasks[k]) == 0);
            more[which[k]] = tasks[k].more;
            any = any || tasks[k].more;
            if (which[k] == 3) {
                put_lens(w);
            }
        }
    }
    for (int i = from; i < to; i++) {
        if (i == 0) {
            put_trace(w);
        } else if (i == 1) {
            put_attribution(w, c);
        } else if (i == 2) {
            put_dark(w);
        } else if (i == 4) {
            put_texts(w);
        }
    }
    return passes;
}

static void five_kinds_have_together_the_bits_they_have_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct work alone;
        REQUIRE(oracle_open(&o, oracle_names[f]));
        make_work(&alone, &o);
        for (int threads = 1; threads <= 2; threads++) {
            struct engine *e;
            struct session *session;
            struct status st = {0};
            struct work together;
            REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, threads, NULL, &st), st);
            REQUIRE_OK(session_create(&session, e, &st), st);
            const struct gemma_config *c = engine_config(e);
            if (threads == 1) {
                REQUIRE(open_tasks(&alone, e));
                for (int i = 0; i < 5; i++) {
                    (void)run(&alone, session, c, i, i + 1);
                }
            }
            make_work(&together, &o);
            REQUIRE(open_tasks(&together, e));
            uint64_t before = engine_passes_computed(e);
            (void)run(&together, session, c, 0, 5);
            /* trace, attribution, and of the others every first step: one pass; the text has one
             * for every token and for the features of the last, and it is the longest of all but
             * the lens, whose chunks are two */
            CHECK(engine_passes_computed(e) - before <= 2 + TOKENS + 1);
            for (int i = 0; i < 5; i++) {
                const struct text *x = &alone.answers[i], *y = &together.answers[i];
                CHECK(x->length > 100 && x->length == y->length);
                CHECK(x->length == y->length && memcmp(x->data, y->data, x->length) == 0);
            }
            close_work(&together);
            if (threads == 1) {
                lens_reading_close(alone.tasks[3].lens);
                dark_reading_close(alone.tasks[2].dark);
                generation_close(alone.tasks[4].generation);
                alone.tasks[3].lens = NULL;
                alone.tasks[2].dark = NULL;
                alone.tasks[4].generation = NULL;
            }
            session_destroy(session);
            engine_close(e);
        }
        close_work(&alone);
        oracle_close(&o);
    }
}

static void what_is_wrong_with_one_is_no_other_s_trouble(void)
{
    struct oracle o;
    struct engine *e;
    struct session *session;
    struct status st = {0};
    struct work w;
    REQUIRE(oracle_open(&o, oracle_names[0]));
    REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    make_work(&w, &o);
    w.reads[1].source = "7-none";
    w.attribution.targets = (const int32_t[]){-1};
    w.attribution.n_targets = 1;
    REQUIRE(open_tasks(&w, e));
    REQUIRE_OK(engine_pass(session, w.tasks, 5, NULL, &st), st);
    CHECK(w.tasks[0].st.code == STATUS_NOT_FOUND && w.tasks[1].st.code == STATUS_INVALID);
    CHECK_CONTAINS(w.tasks[0].st.message, "7-none");
    CHECK_CONTAINS(w.tasks[1].st.message, "targets[0]");
    CHECK(w.reads[0].data == NULL && w.reads[2].data == NULL);
    for (int i = 2; i < 5; i++) {
        CHECK(engine_finish(session, &w.tasks[i]) == 0 && w.tasks[i].more);
    }
    close_work(&w);
    session_destroy(session);
    engine_close(e);
    oracle_close(&o);
}

/* Whichever allocation fails, in the pass or in a task: what is left can be tried again, or ended,
 * and what was tried again has the right bits. */
static void survives_every_failed_allocation(void)
{
    struct oracle o;
    struct engine *e;
    struct session *session;
    struct status st = {0};
    struct work good;
    REQUIRE(oracle_open(&o, oracle_names[0]));
    REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    const struct gemma_config *c = engine_config(e);
    make_work(&good, &o);
    REQUIRE(open_tasks(&good, e));
    (void)run(&good, session, c, 0, 5);
    int whole_pass = 0, of_tasks = 0;
    for (long nth = 1;; nth++) {
        struct work w;
        make_work(&w, &o);
        REQUIRE(open_tasks(&w, e) && nth < 2000);
        (void)memory_fail_after(nth);
        int code = engine_pass(session, w.tasks, 5, NULL, &st);
        bool failed = memory_fail_after(0) >= nth;
        CHECK(code == 0 || (failed && code == STATUS_MEMORY));
        whole_pass += code != 0;
        for (int i = 0; i < 5; i++) {
            CHECK(!w.tasks[i].st.code || (failed && w.tasks[i].st.code == STATUS_MEMORY));
            of_tasks += w.tasks[i].st.code != 0;
        }
        if (code == 0 && w.tasks[0].st.code == 0) {
            CHECK(engine_finish(session, &w.tasks[0]) == 0);
        } else if (w.tasks[0].st.code == 0) { /* the whole pass: once more */
            (void)run(&w, session, c, 0, 1);
            CHECK(w.answers[0].length == good.answers[0].length &&
                  memcmp(w.answers[0].data, good.answers[0].data, w.answers[0].length) == 0);
        }
        if (code && w.tasks[3].st.code == 0) {
            (void)run(&w, session, c, 3, 4);
            CHECK(w.answers[3].length == good.answers[3].length &&
                  memcmp(w.answers[3].data, good.answers[3].data, w.answers[3].length) == 0);
        }
        if (code && w.tasks[4].st.code == 0) {
            (void)run(&w, session, c, 4, 5);
            CHECK(w.answers[4].length == good.answers[4].length &&
                  memcmp(w.answers[4].data, good.answers[4].data, w.answers[4].length) == 0);
        }
        if (!code && w.tasks[1].st.code == 0) {
            CHECK(engine_finish(session, &w.tasks[1]) == 0);
        }
        if (!code && w.tasks[4].st.code == 0) {
            CHECK(engine_finish(session, &w.tasks[4]) == 0);
        }
        close_work(&w);
        if (!failed) {
            break;
        }
    }
    CHECK(whole_pass > 5 && of_tasks > 50);
    close_work(&good);
    session_destroy(session);
    engine_close(e);
    oracle_close(&o);
}

static const struct test tests[] = {TEST(five_kinds_have_together_the_bits_they_have_alone),
                                    TEST(what_is_wrong_with_one_is_no_other_s_trouble),
                                    TEST(survives_every_failed_allocation)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
