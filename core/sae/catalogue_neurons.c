/* The model's own neurons as sources, two a layer L, as wide as the point that they read:
 *     L          point neurons.L: gelu(gate) * up, down_proj's input; Neuronpedia's bare layer
 *     L-mlp_out  point mlp_out.L: what the MLP adds to the residual stream, entry by entry
 * Their values are the point's, signed and on every token. core/engine_neurons.c has their decoder.
 */
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/sae/catalogue_private.h"

#include <stdio.h>

static int set_names(struct sae_source *s, const char *suffix, const char *set, const char *hook,
                     struct status *st)
{
    struct text name = {0};
    size_t n;
    text_printf(&name, "%d%s", s->layer, suffix);
    (void)snprintf(s->hook_name, sizeof s->hook_name, "blocks.%d.%s", s->layer, hook);
    s->name = text_take(&name, &n);
    s->source_set = memory_string(set);
    s->path = memory_string("");
    return s->name && s->source_set && s->path ? STATUS_OK : status_no_memory(st, 64);
}

static struct sae_source neurons_of(int layer, enum point input, size_t d_in, size_t d_out)
{
    return (struct sae_source){.architecture = SAE_NONE,
                               .layer = layer,
                               .input = input,
                               .output = POINT_MLP_OUT,
                               .is_neurons = true,
                               .d_in = d_in,
                               .d_out = d_out,
                               .d_sae = d_in};
}

int catalogue_add_neurons(struct catalogue *catalogue, const struct gemma_config *config,
                          struct status *st)
{
    size_t D = config->hidden_size;
    catalogue->neurons = memory_zalloc(2 * config->n_layers, sizeof *catalogue->neurons);
    if (!catalogue->neurons) {
        return status_no_memory(st, 2 * config->n_layers * sizeof *catalogue->neurons);
    }
    catalogue->n_neurons = 2 * config->n_layers;
    int code = STATUS_OK;
    for (size_t i = 0; i < config->n_layers && !code; i++) {
        struct sae_source *s = &catalogue->neurons[2 * i];
        s[0] = neurons_of((int)i, POINT_NEURONS, config->intermediate_size, D);
        s[1] = neurons_of((int)i, POINT_MLP_OUT, D, D);
        (void)((code = set_names(&s[0], "", "neurons", "mlp.hook_post", st)) ||
               (code = set_names(&s[1], "-mlp_out", "mlp_out", "hook_mlp_out", st)));
    }
    return code;
}
