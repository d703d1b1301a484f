/* Replies of the lens, attribution and dark-matter routes, held against sections c and f of the
 * oracle's README and its lens tables. */
#ifndef DM_TESTS_LENS_REPLIES_H
#define DM_TESTS_LENS_REPLIES_H

#include "tests/oracle.h"
#include "tests/v1.h"

#include <math.h>

/* --- attribution ------------------------------------------------------------------------------ */

/* One value of the reply. */
__attribute__((format(printf, 2, 3))) static inline double attribution_at(const cJSON *reply,
                                                                          const char *format, ...)
{
    char path[200];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(path, sizeof path, format, args);
    va_end(args);
    return v1_number(reply, path);
}

static inline void attribution_near(double got, const struct tensor *want, size_t i,
                                    const char *what)
{
    float value = (float)got;
    oracle_compare(&value, want, i, 1, 1e-3, 1e-4, what);
}

/* A part of a list of {index, activation, value} by its index; 0 where it is not there. */
static inline double attribution_part(const cJSON *list, size_t index)
{
    const cJSON *part;
    cJSON_ArrayForEach(part, list)
    {
        if (v1_number(part, "index") == (double)index) {
            return v1_number(part, "value");
        }
    }
    return 0.0;
}

/* cap is the model's final softcap, 0: none. */
static inline void attribution_model(const struct oracle *o, const char *p, const cJSON *r,
                                     size_t L, size_t H, double cap)
{
    for (size_t i = 0; i < 3; i++) {
        attribution_near(attribution_at(r, "precap.%zu", i), oracle_array(o, "%s.dla.precap", p), i,
                         "precap");
        attribution_near(attribution_at(r, "logit.%zu", i), oracle_array(o, "%s.dla.logit", p), i,
                         "logit");
        attribution_near(attribution_at(r, "embed.%zu", i), oracle_array(o, "%s.dla.embed", p), i,
                         "embed");
        double sum = attribution_at(r, "embed.%zu", i);
        for (size_t l = 0; l < L; l++) {
            double attn = attribution_at(r, "attn.%zu.%zu", l, i), heads = 0;
            attribution_near(attn, oracle_array(o, "%s.dla.attn", p), l * 3 + i, "attn");
            attribution_near(attribution_at(r, "mlp.%zu.%zu", l, i),
                             oracle_array(o, "%s.dla.mlp", p), l * 3 + i, "mlp");
            sum += attn + attribution_at(r, "mlp.%zu.%zu", l, i);
            for (size_t h = 0; h < H; h++) {
                double head = attribution_at(r, "heads.%zu.%zu.%zu", l, h, i);
                attribution_near(head, oracle_array(o, "%s.dla.heads", p), (l * H + h) * 3 + i,
                                 "heads");
                heads += head;
            }
            CHECK_NEAR(heads, attn, 1e-4);
        }
        double logit = attribution_at(r, "logit.%zu", i);
        CHECK_NEAR(cap > 0 ? cap * tanh(sum / cap) : sum, logit, 1e-4);
        CHECK_NEAR(sum, attribution_at(r, "precap.%zu", i), 1e-4);
        CHECK_NEAR(attribution_at(r, "rest.%zu", i), 0, 1e-4);
    }
}

static inline void attribution_neurons(const struct oracle *o, const char *p, const cJSON *r,
                                       int layer)
{
    const struct tensor *neurons = oracle_array(o, "%s.dla.neurons", p);
    const struct tensor *top = oracle_array(o, "%s.dla.neurons_top", p);
    size_t F = neurons->shape[1];
    CHECK(attribution_at(r, "neuron_layer") == layer && v1_size(r, "neurons_top") == 3);
    for (size_t i = 0; i < 3; i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "neurons_top.%zu", i);
        const cJSON *list = v1_at(r, path);
        CHECK((size_t)cJSON_GetArraySize(list) == F);
        for (size_t k = 0; k < 10; k++) {
            CHECK(attribution_at(list, "%zu.index", k) == oracle_int(top, i * 10 + k));
        }
        for (size_t j = 0; j < F; j++) {
            attribution_near(attribution_part(list, j), neurons, i * F + j, "neurons");
        }
        CHECK_NEAR(attribution_at(r, "neurons_sum.%zu", i),
                   attribution_at(r, "mlp.%d.%zu", layer, i), 1e-4);
    }
}

static inline void attribution_source_parts(const struct oracle *o, const char *p, const cJSON *r,
                                            const char *name, int layer, size_t L)
{
    const struct tensor *features = oracle_array(o, "%s.dla.features", p);
    size_t S = features->shape[1];
    for (size_t i = 0; i < 3; i++) {
        const cJSON *lists = json_get(json_get(r, "features"), name);
        const cJSON *list = cJSON_GetArrayItem(lists, (int)i);
        double sum = 0, later = 0;
        for (size_t j = 0; j < S; j++) {
            double value = attribution_part(list, j);
            attribution_near(value, features, i * S + j, "features");
            sum += value;
        }
        double bias = attribution_at(json_get(json_get(r, "sae_bias"), name), "%zu", i);
        double error = attribution_at(json_get(json_get(r, "sae_error"), name), "%zu", i);
        attribution_near(bias, oracle_array(o, "%s.dla.sae_bias", p), i, "sae_bias");
        attribution_near(error, oracle_array(o, "%s.dla.sae_error", p), i, "sae_error");
        CHECK_NEAR(sum, attribution_at(json_get(json_get(r, "features_sum"), name), "%zu", i),
                   1e-4);
        for (size_t l = (size_t)layer + 1; l < L; l++) {
            later +=
                attribution_at(r, "attn.%zu.%zu", l, i) + attribution_at(r, "mlp.%zu.%zu", l, i);
        }
        CHECK_NEAR(sum + bias + error + later, attribution_at(r, "precap.%zu", i), 1e-4);
    }
}

/* The request that asks for every part of the oracle's; free(). */
static inline char *attribution_body(const struct oracle *o, const char *prompt)
{
    const struct oracle_prompt p = oracle_prompt_named(o, prompt);
    const cJSON *dla = json_get(json_get(o->lenses, "dla"), prompt);
    char *targets = cJSON_PrintUnformatted(json_get(dla, "targets"));
    struct text body = {0};
    text_string(&body, "{\"tokens\":[");
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p.ids[i]);
    }
    text_printf(&body, "],\"targets\":%s,\"sources\":[\"%s\"],\"neuron_layer\":%d,\"top\":1000}",
                targets, v1_string(dla, "source"), (int)v1_number(dla, "neuron_layer"));
    free(targets);
    return text_take(&body, NULL);
}

/* Section c, and the sums. */
static inline void attribution_compare_reply(const struct oracle *o, const struct v1 *v,
                                             const char *prompt, const cJSON *reply)
{
    const struct gemma_config *c = engine_config(v->app.engine);
    const cJSON *dla = json_get(json_get(o->lenses, "dla"), prompt);
    const char *name = v1_string(dla, "source");
    const struct sae_source *source = catalogue_find(engine_catalogue(v->app.engine), name);
    CHECK(attribution_at(reply, "position") == v1_number(dla, "position"));
    CHECK(source != NULL);
    if (source) {
        attribution_model(o, prompt, reply, c->n_layers, c->n_heads, (double)c->final_softcap);
        attribution_neurons(o, prompt, reply, (int)v1_number(dla, "neuron_layer"));
        attribution_source_parts(o, prompt, reply, name, source->layer, c->n_layers);
    }
    CHECK(v1_both_spellings(reply) == 0);
}

/* --- dark matter ------------------------------------------------------------------------------ */

static const char *const dark_words[] = {"res", "att", "mlp", "tc"};
static const char *const lens_prompts[] = {"window", "seven"};

static inline char *dark_body(const struct oracle *o, const char *prompt, const char *word)
{
    const struct oracle_prompt p = oracle_prompt_named(o, prompt);
    const char *source = cJSON_GetStringValue(json_get(json_get(o->lenses, "names"), word));
    struct text body = {0};
    text_printf(&body, "{\"source\":\"%s\",\"top\":2,\"tokens\":[", source);
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p.ids[i]);
    }
    text_string(&body, "]}");
    return text_take(&body, NULL);
}

/* The arrays whose names begin with prefix; returns how many there were. */
static inline int dark_arrays(const struct oracle *o, const cJSON *reply, const char *prefix)
{
    static const char *const fine[] = {"cosine", "rel_err", "fvu_token", "err_share"};
    int compared = 0;
    for (size_t i = 0; i < safetensors_count(o->files[1]); i++) {
        const char *name = safetensors_name(o->files[1], i);
        if (strncmp(name, prefix, strlen(prefix)) != 0) {
            continue;
        }
        const struct tensor *want = safetensors_find(o->files[1], name);
        const cJSON *got = json_get(reply, name + strlen(prefix));
        double absolute = 1e-3, relative = 1e-4;
        for (size_t k = 0; k < sizeof fine / sizeof fine[0]; k++) {
            if (strcmp(name + strlen(prefix), fine[k]) == 0) {
                absolute = 2e-4;
                relative = 0.0;
            }
        }
        bool ids = strcmp(name + strlen(prefix), "l0") == 0 ||
                   strcmp(name + strlen(prefix), "argmax") == 0;
        CHECK((size_t)cJSON_GetArraySize(got) == want->shape[0]);
        for (size_t t = 0; t < want->shape[0]; t++) {
            const cJSON *item = cJSON_GetArrayItem(got, (int)t);
            float value = cJSON_IsNumber(item) ? (float)item->valuedouble : NAN;
            if (ids) {
                CHECK((int32_t)value == oracle_int(want, t));
            } else {
                oracle_compare(&value, want, t, 1, absolute, relative, name);
            }
        }
        compared++;
    }
    return compared;
}

static inline int dark_reply_totals(const struct oracle *o, const cJSON *totals, const char *prompt,
                                    const char *word)
{
    char name[32];
    int compared = 0;
    snprintf(name, sizeof name, "%s.%s", prompt, word);
    const cJSON *want;
    cJSON_ArrayForEach(want, json_get(json_get(o->lenses, "dark"), name))
    {
        const cJSON *got = cJSON_GetObjectItemCaseSensitive(totals, want->string);
        if (cJSON_IsString(want)) {
            continue; /* source */
        }
        compared++;
        if (cJSON_IsNull(want)) {
            CHECK(cJSON_IsNull(got));
        } else if (!cJSON_IsNumber(got) || fabs(got->valuedouble - want->valuedouble) >
                                               1e-3 + 1e-4 * fabs(want->valuedouble)) {
            printf("    %s %s %s: expected %.7g, found %.7g\n", o->folder, name, want->string,
                   want->valuedouble, cJSON_IsNumber(got) ? got->valuedouble : (double)NAN);
            test_failures_++;
        }
    }
    return compared;
}

static inline int dark_compare_reply(const struct oracle *o, const struct v1_answer *a,
                                     const char *prompt, const char *word)
{
    char prefix[64];
    CHECK(a->status == 200);
    CHECK(v1_both_spellings(a->json) == 0);
    snprintf(prefix, sizeof prefix, "%s.dark_%s.", prompt, word);
    int compared = dark_arrays(o, a->json, prefix);
    CHECK(compared == (strcmp(word, "tc") == 0 ? 13 : 19));
    int totals = dark_reply_totals(o, json_get(a->json, "totals"), prompt, word);
    CHECK(totals == (strcmp(word, "tc") == 0 ? 10 : 21));
    return compared + totals;
}

/* --- the lens --------------------------------------------------------------------------------- */

/* Every layer and position of `prompt`: the five best tokens exactly, their logits to 1e-3. Returns
 * how many rows were compared. */
static inline size_t lens_compare_reply(const struct oracle *o, const char *prompt,
                                        const cJSON *reply)
{
    const struct tensor *ids = oracle_array(o, "%s.lens_ids", prompt);
    const struct tensor *logits = oracle_array(o, "%s.lens_logits", prompt);
    size_t L = ids->shape[0], T = ids->shape[1], rows = 0;
    CHECK((size_t)v1_size(reply, "tokens") == T);
    for (size_t t = 0; t < T; t++) {
        char path[64];
        (void)snprintf(path, sizeof path, "tokens.%zu.results.0", t);
        const cJSON *site = v1_at(reply, path);
        CHECK((size_t)v1_size(site, "top_ids") == L);
        for (size_t l = 0; l < L; l++, rows++) {
            float got[5] = {0};
            for (size_t k = 0; k < 5; k++) {
                (void)snprintf(path, sizeof path, "top_ids.%zu.%zu", l, k);
                CHECK(v1_number(site, path) == oracle_int(ids, (l * T + t) * 5 + k));
                (void)snprintf(path, sizeof path, "top_logits.%zu.%zu", l, k);
                got[k] = (float)v1_number(site, path);
            }
            oracle_compare(got, logits, (l * T + t) * 5, 5, 1e-3, 1e-4, prompt);
        }
    }
    return rows;
}

#endif
