/* POST /v1/activation/attention (neuronpedia.md 3.8, section h of tests/fixtures/oracle/README.md):
 * where one head looks. Of every row of its pattern the 8 largest weights, those under 0.005 left
 * out, rounded to 4 decimals, as indices query * seq_len + key. max_activation leaves out <bos>
 * (row 0 and column 0). */
#include "core/base/memory.h"
#include "server/v1/features.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#define KEYS_MAX 8
#define WEIGHT_MIN 0.005f

struct head {
    size_t number;
};

/* The keys of the KEYS_MAX largest weights (equal ones: the lower key), rising; returns how many
 * are WEIGHT_MIN or more. */
static size_t largest_keys(const float *weights, size_t n, size_t keys[KEYS_MAX])
{
    size_t found = 0;
    for (size_t key = 0; key < n; key++) {
        size_t at = found;
        while (at > 0 && weights[keys[at - 1]] < weights[key]) {
            at--;
        }
        if (at == KEYS_MAX || weights[key] < WEIGHT_MIN) {
            continue;
        }
        found = found < KEYS_MAX ? found + 1 : found;
        for (size_t i = found - 1; i > at; i--) {
            keys[i] = keys[i - 1];
        }
        keys[at] = key;
    }
    for (size_t i = 1; i < found; i++) { /* by key */
        for (size_t j = i; j > 0 && keys[j - 1] > keys[j]; j--) {
            size_t key = keys[j];
            keys[j] = keys[j - 1];
            keys[j - 1] = key;
        }
    }
    return found;
}

static void write_indices(struct emitter *w, const float *pattern, size_t n)
{
    emit_array(w);
    for (size_t query = 0; query < n && n > 1; query++) {
        size_t keys[KEYS_MAX];
        size_t found = largest_keys(pattern + query * n, n, keys);
        for (size_t i = 0; i < found; i++) {
            size_t index = query * n + keys[i];
            emit_int(w, (long long)index);
        }
    }
    emit_end_array(w);
}

static void write_weights(struct emitter *w, const float *pattern, size_t n)
{
    emit_array(w);
    for (size_t query = 0; query < n && n > 1; query++) {
        size_t keys[KEYS_MAX];
        size_t found = largest_keys(pattern + query * n, n, keys);
        for (size_t i = 0; i < found; i++) {
            emit_rounded(w, (double)pattern[query * n + keys[i]], 4);
        }
    }
    emit_end_array(w);
}

static float largest_without_bos(const float *pattern, size_t n)
{
    float largest = 0;
    for (size_t query = 1; query < n; query++) {
        for (size_t key = 1; key < n; key++) {
            float weight = pattern[query * n + key];
            largest = weight > largest ? weight : largest;
        }
    }
    return largest;
}

static enum http_next reply_attention(struct exchange *x)
{
    const struct features *f = x->state;
    const struct head *head = f->options;
    const struct prompt *prompt = &f->prompts.items[0];
    size_t n = prompt->n_ids;
    const float *pattern = f->await.job->prompts[0].reads[0].data + head->number * n * n;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    reply_int(&w, "seq_len", (long long)n);
    size_t mark = reply_begin(&w, "attention_indices");
    write_indices(&w, pattern, n);
    reply_end(&w, "attention_indices", mark);
    mark = reply_begin(&w, "attention_values");
    write_weights(&w, pattern, n);
    reply_end(&w, "attention_values", mark);
    mark = reply_begin(&w, "max_activation");
    emit_rounded(&w, (double)largest_without_bos(pattern, n), 4);
    reply_end(&w, "max_activation", mark);
    emit_key(&w, "tokens");
    prompts_emit_tokens(&w, x->app, prompt->ids, n);
    emit_end_object(&w);
    return HTTP_DONE;
}

enum http_next activation_attention(struct exchange *x)
{
    struct features *f = features_create(x);
    if (!f) {
        return HTTP_DONE;
    }
    const struct app *app = x->app;
    const struct gemma_config *config = engine_config(app->engine);
    prompts_read(&f->prompts, app, &f->fields);
    (void)fields_need(&f->fields, "layer");
    long long layer = fields_integer(&f->fields, "layer", 0, (long long)config->n_layers - 1, 0);
    (void)fields_need(&f->fields, "head");
    long long number = fields_integer(&f->fields, "head", 0, (long long)config->n_heads - 1, 0);
    struct engine_read read = {.kind = READ_POINT, .point = POINT_PATTERN, .layer = (int)layer};
    struct head *head = memory_zalloc(1, sizeof *head);
    f->options = head;
    if (head) {
        head->number = (size_t)number;
    } else if (!f->fields.st.code) {
        status_no_memory(&f->fields.st, sizeof *head);
    }
    return features_read(x, &read, 1, false, reply_attention);
}
