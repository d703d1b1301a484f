/* Section i of the oracle's README: what the statistics of 40 texts must be. */
#ifndef DM_TESTS_CORPUS_ORACLE_H
#define DM_TESTS_CORPUS_ORACLE_H

#include "core/dashboard/dashboard.h"
#include "tests/oracle.h"

enum { CORPUS_TEXTS = 40, CORPUS_LENGTH = 16 };

static inline void corpus_text(const struct oracle *o, size_t i, int32_t ids[CORPUS_LENGTH])
{
    const cJSON *text =
        cJSON_GetArrayItem(json_get(json_get(o->lenses, "corpus"), "texts"), (int)i);
    for (int p = 0; p < CORPUS_LENGTH; p++) {
        ids[p] = (int32_t)cJSON_GetArrayItem(text, p)->valuedouble;
    }
}

static inline const char *corpus_source(const struct oracle *o)
{
    return cJSON_GetStringValue(json_get(json_get(o->lenses, "corpus"), "source"));
}

static inline double corpus_tolerance(double want)
{
    return 1e-3 + 1e-4 * fabs(want);
}

static inline double corpus_number(const cJSON *object, const char *key)
{
    const cJSON *value = json_get(object, key);
    return cJSON_IsNumber(value) ? value->valuedouble : (double)NAN;
}

/* A top list as the fixture has it: [value, text, position]. document and position of entry i. */
static inline void corpus_check_top(const cJSON *wanted, size_t n, const float *value,
                                    const int64_t *document, const int32_t *position)
{
    CHECK((size_t)cJSON_GetArraySize(json_get(wanted, "top")) == n);
    for (size_t i = 0; i < n; i++) {
        const cJSON *entry = cJSON_GetArrayItem(json_get(wanted, "top"), (int)i);
        double want = cJSON_GetArrayItem(entry, 0)->valuedouble;
        CHECK_NEAR(value[i], want, corpus_tolerance(want));
        CHECK(document[i] == (int64_t)cJSON_GetArrayItem(entry, 1)->valuedouble);
        CHECK(position[i] == (int32_t)cJSON_GetArrayItem(entry, 2)->valuedouble);
    }
}

static inline void corpus_check_histogram(const cJSON *wanted, uint32_t n_bins,
                                          const uint32_t *count)
{
    const cJSON *bins = json_get(wanted, "histogram");
    CHECK((bins != NULL) == (n_bins != 0));
    for (int i = 0; bins && i < HISTOGRAM_BINS; i++) {
        CHECK(count[i] == (uint32_t)cJSON_GetArrayItem(bins, i)->valuedouble);
    }
}

#endif
