/* POST /v1/trace held against the oracle: every tap and SAE array of the first set, of every
 * fixture and prompt, as JSON and as safetensors, alone and packed with others, with one thread and
 * with two. tests/test_trace_request.c and test_trace_reply.c have the rest of the route. */
#include "tests/hold.h"
#include "tests/trace_reply.h"

static const struct {
    const char *name;   /* of the reply */
    const char *oracle; /* of the fixture */
    bool layers;
    double tolerance;
} points[] = {
    {"logits", "logits", false, 1e-3},
    {"embed", "embed", false, 1e-3},
    {"final_norm", "final_norm", false, 1e-3},
    {"resid_post", "resid_post", true, 1e-3},
    {"resid_mid", "resid_mid", true, 1e-3},
    {"pattern", "pattern", true, 1e-4},
    {"z", "z", true, 1e-3},
    {"attn_out", "attn_out", true, 1e-3},
    {"mlp_out", "mlp_out", true, 1e-3},
    {"neurons", "neurons", true, 1e-3},
    {"q", "q_rot", true, 1e-3},
    {"k", "k_rot", true, 1e-3},
    {"v", "v", true, 1e-3},
    {"scores", "scores", true, 1e-3},
    {"loss", "loss", false, 1e-3},
};
#define N_POINTS (sizeof points / sizeof points[0])

static const char *const words[] = {"res", "att", "mlp", "tc"};
static const char *const sites[] = {"resid_post", "z", "mlp_out", "mlp_out"};

/* A prompt with SAE arrays: the sources are read there too. */
static bool has_sources(const struct oracle_prompt *p)
{
    return strcmp(p->name, "window") == 0 || strcmp(p->name, "seven") == 0;
}

/* Every point of every layer, and of `window` and `seven` all of every source. */
static char *body_of(const struct v1 *v, const struct oracle_prompt *p, const char *format)
{
    struct text body = {0};
    const struct catalogue *catalogue = engine_catalogue(v->app.engine);
    text_string(&body, "{\"tokens\":[");
    for (size_t i = 0; i < p->n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p->ids[i]);
    }
    text_string(&body, "],\"read\":[");
    for (size_t i = 0; i < N_POINTS; i++) {
        text_printf(&body, "%s\"%s%s\"", i ? "," : "", points[i].name,
                    points[i].layers ? ".*" : "");
    }
    for (size_t i = 0; has_sources(p) && i < catalogue->n_sources; i++) {
        const char *name = catalogue->sources[i].name;
        text_printf(&body, ",\"input:%s\",\"acts:%s\",\"recon:%s\",\"error:%s\"", name, name, name,
                    name);
    }
    text_printf(&body, "],\"format\":\"%s\"", format);
    if (strcmp(p->name, "long") == 0) {
        text_string(&body, ",\"positions\":[-8,-7,-6,-5,-4,-3,-2,-1]");
    }
    text_string(&body, "}");
    return text_take(&body, NULL);
}

/* --- comparing -----------------------------------------------------------------------------------
 */

/* Layer `layer` of `want` (or all of it, -1) with a tensor of the reply, shapes included. */
static void compare(const struct trace_tensor *got, const struct tensor *want, int layer,
                    double tolerance, const char *label)
{
    int skip = layer >= 0;
    CHECK(got->found && !got->ints && got->n_dims == want->n_dims - skip);
    for (int i = 0; i < got->n_dims; i++) {
        if (got->shape[i] != want->shape[i + skip]) {
            printf("    %s: dimension %d: expected %zu, found %zu\n", label, i,
                   want->shape[i + skip], got->shape[i]);
            test_failures_++;
            return;
        }
    }
    oracle_compare(got->values, want, got->n * (size_t)(skip ? layer : 0), got->n, tolerance, 1e-5,
                   label);
}

/* Returns how many arrays of the oracle were held against the reply. */
static int compare_points(const struct oracle *o, const struct oracle_prompt *p,
                          const struct trace_answer *t, int layers)
{
    int compared = 0;
    char label[160];
    for (size_t i = 0; i < N_POINTS; i++) {
        const struct tensor *want = oracle_array(o, "%s.%s", p->name, points[i].oracle);
        snprintf(label, sizeof label, "%s %s.%s", o->folder, p->name, points[i].oracle);
        for (int l = 0; want && l < (points[i].layers ? layers : 1); l++) {
            struct trace_tensor got = points[i].layers ? trace_tensor(t, "%s.%d", points[i].name, l)
                                                       : trace_tensor(t, "%s", points[i].name);
            compare(&got, want, points[i].layers ? l : -1, points[i].tolerance, label);
            free(got.values);
        }
        compared += want != NULL;
    }
    const struct tensor *last = oracle_array(o, "%s.pattern_last", p->name);
    for (int l = 0; last && l < layers; l++) {
        struct trace_tensor got = trace_tensor(t, "pattern.%d", l);
        size_t heads = got.shape[0], rows = got.shape[1], keys = got.shape[2];
        CHECK(got.n_dims == 3 && keys == p->n && heads == last->shape[1]);
        for (size_t h = 0; h < heads; h++) {
            oracle_compare(got.values + (h * rows + rows - 1) * keys, last,
                           ((size_t)l * heads + h) * keys, keys, 1e-4, 0, "pattern_last");
        }
        free(got.values);
    }
    return compared + (last != NULL);
}

static double norm(const float *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i] * (double)x[i];
    }
    return sqrt(sum);
}

/* l0, err_norm and rel_err, computed from what was read; target is what should be reconstructed. */
static int compare_figures(const struct oracle *o, const char *prefix,
                           const struct trace_tensor *acts, const struct trace_tensor *error,
                           const struct trace_tensor *target)
{
    const struct tensor *l0 = oracle_array(o, "%s.l0", prefix);
    const struct tensor *err_norm = oracle_array(o, "%s.err_norm", prefix);
    const struct tensor *rel_err = oracle_array(o, "%s.rel_err", prefix);
    size_t rows = acts->shape[0], width = error->shape[1];
    if (!l0) {
        return 0;
    }
    CHECK(err_norm && rel_err && target->shape[1] == width && error->shape[0] == rows);
    for (size_t t = 0; t < rows; t++) {
        int active = 0;
        for (size_t j = 0; j < acts->shape[1]; j++) {
            active += acts->values[t * acts->shape[1] + j] != 0;
        }
        float length = (float)norm(error->values + t * width, width);
        float share = length / (float)norm(target->values + t * width, width);
        CHECK(active == oracle_int(l0, t));
        oracle_compare(&length, err_norm, t, 1, 1e-3, 1e-4, prefix);
        oracle_compare(&share, rel_err, t, 1, 2e-4, 0, prefix);
    }
    return 3;
}

/* One source against the arrays that begin with prefix ("window.sae_res"). */
static int compare_source(const struct oracle *o, const struct trace_answer *t,
                          const struct sae_source *s, const char *site, const char *prefix)
{
    struct trace_tensor input = trace_tensor(t, "input:%s", s->name);
    struct trace_tensor acts = trace_tensor(t, "acts:%s", s->name);
    struct trace_tensor recon = trace_tensor(t, "recon:%s", s->name);
    struct trace_tensor error = trace_tensor(t, "error:%s", s->name);
    struct trace_tensor target = trace_tensor(t, "%s.%d", site, s->layer);
    const struct tensor *want;
    int compared = 0;
    if ((want = oracle_array(o, "%s.input", prefix)) != NULL) {
        compare(&input, want, -1, 1e-3, prefix);
        compared++;
    }
    if ((want = oracle_array(o, "%s.acts", prefix)) != NULL) {
        compare(&acts, want, -1, 1e-3, prefix);
        compared++;
    }
    if ((want = oracle_array(o, "%s.recon", prefix)) != NULL) {
        compare(&recon, want, -1, 1e-3, prefix);
        compared++;
    }
    CHECK(recon.n == target.n && error.n == target.n);
    for (size_t i = 0; i < error.n && error.n == target.n && recon.n == target.n; i++) {
        CHECK_NEAR(error.values[i], target.values[i] - recon.values[i], 0);
    }
    compared += compare_figures(o, prefix, &acts, &error, &target);
    free(input.values);
    free(acts.values);
    free(recon.values);
    free(error.values);
    free(target.values);
    return compared;
}

/* The SAELens kinds stand under their folder's name: saelens/nano-KIND. */
static int compare_saelens(const struct oracle *o, const struct trace_answer *t,
                           const struct catalogue *catalogue)
{
    int compared = 0;
    for (size_t i = 0; i < catalogue->n_sources; i++) {
        const struct sae_source *s = &catalogue->sources[i];
        const char *kind = strstr(s->path, "saelens/nano-");
        if (kind) {
            char prefix[80];
            bool same_as_res = strcmp(kind + 13, "res") == 0;
            snprintf(prefix, sizeof prefix, same_as_res ? "window.sae_res" : "window.saelens_%s",
                     kind + 13);
            int n = compare_source(o, t, s, point_name(s->input), prefix);
            CHECK(n >= 2); /* acts and recon */
            compared += n;
        }
    }
    return compared;
}

static int compare_sources(const struct oracle *o, const struct oracle_prompt *p,
                           const struct trace_answer *t, const struct catalogue *catalogue)
{
    int compared = 0;
    for (int w = 0; w < 4; w++) {
        const char *name = cJSON_GetStringValue(json_get(json_get(o->lenses, "names"), words[w]));
        const struct sae_source *s = catalogue_find(catalogue, name);
        CHECK(s != NULL);
        char prefix[80];
        snprintf(prefix, sizeof prefix, w == 3 ? "%s.tc" : "%s.sae_%s", p->name, words[w]);
        compared += s ? compare_source(o, t, s, sites[w], prefix) : 0;
        snprintf(prefix, sizeof prefix, "%s.dark_%s", p->name, words[w]);
        compared += s ? compare_source(o, t, s, sites[w], prefix) : 0;
    }
    return compared + (strcmp(p->name, "window") == 0 ? compare_saelens(o, t, catalogue) : 0);
}

static int compare_prompt(const struct oracle *o, const struct v1 *v, const struct oracle_prompt *p,
                          const struct trace_answer *t)
{
    struct trace_tensor tokens = {0};
    if (t->file) {
        tokens = trace_tensor(t, "tokens");
        CHECK(tokens.ints && tokens.n == p->n);
    } else {
        CHECK(v1_size(t->a.json, "tokens") == (int)p->n);
        CHECK(v1_size(t->a.json, "token_strings") == (int)p->n);
    }
    for (size_t i = 0; i < tokens.n && i < p->n; i++) {
        CHECK((int32_t)tokens.values[i] == p->ids[i]);
    }
    free(tokens.values);
    int compared = compare_points(o, p, t, (int)engine_config(v->app.engine)->n_layers);
    if (has_sources(p)) {
        compared += compare_sources(o, p, t, engine_catalogue(v->app.engine));
    }
    return compared;
}

/* --- the runs ------------------------------------------------------------------------------------
 */

/* How many arrays of the first set, and of the second set's a, b and f, a fixture has that the
 * route can be held against: counted from the files' own names. */
static int arrays_there(const struct oracle *o)
{
    static const char *const parts[] = {
        ".logits", ".embed",    ".final_norm", ".resid_post",   ".resid_mid", ".pattern",
        ".z",      ".attn_out", ".mlp_out",    ".neurons",      ".q_rot",     ".k_rot",
        ".v",      ".scores",   ".loss",       ".pattern_last", ".input",     ".acts",
        ".recon",  ".l0",       ".err_norm",   ".rel_err"};
    static const char *const others[] = {"steer", "edit", "gen.", "feature_logits", "dla"};
    int n = 0;
    for (int f = 0; f < 3; f++) {
        for (size_t i = 0; o->files[f] && i < safetensors_count(o->files[f]); i++) {
            const char *name = safetensors_name(o->files[f], i);
            const char *end = strrchr(name, '.');
            bool counts = false;
            for (size_t k = 0; end && k < sizeof parts / sizeof parts[0]; k++) {
                counts = counts || strcmp(end, parts[k]) == 0;
            }
            for (size_t k = 0; k < sizeof others / sizeof others[0]; k++) {
                counts = counts && !strstr(name, others[k]);
            }
            n += counts;
        }
    }
    return n;
}

static const char *const formats[] = {"json", "safetensors"};

static void meets_every_array_alone(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int run = 0; run < 4; run++) { /* both formats, one thread and two */
            struct oracle o;
            struct v1 v;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(v1_open_threads(&v, o.folder, 1 + run / 2));
            int compared = 0;
            for (size_t i = 0; i < oracle_prompts(&o); i++) {
                struct oracle_prompt p = oracle_prompt(&o, i);
                char *body = body_of(&v, &p, formats[run % 2]);
                struct trace_answer t = trace_post(&v, body);
                CHECK((t.file != NULL) == (run % 2));
                compared += compare_prompt(&o, &v, &p, &t);
                trace_free_answer(&t);
                memory_free(body);
            }
            /* the copy of res in SAELens's format is held against sae_res a second time */
            CHECK(compared == arrays_there(&o) + 5);
            v1_close(&v);
            oracle_close(&o);
        }
    }
}

struct caller {
    pthread_t thread;
    struct v1 *v;
    struct oracle_prompt prompt;
    char *body;
    struct v1_answer answer;
};

static void *call(void *argument)
{
    struct caller *c = argument;
    c->answer = v1_post(c->v, TRACE, c->body);
    return NULL;
}

/* Every prompt in both formats at once. The passes are one: all wait while the worker is held, and
 * together they are under its budget of 256 tokens. */
static int run_packed(const struct oracle *o, struct v1 *v)
{
    struct caller callers[16] = {0};
    struct hold hold;
    size_t n = 2 * oracle_prompts(o), tokens = 0;
    CHECK(hold_worker(&hold, v) && n <= 16);
    for (size_t i = 0; i < n; i++) {
        callers[i] = (struct caller){.v = v, .prompt = oracle_prompt(o, i / 2)};
        callers[i].body = body_of(v, &callers[i].prompt, formats[i % 2]);
        tokens += callers[i].prompt.n;
        CHECK(pthread_create(&callers[i].thread, NULL, call, &callers[i]) == 0);
    }
    while (queue_depth(v->app.queue) < n) {
        usleep(1000);
    }
    CHECK(queue_tokens(v->app.queue) == tokens && tokens <= 256);
    sem_post(&hold.go);
    int compared = 0;
    for (size_t i = 0; i < n; i++) {
        pthread_join(callers[i].thread, NULL);
        struct trace_answer t = trace_read(callers[i].answer);
        compared += compare_prompt(o, v, &callers[i].prompt, &t);
        trace_free_answer(&t);
        memory_free(callers[i].body);
    }
    hold_free(&hold);
    return compared;
}

static void meets_every_array_packed_with_others(void)
{
    for (int f = 0; f < ORACLE_COUNT; f++) {
        for (int threads = 1; threads <= 2; threads++) {
            struct oracle o;
            struct v1 v;
            REQUIRE(oracle_open(&o, oracle_names[f]));
            REQUIRE(v1_open_threads(&v, o.folder, threads));
            CHECK(run_packed(&o, &v) == 2 * (arrays_there(&o) + 5));
            v1_close(&v);
            oracle_close(&o);
        }
    }
}

static const struct test tests[] = {
    TEST(meets_every_array_alone),
    TEST(meets_every_array_packed_with_others),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
