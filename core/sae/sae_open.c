#include "core/base/memory.h"
#include "core/math/kernels.h"
#include "core/sae/catalogue_private.h"
#include "core/sae/sae_private.h"

#include <math.h>
#include <string.h>

#define SAMPLES 16      /* spots of a matrix that go into its identity */
#define SAMPLE_BYTES 64 /* of each */

static float *widen(const struct tensor *t, struct status *st)
{
    size_t n = tensor_elements(t);
    float *out = memory_aligned(n, sizeof *out);
    if (!out) {
        status_no_memory(st, n * sizeof *out);
        return NULL;
    }
    tensor_widen(t, 0, n, out);
    return out;
}

static void exponentials(float *v, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        v[i] = expf(v[i]);
    }
}

/* SAELens's W_skip [d_out, d_in] as x W wants it. */
static int turn_skip(struct sae *sae, const struct tensor *w, struct status *st)
{
    size_t d_in = w->shape[1], d_out = w->shape[0];
    size_t n = tensor_elements(w);
    sae->skip_turned = memory_aligned(n, sizeof *sae->skip_turned);
    if (!sae->skip_turned) {
        return status_no_memory(st, n * sizeof *sae->skip_turned);
    }
    for (size_t o = 0; o < d_out; o++) {
        for (size_t i = 0; i < d_in; i++) {
            sae->skip_turned[i * d_out + o] = tensor_get(w, o * d_in + i);
        }
    }
    sae->skip = (struct tensor){sae->skip_turned, DTYPE_F32, 2, {d_in, d_out, 1, 1}};
    return STATUS_OK;
}

static int decoder_norms(struct sae *sae, struct status *st)
{
    size_t d_out = sae->source->d_out, n = sae->source->d_sae;
    float *row = memory_aligned(d_out, sizeof *row);
    sae->decoder_norm = memory_aligned(n, sizeof *sae->decoder_norm);
    if (!row || !sae->decoder_norm) {
        memory_free(row);
        return status_no_memory(st, (d_out + n) * sizeof *row);
    }
    for (size_t j = 0; j < n; j++) {
        tensor_widen(&sae->w_dec, j * d_out, d_out, row);
        sae->decoder_norm[j] = sqrtf(kernel_dot(row, row, d_out));
    }
    memory_free(row);
    return STATUS_OK;
}

/* scaling_factor, which is all ones where it was folded into the weights. */
static int read_scaling(struct sae *sae, const struct tensor *t, struct status *st)
{
    sae->feature_scale = widen(t, st);
    if (!sae->feature_scale) {
        return (int)st->code;
    }
    size_t n = tensor_elements(t), i = 0;
    while (i < n && sae->feature_scale[i] == 1.0f) {
        i++;
    }
    if (i < n && sae->config.scales_features) {
        return STATUS_OK;
    }
    if (i < n) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: scaling_factor: expected all ones (finetuning_scaling_factor is not "
                          "set), found %.9g at %zu",
                          sae_weights_path(&sae->weights), (double)sae->feature_scale[i], i);
    }
    memory_free(sae->feature_scale);
    sae->feature_scale = NULL;
    return STATUS_OK;
}

static int read_tensors(struct sae *sae, struct sae_tensors *t, struct status *st)
{
    const struct {
        const struct tensor *from;
        float **to;
        bool exponential;
    } vectors[] = {
        {&t->b_dec, &sae->b_dec, false},  {&t->b_enc, &sae->b_enc, false},
        {&t->b_gate, &sae->b_enc, false}, {&t->thresh, &sae->threshold, t->log_threshold},
        {&t->b_mag, &sae->b_mag, false},  {&t->r_mag, &sae->mag_scale, true},
    };
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        if (vectors[i].from->n_dims == 0) {
            continue;
        }
        float *values = *vectors[i].to = widen(vectors[i].from, st);
        if (!values) {
            return (int)st->code;
        }
        if (vectors[i].exponential) {
            exponentials(values, tensor_elements(vectors[i].from));
        }
    }
    sae->w_enc = t->w_enc;
    sae->w_dec = t->w_dec;
    if (t->skip.n_dims && t->skip_transposed) {
        if (turn_skip(sae, &t->skip, st)) {
            return (int)st->code;
        }
    } else {
        sae->skip = t->skip;
    }
    if (t->scaling.n_dims && read_scaling(sae, &t->scaling, st)) {
        return (int)st->code;
    }
    return sae->config.rescales_by_decoder ? decoder_norms(sae, st) : STATUS_OK;
}

static void hash_number(struct hash *h, uint64_t n)
{
    hash_add(h, &n, sizeof n);
}

/* Vectors in full, matrices at SAMPLES spots spread from their first bytes to their last. */
static void hash_tensor(struct hash *h, const char *name, const struct tensor *t)
{
    if (t->n_dims == 0) {
        return;
    }
    hash_add(h, name, strlen(name) + 1);
    hash_number(h, t->dtype);
    for (int i = 0; i < t->n_dims; i++) {
        hash_number(h, t->shape[i]);
    }
    const uint8_t *data = t->data;
    size_t n = tensor_bytes(t);
    if (t->n_dims == 1 || n <= (size_t)SAMPLES * SAMPLE_BYTES) {
        hash_add(h, data, n);
        return;
    }
    for (size_t i = 0; i < SAMPLES; i++) {
        hash_add(h, data + (n - SAMPLE_BYTES) / (SAMPLES - 1) * i, SAMPLE_BYTES);
    }
}

static struct hash identify(const struct sae *sae, const struct sae_tensors *t)
{
    const struct sae_config *config = &sae->config;
    struct hash h = hash_start();
    const uint64_t numbers[] = {config->architecture,
                                config->norm,
                                config->input,
                                config->output,
                                (uint64_t)config->layer,
                                config->k,
                                config->subtracts_b_dec,
                                config->scales_features,
                                config->rescales_by_decoder,
                                t->log_threshold};
    for (size_t i = 0; i < sizeof numbers / sizeof *numbers; i++) {
        hash_number(&h, numbers[i]);
    }
    hash_tensor(&h, "W_enc", &t->w_enc);
    hash_tensor(&h, "W_dec", &t->w_dec);
    hash_tensor(&h, "b_enc", &t->b_enc);
    hash_tensor(&h, "b_dec", &t->b_dec);
    hash_tensor(&h, "threshold", &t->thresh);
    hash_tensor(&h, "b_gate", &t->b_gate);
    hash_tensor(&h, "b_mag", &t->b_mag);
    hash_tensor(&h, "r_mag", &t->r_mag);
    hash_tensor(&h, "scaling_factor", &t->scaling);
    hash_tensor(&h, t->skip_transposed ? "W_skip" : "affine_skip_connection", &t->skip);
    return h;
}

/* Everything but cfg.json's fields is in the source already. */
static int read_config(struct sae *sae, struct status *st)
{
    const struct sae_source *source = sae->source;
    if (source->format != SAE_FORMAT_SAELENS) {
        sae->config = (struct sae_config){.architecture = source->architecture,
                                          .input = source->input,
                                          .output = source->output,
                                          .layer = source->layer,
                                          .is_transcoder = source->is_transcoder};
        return STATUS_OK;
    }
    char *path = catalogue_path_join(source->path, "cfg.json");
    int code = path ? sae_config_open_saelens(&sae->config, path, st)
                    : status_no_memory(st, strlen(source->path) + sizeof "/cfg.json");
    if (!code && (sae->config.architecture != source->architecture ||
                  sae->config.input != source->input || sae->config.layer != source->layer ||
                  sae->config.is_transcoder != source->is_transcoder)) {
        code = status_set(st, STATUS_CORRUPT,
                          "%s: not what it was when the folders were searched; start again", path);
    }
    memory_free(path);
    return code;
}

static int open_into(struct sae *sae, struct status *st)
{
    const struct sae_source *source = sae->source;
    struct sae_tensors tensors;
    if (read_config(sae, st)) {
        return (int)st->code;
    }
    char *path = catalogue_path_join(source->path, sae_weights_file(source->format));
    int code = path ? sae_weights_open(&sae->weights, path, st)
                    : status_no_memory(st, strlen(source->path) + 32);
    memory_free(path);
    if (code) {
        return code;
    }
    sae->config.d_in = source->d_in;
    sae->config.d_out = source->d_out;
    sae->config.d_sae = source->d_sae;
    if (sae_weights_sizes(&sae->weights, &sae->config, st) ||
        sae_weights_tensors(&sae->weights, &sae->config, false, &tensors, st) ||
        read_tensors(sae, &tensors, st)) {
        return (int)st->code;
    }
    sae->identity = identify(sae, &tensors);
    sae->bytes = tensors.bytes + (sae->skip_turned ? tensor_bytes(&sae->skip) : 0);
    return sae_check(sae, st); /* it may have been cut short while it was read */
}

int sae_open(struct sae **sae, const struct sae_source *source, struct status *st)
{
    status_clear(st);
    *sae = memory_zalloc(1, sizeof **sae);
    if (!*sae) {
        return status_no_memory(st, sizeof **sae);
    }
    (*sae)->source = source;
    int code = open_into(*sae, st);
    if (code) {
        sae_close(*sae);
        *sae = NULL;
    }
    return code;
}

void sae_close(struct sae *sae)
{
    if (!sae) {
        return;
    }
    float *const owned[] = {sae->b_dec,        sae->b_enc,      sae->threshold,
                            sae->b_mag,        sae->mag_scale,  sae->feature_scale,
                            sae->decoder_norm, sae->skip_turned};
    for (size_t i = 0; i < sizeof owned / sizeof *owned; i++) {
        memory_free(owned[i]);
    }
    sae_weights_close(&sae->weights);
    memory_free(sae);
}
