#include "core/base/memory.h"
#include "core/sae/sae_private.h"

/* With more of the features than one in so many, gathering their columns costs what reading all of
 * the encoder does. */
#define WORTH_GATHERING 8

/* from[index[i]] -> the next n floats of *next; NULL where the SAE has none. */
static float *gather(const float *from, const uint32_t *index, size_t n, float **next)
{
    if (!from) {
        return NULL;
    }
    float *to = *next;
    *next += n;
    for (size_t i = 0; i < n; i++) {
        to[i] = from[index[i]];
    }
    return to;
}

/* An SAE of the named features alone, which for every kind but topk encodes them to the same bits:
 * each sum is over d_in and knows nothing of its neighbours. room: [d_in + 5, n]. */
static void narrow(struct sae *out, struct sae_source *source, const struct sae *sae,
                   const uint32_t *index, size_t n, float *room)
{
    size_t d_in = sae->source->d_in, d_sae = sae->source->d_sae;
    *source = *sae->source;
    source->d_sae = n;
    *out = *sae;
    out->source = source;
    out->w_enc =
        (struct tensor){.data = room, .dtype = DTYPE_F32, .n_dims = 2, .shape = {d_in, n, 1, 1}};
    for (size_t d = 0; d < d_in; d++) {
        for (size_t i = 0; i < n; i++) {
            *room++ = tensor_get(&sae->w_enc, d * d_sae + index[i]);
        }
    }
    out->b_enc = gather(sae->b_enc, index, n, &room);
    out->threshold = gather(sae->threshold, index, n, &room);
    out->b_mag = gather(sae->b_mag, index, n, &room);
    out->mag_scale = gather(sae->mag_scale, index, n, &room);
    out->feature_scale = gather(sae->feature_scale, index, n, &room);
}

/* Rows of all features -> *features, of the named ones. */
static int pick(const struct sparse *all, const uint32_t *index, size_t n, struct sparse *features,
                struct status *st)
{
    uint32_t *place = memory_alloc(n, sizeof *place);
    float *value = memory_alloc(n, sizeof *value);
    bool room = place && value;
    for (size_t r = 0; r < all->rows && room; r++) {
        size_t found = 0;
        for (size_t i = 0; i < n; i++) {
            place[found] = (uint32_t)i;
            value[found] = sparse_get(all, r, index[i]);
            found += value[found] != 0.0f;
        }
        sparse_append(features, place, value, found);
    }
    memory_free(place);
    memory_free(value);
    return room && !features->failed ? STATUS_OK : status_no_memory(st, n * sizeof *value);
}

int sae_encode_named(const struct sae *sae, struct threads *threads, const float *x, size_t rows,
                     const uint32_t *index, size_t n, struct sparse *features, struct status *st)
{
    int code;
    if (sae->config.architecture == SAE_TOPK || n > sae->source->d_sae / WORTH_GATHERING) {
        struct sparse all = {0};
        code = sae_encode(sae, threads, x, rows, &all, st);
        code = code ? code : pick(&all, index, n, features, st);
        sparse_free(&all);
        return code;
    }
    size_t floats = 0;
    float *room = memory_multiply(sae->source->d_in + 5, n, &floats)
                      ? memory_aligned(floats, sizeof *room)
                      : NULL;
    if (!room) {
        return status_no_memory(st, floats * sizeof *room);
    }
    struct sae named;
    struct sae_source source;
    narrow(&named, &source, sae, index, n, room);
    code = sae_encode(&named, threads, x, rows, features, st);
    memory_free(room);
    return code;
}
