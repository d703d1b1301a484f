/* Edits held against the oracle (README of tests/fixtures/oracle: steering of the first set,
 * sections a, d and f of the second), alone and beside unedited prompts in one pass. */
#include "core/engine.h"
#include "tests/oracle.h"

enum { MAX_EDITS = 4, MAX_VALUES = 4 };

struct bench {
    struct oracle oracle;
    struct engine *engine;
    struct session *session;
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
    return ok;
}

static void bench_close(struct bench *b)
{
    session_destroy(b->session);
    engine_close(b->engine);
    oracle_close(&b->oracle);
}

/* A list of edits as the oracle's JSON writes them, with room for what they point to. */
struct list {
    struct edit edits[MAX_EDITS];
    uint32_t indices[MAX_EDITS][MAX_VALUES];
    float values[MAX_EDITS][MAX_VALUES];
    size_t n;
};

static void read_features(struct list *l, const cJSON *op)
{
    struct edit *e = &l->edits[l->n];
    const cJSON *one = json_get(op, "feature"), *many = json_get(op, "features");
    const cJSON *item = one ? one : many ? many->child : NULL;
    for (; item && e->n < MAX_VALUES; item = one ? NULL : item->next) {
        const cJSON *value = cJSON_GetArrayItem(json_get(op, "values"), (int)e->n);
        l->values[l->n][e->n] = value ? (float)value->valuedouble : 0.0f;
        l->indices[l->n][e->n++] = (uint32_t)item->valueint;
    }
    e->indices = l->indices[l->n];
    e->values = l->values[l->n];
}

static void list_add(struct list *l, const cJSON *op)
{
    static const struct {
        const char *kind;
        enum edit_type type;
    } kinds[] = {{"add", EDIT_ADD},
                 {"orthogonal", EDIT_ORTHOGONAL},
                 {"cap", EDIT_CAP},
                 {"clamp", EDIT_CLAMP},
                 {"set_dim", EDIT_SET},
                 {"splice", EDIT_SPLICE},
                 {"error_only", EDIT_ERROR_ONLY}};
    struct edit *e = &l->edits[l->n];
    const char *kind = json_get(op, "kind")->valuestring;
    const cJSON *site = json_get(op, "site"), *where = json_get(op, "positions");
    const cJSON *multiplier = json_get(op, "multiplier"), *strength = json_get(op, "strength");
    for (size_t i = 0; i < TEST_COUNT(kinds); i++) {
        if (strcmp(kinds[i].kind, kind) == 0) {
            e->type = kinds[i].type;
        }
    }
    e->source = cJSON_GetStringValue(json_get(op, "source"));
    if (site) {
        CHECK(point_find(site->valuestring, strlen(site->valuestring), &e->point));
        e->layer = json_get(op, "layer")->valueint;
    }
    e->strength =
        strength ? (float)(strength->valuedouble * (multiplier ? multiplier->valuedouble : 1.0))
                 : 0.0f;
    e->unit = cJSON_IsTrue(json_get(op, "unit"));
    if (e->type == EDIT_SET) {
        e->dim = (size_t)json_get(op, "dim")->valueint;
        e->value = (float)json_get(op, "value")->valuedouble;
    }
    if (where && strcmp(where->valuestring, "last") == 0) {
        e->where = EDIT_LAST;
    }
    e->skip_bos = where && strcmp(where->valuestring, "skip_bos") == 0;
    read_features(l, op);
    l->n++;
}

static const char *source_of(const struct bench *b, const char *word)
{
    return json_get(json_get(b->oracle.lenses, "names"), word)->valuestring;
}

static struct engine_read logits_read(void)
{
    return (struct engine_read){.kind = READ_POINT, .point = POINT_LOGITS};
}

/* Reads one thing of the edited prompt, beside two unedited ones when packed. */
static bool run(struct bench *b, const struct oracle_prompt *p, const struct edit *edits, size_t n,
                bool packed, struct engine_read *reads, size_t n_reads)
{
    struct oracle_prompt one = oracle_prompt_named(&b->oracle, "one");
    struct oracle_prompt repeat = oracle_prompt_named(&b->oracle, "repeat");
    struct engine_read aside[2] = {logits_read(), logits_read()};
    struct engine_prompt prompts[3] = {{.ids = one.ids, .n_ids = one.n},
                                       {.ids = p->ids, .n_ids = p->n},
                                       {.ids = repeat.ids, .n_ids = repeat.n}};
    prompts[0].reads = &aside[0];
    prompts[2].reads = &aside[1];
    prompts[0].n_reads = prompts[2].n_reads = 1;
    prompts[1].reads = reads;
    prompts[1].n_reads = n_reads;
    prompts[1].edits = edits;
    prompts[1].n_edits = n;
    struct status st = {0};
    int code = engine_trace(b->session, packed ? prompts : prompts + 1, packed ? 3 : 1, NULL, &st);
    if (code) {
        printf("    %s: %s\n", p->name, st.message);
        test_failures_++;
        return false;
    }
    if (packed) { /* the neighbours notice nothing */
        const struct tensor *want = oracle_array(&b->oracle, "repeat.logits");
        (void)oracle_compare(aside[1].data, want, 0, tensor_elements(want), 1e-3, 0, "repeat");
    }
    engine_read_free(&aside[0]);
    engine_read_free(&aside[1]);
    return true;
}

/* Logits, resid_post or loss of the edited prompt, their last values against the array `want`. */
static void compare(struct bench *b, const char *prompt, const struct list *l,
                    struct engine_read read, const struct tensor *want, size_t first,
                    const char *label)
{
    struct oracle_prompt p = oracle_prompt_named(&b->oracle, prompt);
    for (int packed = 0; packed < 2; packed++) {
        struct engine_read copy = read;
        if (!run(b, &p, l->edits, l->n, packed, &copy, 1)) {
            continue;
        }
        size_t all = copy.shape[0] * (copy.n_dims > 1 ? copy.shape[1] : 1);
        size_t n = tensor_elements(want) - first;
        n = n < all ? n : all;
        (void)oracle_compare(copy.data + all - n, want, first, n, 1e-3, 1e-4, label);
        engine_read_free(&copy);
    }
}

static void steering_of_the_first_set_agrees(void)
{
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct bench b;
        if (!bench_open(&b, i)) {
            return;
        }
        const cJSON *steer = json_get(json_get(b.oracle.cases, "scalars"), "steer");
        static const char *const runs[] = {"add_pos", "add_neg", "clamp_zero", "clamp_high"};
        int last = (int)engine_config(b.engine)->n_layers - 1;
        for (int k = 0; k < 4; k++) {
            struct list l = {.n = 1, .indices = {{(uint32_t)json_get(steer, "feature")->valueint}}};
            float value = (float)json_get(steer, runs[k])->valuedouble;
            l.values[0][0] = value;
            l.edits[0] = (struct edit){.type = k < 2 ? EDIT_ADD : EDIT_CLAMP,
                                       .source = source_of(&b, "res"),
                                       .indices = l.indices[0],
                                       .values = l.values[0],
                                       .n = 1,
                                       .strength = value};
            const struct tensor *logits =
                oracle_array(&b.oracle, "window.steer.%s.logits", runs[k]);
            const struct tensor *resid =
                oracle_array(&b.oracle, "window.steer.%s.resid_post", runs[k]);
            REQUIRE(logits && resid);
            compare(&b, "window", &l, logits_read(), logits, 0, runs[k]);
            struct engine_read read = {.kind = READ_POINT, .point = POINT_RESID_POST};
            read.layer = json_get(steer, "layer")->valueint;
            compare(&b, "window", &l, read, resid, 0, runs[k]);
            read.layer = last;
            compare(&b, "window", &l, read, resid, tensor_elements(resid) / 2, runs[k]);
        }
        bench_close(&b);
    }
}

static void every_edit_of_the_second_set_agrees(void)
{
    size_t compared = 0;
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct bench b;
        if (!bench_open(&b, i)) {
            return;
        }
        const cJSON *edit, *op;
        cJSON_ArrayForEach(edit, json_get(b.oracle.lenses, "edits"))
        {
            struct list l = {.n = 0};
            const char *name = json_get(edit, "name")->valuestring;
            cJSON_ArrayForEach(op, json_get(edit, "ops"))
            {
                list_add(&l, op);
            }
            const struct tensor *want = oracle_array(&b.oracle, "window.edit.%s.logits", name);
            REQUIRE(want);
            compare(&b, "window", &l, logits_read(), want, 0, name);
            compared++;
        }
        bench_close(&b);
    }
    CHECK(compared > 80);
}

static void losses_spliced_and_zeroed_agree(void)
{
    static const char *const words[] = {"res", "att", "mlp", "tc"};
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct bench b;
        if (!bench_open(&b, i)) {
            return;
        }
        struct engine_read loss = {.kind = READ_POINT, .point = POINT_LOSS};
        for (int k = 0; k < 4; k++) {
            struct list l = {.n = 1};
            l.edits[0] = (struct edit){.type = EDIT_SPLICE, .source = source_of(&b, words[k])};
            if (k < 3) {
                const struct tensor *want =
                    oracle_array(&b.oracle, "window.sae_%s.loss_spliced", words[k]);
                REQUIRE(want);
                compare(&b, "window", &l, loss, want, 0, words[k]);
                l.edits[0].type = EDIT_ZERO;
                want = oracle_array(&b.oracle, "window.sae_%s.loss_zeroed", words[k]);
                compare(&b, "window", &l, loss, want, 0, words[k]);
            } else {
                for (int s = 0; s < 2; s++) {
                    const char *prompt = s ? "seven" : "window";
                    const struct tensor *want =
                        oracle_array(&b.oracle, "%s.tc.loss_spliced", prompt);
                    REQUIRE(want);
                    compare(&b, prompt, &l, loss, want, 0, words[k]);
                }
            }
            /* dark matter's runs, which other edits make */
            static const struct {
                const char *name;
                enum edit_type type;
                bool skip_bos;
            } runs[] = {{"splice", EDIT_SPLICE, false},
                        {"splice_keep_bos", EDIT_SPLICE, true},
                        {"zero", EDIT_ZERO, false},
                        {"error_only", EDIT_ERROR_ONLY, false}};
            for (int r = 0; r < (k < 3 ? 4 : 2); r++) {
                const struct tensor *want =
                    oracle_array(&b.oracle, "seven.dark_%s.loss_%s", words[k], runs[r].name);
                REQUIRE(want);
                l.edits[0].type = runs[r].type;
                l.edits[0].skip_bos = runs[r].skip_bos;
                compare(&b, "seven", &l, loss, want, 0, runs[r].name);
            }
        }
        bench_close(&b);
    }
}

/* --- bits ------------------------------------------------------------------------------------- */

static void edits_that_change_nothing_change_no_bit(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    struct oracle_prompt p = oracle_prompt_named(&b.oracle, "window");
    const char *res = source_of(&b, "res"), *tc = source_of(&b, "tc");
    uint32_t index = 2;
    float own = 0.0f, huge[48];
    for (size_t d = 0; d < 48; d++) {
        huge[d] = 3e38f;
    }
    const struct edit nothing[] = {
        {.type = EDIT_ADD, .source = res, .indices = &index, .n = 1},
        {.type = EDIT_ADD, .source = res, .indices = &index, .n = 1, .unit = true},
        {.type = EDIT_ADD, .point = POINT_ATTN_OUT, .layer = 1, .vector = huge, .n_vector = 48},
        {.type = EDIT_ORTHOGONAL, .source = res, .indices = &index, .n = 1, .strength = 1.0f},
        {.type = EDIT_CAP, .source = res, .indices = &index, .n = 1, .strength = 1e30f},
        {.type = EDIT_SPLICE, .source = res, .keep_error = true},
        {.type = EDIT_SPLICE, .source = tc, .keep_error = true},
        {.type = EDIT_ZERO, .point = POINT_RESID_POST, .where = EDIT_GENERATED},
        {.type = EDIT_ZERO, .point = POINT_RESID_POST, .where = EDIT_POSITIONS},
        {.type = EDIT_CLAMP,
         .source = res,
         .indices = (const uint32_t[]){157},
         .values = &own,
         .n = 1},
    };
    for (int packed = 0; packed < 2; packed++) {
        struct engine_read clean = logits_read(), edited = logits_read();
        REQUIRE(run(&b, &p, NULL, 0, packed, &clean, 1));
        size_t bytes = clean.shape[0] * clean.shape[1] * sizeof(float);
        for (size_t i = 0; i <= TEST_COUNT(nothing); i++) { /* each one, then all of them */
            bool all = i == TEST_COUNT(nothing);
            if (run(&b, &p, all ? nothing : &nothing[i], all ? i : 1, packed, &edited, 1)) {
                CHECK(memcmp(clean.data, edited.data, bytes) == 0);
                engine_read_free(&edited);
            }
        }
        engine_read_free(&clean);
    }
    bench_close(&b);
}

static void what_is_read_is_what_the_edits_left(void)
{
    struct bench b;
    if (!bench_open(&b, 2)) {
        return;
    }
    struct oracle_prompt p = oracle_prompt_named(&b.oracle, "seven");
    const char *res = source_of(&b, "res");
    const struct sae_source *s = catalogue_find(engine_catalogue(b.engine), res);
    const struct edit edits[] = {
        {.type = EDIT_SET, .point = POINT_EMBED, .dim = 3, .value = 7.5f, .where = EDIT_PROMPT},
        {.type = EDIT_ZERO,
         .source = res,
         .where = EDIT_POSITIONS,
         .positions = (const int32_t[]){1, 4},
         .n_positions = 2},
        {.type = EDIT_SET, .source = res, .dim = 0, .value = -2.0f, .where = EDIT_LAST}};
    struct engine_read reads[] = {
        {.kind = READ_POINT, .point = POINT_EMBED},
        {.kind = READ_POINT, .point = POINT_RESID_POST, .layer = s->layer},
        {.kind = READ_INPUT, .source = res}};
    REQUIRE(run(&b, &p, edits, 3, false, reads, 3));
    size_t D = reads[0].shape[1];
    for (size_t t = 0; t < p.n; t++) {
        CHECK(reads[0].data[t * D + 3] == 7.5f);
        for (size_t d = 0; d < D; d++) {
            CHECK((reads[1].data[t * D + d] == 0.0f) == (t == 1 || t == 4));
        }
    }
    CHECK(reads[1].data[(p.n - 1) * D] == -2.0f);
    CHECK(memcmp(reads[1].data, reads[2].data, p.n * D * sizeof(float)) == 0);
    for (int i = 0; i < 3; i++) {
        engine_read_free(&reads[i]);
    }
    bench_close(&b);
}

/* --- refusals --------------------------------------------------------------------------------- */

static void refused(struct bench *b, const struct edit *e, int code, const char *part)
{
    struct oracle_prompt p = oracle_prompt_named(&b->oracle, "one");
    struct status st = {0};
    CHECK(engine_check_edits(b->engine, e, 1, &st) == code);
    CHECK_CONTAINS(st.message, part);
    struct engine_read read = logits_read();
    struct engine_prompt prompt = {
        .ids = p.ids, .n_ids = p.n, .reads = &read, .n_reads = 1, .edits = e, .n_edits = 1};
    status_clear(&st);
    CHECK(engine_trace(b->session, &prompt, 1, NULL, &st) == code);
}

static void names_the_edit_and_the_field_that_is_wrong(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    const char *res = source_of(&b, "res");
    uint32_t far = 160, two[] = {3, 3};
    float values[] = {1.0f, NAN}, zeros[48] = {0};
    struct edit e = {.type = EDIT_ADD, .source = "9-nothing", .indices = &far, .n = 1};
    refused(&b, &e, STATUS_NOT_FOUND, "9-nothing");
    e.source = res;
    refused(&b, &e, STATUS_INVALID, "edits[0].index: expected 0 to 159");
    e = (struct edit){.type = EDIT_CLAMP, .source = res, .indices = two, .values = values, .n = 2};
    refused(&b, &e, STATUS_INVALID, "twice");
    two[1] = 4;
    refused(&b, &e, STATUS_INVALID, "edits[0].value");
    e.n = 0;
    refused(&b, &e, STATUS_INVALID, "edits[0].index");
    e = (struct edit){.type = EDIT_SPLICE, .point = POINT_RESID_POST};
    refused(&b, &e, STATUS_INVALID, "edits[0].source");
    e = (struct edit){.type = EDIT_ADD, .point = POINT_RESID_POST};
    refused(&b, &e, STATUS_INVALID, "a source and an index, or a point and a vector");
    e.vector = zeros;
    e.n_vector = 47;
    refused(&b, &e, STATUS_INVALID, "expected 48 numbers for resid_post, found 47");
    e.n_vector = 48;
    refused(&b, &e, STATUS_INVALID, "edits[0].vector: all");
    zeros[7] = INFINITY;
    refused(&b, &e, STATUS_INVALID, "edits[0].vector[7]");
    e = (struct edit){.type = EDIT_ZERO, .point = POINT_RESID_POST, .layer = 4};
    refused(&b, &e, STATUS_INVALID, "0..3");
    e.point = POINT_PATTERN;
    refused(&b, &e, STATUS_INVALID, "pattern cannot be edited");
    e.point = POINT_MLP_IN_PREGAIN;
    refused(&b, &e, STATUS_INVALID, "does not read mlp_in_pregain");
    e = (struct edit){.type = EDIT_SET, .point = POINT_Z, .dim = 64};
    refused(&b, &e, STATUS_INVALID, "edits[0].dim: expected 0 to 63");
    e = (struct edit){.type = EDIT_SET, .point = POINT_Z, .value = INFINITY};
    refused(&b, &e, STATUS_INVALID, "edits[0].value");
    e = (struct edit){.type = EDIT_ZERO, .point = POINT_Z, .strength = NAN};
    refused(&b, &e, STATUS_INVALID, "edits[0].strength");
    e = (struct edit){.type = EDIT_ZERO,
                      .point = POINT_Z,
                      .where = EDIT_POSITIONS,
                      .positions = (const int32_t[]){-1},
                      .n_positions = 1};
    refused(&b, &e, STATUS_INVALID, "edits[0].positions");
    bench_close(&b);
}

static void survives_every_failed_allocation(void)
{
    struct bench b;
    if (!bench_open(&b, 0)) {
        return;
    }
    struct oracle_prompt p = oracle_prompt_named(&b.oracle, "one");
    uint32_t index = 2;
    float value = 3.0f;
    const struct edit edits[] = {
        {.type = EDIT_SPLICE, .source = source_of(&b, "tc")},
        {.type = EDIT_CLAMP,
         .source = source_of(&b, "res"),
         .indices = &index,
         .values = &value,
         .n = 1},
        {.type = EDIT_CAP, .source = source_of(&b, "att"), .indices = &index, .n = 1}};
    struct engine_read read = logits_read();
    struct engine_prompt prompt = {
        .ids = p.ids, .n_ids = p.n, .reads = &read, .n_reads = 1, .edits = edits, .n_edits = 3};
    int failures = 0;
    struct status st = {0};
    for (long nth = 1;; nth++) {
        (void)memory_fail_after(nth);
        int code = engine_trace(b.session, &prompt, 1, NULL, &st);
        (void)memory_fail_after(0);
        if (code == STATUS_OK) {
            break;
        }
        CHECK(code == STATUS_MEMORY);
        failures++;
        REQUIRE(nth < 500);
    }
    CHECK(failures > 10);
    engine_read_free(&read);
    bench_close(&b);
}

static const struct test tests[] = {
    TEST(steering_of_the_first_set_agrees),    TEST(every_edit_of_the_second_set_agrees),
    TEST(losses_spliced_and_zeroed_agree),     TEST(edits_that_change_nothing_change_no_bit),
    TEST(what_is_read_is_what_the_edits_left), TEST(names_the_edit_and_the_field_that_is_wrong),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
