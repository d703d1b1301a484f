/* Edits that say "as it was" change no bit: strength 0, a splice with its error added back, a
 * feature set to what it is. On every fixture and kind of source, below HTTP and over it, in traces
 * (logits, every layer, every activation), lenses, attribution, and texts that are continued. */
#include "tests/engine_fixture.h"
#include "tests/oracle.h"
#include "tests/v1.h"

static const char *const words[] = {"res", "att", "mlp", "tc", "res2"};
enum { WORDS = sizeof words / sizeof words[0] };

static const char *name_of(const struct oracle *o, const char *word)
{
    return cJSON_GetStringValue(json_get(json_get(o->lenses, "names"), word));
}

/* --- over the engine -------------------------------------------------------------------------- */

enum { KINDS = 7, READS = 4 };

/* The last feature of res, att and mlp is never active (README of the oracle); of the others it is
 * clamped at no position. */
static bool last_is_active(int word)
{
    return word > 2;
}

/* Edit `kind` of one source. */
static struct edit edit_of(int kind, const char *source, const struct sae_source *s, bool nowhere,
                           const uint32_t *inactive, const float *zero, float *vector, size_t width)
{
    struct edit e = {.source = source, .indices = inactive, .values = zero, .n = 1};
    switch (kind) {
    case 0:
    case 1:
        e.type = EDIT_ADD;
        e.unit = kind == 1;
        break;
    case 2:
        e.type = EDIT_ORTHOGONAL;
        e.strength = 1.0f;
        break;
    case 3:
        e.type = EDIT_CAP;
        e.strength = 1e30f;
        break;
    case 4:
        e.type = EDIT_CLAMP;
        e.where = nowhere ? EDIT_POSITIONS : EDIT_ALL;
        break;
    case 5:
        e = (struct edit){.type = EDIT_SPLICE, .source = source, .keep_error = true};
        break;
    default:
        e = (struct edit){.type = EDIT_ADD,
                          .point = s->output,
                          .layer = s->layer,
                          .vector = vector,
                          .n_vector = width};
    }
    return e;
}

static bool read_all(struct session *session, const struct oracle_prompt *p, const char *source,
                     int last, const struct edit *edits, size_t n, struct engine_read *reads)
{
    struct status st = {0};
    reads[0] = (struct engine_read){.kind = READ_POINT, .point = POINT_LOGITS};
    reads[1] = (struct engine_read){.kind = READ_POINT, .point = POINT_RESID_POST, .layer = last};
    reads[2] = (struct engine_read){.kind = READ_ACTS, .source = source};
    reads[3] = (struct engine_read){.kind = READ_ERROR, .source = source};
    struct engine_prompt prompt = {.ids = p->ids,
                                   .n_ids = p->n,
                                   .reads = reads,
                                   .n_reads = READS,
                                   .edits = edits,
                                   .n_edits = n};
    if (engine_trace(session, &prompt, 1, NULL, &st)) {
        printf("    %s: %s\n", source, st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static void no_bit_changes_over_the_engine(void)
{
    int compared = 0;
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct engine *e;
        struct session *session;
        struct status st = {0};
        REQUIRE(oracle_open(&o, oracle_names[f]));
        REQUIRE_OK(open_engine(&e, o.folder, EMBED_SCALE_AUTO, 2, NULL, &st), st);
        REQUIRE_OK(session_create(&session, e, &st), st);
        struct oracle_prompt p = oracle_prompt_named(&o, "window");
        int last = (int)engine_config(e)->n_layers - 1;
        for (int w = 0; w < WORDS; w++) {
            const char *source = name_of(&o, words[w]);
            const struct sae_source *s = catalogue_find(engine_catalogue(e), source);
            REQUIRE(s);
            const uint32_t inactive = (uint32_t)s->d_sae - 1;
            const float zero = 0.0f;
            float huge[128];
            for (size_t i = 0; i < 128; i++) {
                huge[i] = 3e38f;
            }
            struct edit edits[KINDS];
            struct engine_read clean[READS], edited[READS];
            REQUIRE(read_all(session, &p, source, last, NULL, 0, clean));
            for (int kind = 0; kind < KINDS; kind++) {
                edits[kind] =
                    edit_of(kind, source, s, last_is_active(w), &inactive, &zero, huge, s->d_out);
            }
            for (int kind = 0; kind <= KINDS; kind++) { /* each one, then all of them */
                bool all = kind == KINDS;
                if (read_all(session, &p, source, last, all ? edits : &edits[kind], all ? KINDS : 1,
                             edited)) {
                    for (int r = 0; r < READS; r++) {
                        size_t bytes = elements(&clean[r]) * sizeof(float);
                        CHECK(test_same_bytes(clean[r].data, edited[r].data, bytes));
                        compared++;
                    }
                    free_reads(edited, READS);
                }
            }
            free_reads(clean, READS);
        }
        session_destroy(session);
        engine_close(e);
        oracle_close(&o);
    }
    CHECK(compared == ORACLE_COUNT * WORDS * (KINDS + 1) * READS);
}

/* --- over HTTP -------------------------------------------------------------------------------- */

/* An edit of the source that changes nothing. */
static void write_edit(struct text *out, int kind, const struct sae_source *s, bool nowhere)
{
    static const char *const kinds[] = {
        "\"add\",\"index\":3,\"strength\":0",
        "\"add\",\"index\":3,\"strength\":7,\"multiplier\":0,\"unit\":true",
        "\"orthogonal\",\"index\":3,\"strength\":1", "\"cap\",\"index\":3,\"strength\":1e30",
        "\"splice\",\"keep_error\":true"};
    if (kind < 5) {
        text_printf(out, "{\"source\":\"%s\",\"type\":%s}", s->name, kinds[kind]);
    } else {
        text_printf(out, "{\"source\":\"%s\",\"type\":\"%s\",\"index\":%zu%s%s}", s->name,
                    kind == 5 ? "ablate" : "clamp", s->d_sae - 1, kind == 5 ? "" : ",\"value\":0",
                    nowhere ? ",\"positions\":[]" : "");
    }
}

static char *tokens_of(const struct oracle *o, const char *prompt)
{
    struct oracle_prompt p = oracle_prompt_named(o, prompt);
    struct text out = {0};
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&out, "%s%d", i ? "," : "{\"tokens\":[", (int)p.ids[i]);
    }
    text_string(&out, "]");
    return text_take(&out, NULL);
}

/* The request with `edits` (NULL: none). */
static struct v1_answer ask(struct v1 *v, const char *path, const char *body, const char *edits)
{
    struct text all = {0};
    text_printf(&all, edits ? "%s,\"edits\":[%s]}" : "%s}", body, edits);
    struct v1_answer a = v1_post(v, path, all.data);
    text_free(&all);
    return a;
}

static void same_bytes_with_every_edit(struct v1 *v, const struct oracle *o, const char *path,
                                       const char *body)
{
    struct v1_answer clean = ask(v, path, body, NULL);
    CHECK(clean.status == 200 && clean.length > 200);
    struct text all = {0};
    for (int k = 0; k <= WORDS * KINDS; k++) {
        struct text one = {0};
        if (k < WORDS * KINDS) {
            const struct sae_source *s =
                catalogue_find(engine_catalogue(v->app.engine), name_of(o, words[k / KINDS]));
            REQUIRE(s);
            write_edit(&one, k % KINDS, s, last_is_active(k / KINDS));
            text_printf(&all, "%s%s", k ? "," : "", one.data);
        }
        struct v1_answer a = ask(v, path, body, k < WORDS * KINDS ? one.data : all.data);
        if (a.status != 200 || a.length != clean.length ||
            memcmp(a.text, clean.text, a.length) != 0) {
            printf("    %s %s: %d, other bytes with %s\n", o->folder, path, a.status,
                   one.data ? one.data : "all of them");
            test_failures_++;
        }
        v1_free(&a);
        text_free(&one);
    }
    text_free(&all);
    v1_free(&clean);
}

static void no_byte_changes_over_http(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open_threads(&v, o.folder, 2));
        char *window = tokens_of(&o, "window"), *seven = tokens_of(&o, "seven");
        struct text body = {0};
        text_printf(&body, "%s,\"read\":[\"logits\",\"resid_post.*\"", window);
        for (int w = 0; w < WORDS; w++) {
            text_printf(&body, ",\"acts:%s\"", name_of(&o, words[w]));
        }
        text_string(&body, "],\"format\":\"safetensors\"");
        same_bytes_with_every_edit(&v, &o, "/v1/trace", body.data);
        text_clear(&body);
        text_printf(&body, "%s,\"stream\":false,\"num_completion_tokens\":4,\"temperature\":0",
                    seven);
        same_bytes_with_every_edit(&v, &o, "/v1/lens/prompt", body.data);
        text_clear(&body);
        text_printf(&body, "%s,\"neuron_layer\":1,\"sources\":[\"%s\"]", seven, name_of(&o, "tc"));
        same_bytes_with_every_edit(&v, &o, "/v1/attribution", body.data);
        text_free(&body);
        memory_free(window);
        memory_free(seven);
        v1_close(&v);
        oracle_close(&o);
    }
}

/* STEERED is DEFAULT where nothing is steered: ids, log probabilities and features. */
static void a_text_steered_by_nothing_is_the_text(void)
{
    static const char *const steers[] = {
        "\"steer_method\":\"SIMPLE_ADDITIVE\",\"strength_multiplier\":0",
        "\"steer_method\":\"SIMPLE_ADDITIVE\",\"strength_multiplier\":0,\"normalize_steering\":"
        "true",
        "\"steer_method\":\"ORTHOGONAL_DECOMP\",\"strength_multiplier\":0.25"};
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open_threads(&v, o.folder, 2));
        char *seven = tokens_of(&o, "seven");
        for (size_t s = 0; s < sizeof steers / sizeof steers[0]; s++) {
            struct text body = {0};
            text_printf(&body,
                        "%s,%s,\"types\":[\"DEFAULT\",\"STEERED\"],\"n_completion_tokens\":8,"
                        "\"n_logprobs\":5,\"sources\":[\"%s\"],\"temperature\":0.7,\"seed\":5,"
                        "\"features\":[{\"source\":\"%s\",\"index\":3,\"strength\":4}]}",
                        seven, steers[s], name_of(&o, "mlp"), name_of(&o, "res"));
            struct v1_answer a = v1_post(&v, "/v1/steer/completion", body.data);
            if (a.status != 200) {
                printf("    %s\n", a.text);
            }
            CHECK(a.status == 200 && v1_size(a.json, "outputs") == 2);
            static const char *const parts[] = {"output", "tokens", "logprobs"};
            for (int i = 0; i < 3; i++) {
                char path[2][32];
                for (int t = 0; t < 2; t++) {
                    (void)snprintf(path[t], sizeof path[t], "outputs.%d.%s", t, parts[i]);
                }
                CHECK(v1_at(a.json, path[0]) != NULL);
                CHECK(cJSON_Compare(v1_at(a.json, path[0]), v1_at(a.json, path[1]), true));
            }
            v1_free(&a);
            text_free(&body);
        }
        memory_free(seven);
        v1_close(&v);
        oracle_close(&o);
    }
}

static const struct test tests[] = {TEST(no_bit_changes_over_the_engine),
                                    TEST(no_byte_changes_over_http),
                                    TEST(a_text_steered_by_nothing_is_the_text)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
