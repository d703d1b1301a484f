#include "core/sae/sae_config.h"

#include "core/base/json.h"
#include "core/base/mapped_file.h"
#include "core/base/text.h"
#include "core/gemma/config.h"

#include <stdio.h>
#include <string.h>

struct hook {
    const char *name;
    enum point point;
};

/* What follows "blocks.N." in TransformerLens's names. The mlp_in pair is told apart as Gemma
 * Scope's authors mean it: ln2.hook_normalized has no gain, hook_mlp_in has it. */
static const struct hook hooks[] = {{"hook_resid_pre", POINT_RESID_PRE},
                                    {"hook_resid_mid", POINT_RESID_MID},
                                    {"hook_resid_post", POINT_RESID_POST},
                                    {"hook_mlp_out", POINT_MLP_OUT},
                                    {"hook_attn_out", POINT_ATTN_OUT},
                                    {"attn.hook_z", POINT_Z},
                                    {"mlp.hook_post", POINT_NEURONS},
                                    {"hook_mlp_in", POINT_MLP_IN},
                                    {"ln2.hook_normalized", POINT_MLP_IN_PREGAIN}};

/* What follows "layers.N." in Gemma Scope 2's names (Hugging Face modules). */
static const struct hook modules[] = {{"output", POINT_RESID_POST},
                                      {"post_feedforward_layernorm.output", POINT_MLP_OUT},
                                      {"self_attn.o_proj.input", POINT_Z},
                                      {"pre_feedforward_layernorm.output", POINT_MLP_IN}};

/* Reads "N." at the start of s; returns what follows it, NULL if it is not there. */
static const char *layer_number(const char *s, int *layer)
{
    int n = 0;
    const char *p = s;
    for (; *p >= '0' && *p <= '9'; p++) {
        n = n * 10 + (*p - '0');
        if (n >= CONFIG_LAYERS_MAX) {
            return NULL;
        }
    }
    *layer = n;
    return p > s && *p == '.' ? p + 1 : NULL;
}

static bool find_in(const struct hook *table, size_t n, const char *name, enum point *point)
{
    for (size_t i = 0; i < n; i++) {
        if (strcmp(table[i].name, name) == 0) {
            *point = table[i].point;
            return true;
        }
    }
    return false;
}

bool sae_config_find_hook(const char *hook, enum point *point, int *layer)
{
    if (strcmp(hook, "hook_embed") == 0) {
        *point = POINT_EMBED;
        *layer = 0;
        return true;
    }
    const char *rest =
        text_starts_with(hook, "blocks.") ? layer_number(hook + strlen("blocks."), layer) : NULL;
    return rest && find_in(hooks, sizeof hooks / sizeof *hooks, rest, point);
}

const char *sae_config_hook(enum point point, int layer, char *buffer, size_t size)
{
    snprintf(buffer, size, "hook_embed");
    for (size_t i = 0; i < sizeof hooks / sizeof *hooks; i++) {
        if (hooks[i].point == point) {
            snprintf(buffer, size, "blocks.%d.%s", layer, hooks[i].name);
        }
    }
    return buffer;
}

/* The wrapper in front of "layers." differs between the text-only and the multimodal models. */
static bool find_module(const char *module, enum point *point, int *layer)
{
    const char *at = strstr(module, "layers.");
    const char *rest = at ? layer_number(at + strlen("layers."), layer) : NULL;
    return rest && find_in(modules, sizeof modules / sizeof *modules, rest, point);
}

static int scope2_hook(const cJSON *root, const char *key, enum point *point, int *layer,
                       const char *name, struct status *st)
{
    const char *hook = cJSON_GetStringValue(json_get(root, key));
    if (!hook) {
        return status_set(st, STATUS_INVALID, "%s: \"%s\" is missing or not a string", name, key);
    }
    if (!find_module(hook, point, layer)) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: \"%s\" is \"%.120s\", which is not a point that darkmatter reads "
                          "for Gemma Scope 2",
                          name, key, hook);
    }
    return STATUS_OK;
}

static int scope2_kind(struct sae_config *config, const cJSON *root, const char *name,
                       struct status *st)
{
    const char *type = cJSON_GetStringValue(json_get(root, "type"));
    const char *architecture = cJSON_GetStringValue(json_get(root, "architecture"));
    if (type && (strcmp(type, "crosscoder") == 0 || strcmp(type, "clt") == 0)) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: type is \"%s\"; dictionaries over several layers at once are not "
                          "supported",
                          name, type);
    }
    if (type && strcmp(type, "sae") != 0 && strcmp(type, "transcoder") != 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: type is \"%.60s\"; expected \"sae\" or \"transcoder\"", name, type);
    }
    if (architecture && strcmp(architecture, "jump_relu") != 0 &&
        strcmp(architecture, "jumprelu") != 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: architecture is \"%.60s\"; expected \"jump_relu\"", name,
                          architecture);
    }
    config->architecture = SAE_JUMPRELU;
    config->is_transcoder = type && strcmp(type, "transcoder") == 0;
    return STATUS_OK;
}

static int scope2_fields(struct sae_config *config, const cJSON *root, const char *name,
                         struct status *st)
{
    int layer_out = 0;
    if (scope2_kind(config, root, name, st) ||
        scope2_hook(root, "hf_hook_point_in", &config->input, &config->layer, name, st) ||
        scope2_hook(root, "hf_hook_point_out", &config->output, &layer_out, name, st)) {
        return (int)st->code;
    }
    if (layer_out != config->layer) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: reads layer %d and writes layer %d; only dictionaries within one "
                          "layer are supported",
                          name, config->layer, layer_out);
    }
    if (config->is_transcoder ? config->output != POINT_MLP_OUT : config->output != config->input) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: hf_hook_point_out does not go with type \"%s\"", name,
                          config->is_transcoder ? "transcoder" : "sae");
    }
    long long number = 0;
    const cJSON *width = json_get(root, "width");
    if (width && !json_integer(width, 1, UINT32_MAX, &number)) {
        return status_set(st, STATUS_INVALID, "%s: \"width\" is not a whole number from 1 on",
                          name);
    }
    config->d_sae = (size_t)number;
    if (json_integer(json_get(root, "l0"), 0, 1000000, &number)) {
        snprintf(config->l0, sizeof config->l0, "%lld", number);
    }
    config->has_skip = cJSON_IsTrue(json_get(root, "affine_connection"));
    return STATUS_OK;
}

int sae_config_scope2(struct sae_config *config, const char *json, size_t n, const char *name,
                      struct status *st)
{
    *config = (struct sae_config){0};
    cJSON *root = NULL;
    int code = json_parse(&root, json, n, name, st);
    if (!code) {
        code = cJSON_IsObject(root) ? scope2_fields(config, root, name, st)
                                    : status_set(st, STATUS_INVALID, "%s: not an object", name);
    }
    cJSON_Delete(root);
    return code;
}

static int from_file(int (*parse)(struct sae_config *, const char *, size_t, const char *,
                                  struct status *),
                     struct sae_config *config, const char *path, struct status *st)
{
    struct mapped_file file;
    int code = mapped_file_open(&file, path, st);
    if (code) {
        return code;
    }
    if (file.size > SAE_CONFIG_LIMIT) {
        code = status_set(st, STATUS_TOO_LARGE, "%s: expected at most %u bytes, found %zu", path,
                          SAE_CONFIG_LIMIT, file.size);
    } else {
        code = parse(config, file.data ? (const char *)file.data : "", file.size, path, st);
    }
    code = code ? code : mapped_file_check(&file, st);
    mapped_file_close(&file);
    return code;
}

int sae_config_open_scope2(struct sae_config *config, const char *path, struct status *st)
{
    return from_file(sae_config_scope2, config, path, st);
}

int sae_config_open_saelens(struct sae_config *config, const char *path, struct status *st)
{
    return from_file(sae_config_saelens, config, path, st);
}
