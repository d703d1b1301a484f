/* POST /v1/dark-matter held against section f of the oracle: every array and every total of every
 * fixture, of window and seven, alone and beside other requests, with one thread and with two. */
#include "tests/hold.h"
#include "tests/lens_replies.h"

#define DARK "/v1/dark-matter"
#define DEMO_BODY "\"prompt\":\"In the beginning\",\"source\":\"2-gemmascope-res-2k\""

static void meets_every_array_and_total_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int threads = 1; threads <= 2; threads++) {
            struct oracle o;
            struct v1 v;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(v1_open_threads(&v, o.folder, threads));
            for (int i = 0; i < 8; i++) {
                char *body = dark_body(&o, lens_prompts[i / 4], dark_words[i % 4]);
                struct v1_answer a = v1_post(&v, DARK, body);
                CHECK(dark_compare_reply(&o, &a, lens_prompts[i / 4], dark_words[i % 4]) > 0);
                v1_free(&a);
                memory_free(body);
            }
            v1_close(&v);
            oracle_close(&o);
        }
    }
}

struct caller {
    pthread_t thread;
    struct v1 *v;
    const char *path;
    char *body;
    struct v1_answer answer;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    c->answer = v1_post(c->v, c->path, c->body);
    return NULL;
}

/* All eight at once, and a trace of each prompt among them: the same bytes as alone. */
static void answers_the_same_beside_other_requests(void)
{
    for (int threads = 1; threads <= 2; threads++) {
        struct oracle o;
        struct v1 v;
        struct caller callers[16] = {0};
        struct hold hold;
        REQUIRE(oracle_open(&o, oracle_names[0]));
        REQUIRE(v1_open_threads(&v, o.folder, threads));
        CHECK(hold_worker(&hold, &v));
        for (int i = 0; i < 16; i++) {
            callers[i] = (struct caller){.v = &v, .path = i % 2 ? "/v1/trace" : DARK};
            callers[i].body = i % 2 ? memory_string("{\"tokens\":[2,5,9],\"read\":[\"loss\"]}")
                                    : dark_body(&o, lens_prompts[i / 8], dark_words[i / 2 % 4]);
            CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0);
        }
        while (queue_depth(v.app.queue) < 16) {
            usleep(1000);
        }
        sem_post(&hold.go);
        for (int i = 0; i < 16; i++) {
            pthread_join(callers[i].thread, NULL);
            CHECK(callers[i].answer.status == 200);
        }
        for (int i = 0; i < 16; i += 2) {
            struct v1_answer alone = v1_post(&v, DARK, callers[i].body);
            dark_compare_reply(&o, &callers[i].answer, lens_prompts[i / 8], dark_words[i / 2 % 4]);
            CHECK_STRING(callers[i].answer.text, alone.text);
            v1_free(&alone);
        }
        for (int i = 0; i < 16; i++) {
            v1_free(&callers[i].answer);
            memory_free(callers[i].body);
        }
        hold_free(&hold);
        v1_close(&v);
        oracle_close(&o);
    }
}

/* A row of another reply is the same text: kl_splice of a request with one run and of one with all.
 */
static void answers_only_the_runs_asked_for(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer all = v1_post(&v, DARK, "{" DEMO_BODY "}");
    struct v1_answer one = v1_post(&v, DARK, "{" DEMO_BODY ",\"runs\":[\"mean\"],\"top\":0}");
    struct v1_answer none = v1_post(&v, DARK, "{" DEMO_BODY ",\"runs\":[]}");
    CHECK(all.status == 200 && one.status == 200 && none.status == 200);
    CHECK(cJSON_Compare(v1_at(all.json, "kl_mean"), v1_at(one.json, "kl_mean"), true));
    CHECK(cJSON_Compare(v1_at(all.json, "err_share"), v1_at(none.json, "err_share"), true));
    CHECK(cJSON_Compare(v1_at(all.json, "loss_clean"), v1_at(none.json, "loss_clean"), true));
    CHECK(cJSON_Compare(v1_at(all.json, "votes"), v1_at(none.json, "votes"), true));
    CHECK(v1_at(one.json, "kl_splice") == NULL && v1_at(none.json, "kl_mean") == NULL);
    CHECK(cJSON_IsNull(v1_at(one.json, "votes")));
    CHECK(cJSON_IsNull(v1_at(one.json, "totals.loss_recovered")));
    CHECK(v1_size(all.json, "votes") == 4 && v1_size(all.json, "votes.1.promoted") == 5);
    CHECK(v1_number(all.json, "votes.1.promoted.0.logit") >
          v1_number(all.json, "votes.1.promoted.1.logit"));
    CHECK(v1_number(all.json, "votes.1.suppressed.0.logit") <
          v1_number(all.json, "votes.1.suppressed.1.logit"));
    v1_free(&all);
    v1_free(&one);
    v1_free(&none);
    v1_close(&v);
}

/* err votes for its argmax with the logit that err_logit says: found among all of the votes. */
static void votes_are_the_errors_own_logits(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a =
        v1_post(&v, DARK,
                "{\"prompt\":\"In the beginning God created the heaven and the earth.\","
                "\"source\":\"2-gemmascope-res-2k\",\"runs\":[],\"top\":50}");
    int found = 0;
    for (int t = 0; t < v1_size(a.json, "votes"); t++) {
        char path[64];
        for (int side = 0; side < 2; side++) {
            snprintf(path, sizeof path, "votes.%d.%s", t, side ? "suppressed" : "promoted");
            const cJSON *vote;
            cJSON_ArrayForEach(vote, v1_at(a.json, path))
            {
                snprintf(path, sizeof path, "argmax.%d", t);
                if (v1_number(vote, "id") == v1_number(a.json, path)) {
                    snprintf(path, sizeof path, "err_logit.%d", t);
                    CHECK_NEAR(v1_number(vote, "logit"), v1_number(a.json, path), 1e-4);
                    found++;
                }
            }
        }
    }
    CHECK(found > 0);
    v1_free(&a);
    v1_close(&v);
}

static void says_null_for_one_token_alone(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    struct v1_answer a = v1_post(&v, DARK, "{\"tokens\":[2],\"source\":\"2-gemmascope-res-2k\"}");
    CHECK(a.status == 200);
    CHECK(v1_size(a.json, "loss_splice") == 0 && v1_size(a.json, "err_norm") == 1);
    CHECK(cJSON_IsNull(v1_at(a.json, "fvu_token.0")) && cJSON_IsNull(v1_at(a.json, "kl_mean.0")));
    CHECK(cJSON_IsNull(v1_at(a.json, "totals.ce_clean")));
    CHECK(cJSON_IsNull(v1_at(a.json, "totals.mean_l0_skip_first")));
    v1_free(&a);
    v1_close(&v);
}

static void names_what_is_wrong(void)
{
    static const struct v1_bad bad[] = {
        {"{\"source\":\"2-gemmascope-res-2k\"}", 422, "prompt"},
        {"{\"prompt\":\"a\"}", 422, "source"},
        {"{\"prompt\":\"a\",\"source\":5}", 422, "source"},
        {"{\"prompt\":\"a\",\"source\":\"9-gemmascope-res-2k\"}", 404, "source"},
        {"{\"prompt\":\"a\",\"source\":\"2\"}", 400, "neurons"},
        {"{\"tokens\":[999999],\"source\":\"2-gemmascope-res-2k\"}", 400, "tokens"},
        {"{" DEMO_BODY ",\"runs\":[\"spliced\"]}", 400, "runs"},
        {"{" DEMO_BODY ",\"runs\":[1]}", 422, "runs"},
        {"{" DEMO_BODY ",\"runs\":\"zero\"}", 422, "runs"},
        {"{" DEMO_BODY ",\"top\":51}", 400, "top"},
        {"{" DEMO_BODY ",\"top\":\"x\"}", 422, "top"},
        {"[]", 400, "object"},
    };
    struct v1 v;
    REQUIRE(v1_open(&v, V1_DEMO));
    v1_refuses(&v, DARK, bad, sizeof bad / sizeof bad[0]);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(meets_every_array_and_total_alone), TEST(answers_the_same_beside_other_requests),
    TEST(answers_only_the_runs_asked_for),   TEST(votes_are_the_errors_own_logits),
    TEST(says_null_for_one_token_alone),     TEST(names_what_is_wrong),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
