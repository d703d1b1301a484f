#include "core/sae/sae_weights.h"

#include "core/base/text.h"

#include <string.h>
#include <strings.h>

const char *sae_weights_file(enum sae_format format)
{
    static const char *const names[] = {"params.npz", "params.safetensors",
                                        "sae_weights.safetensors"};
    return names[format];
}

int sae_weights_open(struct sae_weights *weights, const char *path, struct status *st)
{
    *weights = (struct sae_weights){0};
    return text_ends_with(path, ".npz") ? npz_open(&weights->npz, path, st)
                                        : safetensors_open(&weights->safetensors, path, st);
}

const char *sae_weights_path(const struct sae_weights *weights)
{
    return weights->npz ? npz_path(weights->npz) : safetensors_path(weights->safetensors);
}

void sae_weights_release_pages(const struct sae_weights *weights)
{
    if (weights->npz) {
        npz_release_pages(weights->npz);
    } else {
        safetensors_release_pages(weights->safetensors);
    }
}

enum mapped_state sae_weights_state(const struct sae_weights *weights)
{
    return weights->npz ? npz_state(weights->npz) : safetensors_state(weights->safetensors);
}

int sae_weights_check(const struct sae_weights *weights, struct status *st)
{
    return weights->npz ? npz_check(weights->npz, st) : safetensors_check(weights->safetensors, st);
}

void sae_weights_close(struct sae_weights *weights)
{
    npz_close(weights->npz);
    safetensors_close(weights->safetensors);
    *weights = (struct sae_weights){0};
}

/* The tensor of that name, n_dims 0 if there is none; an error only if it cannot be read. */
static int look(struct sae_weights *weights, const char *name, bool peek, struct tensor *t,
                struct status *st)
{
    *t = (struct tensor){0};
    if (weights->npz) {
        int code = peek ? npz_peek(weights->npz, name, t, st) : npz_find(weights->npz, name, t, st);
        if (code == STATUS_NOT_FOUND) {
            *t = (struct tensor){0};
            status_clear(st);
            return STATUS_OK;
        }
        return code;
    }
    for (size_t i = 0; i < safetensors_count(weights->safetensors); i++) {
        if (strcasecmp(safetensors_name(weights->safetensors, i), name) == 0) {
            *t = *safetensors_at(weights->safetensors, i);
            break;
        }
    }
    return STATUS_OK;
}

static int matrix(struct sae_weights *weights, const char *name, struct tensor *t,
                  struct status *st)
{
    if (look(weights, name, true, t, st)) {
        return (int)st->code;
    }
    if (t->n_dims == 2 && t->shape[0] > 0 && t->shape[1] > 0) {
        return STATUS_OK;
    }
    char shape[96];
    const char *found = t->n_dims ? tensor_shape_text(t, shape, sizeof shape) : "none";
    return status_set(st, STATUS_CORRUPT, "%s: %s: expected a matrix, found %s",
                      sae_weights_path(weights), name, found);
}

static int settle(size_t *expected, size_t found, const char *what, const char *path,
                  struct status *st)
{
    if (*expected && *expected != found) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: expected %s %zu as its configuration says, found "
                          "%zu in the tensors",
                          path, what, *expected, found);
    }
    *expected = found;
    return STATUS_OK;
}

int sae_weights_sizes(struct sae_weights *weights, struct sae_config *config, struct status *st)
{
    struct tensor enc, dec;
    const char *path = sae_weights_path(weights);
    if (matrix(weights, "W_enc", &enc, st) || matrix(weights, "W_dec", &dec, st)) {
        return (int)st->code;
    }
    if (enc.shape[1] > UINT32_MAX) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: W_enc has %zu features; at most %u are supported", path,
                          enc.shape[1], UINT32_MAX);
    }
    if (enc.shape[1] != dec.shape[0]) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: W_enc has %zu columns and W_dec %zu rows; expected the same number",
                          path, enc.shape[1], dec.shape[0]);
    }
    if (settle(&config->d_in, enc.shape[0], "d_in", path, st) ||
        settle(&config->d_sae, enc.shape[1], "d_sae", path, st)) {
        return (int)st->code;
    }
    if (!config->is_transcoder && dec.shape[1] != config->d_in) {
        return status_set(
            st, STATUS_CORRUPT,
            "%s: W_enc reads %zu values and W_dec writes %zu; expected the same number", path,
            config->d_in, dec.shape[1]);
    }
    return settle(&config->d_out, dec.shape[1], "d_out", path, st);
}

/* What a kind reads: where it goes, its shape, whether it may be missing. */
struct part {
    const char *name;
    struct tensor *tensor;
    size_t shape[2];
    int n_dims;
    bool wanted, optional;
};

static int read_part(struct sae_weights *weights, const struct part *part, bool peek,
                     struct sae_tensors *tensors, struct status *st)
{
    if (look(weights, part->name, peek, part->tensor, st)) {
        return (int)st->code;
    }
    bool found = part->tensor->n_dims > 0;
    if (!found && part->optional) {
        return STATUS_OK;
    }
    if (tensor_expect(found ? part->tensor : NULL, sae_weights_path(weights), part->name,
                      part->n_dims, part->shape, st)) {
        return (int)st->code;
    }
    tensors->bytes += tensor_bytes(part->tensor);
    return STATUS_OK;
}

/* A training checkpoint of SAELens stores the threshold's logarithm. */
static int read_threshold(struct sae_weights *weights, const struct sae_config *config, bool peek,
                          struct sae_tensors *tensors, struct status *st)
{
    struct part part = {"threshold", &tensors->thresh, {config->d_sae, 1}, 1, true, true};
    if (read_part(weights, &part, peek, tensors, st) || tensors->thresh.n_dims) {
        return (int)st->code;
    }
    if (config->must_have_threshold) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "%s: a batchtopk SAE without a threshold is a training checkpoint; save "
                          "it for inference with SAELens (save_inference_model)",
                          sae_weights_path(weights));
    }
    part.name = "log_threshold";
    if (read_part(weights, &part, peek, tensors, st)) {
        return (int)st->code;
    }
    tensors->log_threshold = tensors->thresh.n_dims > 0;
    part.name = "threshold"; /* named so in the message if neither is there */
    part.optional = false;
    return tensors->log_threshold ? STATUS_OK : read_part(weights, &part, peek, tensors, st);
}

int sae_weights_tensors(struct sae_weights *weights, const struct sae_config *config, bool peek,
                        struct sae_tensors *tensors, struct status *st)
{
    *tensors = (struct sae_tensors){0};
    status_clear(st);
    size_t d_in = config->d_in, d_out = config->d_out, d_sae = config->d_sae;
    bool gated = config->architecture == SAE_GATED;
    struct tensor saelens_skip = {0};
    const struct part parts[] = {
        {"W_enc", &tensors->w_enc, {d_in, d_sae}, 2, true, false},
        {"W_dec", &tensors->w_dec, {d_sae, d_out}, 2, true, false},
        {"b_enc", &tensors->b_enc, {d_sae, 1}, 1, !gated, false},
        {"b_dec", &tensors->b_dec, {d_out, 1}, 1, true, false},
        {"b_gate", &tensors->b_gate, {d_sae, 1}, 1, gated, false},
        {"b_mag", &tensors->b_mag, {d_sae, 1}, 1, gated, false},
        {"r_mag", &tensors->r_mag, {d_sae, 1}, 1, gated, false},
        {"scaling_factor", &tensors->scaling, {d_sae, 1}, 1, true, !config->scales_features},
        {"affine_skip_connection", &tensors->skip, {d_in, d_out}, 2, config->is_transcoder, true},
        {"W_skip", &saelens_skip, {d_out, d_in}, 2, config->is_transcoder, true},
    };
    for (size_t i = 0; i < sizeof parts / sizeof *parts; i++) {
        if (parts[i].wanted && read_part(weights, &parts[i], peek, tensors, st)) {
            return (int)st->code;
        }
    }
    if (saelens_skip.n_dims) {
        tensors->skip = saelens_skip;
        tensors->skip_transposed = true;
    }
    if (config->has_skip && !tensors->skip.n_dims) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: the configuration says that there is a skip connection; found none",
                          sae_weights_path(weights));
    }
    return config->architecture == SAE_JUMPRELU ? read_threshold(weights, config, peek, tensors, st)
                                                : STATUS_OK;
}
