/* Runs of section e of the oracle's README as requests of /v1/steer/completion, and their replies.
 */
#ifndef DM_TESTS_STEER_REPLIES_H
#define DM_TESTS_STEER_REPLIES_H

#include "tests/oracle.h"
#include "tests/v1.h"

static const char *const steer_runs[] = {"default", "steered", "penalised", "steered_penalised"};

/* memory_free */
static inline char *steer_body(const struct oracle *o, const char *name)
{
    const struct oracle_prompt p = oracle_prompt_named(o, "seven");
    const cJSON *run = json_get(json_get(o->lenses, "generation"), name);
    const cJSON *op = cJSON_GetArrayItem(json_get(run, "ops"), 0);
    struct text body = {0};
    text_string(&body, "{\"tokens\":[");
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p.ids[i]);
    }
    text_printf(&body, "],\"freq_penalty\":%g,\"n_completion_tokens\":20",
                json_get(run, "penalty")->valuedouble);
    if (op) {
        text_printf(&body,
                    ",\"types\":[\"DEFAULT\",\"STEERED\"],\"strength_multiplier\":%g,"
                    "\"features\":[{\"model\":\"m\",\"source\":\"%s\",\"index\":%d,"
                    "\"strength\":%g}]}",
                    json_get(op, "multiplier")->valuedouble, json_get(op, "source")->valuestring,
                    json_get(op, "feature")->valueint, json_get(op, "strength")->valuedouble);
    } else {
        text_string(&body, ",\"types\":[\"DEFAULT\"]}");
    }
    return text_take(&body, NULL);
}

/* Ids are seen as the fixtures' "<id:17>". */
static inline void steer_compare_reply(const struct oracle *o, const char *name,
                                       const struct v1_answer *a)
{
    const cJSON *run = json_get(json_get(o->lenses, "generation"), name);
    bool steered = cJSON_GetArraySize(json_get(run, "ops")) > 0;
    struct text expected = {0};
    const cJSON *id;
    cJSON_ArrayForEach(id, json_get(run, "ids"))
    {
        text_printf(&expected, "<id:%d>", id->valueint);
    }
    CHECK(a->status == 200 && v1_size(a->json, "outputs") == (steered ? 2 : 1));
    CHECK_STRING(v1_string(a->json, steered ? "outputs.1.type" : "outputs.0.type"),
                 steered ? "STEERED" : "DEFAULT");
    CHECK_STRING(v1_string(a->json, steered ? "outputs.1.output" : "outputs.0.output"),
                 expected.data);
    text_free(&expected);
}

#endif
