/* The demo as tests/v1.h opens it, with a small dashboard of one source put in by hand. */
#ifndef DM_TESTS_API_H
#define DM_TESTS_API_H

#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "server/store/explanations.h"
#include "tests/v1.h"

#define API_MODEL "gemma-2-demo"
#define API_SOURCE "2-gemmascope-res-2k"
#define API_D_SAE 2048
#define API_TOKENS 1000

/* Features of the dashboard: 5 fires twice, 7 once on one token in ten, 9 never; the others are
 * not there. */
#define API_RARE 5
#define API_DENSE 7
#define API_DEAD 9

static inline struct v1_answer api_get(struct v1 *v, const char *path)
{
    struct v1_answer a = {0};
    struct exchange *x = exchange_run(&v->router, "GET", path, NULL, NULL, 0);
    if (x) {
        a.status = x->response.status;
        a.text = memory_string_n(x->response.body.data ? x->response.body.data : "",
                                 x->response.body.length);
        a.json = cJSON_Parse(a.text);
        exchange_close(x);
    }
    return a;
}

static inline void api_histogram(struct store_histogram *h, float low, float high, uint32_t first)
{
    *h = (struct store_histogram){.n_bins = DASHBOARD_BINS, .low = low, .high = high};
    for (uint32_t i = 0; i < DASHBOARD_BINS; i++) {
        h->count[i] = first + i;
    }
}

/* "<bos> A B C D" with ids 2, 1000, 1001, 1002, 1003; feature 5 is 0.5 on <bos>, 1.23456789 on A,
 * 3 on C; its second example has 7 on B. */
static inline bool api_index(struct v1 *v)
{
    static const int32_t ids[2][5] = {{2, 1000, 1001, 1002, 1003}, {2, 1004, 1005, 1006, 1007}};
    static const float along[2][5] = {{0.5F, 1.23456789F, 0, 3, 0}, {0, 0, 7, 0, 0.1F}};
    static uint32_t counts[API_D_SAE];
    static float maxima[API_D_SAE];
    struct app *app = &v->app;
    struct status st = {0};
    int64_t source, corpus, model = sources_model(app->sources);
    struct store_document documents[] = {{ids[0], 5, 1}, {ids[1], 5, 2}};
    struct store_dashboard_writer *w;
    counts[API_RARE] = 3;
    counts[API_DENSE] = API_TOKENS / 10;
    maxima[API_RARE] = 7;
    maxima[API_DENSE] = 2.5F;
    struct store_dashboard d = {.documents = 2,
                                .tokens = API_TOKENS,
                                .context = 5,
                                .corpora = "[\"a corpus\"]",
                                .seed = 1,
                                .counts = counts,
                                .maxima = maxima,
                                .d_sae = API_D_SAE};
    bool ok = !sources_row(app->sources, API_SOURCE, &source, &st) &&
              !store_corpus(app->store, model, "a corpus", "{}", &corpus, &st) &&
              !store_write_documents(app->store, model, corpus, 0, documents, 2, &source, 1,
                                     API_TOKENS, &st) &&
              !store_dashboard_begin(app->store, source, &d, &w, &st);
    if (!ok) {
        printf("    %s\n", st.message);
        return false;
    }
    struct store_feature rare = {.index = API_RARE,
                                 .count = 3,
                                 .maximum = 7,
                                 .has_logits = true,
                                 .label = "\" light\", \"\\n\" -> \" day\", \" light\""};
    struct store_feature dense = {.index = API_DENSE, .count = 100, .maximum = 2.5F};
    struct store_feature dead = {.index = API_DEAD, .label = ""};
    dense.label = "\" night\", \" light\"";
    api_histogram(&rare.activations, 0, 5, 1);
    api_histogram(&rare.logits, -1, 1.5F, 100);
    for (int i = 0; i < DASHBOARD_LOGITS; i++) {
        rare.positive_ids[i] = 1000 + i;
        rare.positive[i] = 1.1234567F - 0.1F * (float)i;
        rare.negative_ids[i] = 1100 + i;
        rare.negative[i] = -1 + 0.05F * (float)i;
    }
    struct store_example examples[] = {
        {0, 0, 2, corpus, 1, 2, 7, -1, 7, -1, along[1], NULL, 5},
        {0, 1, 1, corpus, 0, 3, 3, -1, 7, -1, along[0], NULL, 5},
        {5, 0, 1, corpus, 0, 1, 1.23456789F, 0, 1.4F, 0.998, along[0], NULL, 5},
    };
    ok = !store_dashboard_put(w, &rare, examples, 3, &st) &&
         !store_dashboard_put(w, &dense, NULL, 0, &st) &&
         !store_dashboard_put(w, &dead, NULL, 0, &st) && !store_dashboard_end(w, &st);
    if (!ok) {
        printf("    %s\n", st.message);
    }
    return ok;
}

/* The demo with that dashboard. */
static inline bool api_open(struct v1 *v)
{
    if (!v1_open(v, V1_DEMO)) {
        return false;
    }
    if (api_index(v)) {
        return true;
    }
    test_failures_++;
    v1_close(v);
    return false;
}

/* Whether the object has every key of the list, NULL-ended; prints those that it lacks. */
static inline bool api_has_keys(const cJSON *object, const char *const *keys)
{
    bool all = cJSON_IsObject(object);
    for (; *keys; keys++) {
        if (!cJSON_GetObjectItemCaseSensitive(object, *keys)) {
            printf("    no %s\n", *keys);
            all = false;
        }
    }
    return all;
}

#endif
