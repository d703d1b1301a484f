/* POST /v1/lens/prompt: the oracle's tables over HTTP, the frames, and what is refused. */
#include "tests/chat.h"
#include "tests/lens_replies.h"

#include <pthread.h>

#define PATH "/v1/lens/prompt"
#define ALL_SITES                                                                     \
    "\"sites\":[\"embed\",\"resid_pre\",\"attn_out_raw\",\"attn_out\",\"resid_mid\"," \
    "\"mlp_out_raw\",\"mlp_out\",\"resid_post\"]"

/* The lines of a stream, as trees. */
struct frames {
    cJSON *items[300];
    int n;
};

static struct frames split(const char *text)
{
    struct frames f = {0};
    while (text && *text) {
        const char *end = strchr(text, '\n');
        CHECK(end != NULL);
        if (!end || f.n == 300) {
            break;
        }
        f.items[f.n] = cJSON_ParseWithLength(text, (size_t)(end - text));
        CHECK(f.items[f.n] != NULL);
        f.n += f.items[f.n] != NULL;
        text = end + 1;
    }
    return f;
}

static void free_frames(struct frames *f)
{
    for (int i = 0; i < f->n; i++) {
        cJSON_Delete(f->items[i]);
    }
}

/* --- the oracle ------------------------------------------------------------------------------- */

static void reads_every_layer_as_the_oracle_does(void)
{
    static const char *const prompts[] = {"one", "window"};
    for (int f = 0; f < ORACLE_COUNT; f++) {
        static char first[2][1 << 19];
        first[0][0] = first[1][0] = '\0';
        for (int threads = 1; threads <= 2; threads++) {
            struct v1 v;
            struct oracle o;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(v1_open_threads(&v, o.folder, threads));
            for (int p = 0; p < 2; p++) {
                struct v1_answer a =
                    v1_ask_oracle(&v, oracle_names[f], prompts[p], PATH,
                                  "{\"tokens\":", ",\"top_n\":5,\"stream\":false}");
                CHECK(a.status == 200 && lens_compare_reply(&o, prompts[p], a.json) > 0);
                if (first[p][0]) { /* the number of threads changes no byte */
                    CHECK_STRING(a.text, first[p]);
                } else {
                    CHECK(a.length < sizeof first[p]);
                    (void)snprintf(first[p], sizeof first[p], "%s", a.text);
                }
                v1_free(&a);
            }
            v1_close(&v);
            oracle_close(&o);
        }
    }
}

/* --- alone and among others ------------------------------------------------------------------- */

struct visitor {
    struct v1 *v;
    const char *path, *body, *want;
    int wrong;
};

static void *visit(void *argument)
{
    struct visitor *visitor = argument;
    for (int i = 0; i < 3; i++) {
        struct v1_answer a = v1_post(visitor->v, visitor->path, visitor->body);
        visitor->wrong += !a.text || strcmp(a.text, visitor->want) != 0;
        v1_free(&a);
    }
    return NULL;
}

static void answers_the_same_whoever_else_asks(void)
{
    static const char *const requests[][2] = {
        {PATH, "{\"tokens\":[2,5,9,11,7,3],\"top_n\":4," ALL_SITES ",\"track\":[7]}"},
        {PATH, "{\"tokens\":[2,200,100,50],\"num_completion_tokens\":4,\"temperature\":0}"},
        {PATH, "{\"tokens\":[9,9,9],\"stream\":false,\"norm\":\"none\"}"},
        {"/v1/trace", "{\"tokens\":[2,5,9,11,7,3],\"read\":[\"logits\"],\"top\":3}"}};
    enum { N = sizeof requests / sizeof requests[0] };
    struct v1 v;
    REQUIRE(v1_open_threads(&v, V1_ORACLE "/gemma3-nano-bf16", 2));
    struct v1_answer alone[N];
    struct visitor visitors[N];
    pthread_t threads[N];
    for (int i = 0; i < N; i++) {
        alone[i] = v1_post(&v, requests[i][0], requests[i][1]);
        CHECK(alone[i].status == 200);
        visitors[i] = (struct visitor){&v, requests[i][0], requests[i][1], alone[i].text, 0};
    }
    for (int i = 0; i < N; i++) {
        REQUIRE(pthread_create(&threads[i], NULL, visit, &visitors[i]) == 0);
    }
    for (int i = 0; i < N; i++) {
        pthread_join(threads[i], NULL);
        CHECK(visitors[i].wrong == 0);
        v1_free(&alone[i]);
    }
    v1_close(&v);
}

/* --- what the figures say --------------------------------------------------------------------- */

static void the_last_layer_is_what_the_model_says(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    const char *prompt = "\"prompt\":\"In the beginning God created the heaven\"";
    char body[256];
    (void)snprintf(body, sizeof body,
                   "{%s,\"top_n\":10,\"filter_non_word_tokens\":false,\"stream\":false}", prompt);
    struct v1_answer lens = v1_post(&v, PATH, body);
    (void)snprintf(body, sizeof body, "{%s,\"read\":[\"logits\"],\"top\":10}", prompt);
    struct v1_answer trace = v1_post(&v, "/v1/trace", body);
    REQUIRE(lens.status == 200 && trace.status == 200);
    int n = v1_size(lens.json, "tokens");
    CHECK(n == 9);
    for (int t = 0; t < n; t++) {
        static const char *const names[] = {"ids", "logits", "probs"};
        for (int i = 0; i < 3; i++) {
            for (int k = 0; k < 10; k++) {
                char path[80], other[80];
                (void)snprintf(path, sizeof path, "tokens.%d.results.0.top_%s.4.%d", t, names[i],
                               k);
                (void)snprintf(other, sizeof other, "tensors.top_%s.data.%d", names[i], t * 10 + k);
                CHECK(v1_number(lens.json, path) == v1_number(trace.json, other)); /* every bit */
            }
        }
        char path[80];
        (void)snprintf(path, sizeof path, "tokens.%d.results.0.kl.4", t);
        CHECK(v1_number(lens.json, path) == 0.0);
        (void)snprintf(path, sizeof path, "tokens.%d.results.0.kl.0", t);
        CHECK(v1_number(lens.json, path) > 0.1);
    }
    v1_free(&lens);
    v1_free(&trace);
    v1_close(&v);
}

/* resid_pre.0 is embed, resid_pre.l+1 is resid_post.l: the same rows say the same. */
static void every_site_has_its_rows(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    struct v1_answer a =
        v1_post(&v, PATH,
                "{\"tokens\":[2,5,9],\"stream\":false,\"top_n\":3,\"track\":[9,17]," ALL_SITES "}");
    REQUIRE(a.status == 200);
    CHECK(v1_size(a.json, "meta.layers_by_site") == 8);
    CHECK(v1_size(a.json, "meta.layers_by_site.embed") == 1);
    CHECK(v1_size(a.json, "meta.layers_by_site.mlp_out") == 4);
    static const char *const lists[] = {"top_ids",     "top_logits",  "top_probs",
                                        "track_probs", "track_ranks", "track_logits"};
    for (int t = 0; t < 3; t++) {
        char path[64];
        (void)snprintf(path, sizeof path, "tokens.%d.results", t);
        const cJSON *results = v1_at(a.json, path);
        CHECK(cJSON_GetArraySize(results) == 8);
        const cJSON *embed = cJSON_GetArrayItem(results, 0), *pre = cJSON_GetArrayItem(results, 1),
                    *mid = cJSON_GetArrayItem(results, 4), *post = cJSON_GetArrayItem(results, 7);
        CHECK_STRING(v1_string(embed, "site"), "embed");
        CHECK_STRING(v1_string(post, "site"), "resid_post");
        for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
            const cJSON *e = json_get(embed, lists[i]), *p = json_get(pre, lists[i]),
                        *q = json_get(post, lists[i]), *m = json_get(mid, lists[i]);
            CHECK(cJSON_GetArraySize(e) == 1 && cJSON_GetArraySize(p) == 4);
            CHECK(cJSON_Compare(e->child, p->child, true));
            for (int l = 0; l < 3; l++) {
                CHECK(cJSON_Compare(cJSON_GetArrayItem(p, l + 1), cJSON_GetArrayItem(q, l), true));
            }
            CHECK(!cJSON_Compare(m, q, true));
        }
    }
    v1_free(&a);
    v1_close(&v);
}

static void tracked_tokens_have_rank_and_probability(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"prompt\":\"In the beginning God created\",\"positions\":[-1],"
                                 "\"top_n\":100,\"filterNonWordTokens\":false,\"stream\":false,"
                                 "\"track\":[\" the\",265,\" the\"]}");
    REQUIRE(a.status == 200);
    CHECK(v1_size(a.json, "tokens") == 1 && v1_number(a.json, "tokens.0.position") == 5);
    CHECK_STRING(v1_string(a.json, "meta.track.0.token"), " the");
    CHECK(v1_number(a.json, "meta.track.0.id") == 270);
    CHECK_STRING(v1_string(a.json, "meta.track.1.token"), " a");
    const cJSON *site = v1_at(a.json, "tokens.0.results.0");
    int found = 0;
    for (int l = 0; l < 5; l++) {
        for (int k = 0; k < 2; k++) {
            char path[64];
            (void)snprintf(path, sizeof path, "track_ranks.%d.%d", l, k);
            int rank = (int)v1_number(site, path);
            CHECK(rank >= 1 && rank <= 4096);
            (void)snprintf(path, sizeof path, "top_ids.%d.%d", l, rank - 1);
            if (rank > 100) {
                continue;
            }
            found++;
            CHECK(v1_number(site, path) == (k ? 265 : 270));
            static const char *const kinds[] = {"probs", "logits"};
            for (int i = 0; i < 2; i++) {
                char other[64];
                (void)snprintf(path, sizeof path, "top_%s.%d.%d", kinds[i], l, rank - 1);
                (void)snprintf(other, sizeof other, "track_%s.%d.%d", kinds[i], l, k);
                CHECK(v1_number(site, path) == v1_number(site, other));
            }
        }
    }
    CHECK(found >= 6);
    v1_free(&a);
    v1_close(&v);
}

static void words_alone_are_kept_unless_one_says_otherwise(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, PATH,
                                 "{\"prompt\":\"In the beginning God created the heaven and the "
                                 "earth\",\"top_n\":3,\"stream\":false}");
    REQUIRE(a.status == 200);
    /* "," is likely behind "earth": the model's own first token stays, and nothing else of its kind
     */
    const cJSON *site = v1_at(a.json, "tokens.11.results.0");
    int others = 0;
    for (int l = 0; l < 5; l++) {
        for (int k = 0; k < 3; k++) {
            char path[64];
            (void)snprintf(path, sizeof path, "top_tokens.%d.%d", l, k);
            const char *token = v1_string(site, path);
            bool word = strspn(token, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ -'") ==
                        strlen(token);
            others += !word;
            CHECK(word || (l == 4 && k == 0) || (unsigned char)token[0] >= 0x80);
        }
    }
    CHECK(others >= 1 && cJSON_IsTrue(v1_at(a.json, "meta.filter_non_word_tokens")));
    v1_free(&a);
    v1_close(&v);
    REQUIRE(
        v1_open(&v, V1_ORACLE "/gemma3-nano-bf16")); /* no tokenizer: nothing to tell words by */
    a = v1_post(&v, PATH, "{\"tokens\":[2,3],\"top_n\":3,\"stream\":false}");
    CHECK(v1_size(a.json, "tokens.0.results.0.top_ids.0") == 3);
    CHECK(cJSON_IsFalse(v1_at(a.json, "meta.filter_non_word_tokens")));
    v1_free(&a);
    v1_close(&v);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void streams_what_it_also_says_in_one_object(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char common[] = "{\"model\":\"any\",\"type\":\"LOGIT_LENS\",\"tokens\":"
                                 "[2,908,270,3378,1265,1767],\"top_n\":2,\"layers\":[1,1,0],"
                                 "\"num_completion_tokens\":3,\"temperature\":0";
    char body[512];
    (void)snprintf(body, sizeof body, "%s}", common);
    struct v1_answer a = v1_post(&v, PATH, body);
    struct frames f = split(a.text);
    REQUIRE(f.n == 2 + 6 + 3 + 1);
    (void)snprintf(body, sizeof body, "%s,\"stream\":false}", common);
    struct v1_answer b = v1_post(&v, PATH, body);
    REQUIRE(b.status == 200);
    CHECK(v1_size(b.json, "meta.layers_by_type.LOGIT_LENS") == 3); /* the last one always */
    CHECK(v1_number(b.json, "meta.layers_by_type.LOGIT_LENS.2") == 4);
    CHECK(cJSON_Compare(f.items[0], json_get(b.json, "meta"), true));
    CHECK_STRING(v1_string(f.items[1], "kind"), "prompt");
    CHECK(v1_size(f.items[1], "tokens") == 6);
    CHECK_STRING(v1_string(f.items[1], "tokens.4.token"), " God");
    CHECK(cJSON_IsNull(v1_at(f.items[1], "tokens.4.role")));
    CHECK(v1_size(b.json, "tokens") == 9);
    for (int t = 0; t < 9; t++) {
        const cJSON *token = cJSON_GetArrayItem(json_get(b.json, "tokens"), t);
        CHECK(cJSON_Compare(f.items[2 + t], token, true));
        CHECK(v1_number(token, "position") == t);
        CHECK(cJSON_IsTrue(json_get(token, "is_generated")) == (t >= 6));
        CHECK(v1_size(token, "results.0.top_tokens") == 3);
    }
    CHECK(cJSON_Compare(f.items[11], json_get(b.json, "done"), true));
    CHECK(v1_number(b.json, "done.seq_len") == 9 && v1_number(b.json, "done.prompt_len") == 6);
    CHECK(v1_number(b.json, "done.vocab_size") == 4096);
    CHECK_STRING(v1_string(b.json, "done.completion"), " a new and");
    /* what the last layer says is what is generated */
    CHECK(v1_number(b.json, "tokens.5.results.0.top_ids.2.0") == v1_number(b.json, "tokens.6.id"));
    free_frames(&f);
    v1_free(&a);
    v1_free(&b);
    v1_close(&v);
}

static void a_conversation_says_whose_token_each_is(void)
{
    struct v1 v;
    struct scratch s;
    REQUIRE(chat_open(&v, &s));
    struct v1_answer a =
        v1_post(&v, PATH,
                "{\"chat\":[{\"role\":\"user\",\"content\":\"Who made the light\"}],"
                "\"top_n\":1,\"num_completion_tokens\":2,\"temperature\":0}");
    struct frames f = split(a.text);
    REQUIRE(a.status == 200 && f.n > 10);
    const cJSON *tokens = json_get(f.items[1], "tokens");
    int n = cJSON_GetArraySize(tokens);
    CHECK_STRING(v1_string(tokens, "0.token"), "<bos>");
    CHECK_STRING(v1_string(tokens, "0.section"), "bos");
    CHECK(cJSON_IsNull(v1_at(tokens, "0.message_index")));
    bool said = false;
    for (int i = 1; i < n; i++) {
        const cJSON *token = cJSON_GetArrayItem(tokens, i);
        said = said || (strcmp(v1_string(token, "token"), " made") == 0 &&
                        strcmp(v1_string(token, "role"), "user") == 0 &&
                        strcmp(v1_string(token, "section"), "content") == 0 &&
                        v1_number(token, "message_index") == 0);
    }
    const cJSON *last = cJSON_GetArrayItem(tokens, n - 1), *made = f.items[f.n - 2];
    CHECK(said);
    CHECK_STRING(v1_string(last, "section"), "generation_prompt");
    CHECK_STRING(v1_string(last, "role"), "assistant");
    CHECK(cJSON_IsTrue(json_get(made, "is_generated")));
    CHECK_STRING(v1_string(made, "role"), "assistant");
    CHECK_STRING(v1_string(made, "section"), "content");
    free_frames(&f);
    v1_free(&a);
    v1_refuses(&v, PATH, &(struct v1_bad){"{\"chat\":[{\"role\":\"user\"}]}", 422, "chat[0]"}, 1);
    v1_close(&v);
    scratch_close(&s);
}

static void leaves_out_what_the_client_has(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char ids[] = "{\"tokens\":[2,908,270,3378],\"stream\":false,\"top_n\":2";
    char body[512];
    (void)snprintf(body, sizeof body, "%s}", ids);
    struct v1_answer all = v1_post(&v, PATH, body);
    (void)snprintf(body, sizeof body, "%s,\"cached_token_ids\":[2,908,7]}", ids);
    struct v1_answer some = v1_post(&v, PATH, body);
    CHECK(v1_number(some.json, "meta.reuse_len") == 2 && v1_size(some.json, "tokens") == 2);
    CHECK(cJSON_Compare(v1_at(all.json, "tokens.2"), v1_at(some.json, "tokens.0"), true));
    v1_free(&some);
    (void)snprintf(body, sizeof body,
                   "%s,\"cached_token_ids\":[2,908,7],\"edits\":[{\"type\":\"zero\",\"point\":"
                   "\"mlp_out.1\"}]}",
                   ids);
    some = v1_post(&v, PATH, body);
    CHECK(v1_number(some.json, "meta.reuse_len") == 0 && v1_size(some.json, "tokens") == 4);
    CHECK(!cJSON_Compare(v1_at(all.json, "tokens.2"), v1_at(some.json, "tokens.2"), true));
    v1_free(&some);
    some = v1_post(&v, PATH,
                   "{\"input_token_ids\":[2,908,270,3378],\"prompt\":\"else\",\"stream\":false,"
                   "\"top_n\":2,\"num_completion_tokens\":9}");
    CHECK(cJSON_Compare(json_get(all.json, "tokens"), json_get(some.json, "tokens"), true));
    v1_free(&some);
    some = v1_post(&v, PATH, "{\"prompt\":\"In the\",\"prepend_bos\":false,\"stream\":false}");
    CHECK(v1_number(some.json, "meta.prompt_len") == 2);
    CHECK(v1_number(some.json, "tokens.0.id") == 908);
    v1_free(&some);
    v1_free(&all);
    v1_close(&v);
}

static void edits_that_change_nothing_change_no_byte(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    static const char ids[] = "{\"tokens\":[2,908,270,3378,1265],\"stream\":false," ALL_SITES;
    char body[700];
    (void)snprintf(body, sizeof body, "%s}", ids);
    struct v1_answer plain = v1_post(&v, PATH, body);
    (void)snprintf(
        body, sizeof body,
        "%s,\"edits\":[{\"type\":\"add\",\"source\":\"2-gemmascope-res-2k\",\"index\":251,"
        "\"strength\":0},{\"type\":\"splice\",\"source\":\"2-gemmascope-res-2k\","
        "\"keep_error\":true}]}",
        ids);
    struct v1_answer edited = v1_post(&v, PATH, body);
    CHECK(plain.status == 200 && edited.status == 200);
    CHECK_STRING(edited.text, plain.text);
    v1_free(&edited);
    (void)snprintf(body, sizeof body,
                   "%s,\"edits\":[{\"type\":\"add\",\"source\":\"2-gemmascope-res-2k\","
                   "\"index\":251,\"strength\":9}]}",
                   ids);
    edited = v1_post(&v, PATH, body);
    CHECK(edited.status == 200 && strcmp(edited.text, plain.text) != 0);
    v1_free(&edited);
    v1_free(&plain);
    v1_close(&v);
}

static void names_what_is_wrong(void)
{
    static const struct v1_bad bad[] = {
        {"{}", 422, "prompt"},
        {"{\"prompt\":1}", 422, "prompt"},
        {"{\"prompt\":\"a\",\"tokens\":[2]}", 400, "prompt"},
        {"{\"prompt\":\"a\",\"chat\":[]}", 400, "chat"},
        {"{\"chat\":[{\"role\":\"user\",\"content\":\"hi\"}]}", 400, "chat template"},
        {"{\"tokens\":[]}", 400, "tokens"},
        {"{\"tokens\":[2,4096]}", 400, "tokens[1]"},
        {"{\"input_token_ids\":[2,-1]}", 400, "input_token_ids[1]"},
        {"{\"prompt\":\"a\",\"type\":[\"JACOBIAN_LENS\"]}", 400, "Jacobian"},
        {"{\"prompt\":\"a\",\"type\":\"TUNED\"}", 422, "type"},
        {"{\"prompt\":\"a\",\"type\":[]}", 400, "type"},
        {"{\"prompt\":\"a\",\"type\":[3]}", 422, "type"},
        {"{\"prompt\":\"a\",\"top_n\":101}", 400, "top_n"},
        {"{\"prompt\":\"a\",\"top_n\":1.5}", 422, "top_n"},
        {"{\"prompt\":\"a\",\"layers\":[5]}", 400, "layers"},
        {"{\"prompt\":\"a\",\"layers\":[\"1\"]}", 422, "layers"},
        {"{\"prompt\":\"a\",\"layers\":3}", 422, "layers"},
        {"{\"prompt\":\"a\",\"sites\":[\"neurons\"]}", 400, "sites"},
        {"{\"prompt\":\"a\",\"sites\":[1]}", 422, "sites"},
        {"{\"prompt\":\"a\",\"norm\":\"rms\"}", 400, "norm"},
        {"{\"prompt\":\"a\",\"softcap\":1}", 422, "softcap"},
        {"{\"prompt\":\"a\",\"positions\":[2]}", 400, "positions"},
        {"{\"prompt\":\"a\",\"positions\":[]}", 400, "positions"},
        {"{\"prompt\":\"a\",\"track\":[\"a long text\"]}", 400, "track[0]"},
        {"{\"prompt\":\"a\",\"track\":[4096]}", 400, "track[0]"},
        {"{\"prompt\":\"a\",\"track\":[null]}", 422, "track[0]"},
        {"{\"prompt\":\"a\",\"tuned\":\"none\"}", 404, "tuned"},
        {"{\"prompt\":\"a\",\"tuned\":1}", 422, "tuned"},
        {"{\"prompt\":\"a\",\"stream\":\"no\"}", 422, "stream"},
        {"{\"prompt\":\"a\",\"num_completion_tokens\":-1}", 400, "num_completion_tokens"},
        {"{\"prompt\":\"a\",\"temperature\":-1}", 400, "temperature"},
        {"{\"prompt\":\"a\",\"cached_token_ids\":[\"2\"]}", 422, "cached_token_ids"},
        {"{\"prompt\":\"a\",\"steer_tokens\":[{\"token\":\" a\"}]}", 501, "steer_tokens"},
        {"{\"prompt\":\"a\",\"swap_token\":{}}", 501, "swap_token"},
        {"{\"prompt\":\"a\",\"edits\":[{\"type\":\"add\"}]}", 422, "edits[0]"},
        {"[]", 400, "body"}};
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, PATH, bad, sizeof bad / sizeof bad[0]);
    v.app.token_limit = 3;
    v1_refuses(&v, PATH, &(struct v1_bad){"{\"tokens\":[2,3,4,5]}", 400, "4 tokens, max is 3"}, 1);
    v.app.reply_limit = 1000;
    v1_refuses(&v, PATH, &(struct v1_bad){"{\"tokens\":[2,3]}", 413, "--reply-limit"}, 1);
    v1_close(&v);
}

static const struct test tests[] = {TEST(reads_every_layer_as_the_oracle_does),
                                    TEST(answers_the_same_whoever_else_asks),
                                    TEST(the_last_layer_is_what_the_model_says),
                                    TEST(every_site_has_its_rows),
                                    TEST(tracked_tokens_have_rank_and_probability),
                                    TEST(words_alone_are_kept_unless_one_says_otherwise),
                                    TEST(streams_what_it_also_says_in_one_object),
                                    TEST(a_conversation_says_whose_token_each_is),
                                    TEST(leaves_out_what_the_client_has),
                                    TEST(edits_that_change_nothing_change_no_byte),
                                    TEST(names_what_is_wrong)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
