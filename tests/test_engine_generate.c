/* Generation held against the oracle (section e of its README), and against passes over the whole
 * text. */
#include "core/engine.h"
#include "core/math/kernels.h"
#include "tests/oracle.h"

enum { TOKENS = 20 };

static const char *const runs[] = {"default", "steered", "penalised", "steered_penalised"};

struct bench {
    struct oracle oracle;
    struct engine *engine;
    struct session *session;
    struct oracle_prompt seven;
};

static bool bench_open(struct bench *b, size_t fixture)
{
    struct status st = {0};
    *b = (struct bench){0};
    if (!oracle_open(&b->oracle, oracle_names[fixture])) {
        return false;
    }
    const char *folders[] = {b->oracle.saes};
    struct engine_options options = {
        .model = b->oracle.folder, .sae_folders = folders, .n_sae_folders = 1, .threads = 2};
    bool ok = engine_open(&b->engine, &options, &st) == 0 &&
              session_create(&b->session, b->engine, &st) == 0;
    if (!ok) {
        printf("    %s: %s\n", oracle_names[fixture], st.message);
        test_failures_++;
    }
    b->seven = oracle_prompt_named(&b->oracle, "seven");
    return ok;
}

static void bench_close(struct bench *b)
{
    session_destroy(b->session);
    engine_close(b->engine);
    oracle_close(&b->oracle);
}

static const char *source_of(const struct bench *b, const char *word)
{
    return json_get(json_get(b->oracle.lenses, "names"), word)->valuestring;
}

static const cJSON *case_of(const struct bench *b, const char *name)
{
    return json_get(json_get(b->oracle.lenses, "generation"), name);
}

/* The one edit that the oracle's steered runs have. */
static struct edit steering(const cJSON *run, uint32_t *index)
{
    const cJSON *op = cJSON_GetArrayItem(json_get(run, "ops"), 0);
    *index = op ? (uint32_t)json_get(op, "feature")->valueint : 0;
    return op ? (struct edit){.type = EDIT_ADD,
                              .source = json_get(op, "source")->valuestring,
                              .indices = index,
                              .n = 1,
                              .strength = (float)(json_get(op, "strength")->valuedouble *
                                                  json_get(op, "multiplier")->valuedouble)}
              : (struct edit){0};
}

static bool go(struct bench *b, struct generation **g, const struct generation_options *options)
{
    struct status st = {0};
    bool more = true;
    int code = generation_open(g, b->engine, options, &st);
    while (code == STATUS_OK && more) {
        code = generation_step(*g, b->session, NULL, &more, &st);
    }
    if (code) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return code == STATUS_OK;
}

/* The logits themselves: a pass over prompt and text, with the same edits at every position. */
static void compare_logits(struct bench *b, const char *name, const struct edit *edit,
                           const struct generation_text *text)
{
    int32_t ids[64];
    memcpy(ids, b->seven.ids, b->seven.n * sizeof *ids);
    memcpy(ids + b->seven.n, text->ids, text->n * sizeof *ids);
    struct engine_read read = {.kind = READ_POINT, .point = POINT_LOGITS};
    struct engine_prompt prompt = {.ids = ids,
                                   .n_ids = b->seven.n + text->n,
                                   .reads = &read,
                                   .n_reads = 1,
                                   .edits = edit,
                                   .n_edits = edit ? 1 : 0};
    struct status st;
    REQUIRE_OK(engine_trace(b->session, &prompt, 1, NULL, &st), st);
    const struct tensor *want = oracle_array(&b->oracle, "seven.gen.%s.logits", name);
    size_t V = engine_config(b->engine)->vocab_size;
    (void)oracle_compare(read.data + (b->seven.n - 1) * V, want, 0, TOKENS * V, 1e-3, 1e-4, name);
    engine_read_free(&read);
}

/* What the model itself gave each token, through its log probabilities. */
static void compare_text(struct bench *b, const char *name, const struct generation_text *text)
{
    const cJSON *ids = json_get(case_of(b, name), "ids");
    const struct tensor *want = oracle_array(&b->oracle, "seven.gen.%s.logits", name);
    size_t V = engine_config(b->engine)->vocab_size;
    REQUIRE(want && text->n == TOKENS);
    for (size_t t = 0; t < TOKENS; t++) {
        const struct generation_token *token = &text->tokens[t];
        float row[1024];
        REQUIRE(V <= 1024);
        CHECK(text->ids[t] == cJSON_GetArrayItem(ids, (int)t)->valueint);
        CHECK(token->id == text->ids[t]);
        for (size_t i = 0; i < V; i++) {
            row[i] = tensor_get(want, t * V + i);
        }
        double whole = kernel_logsumexp(row, V);
        CHECK_NEAR(token->logprob, (double)row[token->id] - whole, 2e-3);
        for (size_t i = 0; i < V; i++) {
            CHECK_NEAR(token->top_logprobs[i], (double)row[token->top_ids[i]] - whole, 2e-3);
            CHECK(i == 0 || token->top_logprobs[i] <= token->top_logprobs[i - 1]);
        }
    }
}

/* Each run alone, and steered and default (with one penalty) decoded together. */
static void every_run_of_the_oracle_is_met(void)
{
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct bench b;
        if (!bench_open(&b, i)) {
            return;
        }
        for (int r = 0; r < 4; r++) {
            const cJSON *wanted = case_of(&b, runs[r]);
            bool steered = cJSON_GetArraySize(json_get(wanted, "ops")) > 0;
            uint32_t index;
            struct edit edit = steering(wanted, &index);
            for (int together = 0; together < 2; together++) {
                const struct generation_start starts[] = {
                    {b.seven.ids, b.seven.n, steered ? &edit : NULL, steered},
                    {b.seven.ids, 3, NULL, 0}};
                struct generation_options options = {
                    .starts = starts,
                    .n_starts = together ? 2 : 1,
                    .n_tokens = TOKENS,
                    .n_logprobs = engine_config(b.engine)->vocab_size,
                    .sampler = {.freq_penalty = (float)json_get(wanted, "penalty")->valuedouble}};
                struct generation *g = NULL;
                if (go(&b, &g, &options)) {
                    struct generation_text text = generation_text(g, 0);
                    compare_text(&b, runs[r], &text);
                    if (!together) {
                        compare_logits(&b, runs[r], steered ? &edit : NULL, &text);
                    }
                }
                generation_close(g);
            }
        }
        bench_close(&b);
    }
}

static void features_of_each_token_are_those_of_a_pass_over_the_text(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    enum { TOP = 5 };
    uint32_t index;
    struct edit edit = steering(case_of(&b, "steered"), &index);
    const char *sources[] = {source_of(&b, "res"), source_of(&b, "tc"), source_of(&b, "res2")};
    const struct generation_start starts[] = {{b.seven.ids, b.seven.n, &edit, 1},
                                              {b.seven.ids, b.seven.n, NULL, 0}};
    struct generation_options options = {.starts = starts,
                                         .n_starts = 2,
                                         .n_tokens = 6,
                                         .sources = sources,
                                         .n_sources = 3,
                                         .n_features = TOP,
                                         .sampler = {.freq_penalty = 6.0f}};
    struct generation *g;
    REQUIRE(go(&b, &g, &options));
    for (size_t s = 0; s < 2; s++) {
        struct generation_text text = generation_text(g, s);
        int32_t ids[64];
        memcpy(ids, b.seven.ids, b.seven.n * sizeof *ids);
        memcpy(ids + b.seven.n, text.ids, text.n * sizeof *ids);
        struct engine_read reads[3];
        for (int i = 0; i < 3; i++) {
            reads[i] = (struct engine_read){.kind = READ_FEATURES, .source = sources[i]};
        }
        struct engine_prompt prompt = {.ids = ids,
                                       .n_ids = b.seven.n + text.n,
                                       .reads = reads,
                                       .n_reads = 3,
                                       .edits = starts[s].edits,
                                       .n_edits = starts[s].n_edits};
        struct status st;
        REQUIRE_OK(engine_trace(b.session, &prompt, 1, NULL, &st), st);
        CHECK(text.n == 6);
        for (size_t t = 0; t < text.n; t++) {
            const struct generation_token *token = &text.tokens[t];
            CHECK(token->has_features);
            for (size_t i = 0; i < 3 && token->has_features; i++) {
                const struct sparse *f = &reads[i].features;
                size_t row = b.seven.n + t, active = f->start[row + 1] - f->start[row];
                CHECK(token->n_active[i] == (active < TOP ? active : TOP));
                for (size_t k = 0; k < token->n_active[i]; k++) {
                    float value = token->feature_value[i * TOP + k];
                    CHECK_NEAR(value, sparse_get(f, row, token->feature_index[i * TOP + k]), 1e-3);
                    CHECK(k == 0 || value <= token->feature_value[i * TOP + k - 1]);
                }
            }
        }
        for (int i = 0; i < 3; i++) {
            engine_read_free(&reads[i]);
        }
    }
    generation_close(g);
    bench_close(&b);
}

static void a_stop_id_is_kept_and_ends_only_its_own_text(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    uint32_t index;
    struct edit edit = steering(case_of(&b, "steered_penalised"), &index);
    const cJSON *penalised = json_get(case_of(&b, "penalised"), "ids");
    const int32_t stop = cJSON_GetArrayItem(penalised, 4)->valueint;
    const struct generation_start starts[] = {{b.seven.ids, b.seven.n, NULL, 0},
                                              {b.seven.ids, b.seven.n, &edit, 1}};
    const char *sources[] = {source_of(&b, "res")};
    struct generation_options options = {.starts = starts,
                                         .n_starts = 2,
                                         .n_tokens = 9,
                                         .stop_ids = &stop,
                                         .n_stop_ids = 1,
                                         .sources = sources,
                                         .n_sources = 1,
                                         .n_features = 3,
                                         .sampler = {.freq_penalty = 6.0f}};
    struct generation *g;
    REQUIRE(go(&b, &g, &options));
    struct generation_text first = generation_text(g, 0), second = generation_text(g, 1);
    CHECK(first.n == 5 && first.ids[4] == stop && first.tokens[4].has_features);
    CHECK(second.n == 9 && second.tokens[8].has_features);
    generation_close(g);
    bench_close(&b);
}

static void the_same_seed_gives_the_same_text_beside_any_other(void)
{
    struct bench b;
    if (!bench_open(&b, 2)) {
        return;
    }
    const struct generation_start starts[] = {{b.seven.ids, b.seven.n, NULL, 0},
                                              {b.seven.ids, b.seven.n, NULL, 0},
                                              {b.seven.ids, 2, NULL, 0}};
    int32_t kept[TOKENS];
    for (int round = 0; round < 3; round++) {
        struct generation_options options = {
            .starts = starts,
            .n_starts = 3,
            .n_tokens = TOKENS,
            .sampler = {.temperature = 1.5f, .seed = round == 2 ? 8 : 7, .top_k = 200}};
        struct generation *g;
        REQUIRE(go(&b, &g, &options));
        struct generation_text one = generation_text(g, 0), two = generation_text(g, 1);
        CHECK(memcmp(one.ids, two.ids, sizeof kept) == 0);
        if (round > 0) {
            CHECK((memcmp(one.ids, kept, sizeof kept) == 0) == (round == 1));
        }
        memcpy(kept, one.ids, sizeof kept);
        generation_close(g);
    }
    bench_close(&b);
}

static void the_number_of_tokens_is_cut_to_what_fits(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    size_t most = engine_config(b.engine)->max_positions;
    int32_t *ids = memory_alloc(most + 1, sizeof *ids);
    for (size_t i = 0; i <= most; i++) {
        ids[i] = (int32_t)(i % 200);
    }
    struct generation_start start = {.ids = ids, .n_ids = most - 2};
    struct generation_options options = {.starts = &start, .n_starts = 1, .n_tokens = 50};
    struct generation *g = NULL;
    struct status st;
    if (go(&b, &g, &options)) {
        CHECK(generation_text(g, 0).n == 2);
    }
    generation_close(g);
    for (size_t n = most; n <= most + 1; n++) {
        start.n_ids = n;
        CHECK(generation_open(&g, b.engine, &options, &st) == STATUS_INVALID && !g);
        CHECK_CONTAINS(st.message, "No room to generate: ");
    }
    memory_free(ids);
    bench_close(&b);
}

static void refuses_what_cannot_be_generated_from(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    struct generation *g;
    struct status st;
    int32_t far = 1 << 20;
    struct generation_start start = {.ids = &far, .n_ids = 1};
    struct generation_options options = {.starts = &start, .n_starts = 1, .n_tokens = 1};
    CHECK(generation_open(&g, b.engine, &options, &st) == STATUS_INVALID);
    start.n_ids = 0;
    CHECK(generation_open(&g, b.engine, &options, &st) == STATUS_INVALID);
    const char *sources[] = {"7-nothing"};
    options.sources = sources;
    options.n_sources = 1;
    CHECK(generation_open(&g, b.engine, &options, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "sources[0]");
    bench_close(&b);
}

static void stops_when_cancelled_and_survives_every_failed_allocation(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    uint32_t index;
    struct edit edit = steering(case_of(&b, "steered"), &index);
    const char *sources[] = {source_of(&b, "res")};
    const struct generation_start starts[] = {{b.seven.ids, b.seven.n, &edit, 1},
                                              {b.seven.ids, 3, NULL, 0}};
    struct generation_options options = {.starts = starts,
                                         .n_starts = 2,
                                         .n_tokens = 2,
                                         .n_logprobs = 3,
                                         .sources = sources,
                                         .n_sources = 1,
                                         .n_features = 4};
    struct generation *g;
    struct status st = {0};
    bool more;
    atomic_bool cancel = true;
    REQUIRE_OK(generation_open(&g, b.engine, &options, &st), st);
    CHECK(generation_text(g, 0).n == 0);
    CHECK(generation_step(g, b.session, &cancel, &more, &st) == STATUS_CANCELLED && !more);
    generation_close(g);
    int failures = 0;
    for (long nth = 1;; nth++) {
        (void)memory_fail_after(nth);
        int code = generation_open(&g, b.engine, &options, &st);
        for (more = true; code == STATUS_OK && more;) {
            code = generation_step(g, b.session, NULL, &more, &st);
        }
        (void)memory_fail_after(0);
        generation_close(g);
        if (code == STATUS_OK) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        failures++;
        REQUIRE(nth < 1000);
    }
    CHECK(failures > 30);
    bench_close(&b);
}

static const struct test tests[] = {
    TEST(every_run_of_the_oracle_is_met),
    TEST(features_of_each_token_are_those_of_a_pass_over_the_text),
    TEST(a_stop_id_is_kept_and_ends_only_its_own_text),
    TEST(the_same_seed_gives_the_same_text_beside_any_other),
    TEST(the_number_of_tokens_is_cut_to_what_fits),
    TEST(refuses_what_cannot_be_generated_from),
    TEST(stops_when_cancelled_and_survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
