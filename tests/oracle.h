/* The oracle's fixtures (tests/fixtures/oracle/README.md) as tests read them. */
#ifndef DM_TESTS_ORACLE_H
#define DM_TESTS_ORACLE_H

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "tests/test.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

static const char *const oracle_names[] = {"gemma2-nano-bf16", "gemma2-nano-f32-sharded",
                                           "gemma3-nano-bf16", "gemma3-nano-4b-style"};
#define ORACLE_COUNT 4

struct oracle {
    char folder[128];
    char saes[160];
    cJSON *cases, *lenses;
    struct safetensors *files[3]; /* expected, lenses, internals (NULL where there is none) */
};

struct oracle_prompt {
    const char *name;
    int32_t ids[64];
    size_t n;
};

static inline bool oracle_open(struct oracle *o, const char *name)
{
    struct status st = {0};
    char path[256];
    *o = (struct oracle){0};
    snprintf(o->folder, sizeof o->folder, "tests/fixtures/oracle/%s", name);
    snprintf(o->saes, sizeof o->saes, "%s/saes", o->folder);
    snprintf(path, sizeof path, "%s/cases.json", o->folder);
    bool ok = json_parse_file(&o->cases, path, 1 << 24, &st) == 0;
    snprintf(path, sizeof path, "%s/cases-lenses.json", o->folder);
    ok = ok && json_parse_file(&o->lenses, path, 1 << 24, &st) == 0;
    const char *files[] = {"expected", "expected-lenses", "expected-internals"};
    for (int i = 0; i < 3 && ok; i++) {
        snprintf(path, sizeof path, "%s/%s.safetensors", o->folder, files[i]);
        ok = safetensors_open(&o->files[i], path, &st) == 0 || i == 2;
    }
    if (!ok) {
        printf("    %s: %s\n", name, st.message);
        test_failures_++;
    }
    return ok;
}

static inline void oracle_close(struct oracle *o)
{
    cJSON_Delete(o->cases);
    cJSON_Delete(o->lenses);
    for (int i = 0; i < 3; i++) {
        safetensors_close(o->files[i]);
    }
}

static inline size_t oracle_prompts(const struct oracle *o)
{
    return (size_t)cJSON_GetArraySize(json_get(o->cases, "prompts"));
}

static inline struct oracle_prompt oracle_prompt(const struct oracle *o, size_t i)
{
    const cJSON *p = cJSON_GetArrayItem(json_get(o->cases, "prompts"), (int)i);
    struct oracle_prompt prompt = {.name = cJSON_GetStringValue(json_get(p, "name"))};
    const cJSON *id;
    cJSON_ArrayForEach(id, json_get(p, "ids"))
    {
        prompt.ids[prompt.n++] = (int32_t)id->valuedouble;
    }
    return prompt;
}

static inline struct oracle_prompt oracle_prompt_named(const struct oracle *o, const char *name)
{
    for (size_t i = 0; i < oracle_prompts(o); i++) {
        struct oracle_prompt p = oracle_prompt(o, i);
        if (strcmp(p.name, name) == 0) {
            return p;
        }
    }
    return (struct oracle_prompt){0};
}

/* The array of that name in whichever file has it, or NULL. */
__attribute__((format(printf, 2, 3))) static inline const struct tensor *
oracle_array(const struct oracle *o, const char *format, ...)
{
    char name[128];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    for (int i = 0; i < 3; i++) {
        const struct tensor *t = o->files[i] ? safetensors_find(o->files[i], name) : NULL;
        if (t) {
            return t;
        }
    }
    return NULL;
}

static inline int32_t oracle_int(const struct tensor *t, size_t i)
{
    int32_t value;
    memcpy(&value, (const char *)t->data + i * sizeof value, sizeof value);
    return value;
}

/* Compares n floats with those of want from `first` on: |got - want| <= absolute + relative |want|.
 * Prints the worst of those outside as one failure; returns the largest share of the tolerance. */
static inline double oracle_compare(const float *got, const struct tensor *want, size_t first,
                                    size_t n, double absolute, double relative, const char *label)
{
    double worst = 0.0;
    size_t at = 0;
    for (size_t i = 0; i < n; i++) {
        double expected = (double)tensor_get(want, first + i);
        double share = fabs((double)got[i] - expected) / (absolute + relative * fabs(expected));
        if (!(share <= worst)) {
            worst = isnan(share) ? (double)INFINITY : share;
            at = i;
        }
    }
    if (worst > 1.0) {
        printf("    %s: element %zu: expected %.7g, found %.7g (%.2g of the tolerance)\n", label,
               at, (double)tensor_get(want, first + at), (double)got[at], worst);
        test_failures_++;
    }
    return worst;
}

#endif
