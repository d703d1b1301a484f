/* What an entry of a source writes: a row of an SAE's W_dec, or the direction that a neuron adds to
 * the residual stream.
 *
 * A neuron i of layer L with the value n_i adds gain * n_i * W_down[:, i] / rms, where gain and rms
 * are those of post_feedforward_layernorm (gemma.md section 8, oracle/README.md section c). The rms
 * is another one on every token, so the direction is taken without it: gain * W_down[:, i]. An
 * entry of mlp_out, which has passed that norm already, adds itself: a unit vector. */
#include "core/base/memory.h"
#include "core/engine_private.h"
#include "core/sae/nearest.h"

#include <string.h>

int engine_decoder_open(struct decoder *d, struct engine *e, const char *name, struct status *st)
{
    *d = (struct decoder){.engine = e, .source = catalogue_find(&e->catalogue, name)};
    if (d->source && d->source->is_neurons) {
        return STATUS_OK;
    }
    return pool_acquire(e->pool, name, &d->sae, st); /* also says that there is no such source */
}

int engine_decoder_close(struct decoder *d, int code, struct status *st)
{
    if (d->sae) {
        code = pool_release(d->engine->pool, d->sae, code, st);
    }
    return code ? code : engine_check_weights(d->engine, st);
}

static void neuron_row(const void *decoder, size_t j, float *out)
{
    const struct decoder *d = decoder;
    const struct sae_source *s = d->source;
    const struct layer_weights *layer = &d->engine->weights.layers[s->layer];
    if (s->input == POINT_MLP_OUT) {
        memset(out, 0, s->d_out * sizeof *out);
        out[j] = 1.0f;
        return;
    }
    for (size_t i = 0; i < s->d_out; i++) {
        out[i] = layer->post_feedforward_gain[i] * tensor_get(&layer->down_proj, i * s->d_sae + j);
    }
}

int engine_decoder_row(const struct decoder *d, size_t j, float *out, struct status *st)
{
    if (d->sae) {
        return sae_decoder_row(d->sae, j, out, st);
    }
    neuron_row(d, j, out);
    return STATUS_OK;
}

int engine_decoder_vector(struct engine *e, const char *source, size_t index, float **vector,
                          size_t *n, struct status *st)
{
    struct decoder d;
    *vector = NULL;
    *n = 0;
    int code = engine_decoder_open(&d, e, source, st);
    if (code) {
        return code;
    }
    size_t d_out = d.source->d_out;
    float *out = memory_alloc(d_out, sizeof *out);
    if (index >= d.source->d_sae) {
        code = status_set(st, STATUS_INVALID, "index: expected 0..%zu for source %s, found %zu",
                          d.source->d_sae - 1, d.source->name, index);
    } else {
        code = out ? engine_decoder_row(&d, index, out, st)
                   : status_no_memory(st, d_out * sizeof *out);
    }
    code = engine_decoder_close(&d, code, st);
    if (code) {
        memory_free(out);
        return code;
    }
    *vector = out;
    *n = d_out;
    return STATUS_OK;
}

int engine_nearest(struct engine *e, const char *source, const float *vector, size_t n_vector,
                   size_t n, uint32_t *index, float *cosine, size_t *found, struct status *st)
{
    struct decoder d;
    int code = engine_decoder_open(&d, e, source, st);
    if (code) {
        return code;
    }
    const struct sae_source *s = d.source;
    if (n_vector != s->d_out) {
        code =
            status_set(st, STATUS_INVALID, "vector: expected %zu numbers for source %s, found %zu",
                       s->d_out, s->name, n_vector);
    } else if (d.sae) {
        code = sae_nearest(d.sae, e->threads, vector, n, index, cosine, found, st);
    } else {
        code = nearest_find(e->threads, neuron_row, &d, s->d_sae, s->d_out, vector, n, index,
                            cosine, found, st);
    }
    return engine_decoder_close(&d, code, st);
}
