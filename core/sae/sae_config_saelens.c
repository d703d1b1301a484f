#include "core/base/json.h"
#include "core/sae/sae_config.h"

#include <stdio.h>
#include <string.h>

/* SAELens's "architecture" (sae_lens/saes/): what it is once trained. */
struct kind {
    const char *name;
    enum sae_architecture architecture;
    bool is_transcoder, has_skip, must_have_threshold;
};
static const struct kind kinds[] = {
    {"standard", SAE_STANDARD, false, false, false},
    {"jumprelu", SAE_JUMPRELU, false, false, false},
    {"topk", SAE_TOPK, false, false, false},
    {"gated", SAE_GATED, false, false, false},
    {"batchtopk", SAE_JUMPRELU, false, false, true}, /* saved with the threshold of inference */
    {"matryoshka_batchtopk", SAE_JUMPRELU, false, false, true},
    {"transcoder", SAE_STANDARD, true, false, false},
    {"skip_transcoder", SAE_STANDARD, true, true, false},
    {"jumprelu_transcoder", SAE_JUMPRELU, true, false, false},
    {"jumprelu_skip_transcoder", SAE_JUMPRELU, true, true, false},
};

/* cfg.json as an object: version 6 keeps what is about the model in "metadata". */
struct cfg {
    const cJSON *root, *metadata;
    const char *name; /* of the file, for messages */
};

static const cJSON *field(const struct cfg *cfg, const char *key)
{
    const cJSON *value = cfg->metadata ? json_get(cfg->metadata, key) : NULL;
    return value ? value : json_get(cfg->root, key);
}

static const char *string(const struct cfg *cfg, const char *key, const char *older)
{
    const char *value = cJSON_GetStringValue(field(cfg, key));
    return value || !older ? value : cJSON_GetStringValue(field(cfg, older));
}

/* A size from 1 on; 0 in *out if it is absent. */
static int size_field(const struct cfg *cfg, const cJSON *value, const char *key, size_t *out,
                      struct status *st)
{
    long long n = 0;
    if (value && !json_integer(value, 1, UINT32_MAX, &n)) {
        return status_set(st, STATUS_INVALID, "%s: \"%s\" is not a whole number from 1 on",
                          cfg->name, key);
    }
    *out = (size_t)n;
    return STATUS_OK;
}

static int flag(const struct cfg *cfg, const char *key, bool absent, bool *out, struct status *st)
{
    const cJSON *value = field(cfg, key);
    *out = value ? cJSON_IsTrue(value) : absent;
    if (value && !cJSON_IsBool(value)) {
        return status_set(st, STATUS_INVALID, "%s: \"%s\" is not true or false", cfg->name, key);
    }
    return STATUS_OK;
}

static const struct kind *find_kind(const char *name)
{
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++) {
        if (strcmp(kinds[i].name, name) == 0) {
            return &kinds[i];
        }
    }
    return NULL;
}

static int read_architecture(struct sae_config *config, const struct cfg *cfg, struct status *st)
{
    const char *name = string(cfg, "architecture", NULL);
    const char *activation = string(cfg, "activation_fn", "activation_fn_str");
    /* Before version 6 a top-k SAE was a standard one with another activation. */
    if (!name || strcmp(name, "standard") == 0) {
        name = activation && strcmp(activation, "topk") == 0 ? "topk" : "standard";
    }
    const struct kind *kind = find_kind(name);
    if (!kind) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: architecture \"%.60s\" is not supported; expected standard, "
                          "jumprelu, topk, batchtopk, gated or a transcoder of one layer",
                          cfg->name, name);
    }
    config->architecture = kind->architecture;
    config->is_transcoder = kind->is_transcoder;
    config->has_skip = kind->has_skip;
    config->must_have_threshold = kind->must_have_threshold;
    if (kind->architecture == SAE_STANDARD && activation && strcmp(activation, "relu") != 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: activation_fn \"%.60s\" is not supported; expected relu or topk",
                          cfg->name, activation);
    }
    if (kind->architecture != SAE_TOPK) {
        return STATUS_OK;
    }
    const cJSON *kwargs = field(cfg, "activation_fn_kwargs");
    const cJSON *k = field(cfg, "k");
    if (size_field(cfg, k || !kwargs ? k : json_get(kwargs, "k"), "k", &config->k, st)) {
        return (int)st->code;
    }
    if (config->k == 0) {
        return status_set(st, STATUS_INVALID,
                          "%s: a topk SAE without \"k\" (nor activation_fn_kwargs.k)", cfg->name);
    }
    return flag(cfg, "rescale_acts_by_decoder_norm", false, &config->rescales_by_decoder, st);
}

static int read_norm(struct sae_config *config, const struct cfg *cfg, struct status *st)
{
    static const struct {
        const char *name;
        enum sae_norm norm;
    } norms[] = {{"none", SAE_NORM_NONE},
                 {"layer_norm", SAE_NORM_LAYER},
                 {"constant_norm_rescale", SAE_NORM_CONSTANT}};
    const cJSON *value = field(cfg, "normalize_activations");
    const char *name = cJSON_GetStringValue(value);
    if (!value || cJSON_IsFalse(value)) {
        name = "none";
    } else if (cJSON_IsTrue(value)) { /* what `true` meant before it became a word */
        name = "expected_average_only_in";
    }
    if (!name) {
        return status_set(st, STATUS_INVALID, "%s: \"normalize_activations\" is not a string",
                          cfg->name);
    }
    if (strcmp(name, "expected_average_only_in") == 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: normalize_activations is expected_average_only_in, whose factor is "
                          "not in the file; fold it into the weights with SAELens "
                          "(fold_activation_norm_scaling_factor) and save again",
                          cfg->name);
    }
    for (size_t i = 0; i < sizeof norms / sizeof *norms; i++) {
        if (strcmp(norms[i].name, name) == 0) {
            config->norm = norms[i].norm;
            if (config->is_transcoder && config->norm != SAE_NORM_NONE) {
                break; /* the input's norm says nothing about another point's output */
            }
            return STATUS_OK;
        }
    }
    return status_set(st, STATUS_UNSUPPORTED,
                      "%s: normalize_activations \"%.60s\" is not supported%s", cfg->name, name,
                      config->is_transcoder ? " for a transcoder" : "");
}

static int read_hook(const struct cfg *cfg, const char *hook, enum point *point, int *layer,
                     struct status *st)
{
    if (!hook) {
        return status_set(st, STATUS_INVALID, "%s: no \"hook_name\" (nor \"hook_point\")",
                          cfg->name);
    }
    if (!sae_config_find_hook(hook, point, layer)) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: the hook \"%.120s\" is not a point that darkmatter reads for SAEs",
                          cfg->name, hook);
    }
    return STATUS_OK;
}

static int read_hooks(struct sae_config *config, const struct cfg *cfg, struct status *st)
{
    if (read_hook(cfg, string(cfg, "hook_name", "hook_point"), &config->input, &config->layer,
                  st)) {
        return (int)st->code;
    }
    const cJSON *head = field(cfg, "hook_head_index");
    if (head) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: hook_head_index is set; SAEs of one head are not supported",
                          cfg->name);
    }
    const char *reshape = string(cfg, "reshape_activations", NULL);
    if (reshape && strcmp(reshape, "none") != 0 && strcmp(reshape, "hook_z") != 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: reshape_activations \"%.60s\" is not supported; expected none or "
                          "hook_z",
                          cfg->name, reshape);
    }
    config->output = config->input;
    if (!config->is_transcoder) {
        return STATUS_OK;
    }
    const char *out = string(cfg, "hook_name_out", NULL);
    int layer = config->layer;
    config->output = POINT_MLP_OUT;
    if (out && read_hook(cfg, out, &config->output, &layer, st)) {
        return (int)st->code;
    }
    if (config->output != POINT_MLP_OUT || layer != config->layer) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: hook_name_out is \"%.120s\"; only transcoders to hook_mlp_out of "
                          "the same layer are supported",
                          cfg->name, out ? out : "");
    }
    return STATUS_OK;
}

static int read_fields(struct sae_config *config, const struct cfg *cfg, struct status *st)
{
    if (read_architecture(config, cfg, st) || read_norm(config, cfg, st) ||
        read_hooks(config, cfg, st) ||
        size_field(cfg, json_get(cfg->root, "d_in"), "d_in", &config->d_in, st) ||
        size_field(cfg, json_get(cfg->root, "d_out"), "d_out", &config->d_out, st) ||
        size_field(cfg, json_get(cfg->root, "d_sae"), "d_sae", &config->d_sae, st) ||
        flag(cfg, "apply_b_dec_to_input", true, &config->subtracts_b_dec, st) ||
        flag(cfg, "finetuning_scaling_factor", false, &config->scales_features, st)) {
        return (int)st->code;
    }
    if (config->is_transcoder) { /* SAELens's transcoders never do, whatever the field says */
        config->subtracts_b_dec = false;
    }
    const char *id = string(cfg, "neuronpedia_id", NULL);
    const char *slash = id ? strchr(id, '/') : NULL;
    if (slash && strlen(slash + 1) < sizeof config->neuronpedia_source) {
        snprintf(config->neuronpedia_source, sizeof config->neuronpedia_source, "%s", slash + 1);
    }
    return STATUS_OK;
}

int sae_config_saelens(struct sae_config *config, const char *json, size_t n, const char *name,
                       struct status *st)
{
    *config = (struct sae_config){0};
    cJSON *root = NULL;
    int code = json_parse(&root, json, n, name, st);
    if (!code && !cJSON_IsObject(root)) {
        code = status_set(st, STATUS_INVALID, "%s: not an object", name);
    }
    if (!code) {
        const cJSON *metadata = json_get(root, "metadata");
        struct cfg cfg = {root, cJSON_IsObject(metadata) ? metadata : NULL, name};
        code = read_fields(config, &cfg, st);
    }
    cJSON_Delete(root);
    return code;
}
