/* engine_trace: packed against alone, several sources at once, what is refused. */
#include "tests/engine_fixture.h"

enum { MAX_READS = 128 };

struct asked {
    struct oracle_prompt prompt;
    struct engine_read reads[MAX_READS];
    size_t n;
};

/* A few points and all of every source; which ones differs from prompt to prompt. */
static void ask(struct asked *a, const struct engine *e, size_t which)
{
    static const enum point points[] = {POINT_LOGITS, POINT_LOSS,       POINT_RESID_POST,
                                        POINT_SCORES, POINT_FINAL_NORM, POINT_K};
    static const enum read_kind kinds[] = {READ_FEATURES, READ_INPUT, READ_PRE,
                                           READ_ACTS,     READ_RECON, READ_ERROR};
    static const int32_t first[] = {0};
    const struct catalogue *c = engine_catalogue(e);
    for (size_t i = 0; i < 6; i++) {
        if (i != which % 6) {
            a->reads[a->n++] = (struct engine_read){.kind = READ_POINT, .point = points[i]};
        }
    }
    for (size_t i = 0; i < c->n_sources; i++) {
        /* Feature 67 of this one has <bos>'s own value as its threshold, to the last bit: on or off
         * as the sum rounds. */
        bool close_call = strcmp(c->sources[i].name, "0-gemmascope-res-96__l0-2") == 0;
        for (size_t k = 0; k < 6 && a->n < MAX_READS; k++) {
            bool depends = kinds[k] != READ_INPUT && kinds[k] != READ_PRE;
            if ((i + k + which) % 4 == 0 || (close_call && depends)) {
                continue;
            }
            struct engine_read *r = &a->reads[a->n++];
            *r = (struct engine_read){.kind = kinds[k], .source = c->sources[i].name};
            r->positions = (i + k) % 5 == 0 && k > 0 ? first : NULL;
            r->n_positions = r->positions ? 1 : 0;
        }
    }
}

static void check_same(const struct engine_read *a, const struct engine_read *b)
{
    const float *x = a->kind == READ_FEATURES ? a->features.value : a->data;
    const float *y = b->kind == READ_FEATURES ? b->features.value : b->data;
    size_t n = elements(a);
    if (a->kind == READ_FEATURES) {
        n = a->features.start[a->features.rows];
        REQUIRE(a->features.rows == b->features.rows && n == b->features.start[b->features.rows]);
        CHECK(memcmp(a->features.index, b->features.index, n * sizeof *a->features.index) == 0);
    }
    REQUIRE(a->n_dims == b->n_dims && memcmp(a->shape, b->shape, sizeof a->shape) == 0);
    double largest = 0, apart = 0;
    for (size_t i = 0; i < n; i++) {
        largest = fmax(largest, fabs((double)y[i]));
        apart = fmax(apart, fabs((double)(x[i] - y[i])));
    }
    /* an error is the difference of two vectors of several times its size */
    CHECK_NEAR(apart, 0, (a->kind == READ_ERROR ? 5e-5 : 1e-5) * (1e-3 + largest));
}

static void gives_many_prompts_what_it_gives_each_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct engine *e;
        struct session *session;
        struct status st = {0};
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 2, NULL, &st), st);
        REQUIRE_OK(session_create(&session, e, &st), st);
        size_t n = oracle_prompts(&o);
        struct asked *together = calloc(n, sizeof *together), *alone = calloc(n, sizeof *alone);
        struct engine_prompt prompts[8] = {0};
        uint64_t tokens = 0;
        for (size_t i = 0; i < n; i++) {
            together[i].prompt = alone[i].prompt = oracle_prompt(&o, i);
            ask(&together[i], e, i);
            ask(&alone[i], e, i);
            prompts[i] = (struct engine_prompt){together[i].prompt.ids, together[i].prompt.n,
                                                together[i].reads, together[i].n};
            tokens += together[i].prompt.n;
        }
        REQUIRE_OK(engine_trace(session, prompts, n, NULL, &st), st);
        CHECK(engine_tokens_computed(e) == tokens);
        for (size_t i = 0; i < n; i++) {
            struct engine_prompt one = {alone[i].prompt.ids, alone[i].prompt.n, alone[i].reads,
                                        alone[i].n};
            REQUIRE_OK(engine_trace(session, &one, 1, NULL, &st), st);
            for (size_t r = 0; r < alone[i].n; r++) {
                check_same(&together[i].reads[r], &alone[i].reads[r]);
            }
            free_reads(together[i].reads, together[i].n);
            free_reads(alone[i].reads, alone[i].n);
        }
        CHECK(engine_tokens_computed(e) == 2 * tokens);
        free(together);
        free(alone);
        session_destroy(session);
        engine_close(e);
        oracle_close(&o);
    }
}

/* features, acts and pre of one source say the same thing. */
static void gives_features_sparse_and_dense_alike(void)
{
    struct oracle o;
    struct engine *e;
    struct session *session;
    struct status st = {0};
    REQUIRE(oracle_open(&o, "gemma2-nano-bf16"));
    REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    struct oracle_prompt p = oracle_prompt_named(&o, "window");
    const struct catalogue *c = engine_catalogue(e);
    CHECK(c->n_sources >= 12);
    for (size_t i = 0; i < c->n_sources; i++) {
        const struct sae_source *s = &c->sources[i];
        struct engine_read r[] = {{.kind = READ_FEATURES, .source = s->name},
                                  {.kind = READ_ACTS, .source = s->name},
                                  {.kind = READ_PRE, .source = s->name}};
        struct engine_prompt one = {p.ids, p.n, r, 3};
        REQUIRE_OK(engine_trace(session, &one, 1, NULL, &st), st);
        size_t active = 0, total = 0;
        for (size_t t = 0; t < p.n; t++) {
            const struct sparse *x = &r[0].features;
            for (size_t k = x->start[t]; k < x->start[t + 1]; k++) {
                size_t at = t * s->d_sae + x->index[k];
                CHECK(x->value[k] > 0 && r[1].data[at] == x->value[k]);
                CHECK_NEAR(r[2].data[at], x->value[k], 1e-5 * (1 + fabs((double)x->value[k])));
                active++;
            }
        }
        for (size_t k = 0; k < elements(&r[1]); k++) {
            total += r[1].data[k] != 0;
        }
        CHECK(active == total && active > 0);
        free_reads(r, 3);
    }
    session_destroy(session);
    engine_close(e);
    oracle_close(&o);
}

/* Two prompts, two named features of each source; the second time beside a read of the whole row,
 * so that all are encoded. */
static void a_named_feature_has_the_bits_of_the_whole_row(void)
{
    struct oracle o;
    struct engine *e;
    struct session *session;
    struct status st = {0};
    REQUIRE(oracle_open(&o, "gemma2-nano-bf16"));
    REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 2, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    struct oracle_prompt p = oracle_prompt_named(&o, "window");
    const struct catalogue *c = engine_catalogue(e);
    size_t active = 0;
    for (size_t i = 0; i < c->n_sources; i++) {
        const char *name = c->sources[i].name;
        struct engine_read whole = {.kind = READ_FEATURES, .source = name};
        struct engine_prompt first = {p.ids, p.n, &whole, 1};
        REQUIRE_OK(engine_trace(session, &first, 1, NULL, &st), st);
        const struct sparse *all = &whole.features;
        const uint32_t busy = all->start[p.n] ? all->index[all->start[p.n] / 2] : 0;
        for (size_t beside = 0; beside < 2; beside++) {
            struct engine_read r[] = {
                {.kind = READ_FEATURES, .source = name, .only_one = true, .entry = busy},
                {.kind = READ_FEATURES, .source = name, .only_one = true, .entry = 7},
                {.kind = READ_FEATURES, .source = name, .only_one = true, .entry = busy},
                {.kind = READ_FEATURES, .source = name}};
            struct engine_prompt two[] = {{p.ids, p.n, r, 2}, {p.ids, 5, r + 2, 1 + beside}};
            REQUIRE_OK(engine_trace(session, two, 2, NULL, &st), st);
            for (size_t t = 0; t < p.n; t++) {
                CHECK(sparse_get(&r[0].features, t, busy) == sparse_get(all, t, busy));
                CHECK(sparse_get(&r[1].features, t, 7) == sparse_get(all, t, 7));
                CHECK(t >= 5 || sparse_get(&r[2].features, t, busy) == sparse_get(all, t, busy));
                active += sparse_get(&r[0].features, t, busy) != 0.0f;
            }
            CHECK(r[0].features.rows == p.n && r[0].features.start[p.n] <= p.n);
            CHECK(r[2].features.rows == 5);
            CHECK(!beside || r[3].features.start[5] == all->start[5]);
            free_reads(r, 4);
        }
        engine_read_free(&whole);
    }
    CHECK(active > 2 * c->n_sources);
    session_destroy(session);
    engine_close(e);
    oracle_close(&o);
}

static void a_transcoder_s_error_is_what_mlp_out_lacks(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct engine *e;
        struct session *session;
        struct status st = {0};
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 1, NULL, &st), st);
        REQUIRE_OK(session_create(&session, e, &st), st);
        struct oracle_prompt p = oracle_prompt_named(&o, "seven");
        const char *name = cJSON_GetStringValue(json_get(json_get(o.lenses, "names"), "tc"));
        const struct sae_source *s = catalogue_find(engine_catalogue(e), name);
        REQUIRE(s && s->is_transcoder && s->output == POINT_MLP_OUT);
        struct engine_read r[] = {{.kind = READ_ERROR, .source = name},
                                  {.kind = READ_RECON, .source = name},
                                  {.kind = READ_POINT, .point = POINT_MLP_OUT, .layer = s->layer}};
        struct engine_prompt one = {p.ids, p.n, r, 3};
        REQUIRE_OK(engine_trace(session, &one, 1, NULL, &st), st);
        for (size_t i = 0; i < elements(&r[0]); i++) {
            CHECK_NEAR(r[0].data[i], r[2].data[i] - r[1].data[i], 0);
        }
        free_reads(r, 3);
        session_destroy(session);
        engine_close(e);
        oracle_close(&o);
    }
}

static void refuses_reads_and_ids_that_are_not_there(void)
{
    struct engine *e;
    struct session *session;
    struct status st = {0};
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(session_create(&session, e, &st), st);
    static const int32_t good[] = {2, 5}, high[] = {2, 300}, low[] = {-1}, far[] = {0, 2};
    struct {
        const int32_t *ids;
        size_t n;
        struct engine_read read;
        int code;
        const char *word;
    } bad[] = {
        {good, 0, {.point = POINT_EMBED}, STATUS_INVALID, "tokens"},
        {high, 2, {.point = POINT_EMBED}, STATUS_INVALID, "0..299, found 300"},
        {low, 1, {.point = POINT_EMBED}, STATUS_INVALID, "found -1"},
        {good, 2, {.point = POINT_Z, .layer = 4}, STATUS_INVALID, "0..3"},
        {good, 2, {.point = POINT_Z, .layer = -1}, STATUS_INVALID, "0..3"},
        {good, 2, {.point = POINT_LOGITS, .top = 301}, STATUS_INVALID, "300"},
        {good, 2, {.kind = READ_ACTS, .source = "x"}, STATUS_NOT_FOUND, "\"x\""},
        {good,
         2,
         {.point = POINT_EMBED, .positions = far, .n_positions = 2},
         STATUS_INVALID,
         "0..1, found 2"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        /* a good read in front must not keep its memory */
        struct engine_read reads[] = {{.point = POINT_EMBED}, bad[i].read};
        struct engine_prompt p = {bad[i].ids, bad[i].n, reads, 2};
        CHECK(engine_trace(session, &p, 1, NULL, &st) == bad[i].code);
        CHECK_CONTAINS(st.message, bad[i].word);
        CHECK(!reads[0].data && !reads[1].data);
    }
    CHECK(engine_tokens_computed(e) == 0);
    atomic_bool cancel = true;
    struct engine_read read = {.point = POINT_LOGITS};
    struct engine_prompt p = {good, 2, &read, 1};
    CHECK(engine_trace(session, &p, 1, &cancel, &st) == STATUS_CANCELLED && !read.data);
    session_destroy(session);
    engine_close(e);
}

static const struct test tests[] = {
    TEST(gives_many_prompts_what_it_gives_each_alone),
    TEST(gives_features_sparse_and_dense_alike),
    TEST(a_named_feature_has_the_bits_of_the_whole_row),
    TEST(a_transcoder_s_error_is_what_mlp_out_lacks),
    TEST(refuses_reads_and_ids_that_are_not_there),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
