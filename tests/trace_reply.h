/* Replies of POST /v1/trace as tests read them: JSON and safetensors alike. */
#ifndef DM_TESTS_TRACE_REPLY_H
#define DM_TESTS_TRACE_REPLY_H

#include "tests/oracle.h"
#include "tests/v1.h"

#define TRACE "/v1/trace"

/* An answer with its safetensors file, where it is one. */
struct trace_answer {
    struct v1_answer a;
    struct safetensors *file;
};

/* One tensor of it. */
struct trace_tensor {
    bool found, ints;
    int n_dims;
    size_t shape[TENSOR_DIMENSIONS];
    size_t n;
    float *values; /* [n], ints converted */
};

static inline struct trace_answer trace_read(struct v1_answer answer)
{
    struct trace_answer t = {.a = answer};
    struct status st = {0};
    if (answer.status == 200 && answer.text && answer.text[0] != '{' &&
        safetensors_open_bytes(&t.file, answer.text, answer.length, "reply", &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    if (answer.status != 200) {
        printf("    %d %.300s\n", answer.status, answer.text ? answer.text : "(no answer)");
        test_failures_++;
    }
    return t;
}

static inline struct trace_answer trace_post(struct v1 *v, const char *body)
{
    return trace_read(v1_post(v, TRACE, body));
}

static inline void trace_free_answer(struct trace_answer *t)
{
    safetensors_close(t->file);
    v1_free(&t->a);
}

static inline void trace_from_json(struct trace_tensor *out, const cJSON *node)
{
    const cJSON *item;
    const cJSON *data = json_get(node, "data");
    out->ints = strcmp(v1_string(node, "dtype"), "I32") == 0;
    CHECK(out->ints || strcmp(v1_string(node, "dtype"), "F32") == 0);
    cJSON_ArrayForEach(item, json_get(node, "shape"))
    {
        out->shape[out->n_dims++] = (size_t)item->valuedouble;
    }
    out->values = calloc((size_t)cJSON_GetArraySize(data) + 1, sizeof(float));
    cJSON_ArrayForEach(item, data)
    {
        CHECK(cJSON_IsNumber(item));
        out->values[out->n++] = (float)item->valuedouble;
    }
}

static inline void trace_from_file(struct trace_tensor *out, const struct tensor *t)
{
    out->ints = t->dtype == DTYPE_I32;
    out->n_dims = t->n_dims;
    memcpy(out->shape, t->shape, sizeof out->shape);
    out->n = tensor_elements(t);
    out->values = calloc(out->n + 1, sizeof(float));
    for (size_t i = 0; i < out->n; i++) {
        out->values[i] = out->ints ? (float)oracle_int(t, i) : tensor_get(t, i);
    }
}

/* The tensor of that name; a failure if it is not there or its shape does not fit its data. */
__attribute__((format(printf, 2, 3))) static inline struct trace_tensor
trace_tensor(const struct trace_answer *t, const char *format, ...)
{
    char name[160];
    va_list args;
    va_start(args, format);
    vsnprintf(name, sizeof name, format, args);
    va_end(args);
    struct trace_tensor out = {0};
    const cJSON *tensors = t->file ? NULL : json_get(t->a.json, "tensors");
    const cJSON *node = cJSON_GetObjectItemCaseSensitive(tensors, name);
    const struct tensor *tensor = t->file ? safetensors_find(t->file, name) : NULL;
    out.found = node || tensor;
    if (node) {
        trace_from_json(&out, node);
    } else if (tensor) {
        trace_from_file(&out, tensor);
    } else {
        printf("    the reply has no %s\n", name);
        test_failures_++;
    }
    size_t n = 1;
    for (int i = 0; i < out.n_dims; i++) {
        n *= out.shape[i];
    }
    CHECK(!out.found || n == out.n);
    return out;
}

/* How many tensors the reply has, the file's "tokens" not counted. */
static inline int trace_count(const struct trace_answer *t)
{
    return t->file ? (int)safetensors_count(t->file) - 1 : v1_size(t->a.json, "tensors");
}

#endif
