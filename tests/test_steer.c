/* POST /v1/steer/completion, completion-chat, /v1/apply-chat-template and their /api twins, over
 * the real route table: on the oracle's fixtures, on the demo, and on the demo with a chat template
 * put beside it. */
#include "tests/chat.h"
#include "tests/oracle.h"
#include "tests/steer_replies.h"

#define STEER "/v1/steer/completion"
#define RES "\"source\":\"2-gemmascope-res-2k\""
#define FEATURE_NONE "{\"source\":\"7-none\",\"index\":1,\"strength\":1}"
#define FEATURE "\"features\":[{" RES ",\"index\":251,\"strength\":40}]"

/* The last frame of a stream, as a tree; *n is how many there were. */
static cJSON *last_frame(const char *text, int *n)
{
    cJSON *last = NULL;
    *n = 0;
    for (const char *at = text; at && text_starts_with(at, "data: ");) {
        const char *end = strstr(at, "\n\n");
        if (!end) {
            break;
        }
        cJSON_Delete(last);
        last = cJSON_ParseWithLength(at + 6, (size_t)(end - at - 6));
        (*n)++;
        at = end + 2;
    }
    return last;
}

/* --- completion ------------------------------------------------------------------------------- */

/* Each run of section e by the requests that mean it. */
static void every_run_of_the_oracle_is_met_over_http(void)
{
    for (size_t i = 0; i < ORACLE_COUNT; i++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[i]) && v1_open(&v, o.folder));
        for (int r = 0; r < 4; r++) {
            char *body = steer_body(&o, steer_runs[r]);
            struct v1_answer a = v1_post(&v, STEER, body);
            steer_compare_reply(&o, steer_runs[r], &a);
            v1_free(&a);
            memory_free(body);
        }
        v1_close(&v);
        oracle_close(&o);
    }
}

static struct v1_answer complete(struct v1 *v, const char *rest)
{
    struct text body = {0};
    text_printf(&body, "{\"prompt\":\"In the beginning God created\",%s}", rest);
    struct v1_answer a = v1_post(v, STEER, body.data);
    text_free(&body);
    return a;
}

static void types_come_in_the_order_of_the_request_and_beside_each_other_as_alone(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer both =
        complete(&v, FEATURE ",\"types\":[\"STEERED\",\"DEFAULT\"],\"n_completion_tokens\":10");
    struct v1_answer turned = complete(
        &v, FEATURE ",\"types\":[\"DEFAULT\",\"STEERED\",\"DEFAULT\"],\"nCompletionTokens\":10");
    struct v1_answer alone = complete(&v, "\"types\":[\"DEFAULT\"],\"n_completion_tokens\":10");
    CHECK(both.status == 200 && turned.status == 200 && alone.status == 200);
    CHECK_STRING(v1_string(both.json, "outputs.0.type"), "STEERED");
    CHECK_STRING(v1_string(both.json, "outputs.1.type"), "DEFAULT");
    CHECK(v1_size(turned.json, "outputs") == 3);
    CHECK_STRING(v1_string(turned.json, "outputs.1.output"),
                 v1_string(both.json, "outputs.0.output"));
    CHECK_STRING(v1_string(turned.json, "outputs.2.output"),
                 v1_string(both.json, "outputs.1.output"));
    CHECK_STRING(v1_string(alone.json, "outputs.0.output"),
                 v1_string(both.json, "outputs.1.output"));
    CHECK(strcmp(v1_string(both.json, "outputs.0.output"),
                 v1_string(both.json, "outputs.1.output")) != 0);
    CHECK(!v1_at(both.json, "outputs.0.logprobs") && !v1_at(both.json, "outputs.0.tokens"));
    v1_free(&both);
    v1_free(&turned);
    v1_free(&alone);
    v1_close(&v);
}

/* The same text from every way to say the same thing. */
static void a_vector_an_edit_and_a_feature_say_the_same(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    float *row;
    size_t n;
    struct status st;
    REQUIRE_OK(engine_decoder_vector(v.app.engine, "2-gemmascope-res-2k", 251, &row, &n, &st), st);
    struct text vector = {0}, ways[4] = {{0}};
    for (size_t i = 0; i < n; i++) {
        text_printf(&vector, "%s%.9g", i ? "," : "", (double)row[i]);
    }
    memory_free(row);
    text_string(&ways[0], FEATURE);
    text_printf(&ways[1],
                "\"vectors\":[{\"steering_vector\":[%s],\"strength\":20,\"hook\":"
                "\"blocks.2.hook_resid_post\"}],\"strengthMultiplier\":2",
                vector.data);
    text_string(&ways[2], "\"edits\":[{\"type\":\"add\"," RES ",\"index\":251,\"strength\":40}]");
    text_printf(&ways[3],
                "\"features\":[{" RES ",\"index\":0,\"strength\":40,\"steeringVector\":[%s]}]",
                vector.data);
    char first[256] = "";
    for (int i = 0; i < 4; i++) {
        text_string(&ways[i], ",\"types\":[\"STEERED\"],\"n_completion_tokens\":8,\"temperature\":"
                              "0.7,\"seed\":3");
        struct v1_answer a = complete(&v, ways[i].data);
        CHECK(a.status == 200);
        if (i == 0) {
            (void)snprintf(first, sizeof first, "%s", v1_string(a.json, "outputs.0.output"));
        }
        CHECK_STRING(v1_string(a.json, "outputs.0.output"), first);
        v1_free(&a);
        text_free(&ways[i]);
    }
    text_free(&vector);
    v1_close(&v);
}

static void methods_are_the_edits_of_their_names(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const struct {
        const char *request, *edits;
    } cases[] = {{"\"steer_method\":\"ORTHOGONAL_DECOMP\",\"strength_multiplier\":2,"
                  "\"features\":[{" RES ",\"index\":251,\"strength\":9}]",
                  "\"edits\":[{\"type\":\"orthogonal\"," RES ",\"index\":251,\"strength\":18}]"},
                 {"\"steerMethod\":\"PROJECTION_CAP\",\"normalize_steering\":true,"
                  "\"features\":[{" RES ",\"index\":\"251\",\"strength\":-30}]",
                  "\"edits\":[{\"type\":\"cap\"," RES ",\"index\":251,\"strength\":-30}]"},
                 {"\"steer_method\":\"SIMPLE_ADDITIVE\",\"normalizeSteering\":true,"
                  "\"features\":[{" RES ",\"index\":251,\"strength\":33},{" RES
                  ",\"index\":3,\"strength\":-20}]",
                  "\"edits\":[{\"type\":\"add\"," RES
                  ",\"index\":251,\"strength\":33,\"unit\":true},"
                  "{\"type\":\"add\"," RES ",\"index\":3,\"strength\":-20,\"unit\":true}]"}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct text one = {0}, other = {0};
        static const char rest[] =
            ",\"types\":[\"STEERED\"],\"n_completion_tokens\":6,\"n_logprobs\":1";
        text_printf(&one, "%s%s", cases[i].request, rest);
        text_printf(&other, "%s%s", cases[i].edits, rest);
        struct v1_answer a = complete(&v, one.data), b = complete(&v, other.data);
        CHECK(a.status == 200 && b.status == 200);
        CHECK_STRING(a.text, b.text); /* log probabilities too */
        v1_free(&a);
        v1_free(&b);
        text_free(&one);
        text_free(&other);
    }
    v1_close(&v);
}

static void seeds_repeat_and_differ(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    char first[512] = "";
    for (int i = 0; i < 3; i++) {
        struct v1_answer a =
            complete(&v, i == 2 ? "\"types\":[\"DEFAULT\"],\"n_completion_tokens\":20,"
                                  "\"temperature\":1.2,\"seed\":18"
                                : "\"types\":[\"DEFAULT\"],\"n_completion_tokens\":20,"
                                  "\"temperature\":1.2,\"seed\":17");
        CHECK(a.status == 200);
        const char *output = v1_string(a.json, "outputs.0.output");
        if (i > 0) {
            CHECK((strcmp(output, first) == 0) == (i == 1));
        }
        (void)snprintf(first, sizeof first, "%s", output);
        v1_free(&a);
    }
    v1_close(&v);
}

static void logprobs_and_features_of_each_token_come_when_asked_for(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = complete(
        &v, "\"types\":[\"DEFAULT\"],\"n_completion_tokens\":4,\"nLogprobs\":3,"
            "\"sources\":[\"2-gemmascope-res-2k\",\"3-gemmascope-res-2k\"],\"topFeatures\":2");
    CHECK(a.status == 200);
    CHECK(v1_both_spellings(a.json) == 0);
    CHECK(v1_size(a.json, "outputs.0.logprobs") == 4);
    struct text joined = {0};
    for (int t = 0; t < 4; t++) {
        char path[64];
        (void)snprintf(path, sizeof path, "outputs.0.logprobs.%d", t);
        const cJSON *one = v1_at(a.json, path);
        CHECK(v1_size(one, "top_logprobs") == 3);
        text_string(&joined, v1_string(one, "token"));
        CHECK_STRING(v1_string(one, "token"), v1_string(one, "top_logprobs.0.token"));
        CHECK(v1_number(one, "logprob") == v1_number(one, "top_logprobs.0.logprob"));
        CHECK(v1_number(one, "logprob") < 0.0);
        (void)snprintf(path, sizeof path, "outputs.0.tokens.%d", t);
        one = v1_at(a.json, path);
        CHECK(v1_number(one, "token_position") == 6.0 + t);
        CHECK(v1_size(one, "top_features") == 4);
        CHECK_STRING(v1_string(one, "top_features.3.source"), "3-gemmascope-res-2k");
    }
    CHECK_STRING(v1_string(a.json, "outputs.0.output"), joined.data);
    text_free(&joined);
    v1_free(&a);
    v1_close(&v);
}

static void a_stream_repeats_the_reply_so_far(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer whole =
        complete(&v, FEATURE ",\"types\":[\"STEERED\",\"DEFAULT\"],\"n_completion_tokens\":6");
    struct v1_answer streamed =
        complete(&v, FEATURE
                 ",\"types\":[\"STEERED\",\"DEFAULT\"],\"n_completion_tokens\":6,\"stream\":true");
    CHECK(whole.status == 200 && streamed.status == 200);
    int n;
    cJSON *last = last_frame(streamed.text, &n);
    CHECK(n == 6);
    CHECK(last && cJSON_Compare(last, whole.json, true));
    cJSON_Delete(last);
    v1_free(&whole);
    v1_free(&streamed);
    streamed = complete(&v, "\"types\":[\"STEERED\"],\"n_completion_tokens\":6,\"stream\":true");
    CHECK(streamed.status == 400); /* an error before the first token has its own status */
    v1_free(&streamed);
    v1_close(&v);
}

static void eos_ends_the_text_and_is_part_of_it(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    /* "<eos>" (1) is made the likeliest: its own embedding less <pad>'s, added to what the head
     * reads */
    struct text body = {0};
    text_string(&body, "\"types\":[\"STEERED\"],\"n_completion_tokens\":9,\"edits\":[{\"type\":"
                       "\"add\",\"point\":\"final_norm\",\"strength\":300,\"vector\":[");
    struct engine_read read = {.kind = READ_POINT, .point = POINT_EMBED};
    const int32_t ids[] = {1, 0};
    struct engine_prompt prompt = {.ids = ids, .n_ids = 2, .reads = &read, .n_reads = 1};
    struct session *session;
    struct status st;
    REQUIRE_OK(session_create(&session, v.app.engine, &st), st);
    REQUIRE_OK(engine_trace(session, &prompt, 1, NULL, &st), st);
    for (size_t i = 0; i < read.shape[1]; i++) {
        float difference = read.data[i] - read.data[read.shape[1] + i];
        text_printf(&body, "%s%.9g", i ? "," : "", (double)difference);
    }
    engine_read_free(&read);
    session_destroy(session);
    text_string(&body, "]}]");
    struct v1_answer a = complete(&v, body.data);
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "outputs.0.output"), "<eos>");
    v1_free(&a);
    text_free(&body);
    v1_close(&v);
}

static void the_length_is_cut_to_what_fits_and_a_full_prompt_is_refused(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    size_t most = engine_config(v.app.engine)->max_positions;
    v.app.token_limit = most;
    for (size_t n = most - 3; n <= most; n += 3) {
        struct text body = {0};
        text_string(&body, "{\"tokens\":[2");
        for (size_t i = 1; i < n; i++) {
            text_string(&body, ",270");
        }
        text_string(&body, "],\"types\":[\"DEFAULT\"],\"n_completion_tokens\":50,"
                           "\"n_logprobs\":1}");
        struct v1_answer a = v1_post(&v, STEER, body.data);
        if (n < most) {
            CHECK(a.status == 200 && v1_size(a.json, "outputs.0.logprobs") == 3);
        } else {
            CHECK(a.status == 400);
            CHECK_CONTAINS(a.text, "No room to generate: ");
        }
        v1_free(&a);
        text_free(&body);
    }
    v1_close(&v);
}

static void mistakes_are_named(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const struct {
        const char *rest;
        int status;
        const char *part;
    } cases[] = {
        {"\"n_completion_tokens\":3", 422, "types: this field is missing"},
        {"\"types\":[],\"n_completion_tokens\":3", 422, "types: expected at least one"},
        {"\"types\":[\"OTHER\"],\"n_completion_tokens\":3", 422, "types: expected a list"},
        {"\"types\":[\"DEFAULT\"]", 422, "n_completion_tokens: this field is missing"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":0", 400, "n_completion_tokens"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"temperature\":-1", 400,
         "temperature"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"temperature\":\"1\"", 422,
         "temperature"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"n_logprobs\":11", 400, "n_logprobs"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"top_p\":2", 400, "top_p"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"sources\":[\"7-no\"]", 404,
         "sources[0]"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"sources\":[7]", 422, "sources[0]"},
        {"\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1,\"steer_method\":\"PUSH\"", 422,
         "steer_method"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1", 400,
         "exactly one of features or vectors must be provided"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[]", 400,
         "exactly one of features or vectors must be provided"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1," FEATURE
         ",\"vectors\":[{\"hook\":\"resid_post.1\",\"strength\":1,\"steering_vector\":[1]}]",
         400, "exactly one of features or vectors must be provided"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[5]", 422, "features[0]"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[{" RES ",\"index\":1}]",
         422, "features[0].strength"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[{" RES
         ",\"strength\":1}]",
         422, "features[0].index"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[{" RES
         ",\"strength\":1,\"index\":2048}]",
         400, "features[0].index"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1," FEATURE
         ",\"strength_multiplier\":\"2\"",
         422, "strength_multiplier"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"features\":[" FEATURE_NONE "]", 404,
         "features[0].source"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"vectors\":[{\"hook\":\"nowhere\","
         "\"strength\":1,\"steering_vector\":[1]}]",
         400, "vectors[0].hook"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"vectors\":[{\"hook\":"
         "\"resid_post.1\",\"strength\":1,\"steering_vector\":[1,2]}]",
         400, "vectors[0].steering_vector: expected 256 numbers"},
        {"\"types\":[\"STEERED\"],\"n_completion_tokens\":1,\"edits\":[{\"type\":\"zero\"}]", 422,
         "edits[0].point"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct v1_answer a = complete(&v, cases[i].rest);
        if (a.status != cases[i].status) {
            printf("    %s: %d\n", cases[i].rest, a.status);
        }
        CHECK(a.status == cases[i].status);
        CHECK_CONTAINS(a.text, cases[i].part);
        v1_free(&a);
    }
    v1_close(&v);
}

/* --- conversations ---------------------------------------------------------------------------- */

static void a_conversation_is_continued(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
    struct v1_answer a =
        v1_post(&v, "/v1/steer/completion-chat",
                "{\"prompt\":[{\"role\":\"user\",\"content\":\" Who made the light? \"}],"
                "\"types\":[\"STEERED\",\"DEFAULT\"]," FEATURE
                ",\"n_completion_tokens\":5,\"steer_special_tokens\":false,\"n_logprobs\":1}");
    CHECK(a.status == 200);
    CHECK(v1_both_spellings(a.json) == 0);
    CHECK(v1_size(a.json, "outputs") == 2);
    CHECK(v1_size(a.json, "outputs.0.chat_template") == 2);
    CHECK_STRING(v1_string(a.json, "outputs.0.chat_template.0.role"), "user");
    CHECK_STRING(v1_string(a.json, "outputs.0.chat_template.0.content"), " Who made the light? ");
    CHECK_STRING(v1_string(a.json, "outputs.1.chat_template.1.role"), "assistant");
    CHECK(v1_size(a.json, "outputs.1.logprobs") == 5);
    static const char rendered[] =
        "<bos><start_of_turn>user\nWho made the light?<end_of_turn>\n<start_of_turn>model\n";
    CHECK_STRING(v1_string(a.json, "input.raw"), rendered);
    CHECK(text_starts_with(v1_string(a.json, "outputs.0.raw"), rendered));
    CHECK(strlen(v1_string(a.json, "outputs.0.raw")) > strlen(rendered));
    CHECK(v1_size(a.json, "input.chat_template") == 1);
    CHECK(strcmp(v1_string(a.json, "outputs.0.raw"), v1_string(a.json, "outputs.1.raw")) != 0);
    v1_free(&a);
    v1_close(&v);
    scratch_close(&s);
}

/* Asked of a server that has read the first turn, and of one that has not. */
static void the_second_turn_does_not_read_the_first_one_again(void)
{
    struct v1 v, fresh;
    struct scratch s, t;
    REQUIRE(chat_open(&v, &s) && chat_open(&fresh, &t));
#define TURN(MESSAGES)                                                              \
    "{\"prompt\":[{\"role\":\"user\",\"content\":\"Who made the light?\"}" MESSAGES \
    "],\"types\":[\"STEERED\",\"DEFAULT\"]," FEATURE                                \
    ",\"n_completion_tokens\":6,\"steer_special_tokens\":false,\"temperature\":0,"  \
    "\"n_logprobs\":3}"
    static const char second[] = TURN(",{\"role\":\"model\",\"content\":\"the Lord\"},"
                                      "{\"role\":\"user\",\"content\":\"And the water?\"}");
    struct v1_answer first = v1_post(&v, "/v1/steer/completion-chat", TURN(""));
    CHECK(first.status == 200);
    CHECK(engine_prefixes(v.app.engine).texts == 2 && engine_prefixes(v.app.engine).reused == 0);
    struct v1_answer a = v1_post(&v, "/v1/steer/completion-chat", second);
    struct v1_answer b = v1_post(&fresh, "/v1/steer/completion-chat", second);
    CHECK(a.status == 200 && b.status == 200);
    CHECK_STRING(a.text, b.text);
    CHECK(engine_prefixes(v.app.engine).reused >= 2 * 16); /* of both texts, the prompt at least */
    CHECK(engine_prefixes(fresh.app.engine).reused == 0);
    v1_free(&first);
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
    v1_close(&fresh);
    scratch_close(&s);
    scratch_close(&t);
}

/* steer_special_tokens false is an edit at every position but those of special tokens. */
static void special_tokens_of_the_prompt_are_spared_unless_asked_for(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
#define CHAT                                                                           \
    "{\"prompt\":[{\"role\":\"user\",\"content\":\"light\"}],\"types\":[\"STEERED\"]," \
    "\"n_completion_tokens\":4,\"n_logprobs\":2,\"temperature\":0,"
#define ADD "{\"type\":\"add\"," RES ",\"index\":251,\"strength\":40"
    static const char *const pairs[2][2] = {
        {CHAT FEATURE ",\"steerSpecialTokens\":true}", CHAT "\"edits\":[" ADD "}]}"},
        {CHAT FEATURE ",\"steer_special_tokens\":false}",
         CHAT "\"edits\":[" ADD ",\"positions\":[PLAIN]}," ADD ",\"positions\":\"generated\"}]}"}};
    struct v1_answer t = v1_post(&v, "/v1/apply-chat-template",
                                 "{\"messages\":[{\"role\":\"user\",\"content\":\"light\"}]}");
    CHECK(t.status == 200);
    struct text plain = {0}, edited = {0};
    const cJSON *span;
    cJSON_ArrayForEach(span, v1_at(t.json, "spans"))
    {
        const char *token = v1_string(span, "token_str");
        if (token[0] != '<' || !token[1]) {
            text_printf(&plain, "%s%d", plain.length ? "," : "", (int)v1_number(span, "position"));
        }
    }
    const char *mark = strstr(pairs[1][1], "PLAIN");
    text_append(&edited, pairs[1][1], (size_t)(mark - pairs[1][1]));
    text_printf(&edited, "%s%s", plain.data, mark + 5);
    for (int i = 0; i < 2; i++) {
        struct v1_answer a = v1_post(&v, "/v1/steer/completion-chat", pairs[i][0]);
        struct v1_answer b =
            v1_post(&v, "/v1/steer/completion-chat", i ? edited.data : pairs[i][1]);
        CHECK(a.status == 200 && b.status == 200);
        CHECK_STRING(a.text, b.text);
        v1_free(&a);
        v1_free(&b);
    }
    text_free(&plain);
    text_free(&edited);
    v1_free(&t);
    v1_close(&v);
    scratch_close(&s);
}

static void the_template_says_which_token_belongs_where(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
    struct v1_answer a = v1_post(
        &v, "/v1/apply-chat-template",
        "{\"messages\":[{\"role\":\"user\",\"content\":[{\"type\":\"text\",\"text\":\" Let there "
        "\xE2\x96\x81 be\xF0\x9F\x8C\x9E\"}]},{\"role\":\"assistant\",\"content\":\"light\"}],"
        "\"addGenerationPrompt\":false}");
    CHECK(a.status == 200);
    CHECK_STRING(v1_string(a.json, "prompt"),
                 "<bos><start_of_turn>user\nLet there \xE2\x96\x81 be\xF0\x9F\x8C\x9E<end_of_turn>"
                 "\n<start_of_turn>model\nlight<end_of_turn>\n");
    CHECK(v1_size(a.json, "spans") == v1_size(a.json, "tokens"));
    int turns = 0, contents = 0;
    const cJSON *span;
    cJSON_ArrayForEach(span, v1_at(a.json, "spans"))
    {
        const char *token = v1_string(span, "token_str"), *section = v1_string(span, "section");
        if (strcmp(token, "<start_of_turn>") == 0) {
            CHECK_STRING(section, "header");
            CHECK(v1_number(span, "message_index") == turns++);
        }
        if (strcmp(token, "<end_of_turn>") == 0) {
            CHECK_STRING(section, "end");
        }
        contents += strcmp(section, "content") == 0;
        CHECK((strcmp(token, "<bos>") == 0) == (strcmp(section, "bos") == 0));
    }
    CHECK(turns == 2 && contents > 4);
    int n = v1_size(a.json, "spans");
    char path[32];
    (void)snprintf(path, sizeof path, "spans.%d.section", n - 1);
    CHECK_STRING(v1_string(a.json, path), "end");
    v1_free(&a);
    v1_close(&v);
    scratch_close(&s);
}

static void conversations_that_cannot_be_are_refused(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
    static const struct {
        const char *path, *body;
        int status;
        const char *part;
    } cases[] = {
        {"/v1/apply-chat-template", "{}", 422, "messages: this field is missing"},
        {"/v1/apply-chat-template", "{\"messages\":[]}", 400, "messages: expected at least one"},
        {"/v1/apply-chat-template", "{\"messages\":[{\"role\":\"system\",\"content\":\"a\"}]}", 400,
         "messages[0].role: System role not supported"},
        {"/v1/apply-chat-template", "{\"messages\":[{\"role\":\"user\"}]}", 422, "messages[0]"},
        {"/v1/apply-chat-template", "{\"messages\":[{\"role\":\"user\",\"content\":[{}]}]}", 422,
         "messages[0].content"},
        {"/v1/steer/completion-chat",
         "{\"prompt\":[{\"role\":\"assistant\",\"content\":\"a\"}],\"types\":[\"DEFAULT\"],"
         "\"n_completion_tokens\":1}",
         400, "prompt[0].role: Conversation roles must alternate"},
        {"/v1/steer/completion-chat",
         "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],\"types\":[\"DEFAULT\"],"
         "\"n_completion_tokens\":1,\"is_assistant_axis\":true}",
         501, "is_assistant_axis"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct v1_answer a = v1_post(&v, cases[i].path, cases[i].body);
        CHECK(a.status == cases[i].status);
        CHECK_CONTAINS(a.text, cases[i].part);
        v1_free(&a);
    }
    v1_close(&v);
    scratch_close(&s);
}

static void a_base_model_sends_conversations_to_the_completion(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char *const paths[] = {"/v1/steer/completion-chat", "/v1/apply-chat-template"};
    for (int i = 0; i < 2; i++) {
        struct v1_answer a = v1_post(&v, paths[i],
                                     "{\"prompt\":[{\"role\":\"user\",\"content\":\"a\"}],"
                                     "\"messages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                                     "\"types\":[\"DEFAULT\"],\"n_completion_tokens\":1}");
        CHECK(a.status == 400);
        CHECK_CONTAINS(a.text, "/v1/steer/completion");
        v1_free(&a);
    }
    v1_close(&v);
}

/* --- /api ------------------------------------------------------------------------------------- */

static void the_web_api_steers_side_by_side(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
#define WEB                                                                               \
    "\"modelId\":\"gemma-2-demo\",\"features\":[{\"modelId\":\"gemma-2-demo\",\"layer\":" \
    "\"2-gemmascope-res-2k\",\"index\":251,\"strength\":10}],\"temperature\":0,"          \
    "\"n_tokens\":4,\"freq_penalty\":0,\"seed\":16,\"strength_multiplier\":4,"            \
    "\"steer_method\":\"SIMPLE_ADDITIVE\""
    struct v1_answer web =
        v1_post(&v, "/api/steer", "{\"prompt\":\"In the beginning God created\"," WEB "}");
    struct v1_answer v1 =
        complete(&v, FEATURE ",\"types\":[\"STEERED\",\"DEFAULT\"],\"n_completion_tokens\":4");
    CHECK(web.status == 200);
    CHECK_STRING(v1_string(web.json, "STEERED"), v1_string(v1.json, "outputs.0.output"));
    CHECK_STRING(v1_string(web.json, "DEFAULT"), v1_string(v1.json, "outputs.1.output"));
    CHECK(v1_size(web.json, "steeredLogProbs") == 4);
    CHECK(v1_size(web.json, "defaultLogProbs.3.topLogprobs") == 5);
    CHECK(cJSON_HasObjectItem(web.json, "id") && cJSON_HasObjectItem(web.json, "shareUrl") &&
          cJSON_HasObjectItem(web.json, "limit"));
    v1_free(&web);
    v1_free(&v1);
    web = v1_post(&v, "/api/steer",
                  "{\"prompt\":\"In the beginning God created\",\"stream\":true," WEB "}");
    int n;
    cJSON *last = last_frame(web.text, &n);
    CHECK(n == 4 && v1_size(last, "steeredLogProbs") == 4);
    cJSON_Delete(last);
    v1_free(&web);
    web = v1_post(&v, "/api/steer-chat",
                  "{\"defaultChatMessages\":[{\"role\":\"user\",\"content\":\"a\"}],"
                  "\"steeredChatMessages\":[{\"role\":\"user\",\"content\":\"b c\"}],"
                  "\"steer_special_tokens\":true," WEB "}");
    CHECK(web.status == 200);
    CHECK_STRING(v1_string(web.json, "STEERED.chatTemplate.0.content"), "b c");
    CHECK_STRING(v1_string(web.json, "DEFAULT.chatTemplate.0.content"), "a");
    CHECK(text_starts_with(v1_string(web.json, "DEFAULT.raw"), "<bos><start_of_turn>user\na<"));
    CHECK(v1_size(web.json, "DEFAULT.logprobs") == 4);
    v1_free(&web);
    v1_close(&v);
    scratch_close(&s);
}

static void the_web_api_names_mistakes_as_message_too(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct text longer = {0};
    text_string(&longer, "{\"modelId\":\"gemma-2-demo\",\"n_tokens\":1,\"prompt\":\"");
    for (int i = 0; i < 2049; i++) {
        text_string(&longer, "a");
    }
    text_string(&longer, "\"}");
    const struct {
        const char *body;
        int status;
        const char *part;
    } cases[] = {
        {"{\"prompt\":\"a\",\"n_tokens\":1}", 422, "model_id"},
        {"{\"prompt\":\"a\",\"n_tokens\":1,\"modelId\":\"gpt2\"}", 404, "modelId"},
        {"{\"prompt\":\"a\",\"n_tokens\":257,\"modelId\":\"gemma-2-demo\"}", 400, "n_tokens"},
        {"{\"prompt\":\"a\",\"n_tokens\":2,\"temperature\":2.5,\"modelId\":\"gemma-2-demo\"}", 400,
         "temperature"},
        {"{\"prompt\":\"a\",\"n_tokens\":2,\"modelId\":\"gemma-2-demo\",\"features\":[{\"layer\":"
         "\"no\",\"index\":1,\"strength\":1}]}",
         404, "features[0].layer"},
        {longer.data, 400, "2048 characters"},
    };
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        struct v1_answer a = v1_post(&v, "/api/steer", cases[i].body);
        CHECK(a.status == cases[i].status);
        CHECK_CONTAINS(v1_string(a.json, "message"), cases[i].part);
        CHECK_STRING(v1_string(a.json, "message"), v1_string(a.json, "error"));
        v1_free(&a);
    }
    text_free(&longer);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(every_run_of_the_oracle_is_met_over_http),
    TEST(types_come_in_the_order_of_the_request_and_beside_each_other_as_alone),
    TEST(a_vector_an_edit_and_a_feature_say_the_same),
    TEST(methods_are_the_edits_of_their_names),
    TEST(seeds_repeat_and_differ),
    TEST(logprobs_and_features_of_each_token_come_when_asked_for),
    TEST(a_stream_repeats_the_reply_so_far),
    TEST(eos_ends_the_text_and_is_part_of_it),
    TEST(the_length_is_cut_to_what_fits_and_a_full_prompt_is_refused),
    TEST(mistakes_are_named),
    TEST(a_conversation_is_continued),
    TEST(the_second_turn_does_not_read_the_first_one_again),
    TEST(special_tokens_of_the_prompt_are_spared_unless_asked_for),
    TEST(the_template_says_which_token_belongs_where),
    TEST(conversations_that_cannot_be_are_refused),
    TEST(a_base_model_sends_conversations_to_the_completion),
    TEST(the_web_api_steers_side_by_side),
    TEST(the_web_api_names_mistakes_as_message_too),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
