#include "core/gemma/config.h"

#include "core/base/json.h"
#include "core/base/memory.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define CONFIG_FILE_LIMIT (4u * 1024 * 1024)
#define WIDTH_MAX 262144 /* of any layer: a row of weights must fit a worker's scratch */
#define POSITIONS_MAX 1048576
#define VOCABULARY_MAX 4194304

/* What a config.json that leaves a field out means: the defaults of Gemma2Config and
 * Gemma3TextConfig in transformers. */
struct defaults {
    int family;
    long long vocab_size, max_positions;
    double rope_theta, attention_softcap, final_softcap;
};
static const struct defaults gemma2 = {2, 256000, 8192, 1e4, 50.0, 30.0};
static const struct defaults gemma3 = {3, 262208, 131072, 1e6, 0.0, 0.0};

/* The object being read and where errors go: the first one stays. */
struct reader {
    const cJSON *object;
    const char *name;
    struct status *st;
    bool failed;
};

static int wrong(struct reader *r, const char *field, const char *expected)
{
    if (!r->failed) {
        const cJSON *found = json_get(r->object, field);
        char *text = found ? cJSON_PrintUnformatted(found) : NULL;
        status_set(r->st, STATUS_CORRUPT, "%s: %s: expected %s, found %.80s", r->name, field,
                   expected, text ? text : "nothing");
        cJSON_free(text);
        r->failed = true;
    }
    return (int)r->st->code;
}

static size_t whole(struct reader *r, const char *field, long long standard, long long high)
{
    const cJSON *value = json_get(r->object, field);
    long long n = standard;
    if (value && !json_integer(value, 1, high, &n)) {
        char expected[64];
        (void)snprintf(expected, sizeof expected, "a whole number in 1..%lld", high);
        wrong(r, field, expected);
    }
    return (size_t)n;
}

static double real(struct reader *r, const char *field, double standard)
{
    const cJSON *value = json_get(r->object, field);
    if (!value) {
        return standard;
    }
    if (!cJSON_IsNumber(value) || !isfinite(value->valuedouble) || value->valuedouble <= 0) {
        wrong(r, field, "a number above 0");
        return standard;
    }
    return value->valuedouble;
}

/* A softcap may be null (none) although its default is a number: absent and null differ here. */
static float softcap(struct reader *r, const char *field, double standard)
{
    const cJSON *value = cJSON_GetObjectItemCaseSensitive(r->object, field);
    return value && cJSON_IsNull(value) ? 0.0f : (float)real(r, field, standard);
}

static int32_t token_id(struct reader *r, const char *field, int32_t standard)
{
    const cJSON *value = json_get(r->object, field);
    long long n = standard;
    if (value && !json_integer(value, 0, VOCABULARY_MAX, &n)) {
        wrong(r, field, "a token id");
    }
    return (int32_t)n;
}

static void read_eos(struct gemma_config *c, struct reader *r, const cJSON *outer)
{
    const cJSON *value = json_get(r->object, "eos_token_id");
    value = value ? value : json_get(outer, "eos_token_id");
    long long id = 1;
    c->n_eos = 0;
    if (!cJSON_IsArray(value)) {
        if (value && !json_integer(value, 0, VOCABULARY_MAX, &id)) {
            wrong(r, "eos_token_id", "a token id or a list of them");
        }
        c->eos_ids[c->n_eos++] = (int32_t)id;
        return;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, value)
    {
        if (c->n_eos == CONFIG_EOS_MAX || !json_integer(item, 0, VOCABULARY_MAX, &id)) {
            wrong(r, "eos_token_id", "a token id or a list of at most 8");
            return;
        }
        c->eos_ids[c->n_eos++] = (int32_t)id;
    }
}

/* Which layers slide: layer_types where it is given, else a pattern. Gemma 2: even layers; Gemma 3:
 * all but every sixth. */
static void read_layer_kinds(struct gemma_config *c, struct reader *r)
{
    size_t period = 2;
    if (c->family == 3) {
        const char *field = json_get(r->object, "sliding_window_pattern")
                                ? "sliding_window_pattern"
                                : "_sliding_window_pattern";
        period = whole(r, field, 6, CONFIG_LAYERS_MAX);
    }
    for (size_t i = 0; i < c->n_layers && i < CONFIG_LAYERS_MAX; i++) {
        c->local[i] = (i + 1) % period != 0;
    }
    const cJSON *types = json_get(r->object, "layer_types");
    if (!types) {
        return;
    }
    if (!cJSON_IsArray(types) || (size_t)cJSON_GetArraySize(types) != c->n_layers) {
        wrong(r, "layer_types", "a list with one entry a layer");
        return;
    }
    size_t i = 0;
    const cJSON *item;
    cJSON_ArrayForEach(item, types)
    {
        const char *kind = cJSON_GetStringValue(item);
        bool local = kind && strcmp(kind, "sliding_attention") == 0;
        if (!local && (!kind || strcmp(kind, "full_attention") != 0)) {
            wrong(r, "layer_types", "\"sliding_attention\" or \"full_attention\" for each layer");
            return;
        }
        c->local[i++] = local;
    }
}

/* {"rope_theta", "rope_type": "default" | "linear", "factor"} in either spelling. */
static void read_rope_entry(struct gemma_config *c, struct reader *r, const cJSON *entry, int kind,
                            const char *field)
{
    struct reader inner = {.object = entry, .name = r->name, .st = r->st, .failed = r->failed};
    const cJSON *type = json_get(entry, "rope_type");
    type = type ? type : json_get(entry, "type");
    const char *text = type ? cJSON_GetStringValue(type) : "default";
    bool linear = text && strcmp(text, "linear") == 0;
    if (!cJSON_IsObject(entry) || !text || (!linear && strcmp(text, "default") != 0)) {
        wrong(r, field, "rope_type \"default\" or \"linear\"");
        return;
    }
    c->rope_theta[kind] = (float)real(&inner, "rope_theta", (double)c->rope_theta[kind]);
    c->rope_factor[kind] = linear ? (float)real(&inner, "factor", 1.0) : 1.0f;
    r->failed = inner.failed;
}

static void read_rope(struct gemma_config *c, struct reader *r, const struct defaults *d)
{
    c->rope_theta[0] = (float)real(r, "rope_theta", d->rope_theta);
    c->rope_theta[1] =
        c->family == 3 ? (float)real(r, "rope_local_base_freq", 1e4) : c->rope_theta[0];
    c->rope_factor[0] = c->rope_factor[1] = 1.0f;
    const cJSON *scaling = json_get(r->object, "rope_scaling");
    if (scaling && c->family == 3) {
        read_rope_entry(c, r, scaling, 0, "rope_scaling"); /* never touches local layers */
    }
    /* transformers 5 */
    const cJSON *parameters = json_get(r->object, "rope_parameters");
    const cJSON *full = json_get(parameters, "full_attention");
    const cJSON *local = json_get(parameters, "sliding_attention");
    if (full || local) {
        if (full) {
            read_rope_entry(c, r, full, 0, "rope_parameters");
        }
        if (local) {
            read_rope_entry(c, r, local, 1, "rope_parameters");
        }
    } else if (parameters) {
        read_rope_entry(c, r, parameters, 0, "rope_parameters");
        if (c->family == 2) {
            c->rope_theta[1] = c->rope_theta[0];
            c->rope_factor[1] = c->rope_factor[0];
        }
    }
}

/* Some downloads of gemma-2-9b carry the query scale of an early release: the right one is 256
 * (huggingface/transformers issue 31891). */
static double query_scalar(struct gemma_config *c, struct reader *r)
{
    double scalar = real(r, "query_pre_attn_scalar", 256.0);
    if (c->family == 2 && c->n_layers == 42 && c->hidden_size == 3584 && scalar == 224.0) {
        scalar = 256.0;
        (void)snprintf(c->note, sizeof c->note,
                       "config.json says query_pre_attn_scalar 224, an error of early gemma-2-9b "
                       "downloads; 256 is used");
    }
    return scalar;
}

static void read_sizes(struct gemma_config *c, struct reader *r, const struct defaults *d)
{
    c->vocab_size = whole(r, "vocab_size", d->vocab_size, VOCABULARY_MAX);
    c->hidden_size = whole(r, "hidden_size", 2304, WIDTH_MAX);
    c->intermediate_size = whole(r, "intermediate_size", 9216, WIDTH_MAX);
    c->n_layers = whole(r, "num_hidden_layers", 26, CONFIG_LAYERS_MAX);
    c->n_heads = whole(r, "num_attention_heads", 8, 1024);
    c->n_kv_heads = whole(r, "num_key_value_heads", 4, 1024);
    c->head_dim = whole(r, "head_dim", 256, 4096);
    c->max_positions = whole(r, "max_position_embeddings", d->max_positions, POSITIONS_MAX);
    c->sliding_window = whole(r, "sliding_window", 4096, POSITIONS_MAX);
    c->rms_norm_eps = (float)real(r, "rms_norm_eps", 1e-6);
    c->attention_softcap = softcap(r, "attn_logit_softcapping", d->attention_softcap);
    c->final_softcap = softcap(r, "final_logit_softcapping", d->final_softcap);
    if (!r->failed && c->n_heads % c->n_kv_heads != 0) {
        wrong(r, "num_key_value_heads", "a divisor of num_attention_heads");
    }
    if (!r->failed && c->head_dim % 2 != 0) {
        wrong(r, "head_dim", "an even number");
    }
    if (!r->failed && c->n_heads * c->head_dim > WIDTH_MAX) {
        wrong(r, "head_dim", "heads that together are at most 262144 wide");
    }
}

static void read_flags(struct gemma_config *c, struct reader *r, const cJSON *outer)
{
    const cJSON *activation = json_get(r->object, "hidden_activation");
    const char *name = activation ? cJSON_GetStringValue(activation) : "gelu_pytorch_tanh";
    if (!name || strcmp(name, "gelu_pytorch_tanh") != 0) {
        wrong(r, "hidden_activation", "\"gelu_pytorch_tanh\"");
    }
    if (cJSON_IsTrue(json_get(r->object, "attention_bias"))) {
        wrong(r, "attention_bias", "false (biases are not supported)");
    }
    if (cJSON_IsTrue(json_get(r->object, "use_bidirectional_attention"))) {
        wrong(r, "use_bidirectional_attention",
              "false: an embedding model without causal attention is not a language model");
    }
    const cJSON *tie = json_get(r->object, "tie_word_embeddings");
    tie = tie ? tie : json_get(outer, "tie_word_embeddings");
    c->tied_embeddings = !cJSON_IsFalse(tie);
}

static int read_config(struct gemma_config *c, const cJSON *root, const char *name,
                       struct status *st)
{
    const cJSON *text = json_get(root, "text_config");
    struct reader r = {.object = text ? text : root, .name = name, .st = st};
    if (!cJSON_IsObject(r.object)) {
        return status_set(st, STATUS_CORRUPT, "%s: expected a JSON object with the model's sizes",
                          name);
    }
    const cJSON *type = json_get(r.object, "model_type");
    type = type ? type : json_get(root, "model_type");
    const char *kind = type ? cJSON_GetStringValue(type) : NULL;
    bool is2 = kind && strcmp(kind, "gemma2") == 0;
    bool is3 = kind && (strcmp(kind, "gemma3_text") == 0 || strcmp(kind, "gemma3") == 0);
    if (!is2 && !is3) {
        r.object = json_get(r.object, "model_type") ? r.object : root;
        return wrong(&r, "model_type", "\"gemma2\", \"gemma3_text\" or \"gemma3\"");
    }
    const struct defaults *d = is2 ? &gemma2 : &gemma3;
    *c = (struct gemma_config){.family = d->family, .is_multimodal = text != NULL};
    read_sizes(c, &r, d);
    if (r.failed) {
        return (int)st->code;
    }
    read_flags(c, &r, root);
    read_layer_kinds(c, &r);
    read_rope(c, &r, d);
    c->attention_scale = (float)(1.0 / sqrt(query_scalar(c, &r)));
    c->bos_id = token_id(&r, "bos_token_id", 2);
    c->pad_id = token_id(&r, "pad_token_id", 0);
    read_eos(c, &r, root);
    return r.failed ? (int)st->code : STATUS_OK;
}

int config_parse(struct gemma_config *config, const char *json, size_t n, const char *name,
                 struct status *st)
{
    cJSON *root;
    int code = json_parse(&root, json, n, name, st);
    if (code == STATUS_OK) {
        code = read_config(config, root, name, st);
        cJSON_Delete(root);
    }
    return code;
}

int config_open(struct gemma_config *config, const char *path, struct status *st)
{
    cJSON *root;
    int code = json_parse_file(&root, path, CONFIG_FILE_LIMIT, st);
    if (code == STATUS_OK) {
        code = read_config(config, root, path, st);
        cJSON_Delete(root);
    }
    return code;
}
