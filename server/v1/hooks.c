#include "server/v1/hooks.h"

#include "core/base/text.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

struct hook {
    const char *name; /* what follows "blocks.N." */
    enum point point;
};

/* TransformerLens names more points than these; the rest are other numbers than ours (its ln1 and
 * mlp.hook_pre lack the gain and the activation function) or no rows of one token. */
static const struct hook hooks[] = {{"hook_resid_pre", POINT_RESID_PRE},
                                    {"attn.hook_rot_q", POINT_Q},
                                    {"attn.hook_rot_k", POINT_K},
                                    {"attn.hook_v", POINT_V},
                                    {"attn.hook_z", POINT_Z},
                                    {"hook_attn_out", POINT_ATTN_OUT},
                                    {"hook_resid_mid", POINT_RESID_MID},
                                    {"ln2.hook_normalized", POINT_MLP_IN_PREGAIN},
                                    {"hook_mlp_in", POINT_MLP_IN},
                                    {"mlp.hook_post", POINT_NEURONS},
                                    {"mlp.hook_out", POINT_MLP_OUT_RAW},
                                    {"hook_mlp_out", POINT_MLP_OUT},
                                    {"hook_resid_post", POINT_RESID_POST}};

/* Reads at most four digits; NULL if there are none or more. */
static const char *read_layer(const char *s, int *layer)
{
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || digits > 4) {
        return NULL;
    }
    *layer = (int)strtol(s, NULL, 10);
    return s + digits;
}

static bool find_transformer_lens(const char *name, enum point *point, int *layer)
{
    if (strcmp(name, "hook_embed") == 0) {
        *point = POINT_EMBED;
        return true;
    }
    const char *rest = read_layer(name + strlen("blocks."), layer);
    for (size_t i = 0; rest && *rest == '.' && i < sizeof hooks / sizeof *hooks; i++) {
        if (strcmp(rest + 1, hooks[i].name) == 0) {
            *point = hooks[i].point;
            return true;
        }
    }
    return false;
}

static bool find_ours(const char *name, enum point *point, int *layer)
{
    size_t length = strcspn(name, ".");
    if (!point_find(name, length, point)) {
        return false;
    }
    if (*point == POINT_SCORES || *point == POINT_PATTERN || *point == POINT_LOSS) {
        return false; /* no row of numbers a token */
    }
    if (!point_has_layer(*point)) {
        return name[length] == '\0';
    }
    const char *rest = name[length] == '.' ? read_layer(name + length + 1, layer) : NULL;
    return rest && *rest == '\0';
}

int hooks_find(const char *name, const struct gemma_config *config, enum point *point, int *layer,
               struct status *st)
{
    *layer = 0;
    bool theirs = text_starts_with(name, "blocks.") || strcmp(name, "hook_embed") == 0;
    if (!(theirs ? find_transformer_lens(name, point, layer) : find_ours(name, point, layer))) {
        return status_set(st, STATUS_INVALID,
                          "hook: \"%.120s\" is no point that a vector can be multiplied with; "
                          "write it as blocks.N.hook_resid_post or resid_post.N",
                          name);
    }
    if ((size_t)*layer >= config->n_layers) {
        return status_set(st, STATUS_INVALID,
                          "hook: \"%.120s\" names layer %d, but this model has %zu layers (0-%zu)",
                          name, *layer, config->n_layers, config->n_layers - 1);
    }
    return STATUS_OK;
}
