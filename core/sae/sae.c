#include "core/sae/sae.h"

#include "core/base/memory.h"
#include "core/math/kernels.h"
#include "core/sae/nearest.h"
#include "core/sae/sae_private.h"

#include <math.h>
#include <string.h>

const struct sae_source *sae_source(const struct sae *sae)
{
    return sae->source;
}

struct hash sae_identity(const struct sae *sae)
{
    return sae->identity;
}

uint64_t sae_memory_bytes(const struct sae *sae)
{
    return sae->bytes;
}

int sae_check(const struct sae *sae, struct status *st)
{
    return sae_weights_check(&sae->weights, st);
}

void sae_release_pages(const struct sae *sae)
{
    sae_weights_release_pages(&sae->weights);
}

/* SAELens's layer_norm: the deviation is that of n-1 values, 1e-5 is added to it and not under the
 * root (sae_lens/saes/sae.py, run_time_activation_ln_in). */
static void mean_and_std(const float *x, size_t n, float *mean, float *std)
{
    double sum = 0.0, squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)x[i];
    }
    double m = sum / (double)n;
    for (size_t i = 0; i < n; i++) {
        squares += ((double)x[i] - m) * ((double)x[i] - m);
    }
    *mean = (float)m;
    *std = n > 1 ? (float)sqrt(squares / (double)(n - 1)) : 0.0f;
}

/* |x| / sqrt(n): what constant_norm_rescale divides by. */
static float root_mean_square(const float *x, size_t n)
{
    double squares = 0.0;
    for (size_t i = 0; i < n; i++) {
        squares += (double)x[i] * (double)x[i];
    }
    return (float)sqrt(squares / (double)n);
}

void sae_prepare(const struct sae *sae, const float *x, size_t rows, float *out)
{
    size_t d = sae->source->d_in;
    for (size_t r = 0; r < rows; r++) {
        const float *in = x + r * d;
        float *y = out + r * d;
        float mean = 0.0f, divisor = 1.0f;
        if (sae->config.norm == SAE_NORM_LAYER) {
            mean_and_std(in, d, &mean, &divisor);
            divisor += 1e-5f;
        } else if (sae->config.norm == SAE_NORM_CONSTANT) {
            divisor = root_mean_square(in, d);
            divisor = divisor > 0.0f ? divisor : 1.0f; /* a row of zeros stays one */
        }
        for (size_t i = 0; i < d; i++) {
            y[i] = (in[i] - mean) / divisor;
        }
        for (size_t i = 0; i < d && sae->config.subtracts_b_dec; i++) {
            y[i] -= sae->b_dec[i];
        }
    }
}

void sae_restore(const struct sae *sae, const float *x, float *out)
{
    size_t n = sae->source->d_out;
    float mean = 0.0f, factor = 1.0f;
    if (sae->config.norm == SAE_NORM_NONE) {
        return;
    }
    if (sae->config.norm == SAE_NORM_LAYER) {
        mean_and_std(x, n, &mean, &factor);
    } else {
        factor = root_mean_square(x, n);
    }
    for (size_t i = 0; i < n; i++) {
        out[i] = out[i] * factor + mean;
    }
}

/* What W_dec's row is multiplied with for a value of the feature. */
static float row_factor(const struct sae *sae, size_t j, float value)
{
    if (!sae->decoder_norm) {
        return value;
    }
    return sae->decoder_norm[j] > 0.0f ? value / sae->decoder_norm[j] : 0.0f; /* a row of zeros */
}

struct decoding {
    const struct sae *sae;
    const struct sparse *features;
    const float *x;
    float *out; /* [rows, d_out], x skip where there is one, else zeros */
};

static void decode_row(void *argument, size_t r, int worker)
{
    (void)worker;
    struct decoding *d = argument;
    const struct sae *sae = d->sae;
    const struct sparse *f = d->features;
    float *out = d->out + r * sae->source->d_out;
    for (size_t i = f->start[r]; i < f->start[r + 1]; i++) {
        uint32_t j = f->index[i];
        float factor = row_factor(sae, j, f->value[i]);
        kernel_add_row(out, factor, &sae->w_dec, j);
    }
    for (size_t i = 0; i < sae->source->d_out; i++) {
        out[i] += sae->b_dec[i];
    }
    sae_restore(sae, d->x + r * sae->source->d_in, out);
}

int sae_decode(const struct sae *sae, struct threads *threads, const struct sparse *features,
               const float *x, float *out, struct status *st)
{
    const struct sae_source *source = sae->source;
    size_t rows = features->rows;
    size_t n = rows ? features->start[rows] : 0;
    for (size_t i = 0; i < n; i++) {
        if (features->index[i] >= source->d_sae) {
            return status_set(st, STATUS_INVALID, "%s: expected features below %zu, found %u",
                              source->name, source->d_sae, features->index[i]);
        }
    }
    if (sae->skip.n_dims && rows) {
        kernel_matmul_columns(threads, x, rows, &sae->skip, 0, source->d_out, out, source->d_out);
    } else {
        memset(out, 0, rows * source->d_out * sizeof *out);
    }
    struct decoding decoding = {sae, features, x, out};
    threads_run(threads, rows, decode_row, &decoding);
    return STATUS_OK;
}

static int check_index(const struct sae *sae, size_t index, struct status *st)
{
    if (index < sae->source->d_sae) {
        return STATUS_OK;
    }
    return status_set(st, STATUS_NOT_FOUND, "%s has features 0 to %zu, no feature %zu",
                      sae->source->name, sae->source->d_sae - 1, index);
}

int sae_encoder_column(const struct sae *sae, size_t index, float *out, struct status *st)
{
    if (check_index(sae, index, st)) {
        return (int)st->code;
    }
    for (size_t i = 0; i < sae->source->d_in; i++) {
        out[i] = tensor_get(&sae->w_enc, i * sae->source->d_sae + index);
    }
    return STATUS_OK;
}

static void read_row(const void *matrix, size_t j, float *out)
{
    const struct sae *sae = matrix;
    tensor_widen(&sae->w_dec, j * sae->source->d_out, sae->source->d_out, out);
}

int sae_decoder_row(const struct sae *sae, size_t index, float *out, struct status *st)
{
    if (check_index(sae, index, st)) {
        return (int)st->code;
    }
    read_row(sae, index, out);
    return STATUS_OK;
}

int sae_feature_part(const struct sae *sae, const float *x, size_t index, float value, float *out,
                     struct status *st)
{
    float mean = 0.0f, scale = 1.0f;
    if (sae->config.norm == SAE_NORM_LAYER) {
        mean_and_std(x, sae->source->d_in, &mean, &scale);
    } else if (sae->config.norm == SAE_NORM_CONSTANT) {
        scale = root_mean_square(x, sae->source->d_in);
    }
    int code = sae_decoder_row(sae, index, out, st);
    float factor = code ? 0.0f : row_factor(sae, index, value) * scale;
    for (size_t i = 0; i < sae->source->d_out && !code; i++) {
        out[i] *= factor;
    }
    return code;
}

int sae_nearest(const struct sae *sae, struct threads *threads, const float *vector, size_t n,
                uint32_t *index, float *cosine, size_t *found, struct status *st)
{
    return nearest_find(threads, read_row, sae, sae->source->d_sae, sae->source->d_out, vector, n,
                        index, cosine, found, st);
}
