/* Everything at once: lens, attribution, dark matter, trace with edits, activations and texts to be
 * continued wait together for a worker that is held, so that they share its passes. Every array of
 * the oracle is met, and every byte is what the request gets alone, with one thread and with two.
 */
#include "tests/edit_replies.h"
#include "tests/hold.h"
#include "tests/lens_replies.h"
#include "tests/steer_replies.h"

enum { MAX = 80 };

enum kind { LENS, ATTRIBUTION, DARK, EDIT, SOURCE, STEER };

struct caller {
    pthread_t thread;
    struct v1 *v;
    enum kind kind;
    const char *path, *prompt, *word;
    const cJSON *edit;
    char *body;
    struct v1_answer answer;
};

struct crowd {
    struct caller callers[MAX];
    int n;
};

static struct caller *join(struct crowd *c, enum kind kind, const char *path, char *body)
{
    struct caller *caller = &c->callers[c->n];
    *caller = (struct caller){.kind = kind, .path = path, .body = body};
    c->n += c->n + 1 < MAX;
    return caller;
}

static char *tokens_body(const struct oracle *o, const char *prompt, bool batch, const char *more)
{
    const struct oracle_prompt p = oracle_prompt_named(o, prompt);
    struct text body = {0};
    text_string(&body, batch ? "{\"tokens\":[[" : "{\"tokens\":[");
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p.ids[i]);
    }
    text_printf(&body, "%s,%s}", batch ? "]]" : "]", more);
    return text_take(&body, NULL);
}

static void gather(struct crowd *c, const struct oracle *o)
{
    static const char *const tables[] = {"one", "window"};
    c->n = 0;
    for (int i = 0; i < 8; i++) {
        const char *prompt = lens_prompts[i / 4], *word = dark_words[i % 4];
        struct caller *caller = join(c, DARK, "/v1/dark-matter", dark_body(o, prompt, word));
        caller->prompt = prompt;
        caller->word = word;
    }
    for (int i = 0; i < 2; i++) {
        join(c, LENS, "/v1/lens/prompt",
             tokens_body(o, tables[i], false, "\"top_n\":5,\"stream\":false"))
            ->prompt = tables[i];
        join(c, ATTRIBUTION, "/v1/attribution", attribution_body(o, lens_prompts[i]))->prompt =
            lens_prompts[i];
    }
    for (int i = 0; i < 4; i++) {
        join(c, STEER, "/v1/steer/completion", steer_body(o, steer_runs[i]))->word = steer_runs[i];
        char more[200];
        (void)snprintf(more, sizeof more, "\"source\":\"%s\"",
                       v1_string(json_get(o->lenses, "names"), dark_words[i]));
        char *body = tokens_body(o, "window", true, more);
        join(c, SOURCE, "/v1/activation/source", body);
    }
    const cJSON *edit;
    cJSON_ArrayForEach(edit, json_get(o->lenses, "edits"))
    {
        join(c, EDIT, "/v1/trace", edit_body(o, edit))->edit = edit;
    }
}

static void *call(void *argument)
{
    struct caller *c = argument;
    c->answer = v1_post(c->v, c->path, c->body);
    return NULL;
}

static void compare(const struct oracle *o, const struct caller *c)
{
    const struct v1_answer *a = &c->answer;
    CHECK(a->status == 200);
    if (c->kind == LENS) {
        CHECK(lens_compare_reply(o, c->prompt, a->json) > 0);
    } else if (c->kind == ATTRIBUTION) {
        attribution_compare_reply(o, c->v, c->prompt, a->json);
    } else if (c->kind == DARK) {
        CHECK(dark_compare_reply(o, a, c->prompt, c->word) > 0);
    } else if (c->kind == EDIT) {
        edit_compare_reply(o, c->edit, a);
    } else if (c->kind == STEER) {
        steer_compare_reply(o, c->word, a);
    }
}

/* All of them at once on `v`; returns the passes that it took. */
static uint64_t run_together(struct crowd *c, struct v1 *v)
{
    struct hold hold;
    CHECK(hold_worker(&hold, v));
    uint64_t before = engine_passes_computed(v->app.engine);
    for (int i = 0; i < c->n; i++) {
        c->callers[i].v = v;
        CHECK(pthread_create(&c->callers[i].thread, NULL, call, &c->callers[i]) == 0);
    }
    while (queue_depth(v->app.queue) < (size_t)c->n) {
        usleep(1000);
    }
    sem_post(&hold.go);
    for (int i = 0; i < c->n; i++) {
        pthread_join(c->callers[i].thread, NULL);
    }
    hold_free(&hold);
    return engine_passes_computed(v->app.engine) - before;
}

static void meets_every_array_packed_with_others_byte_for_byte_as_alone(void)
{
    static struct crowd alone, together;
    for (int f = 0; f < ORACLE_COUNT; f++) {
        struct oracle o;
        struct v1 v;
        REQUIRE(oracle_open(&o, oracle_names[f]) && v1_open(&v, o.folder));
        gather(&alone, &o);
        for (int i = 0; i < alone.n; i++) {
            alone.callers[i].v = &v;
            (void)call(&alone.callers[i]);
            REQUIRE(alone.callers[i].answer.status == 200);
        }
        uint64_t passes_alone = engine_passes_computed(v.app.engine);
        v1_close(&v);
        for (int threads = 1; threads <= 2; threads++) {
            REQUIRE(v1_open_threads(&v, o.folder, threads));
            gather(&together, &o);
            CHECK(together.n == alone.n && together.n > 40);
            uint64_t passes = run_together(&together, &v);
            CHECK(3 * passes < passes_alone);
            for (int i = 0; i < together.n; i++) {
                struct caller *c = &together.callers[i];
                compare(&o, c);
                if (!c->answer.text || strcmp(c->answer.text, alone.callers[i].answer.text) != 0) {
                    printf("    %s %s: other bytes than alone\n", o.folder, c->path);
                    test_failures_++;
                }
                v1_free(&c->answer);
                memory_free(c->body);
            }
            v1_close(&v);
        }
        for (int i = 0; i < alone.n; i++) {
            v1_free(&alone.callers[i].answer);
            memory_free(alone.callers[i].body);
        }
        oracle_close(&o);
    }
}

static const struct test tests[] = {
    TEST(meets_every_array_packed_with_others_byte_for_byte_as_alone)};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
