/* One sparse autoencoder or transcoder: open, encode, decode.
 *
 * d_in values of a point go in, d_sae activations come out, few of them not 0:
 *     sae_in = norm_in(x) - b_dec   (SAELens with apply_b_dec_to_input; else norm_in(x))
 *     pre    = sae_in W_enc + b_enc
 *     f      = jumprelu: pre where pre > threshold (strictly) and pre > 0, else 0
 *              standard: relu(pre);  topk: the k largest (ties: lower index), then relu
 *              gated (arXiv 2404.16014): sae_in W_enc exp(r_mag) + b_mag where that is over 0 and
 *              sae_in W_enc + b_gate > 0, else 0
 *     x_hat  = norm_out(f W_dec + b_dec [+ x skip])
 * Gemma Scope (arXiv 2408.05147 section 3) has no norm and subtracts no bias. docs/model.md lists
 * the formats; decoder rows are used as stored, never renormalised. */
#ifndef DM_SAE_SAE_H
#define DM_SAE_SAE_H

#include "core/base/hash.h"
#include "core/base/sparse.h"
#include "core/base/status.h"
#include "core/base/threads.h"
#include "core/sae/catalogue.h"

struct sae;

/* Maps the files and checks every tensor's shape against `source` (borrowed; must outlive the SAE).
 * Weights are read in place: an SAE larger than memory is streamed from the page cache. */
int sae_open(struct sae **sae, const struct sae_source *source, struct status *st);
void sae_close(struct sae *sae); /* NULL is fine */

const struct sae_source *sae_source(const struct sae *sae);

/* What produced a number: sizes, header and samples of every tensor (a fine-tune has the same
 * header, so contents count). */
struct hash sae_identity(const struct sae *sae);

/* Bytes that count against --sae-memory: mapped tensors and what had to be inflated. */
uint64_t sae_memory_bytes(const struct sae *sae);

/* Lets the kernel drop the mapped pages: for an SAE over the memory budget, after each use. */
void sae_release_pages(const struct sae *sae);

/* STATUS_CORRUPT if its file was truncated or written since it was opened (mapped_file.h): what was
 * computed with it is not to be trusted. */
int sae_check(const struct sae *sae, struct status *st);

/* x [rows, d_in] -> out [rows, d_sae], dense, in one go. rows * d_sae floats are written: the
 * values that features have if they are active (gated: the magnitude; topk with
 * rescale_acts_by_decoder_norm: times the norms of W_dec's rows). */
int sae_pre(const struct sae *sae, struct threads *threads, const float *x, size_t rows, float *out,
            struct status *st);

/* x [rows, d_in] -> the active features of every row, appended to *features (rows more rows). */
int sae_encode(const struct sae *sae, struct threads *threads, const float *x, size_t rows,
               struct sparse *features, struct status *st);

/* The same of the features index [n] alone, to the same bits: entry i of a row is feature index[i].
 * Reads their columns of W_enc and no others, except for topk, where all features compete. */
int sae_encode_named(const struct sae *sae, struct threads *threads, const float *x, size_t rows,
                     const uint32_t *index, size_t n, struct sparse *features, struct status *st);

/* features' rows -> out [rows, d_out]. x [rows, d_in] is the same input that was encoded (skip
 * connections and layer norms need it). */
int sae_decode(const struct sae *sae, struct threads *threads, const struct sparse *features,
               const float *x, float *out, struct status *st);

/* What one active feature of x [d_in] adds to the reconstruction -> out [d_out]: the reconstruction
 * is the sum of these and of what x would be given without any feature. */
int sae_feature_part(const struct sae *sae, const float *x, size_t index, float value, float *out,
                     struct status *st);

/* Column `index` of W_enc -> out [d_in]; row `index` of W_dec -> out [d_out]. */
int sae_encoder_column(const struct sae *sae, size_t index, float *out, struct status *st);
int sae_decoder_row(const struct sae *sae, size_t index, float *out, struct status *st);

/* The n decoder rows of largest cosine with vector [d_out], falling (ties: lower index first) into
 * index and cosine [n]; *found <= n of them. A zero row or vector has no cosine and is left out. */
int sae_nearest(const struct sae *sae, struct threads *threads, const float *vector, size_t n,
                uint32_t *index, float *cosine, size_t *found, struct status *st);

#endif
