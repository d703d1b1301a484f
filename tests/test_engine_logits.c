#include "core/engine.h"

#include "tests/oracle.h"

static const char *const sites[] = {"res", "att", "mlp", "tc"};

static bool open_engine(struct engine **engine, const char *model, const char *saes)
{
    struct status st = {0};
    const char *folders[] = {saes};
    struct engine_options options = {
        .model = model, .sae_folders = folders, .n_sae_folders = 1, .threads = 2};
    if (engine_open(engine, &options, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static void check_ids(const int32_t *ids, const float *values, const struct tensor *want_ids,
                      const struct tensor *want_values, size_t row, const char *label)
{
    for (size_t i = 0; i < ENGINE_LOGITS; i++) {
        if (ids[i] != oracle_int(want_ids, row * ENGINE_LOGITS + i)) {
            printf("    %s row %zu place %zu: expected id %d, found %d\n", label, row, i,
                   oracle_int(want_ids, row * ENGINE_LOGITS + i), ids[i]);
            test_failures_++;
        }
    }
    oracle_compare(values, want_values, row * ENGINE_LOGITS, ENGINE_LOGITS, 1e-3, 1e-4, label);
}

static void meets_the_oracles_lists_at_every_site(void)
{
    for (size_t n = 0; n < ORACLE_COUNT; n++) {
        struct oracle o;
        struct engine *engine;
        if (!oracle_open(&o, oracle_names[n]) || !open_engine(&engine, o.folder, o.saes)) {
            return;
        }
        for (size_t s = 0; s < 4; s++) {
            const char *name =
                cJSON_GetStringValue(json_get(json_get(o.lenses, "names"), sites[s]));
            const cJSON *features = json_get(json_get(o.lenses, "logit_features"), sites[s]);
            for (int i = 0; i < cJSON_GetArraySize(features); i++) {
                struct engine_logits logits;
                struct status st = {0};
                bool known;
                size_t feature = (size_t)cJSON_GetArrayItem(features, i)->valuedouble;
                REQUIRE_OK(
                    engine_feature_logits(engine, name, feature, 1, &logits, &known, NULL, &st),
                    st);
                CHECK(known);
                check_ids(logits.top_ids, logits.top,
                          oracle_array(&o, "feature_logits.%s.top_ids", sites[s]),
                          oracle_array(&o, "feature_logits.%s.top_values", sites[s]), (size_t)i,
                          sites[s]);
                check_ids(logits.bottom_ids, logits.bottom,
                          oracle_array(&o, "feature_logits.%s.bottom_ids", sites[s]),
                          oracle_array(&o, "feature_logits.%s.bottom_values", sites[s]), (size_t)i,
                          sites[s]);
                CHECK_NEAR(logits.histogram.high, logits.top[0], 0);
                CHECK_NEAR(logits.histogram.low, logits.bottom[0], 0);
                uint32_t total = 0;
                for (size_t b = 0; b < HISTOGRAM_BINS; b++) {
                    total += logits.histogram.count[b];
                }
                CHECK(total == engine_config(engine)->vocab_size);
            }
        }
        engine_close(engine);
        oracle_close(&o);
    }
}

static void gives_the_same_bits_however_the_features_are_divided(void)
{
    enum { ALL = 2048 };
    static struct engine_logits whole[ALL], part[ALL];
    struct engine *engine;
    struct status st = {0};
    bool known;
    const char *const names[] = {"2-gemmascope-res-2k", "2-gemmascope-att-2k"};
    if (!open_engine(&engine, "demo", "demo/saes")) {
        return;
    }
    for (size_t s = 0; s < 2; s++) {
        memset(whole, 0, sizeof whole);
        memset(part, 0, sizeof part);
        REQUIRE_OK(engine_feature_logits(engine, names[s], 0, ALL, whole, &known, NULL, &st), st);
        for (size_t first = 0; first < ALL; first += ENGINE_LOGITS_STEP) {
            size_t n = ENGINE_LOGITS_STEP;
            REQUIRE_OK(
                engine_feature_logits(engine, names[s], first, n, part + first, &known, NULL, &st),
                st);
        }
        CHECK(memcmp(whole, part, sizeof whole) == 0);
    }
    engine_close(engine);
}

static void refuses_unknown_sources_and_features_and_can_be_cancelled(void)
{
    struct engine *engine;
    struct engine_logits logits;
    struct status st = {0};
    bool known;
    atomic_bool cancel = true;
    if (!open_engine(&engine, "demo", "demo/saes")) {
        return;
    }
    CHECK(engine_feature_logits(engine, "9-none", 0, 1, &logits, &known, NULL, &st) ==
          STATUS_NOT_FOUND);
    CHECK(engine_feature_logits(engine, "2-gemmascope-res-2k", 2048, 1, &logits, &known, NULL,
                                &st) == STATUS_INVALID);
    CHECK(engine_feature_logits(engine, "2-gemmascope-res-2k", 0, 1, &logits, &known, &cancel,
                                &st) == STATUS_CANCELLED);
    CHECK(!known);
    engine_close(engine);
}

static const struct test tests[] = {
    TEST(meets_the_oracles_lists_at_every_site),
    TEST(gives_the_same_bits_however_the_features_are_divided),
    TEST(refuses_unknown_sources_and_features_and_can_be_cancelled),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
