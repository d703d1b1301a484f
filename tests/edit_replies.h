/* Edits of section d of the oracle's README as requests of /v1/trace, and their replies. */
#ifndef DM_TESTS_EDIT_REPLIES_H
#define DM_TESTS_EDIT_REPLIES_H

#include "tests/oracle.h"
#include "tests/v1.h"

/* An op of the oracle as a request writes it. */
static inline void edit_write_op(struct text *out, const cJSON *op)
{
    static const char *const same[] = {"source", "strength", "multiplier", "unit",
                                       "values", "dim",      "value"};
    const char *kind = json_get(op, "kind")->valuestring;
    const cJSON *where = json_get(op, "positions");
    text_printf(out, "{\"type\":\"%s\"", strcmp(kind, "set_dim") == 0 ? "set" : kind);
    for (size_t i = 0; i < TEST_COUNT(same); i++) {
        char *value = json_get(op, same[i]) ? cJSON_PrintUnformatted(json_get(op, same[i])) : NULL;
        if (value) {
            text_printf(out, ",\"%s\":%s", same[i], value);
        }
        free(value);
    }
    if (json_get(op, "site")) {
        text_printf(out, ",\"point\":\"%s.%d\"", json_get(op, "site")->valuestring,
                    json_get(op, "layer")->valueint);
    }
    if (json_get(op, "feature")) {
        text_printf(out, ",\"index\":\"%d\"", json_get(op, "feature")->valueint);
    }
    if (json_get(op, "features")) {
        char *list = cJSON_PrintUnformatted(json_get(op, "features"));
        text_printf(out, ",\"indices\":%s", list);
        free(list);
    }
    if (where && strcmp(where->valuestring, "skip_bos") == 0) {
        text_string(out, out->length % 2 ? ",\"skipBos\":true" : ",\"skip_bos\":true");
    } else if (where) {
        text_printf(out, ",\"positions\":\"%s\"", where->valuestring);
    }
    text_char(out, '}');
}

/* The request for the last four positions' logits of `window`; memory_free. */
static inline char *edit_body(const struct oracle *o, const cJSON *edit)
{
    const struct oracle_prompt p = oracle_prompt_named(o, "window");
    struct text body = {0};
    text_string(&body, "{\"tokens\":[");
    for (size_t i = 0; i < p.n; i++) {
        text_printf(&body, "%s%d", i ? "," : "", (int)p.ids[i]);
    }
    text_string(&body, "],\"read\":[\"logits\"],\"positions\":[-4,-3,-2,-1],\"edits\":[");
    const cJSON *op;
    cJSON_ArrayForEach(op, json_get(edit, "ops"))
    {
        text_string(&body, op->prev->next ? "," : "");
        edit_write_op(&body, op);
    }
    text_string(&body, "]}");
    return text_take(&body, NULL);
}

static inline void edit_compare_reply(const struct oracle *o, const cJSON *edit,
                                      const struct v1_answer *a)
{
    const char *name = json_get(edit, "name")->valuestring;
    const struct tensor *want = oracle_array(o, "window.edit.%s.logits", name);
    const cJSON *data = v1_at(a->json, "tensors.logits.data");
    if (a->status != 200 || !want || !data) {
        printf("    %s: %d %s\n", name, a->status, a->text);
        test_failures_++;
        return;
    }
    size_t n = tensor_elements(want), k = 0;
    float *got = calloc(n, sizeof *got);
    CHECK((size_t)cJSON_GetArraySize(data) == n);
    for (const cJSON *item = data->child; item && k < n; item = item->next) {
        got[k++] = (float)item->valuedouble;
    }
    (void)oracle_compare(got, want, 0, n, 1e-3, 1e-4, name);
    free(got);
}

#endif
