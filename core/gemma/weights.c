#include "core/gemma/weights.h"

#include "core/base/memory.h"

#include <stdio.h>
#include <string.h>

static const char *const prefixes[] = {"model.", "language_model.model.", "model.language_model."};
#define N_PREFIXES (sizeof prefixes / sizeof prefixes[0])

struct opener {
    const struct model_folder *folder;
    const char *prefix;
    struct weights *weights;
    size_t gains_used;
    struct status *st;
};

/* The tensor `name` below the checkpoint's prefix, with exactly this shape. */
static int find(struct opener *o, struct tensor *out, int n_dims, size_t rows, size_t cols,
                const char *name)
{
    char full[160];
    const char *file = o->folder->path;
    (void)snprintf(full, sizeof full, "%s%s", o->prefix, name);
    const struct tensor *found = model_folder_tensor(o->folder, full, &file);
    size_t shape[2] = {rows, cols};
    int code = tensor_expect(found, file ? file : o->folder->path, full, n_dims, shape, o->st);
    if (code == STATUS_OK) {
        *out = *found;
    }
    return code;
}

static int matrix(struct opener *o, struct tensor *out, size_t rows, size_t cols, size_t layer,
                  const char *name)
{
    char full[128];
    (void)snprintf(full, sizeof full, "layers.%zu.%s.weight", layer, name);
    return find(o, out, 2, rows, cols, full);
}

/* 1 + w in fp32: Gemma stores the gain's difference from one. */
static int gain(struct opener *o, float **out, size_t width, const char *name)
{
    struct tensor t;
    int code = find(o, &t, 1, width, 0, name);
    if (code) {
        return code;
    }
    *out = o->weights->gains + o->gains_used;
    o->gains_used += width;
    tensor_widen(&t, 0, width, *out);
    for (size_t i = 0; i < width; i++) {
        (*out)[i] += 1.0f;
    }
    return STATUS_OK;
}

static int layer_gain(struct opener *o, float **out, size_t width, size_t layer, const char *name)
{
    char full[128];
    (void)snprintf(full, sizeof full, "layers.%zu.%s.weight", layer, name);
    return gain(o, out, width, full);
}

static int open_layer(struct opener *o, size_t i)
{
    const struct gemma_config *c = o->weights->config;
    struct layer_weights *l = &o->weights->layers[i];
    size_t D = c->hidden_size, F = c->intermediate_size;
    size_t HK = c->n_heads * c->head_dim, GK = c->n_kv_heads * c->head_dim;
    int code = STATUS_OK;
    (void)((code = matrix(o, &l->q_proj, HK, D, i, "self_attn.q_proj")) ||
           (code = matrix(o, &l->k_proj, GK, D, i, "self_attn.k_proj")) ||
           (code = matrix(o, &l->v_proj, GK, D, i, "self_attn.v_proj")) ||
           (code = matrix(o, &l->o_proj, D, HK, i, "self_attn.o_proj")) ||
           (code = matrix(o, &l->gate_proj, F, D, i, "mlp.gate_proj")) ||
           (code = matrix(o, &l->up_proj, F, D, i, "mlp.up_proj")) ||
           (code = matrix(o, &l->down_proj, D, F, i, "mlp.down_proj")) ||
           (code = layer_gain(o, &l->input_gain, D, i, "input_layernorm")) ||
           (code = layer_gain(o, &l->post_attention_gain, D, i, "post_attention_layernorm")) ||
           (code = layer_gain(o, &l->pre_feedforward_gain, D, i, "pre_feedforward_layernorm")) ||
           (code = layer_gain(o, &l->post_feedforward_gain, D, i, "post_feedforward_layernorm")));
    if (code == STATUS_OK && c->family == 3) {
        (void)((code = layer_gain(o, &l->q_gain, c->head_dim, i, "self_attn.q_norm")) ||
               (code = layer_gain(o, &l->k_gain, c->head_dim, i, "self_attn.k_norm")));
    }
    return code;
}

/* An lm_head beside tied embeddings (some fine-tunes carry one) is ignored. */
static int open_unembedding(struct opener *o)
{
    const struct gemma_config *c = o->weights->config;
    o->weights->unembedding = o->weights->embedding;
    if (c->tied_embeddings) {
        return STATUS_OK;
    }
    const char *file = o->folder->path;
    const char *name = "lm_head.weight";
    const struct tensor *t = model_folder_tensor(o->folder, name, &file);
    if (!t) {
        name = "language_model.lm_head.weight";
        t = model_folder_tensor(o->folder, name, &file);
    }
    size_t shape[2] = {c->vocab_size, c->hidden_size};
    int code = tensor_expect(t, file ? file : o->folder->path, name, 2, shape, o->st);
    if (code == STATUS_OK) {
        o->weights->unembedding = *t;
    }
    return code;
}

int weights_open(struct weights *w, const struct model_folder *folder,
                 const struct gemma_config *config, float embed_scale, enum precision precision,
                 struct status *st)
{
    *w = (struct weights){.config = config, .embed_scale = embed_scale, .precision = precision};
    struct opener o = {.folder = folder, .prefix = prefixes[0], .weights = w, .st = st};
    for (size_t i = 0; i < N_PREFIXES; i++) {
        char name[64];
        const char *file;
        (void)snprintf(name, sizeof name, "%sembed_tokens.weight", prefixes[i]);
        if (model_folder_tensor(folder, name, &file)) {
            o.prefix = prefixes[i];
        }
    }
    w->n_gains =
        config->n_layers * (4 * config->hidden_size + 2 * config->head_dim) + config->hidden_size;
    w->layers = memory_zalloc(config->n_layers, sizeof *w->layers);
    w->gains = memory_aligned(w->n_gains, sizeof *w->gains);
    if (!w->layers || !w->gains) {
        int code = status_no_memory(st, w->n_gains * sizeof *w->gains);
        weights_close(w);
        return code;
    }
    int code =
        find(&o, &w->embedding, 2, config->vocab_size, config->hidden_size, "embed_tokens.weight");
    if (code == STATUS_OK) {
        code = open_unembedding(&o);
    }
    if (code == STATUS_OK) {
        code = gain(&o, &w->final_gain, config->hidden_size, "norm.weight");
    }
    for (size_t i = 0; code == STATUS_OK && i < config->n_layers; i++) {
        code = open_layer(&o, i);
    }
    if (code) {
        weights_close(w);
    }
    return code;
}

void weights_close(struct weights *w)
{
    memory_free(w->layers);
    memory_free(w->gains);
    *w = (struct weights){0};
}

/* Of one layer. */
#define MATRICES 7

const struct tensor *weights_matrix(const struct weights *w, size_t i)
{
    size_t layer = i / MATRICES, layers = w->config->n_layers;
    if (layer >= layers) {
        return i == MATRICES * layers ? &w->unembedding : NULL;
    }
    const struct layer_weights *l = &w->layers[layer];
    const struct tensor *const all[MATRICES] = {
        &l->q_proj, &l->k_proj, &l->v_proj, &l->o_proj, &l->gate_proj, &l->up_proj, &l->down_proj};
    return all[i % MATRICES];
}

struct hash weights_identity(const struct weights *w)
{
    const struct gemma_config *c = w->config;
    struct hash h = hash_start();
    tensor_hash(&w->embedding, &h);
    tensor_hash(&w->unembedding, &h);
    hash_add(&h, w->gains, w->n_gains * sizeof *w->gains); /* every norm of every layer */
    for (size_t i = 0; i < MATRICES * c->n_layers; i++) {
        tensor_hash(weights_matrix(w, i), &h);
    }
    return h;
}
