/* Texts that begin as earlier ones, continued with and without what those left: the same bits. */
#include "core/engine.h"
#include "tests/oracle.h"

#include <pthread.h>

enum { TOKENS = 5, TOP = 4, LONGEST = 400 };

/* One engine that keeps prefixes, and one that does not. */
struct pair {
    struct oracle oracle;
    struct engine *with, *without;
    struct session *session_with, *session_without;
    const char *res, *tc;
    size_t vocabulary;
};

static bool open_one(struct pair *p, uint64_t memory, enum precision precision, struct engine **e,
                     struct session **session)
{
    struct status st = {0};
    const char *folders[] = {p->oracle.saes};
    struct engine_options options = {.model = p->oracle.folder,
                                     .sae_folders = folders,
                                     .n_sae_folders = 1,
                                     .threads = 1,
                                     .precision = precision,
                                     .prefix_memory = memory};
    bool ok = engine_open(e, &options, &st) == 0 && session_create(session, *e, &st) == 0;
    if (!ok) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return ok;
}

static bool pair_open(struct pair *p, const char *fixture, enum precision precision)
{
    *p = (struct pair){0};
    if (!oracle_open(&p->oracle, fixture) ||
        !open_one(p, 64 << 20, precision, &p->with, &p->session_with) ||
        !open_one(p, 0, precision, &p->without, &p->session_without)) {
        return false;
    }
    const cJSON *names = json_get(p->oracle.lenses, "names");
    p->res = json_get(names, "res")->valuestring;
    p->tc = json_get(names, "tc")->valuestring;
    p->vocabulary = engine_config(p->with)->vocab_size;
    return true;
}

static void pair_close(struct pair *p)
{
    session_destroy(p->session_with);
    session_destroy(p->session_without);
    engine_close(p->with);
    engine_close(p->without);
    oracle_close(&p->oracle);
}

static struct generation *run(struct engine *e, struct session *session,
                              const struct generation_options *options)
{
    struct status st = {0};
    struct generation *g = NULL;
    bool more = true;
    int code = generation_open(&g, e, options, &st);
    while (code == STATUS_OK && more) {
        code = generation_step(g, session, NULL, &more, &st);
    }
    if (code) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return g;
}

/* Every log probability of the vocabulary and every feature, bit by bit. */
static void check_same(const struct pair *p, const struct generation_text *a,
                       const struct generation_text *b, size_t n_sources)
{
    size_t V = p->vocabulary, wrong = 0;
    REQUIRE(a->n == b->n && a->n > 0);
    CHECK(memcmp(a->ids, b->ids, a->n * sizeof *a->ids) == 0);
    for (size_t t = 0; t < a->n; t++) {
        const struct generation_token *x = &a->tokens[t], *y = &b->tokens[t];
        wrong += memcmp(x->top_ids, y->top_ids, V * sizeof *x->top_ids) != 0;
        wrong += memcmp(x->top_logprobs, y->top_logprobs, V * sizeof *x->top_logprobs) != 0;
        for (size_t i = 0; i < n_sources; i++) {
            wrong += x->n_active[i] != y->n_active[i];
            for (size_t k = 0; k < x->n_active[i]; k++) {
                wrong += x->feature_index[i * TOP + k] != y->feature_index[i * TOP + k];
                wrong += x->feature_value[i * TOP + k] != y->feature_value[i * TOP + k];
            }
        }
    }
    CHECK(wrong == 0);
}

/* Both engines continue the starts; the first text is appended to ids [*n]. Returns how many
 * positions were not computed again. */
static size_t turn(struct pair *p, const struct generation_start *starts, size_t n_starts,
                   bool features, int32_t *ids, size_t *n)
{
    const char *sources[] = {p->res, p->tc};
    struct generation_options options = {.starts = starts,
                                         .n_starts = n_starts,
                                         .n_tokens = TOKENS,
                                         .n_logprobs = p->vocabulary,
                                         .sources = sources,
                                         .n_sources = features ? 2 : 0,
                                         .n_features = TOP,
                                         .sampler = {.freq_penalty = 4.0f}};
    uint64_t before = engine_prefixes(p->with).reused;
    struct generation *a = run(p->with, p->session_with, &options);
    struct generation *b = run(p->without, p->session_without, &options);
    struct generation_text text = {0};
    for (size_t i = 0; i < n_starts && a && b; i++) {
        text = generation_text(a, i);
        struct generation_text other = generation_text(b, i);
        check_same(p, &text, &other, features ? 2 : 0);
    }
    if (a && ids) {
        text = generation_text(a, 0);
        memcpy(ids + *n, text.ids, text.n * sizeof *ids);
        *n += text.n;
    }
    generation_close(a);
    generation_close(b);
    CHECK(engine_prefixes(p->without).texts == 0);
    return (size_t)(engine_prefixes(p->with).reused - before);
}

static void add_ids(int32_t *ids, size_t *n, size_t more, unsigned seed)
{
    for (size_t i = 0; i < more; i++) {
        seed = seed * 1664525u + 1013904223u;
        ids[*n] = *n == 0 ? 2 : (int32_t)(5 + (seed >> 16) % 290);
        (*n)++;
    }
}

/* Four turns over several windows (8 positions) and blocks of queries (64), then another ending. */
static void talk(struct pair *p, bool features)
{
    int32_t ids[LONGEST];
    size_t n = 0, known = 0;
    static const size_t more[] = {3, 20, 90, 7};
    for (size_t i = 0; i < TEST_COUNT(more); i++) {
        add_ids(ids, &n, more[i], (unsigned)i + (features ? 100 : 1));
        struct generation_start start = {ids, n, NULL, 0};
        size_t reused = turn(p, &start, 1, features, ids, &n);
        CHECK(reused == (known < KV_PREFIXES_LEAST ? 0 : known));
        known = features ? n : n - 1; /* the last token is read only for its features */
    }
    size_t texts = engine_prefixes(p->with).texts; /* its beginnings are gone */
    struct generation_start again = {ids, known, NULL, 0};
    CHECK(turn(p, &again, 1, features, NULL, NULL) == known - 1); /* one is read */
    ids[30] = ids[30] == 9 ? 10 : 9;
    struct generation_start other = {ids, n, NULL, 0};
    CHECK(turn(p, &other, 1, features, NULL, NULL) == 30);
    CHECK(engine_prefixes(p->with).texts == texts + 1);
}

static void a_conversation_goes_on_with_the_same_bits(void)
{
    for (size_t f = 0; f < ORACLE_COUNT; f++) {
        for (int precision = 0; precision < 2; precision++) {
            struct pair p;
            if (pair_open(&p, oracle_names[f], (enum precision)precision)) {
                talk(&p, false);
                talk(&p, true);
            }
            pair_close(&p);
        }
    }
}

/* Edits as steering makes them, and those whose reach depends on where the prompt ends: two turns,
 * of which the second must find what was done the same way, and no more. */
static void edited_texts_go_on_with_the_same_bits(void)
{
    static const uint32_t features[] = {3, 11};
    static const float values[] = {6.0f, 0.0f};
    static const int32_t plain[] = {1,  2,  4,  5,  6,  7,  8,  9,  10, 11, 12, 13, 14,
                                    15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27};
    enum { FIRST = 20, SECOND = 28 };
    for (size_t f = 0; f < ORACLE_COUNT; f += 2) { /* a Gemma 2 and a Gemma 3 */
        struct pair p;
        if (!pair_open(&p, oracle_names[f], PRECISION_EXACT)) {
            return;
        }
        const struct edit add = {
            .type = EDIT_ADD, .source = p.res, .indices = features, .n = 1, .strength = 4.0f};
        struct edit all = add, prompt = add, generated = add, last = add, some = add;
        prompt.where = EDIT_PROMPT;
        generated.where = EDIT_GENERATED;
        last.where = EDIT_LAST;
        some.where = EDIT_POSITIONS;
        some.positions = plain;
        some.n_positions = TEST_COUNT(plain);
        all.skip_bos = true;
        struct edit clamp = {
            .type = EDIT_CLAMP, .source = p.tc, .indices = features, .values = values, .n = 2};
        struct edit splice = {.type = EDIT_SPLICE, .source = p.res};
        struct edit chat[] = {some, generated}, both[] = {splice, all};
        const struct {
            const struct edit *edits;
            size_t n;
            size_t reused;   /* of the FIRST + TOKENS - 1 positions that are there */
            size_t unedited; /* the same by a text without edits */
        } cases[] = {
            {&all, 1, FIRST + TOKENS - 1, 0},
            {&prompt, 1, FIRST, 0}, /* what was generated is of the prompt now */
            {&generated, 1, FIRST, FIRST},
            {&last, 1, FIRST - 1, FIRST - 1},
            {chat, 2, FIRST + TOKENS - 1, 0}, /* other edits say the same now */
            {&clamp, 1, FIRST + TOKENS - 1, 0},
            {both, 2, FIRST + TOKENS - 1, 0},
        };
        for (size_t i = 0; i < TEST_COUNT(cases); i++) {
            int32_t ids[64];
            size_t n = 0;
            chat[0].n_positions = FIRST - 2;
            add_ids(ids, &n, FIRST, 77 + (unsigned)i);
            struct generation_start starts[] = {{ids, n, cases[i].edits, cases[i].n},
                                                {ids, n, NULL, 0}};
            CHECK(turn(&p, starts, 1, false, ids, &n) == 0);
            add_ids(ids, &n, SECOND - n, 5);
            starts[0].n_ids = starts[1].n_ids = n;
            chat[0].n_positions = TEST_COUNT(plain);
            CHECK(turn(&p, starts, 2, false, NULL, NULL) == cases[i].reused + cases[i].unedited);
        }
        pair_close(&p);
    }
}

static void other_edits_and_no_edits_share_nothing(void)
{
    static const uint32_t one[] = {3}, two[] = {4};
    struct pair p;
    if (!pair_open(&p, oracle_names[0], PRECISION_EXACT)) {
        return;
    }
    float vector[64] = {[5] = 1.0f};
    size_t width = engine_config(p.with)->hidden_size;
    REQUIRE(width <= TEST_COUNT(vector));
    const struct edit edits[] = {
        {.type = EDIT_ADD, .source = p.res, .indices = one, .n = 1, .strength = 4.0f},
        {.type = EDIT_ADD, .source = p.res, .indices = two, .n = 1, .strength = 4.0f},
        {.type = EDIT_ADD, .source = p.res, .indices = one, .n = 1, .strength = 4.5f},
        {.type = EDIT_ADD, .source = p.res, .indices = one, .n = 1, .strength = 4.0f, .unit = true},
        {.type = EDIT_CAP, .source = p.res, .indices = one, .n = 1, .strength = 4.0f},
        {.type = EDIT_ADD, .source = p.tc, .indices = one, .n = 1, .strength = 4.0f},
        {.type = EDIT_ADD,
         .point = POINT_RESID_POST,
         .layer = 1,
         .vector = vector,
         .n_vector = width,
         .strength = 4.0f},
        {.type = EDIT_ADD,
         .point = POINT_RESID_POST,
         .layer = 2,
         .vector = vector,
         .n_vector = width,
         .strength = 4.0f},
        {.type = EDIT_SET, .point = POINT_RESID_MID, .layer = 1, .dim = 2, .value = 1.0f},
        {.type = EDIT_SET, .point = POINT_RESID_MID, .layer = 1, .dim = 3, .value = 1.0f},
        {.type = EDIT_SET, .point = POINT_RESID_MID, .layer = 1, .dim = 3, .value = 1.5f},
    };
    int32_t ids[64];
    size_t n = 0;
    add_ids(ids, &n, 20, 9);
    for (size_t i = 0; i <= TEST_COUNT(edits); i++) {
        struct generation_start start = {ids, n, i ? &edits[i - 1] : NULL, i > 0};
        CHECK(turn(&p, &start, 1, false, NULL, NULL) == 0);
        CHECK(engine_prefixes(p.with).texts == i + 1);
    }
    pair_close(&p);
}

/* A text that was broken off leaves what was read; one that failed leaves nothing. */
static void a_text_that_was_broken_off_can_be_taken_up_again(void)
{
    struct pair p;
    if (!pair_open(&p, oracle_names[0], PRECISION_EXACT)) {
        return;
    }
    int32_t ids[64];
    size_t n = 0;
    add_ids(ids, &n, 20, 9);
    struct generation_start start = {ids, n, NULL, 0};
    struct generation_options options = {.starts = &start, .n_starts = 1, .n_tokens = 9};
    struct generation *g = NULL;
    struct status st = {0};
    bool more = false;
    atomic_bool cancel = false;
    REQUIRE_OK(generation_open(&g, p.with, &options, &st), st);
    REQUIRE_OK(generation_step(g, p.session_with, &cancel, &more, &st), st);
    atomic_store(&cancel, true);
    CHECK(generation_step(g, p.session_with, &cancel, &more, &st) == STATUS_CANCELLED);
    generation_close(g);
    CHECK(turn(&p, &start, 1, false, NULL, NULL) == 19);
    REQUIRE_OK(generation_open(&g, p.with, &options, &st), st); /* never begun */
    generation_close(g);
    pair_close(&p);
}

static void survives_every_failed_allocation_with_the_same_bits(void)
{
    struct pair p;
    if (!pair_open(&p, oracle_names[0], PRECISION_EXACT)) {
        return;
    }
    int32_t ids[64];
    size_t n = 0;
    add_ids(ids, &n, 12, 9);
    struct generation_start start = {ids, n, NULL, 0};
    CHECK(turn(&p, &start, 1, false, ids, &n) == 0);
    start.n_ids = n;
    struct generation_options options = {
        .starts = &start, .n_starts = 1, .n_tokens = 2, .n_logprobs = p.vocabulary};
    struct generation *want = run(p.without, p.session_without, &options);
    struct generation_text text = generation_text(want, 0);
    bool spared = false;
    for (long nth = 1; !spared && nth < 200; nth++) {
        struct generation *g = NULL;
        struct status st = {0};
        bool more = true;
        (void)memory_fail_after(nth);
        int code = generation_open(&g, p.with, &options, &st);
        while (code == STATUS_OK && more) {
            code = generation_step(g, p.session_with, NULL, &more, &st);
        }
        spared = memory_fail_after(0) < nth;
        if (code == STATUS_OK) {
            struct generation_text found = generation_text(g, 0);
            check_same(&p, &found, &text, 0);
        }
        CHECK(code == STATUS_OK || code == STATUS_MEMORY);
        generation_close(g);
    }
    CHECK(spared);
    generation_close(want);
    pair_close(&p);
}

/* --- several at once -------------------------------------------------------------------------- */

struct talker {
    struct pair *pair;
    pthread_t thread;
    unsigned number;
    int32_t ids[LONGEST], found[4][TOKENS];
    size_t lengths[4];
};

/* Turns of its own behind a beginning that all share. */
static void *talk_alone(void *argument)
{
    struct talker *t = argument;
    struct session *session = NULL;
    struct status st = {0};
    size_t n = 0;
    if (session_create(&session, t->pair->with, &st)) {
        return NULL;
    }
    add_ids(t->ids, &n, 24, 3);
    for (size_t i = 0; i < 4; i++) {
        add_ids(t->ids, &n, 6, 100 * t->number + (unsigned)i);
        t->lengths[i] = n;
        struct generation_start start = {t->ids, n, NULL, 0};
        struct generation_options options = {.starts = &start, .n_starts = 1, .n_tokens = TOKENS};
        struct generation *g = NULL;
        bool more = true;
        int code = generation_open(&g, t->pair->with, &options, &st);
        while (code == STATUS_OK && more) {
            code = generation_step(g, session, NULL, &more, &st);
        }
        struct generation_text text = code ? (struct generation_text){0} : generation_text(g, 0);
        if (text.n == TOKENS) {
            memcpy(t->found[i], text.ids, sizeof t->found[i]);
            memcpy(t->ids + n, text.ids, sizeof t->found[i]);
            n += TOKENS;
        }
        generation_close(g);
    }
    session_destroy(session);
    return NULL;
}

static void texts_that_go_on_at_once_find_each_others_beginnings(void)
{
    enum { TALKERS = 3 };
    struct pair p;
    if (!pair_open(&p, oracle_names[2], PRECISION_EXACT)) {
        return;
    }
    struct talker *talkers = calloc(TALKERS, sizeof *talkers);
    REQUIRE(talkers != NULL);
    for (unsigned i = 0; i < TALKERS; i++) {
        talkers[i].pair = &p;
        talkers[i].number = i + 1;
        REQUIRE(pthread_create(&talkers[i].thread, NULL, talk_alone, &talkers[i]) == 0);
    }
    for (size_t i = 0; i < TALKERS; i++) {
        pthread_join(talkers[i].thread, NULL);
    }
    CHECK(engine_prefixes(p.with).reused >= TALKERS * 3 * 24);
    for (size_t i = 0; i < TALKERS; i++) {
        for (size_t k = 0; k < 4; k++) {
            struct generation_start start = {talkers[i].ids, talkers[i].lengths[k], NULL, 0};
            struct generation_options options = {
                .starts = &start, .n_starts = 1, .n_tokens = TOKENS};
            struct generation *g = run(p.without, p.session_without, &options);
            struct generation_text text = generation_text(g, 0);
            CHECK(text.n == TOKENS &&
                  memcmp(text.ids, talkers[i].found[k], sizeof talkers[i].found[k]) == 0);
            generation_close(g);
        }
    }
    free(talkers);
    pair_close(&p);
}

static const struct test tests[] = {
    TEST(a_conversation_goes_on_with_the_same_bits),
    TEST(edited_texts_go_on_with_the_same_bits),
    TEST(other_edits_and_no_edits_share_nothing),
    TEST(a_text_that_was_broken_off_can_be_taken_up_again),
    TEST(survives_every_failed_allocation_with_the_same_bits),
    TEST(texts_that_go_on_at_once_find_each_others_beginnings),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
