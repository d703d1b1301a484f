#include "core/gemma/point.h"

#include "core/gemma/config.h"

#include <string.h>

static const char *const names[POINT_COUNT] = {
    [POINT_EMBED] = "embed",
    [POINT_RESID_PRE] = "resid_pre",
    [POINT_ATTN_IN] = "attn_in",
    [POINT_Q] = "q",
    [POINT_K] = "k",
    [POINT_V] = "v",
    [POINT_SCORES] = "scores",
    [POINT_PATTERN] = "pattern",
    [POINT_Z] = "z",
    [POINT_ATTN_OUT_RAW] = "attn_out_raw",
    [POINT_ATTN_OUT] = "attn_out",
    [POINT_RESID_MID] = "resid_mid",
    [POINT_MLP_IN_PREGAIN] = "mlp_in_pregain",
    [POINT_MLP_IN] = "mlp_in",
    [POINT_MLP_GATE] = "mlp_gate",
    [POINT_NEURONS] = "neurons",
    [POINT_MLP_OUT_RAW] = "mlp_out_raw",
    [POINT_MLP_OUT] = "mlp_out",
    [POINT_RESID_POST] = "resid_post",
    [POINT_FINAL_NORM] = "final_norm",
    [POINT_LOGITS] = "logits",
    [POINT_LOSS] = "loss",
};

const char *point_name(enum point point)
{
    return names[point];
}

bool point_find(const char *name, size_t length, enum point *point)
{
    for (int i = 0; i < POINT_COUNT; i++) {
        if (strlen(names[i]) == length && memcmp(names[i], name, length) == 0) {
            *point = (enum point)i;
            return true;
        }
    }
    return false;
}

bool point_has_layer(enum point point)
{
    return point != POINT_EMBED && point != POINT_FINAL_NORM && point != POINT_LOGITS &&
           point != POINT_LOSS;
}

size_t point_width(const struct gemma_config *c, enum point point)
{
    switch (point) {
    case POINT_Q:
    case POINT_Z:
        return c->n_heads * c->head_dim;
    case POINT_K:
    case POINT_V:
        return c->n_kv_heads * c->head_dim;
    case POINT_MLP_GATE:
    case POINT_NEURONS:
        return c->intermediate_size;
    case POINT_LOGITS:
        return c->vocab_size;
    default:
        return c->hidden_size;
    }
}
