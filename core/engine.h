/* THE boundary: everything that server/ asks of the model goes through here.
 *
 * An engine is a loaded model with its catalogue of SAEs, read-only and safe to share between
 * threads. A session is one run of the model at a time with its scratch memory: one thread uses it.
 */
#ifndef DM_ENGINE_H
#define DM_ENGINE_H

#include "core/base/hash.h"
#include "core/base/sparse.h"
#include "core/base/status.h"
#include "core/base/text.h"
#include "core/dashboard/histogram.h"
#include "core/gemma/config.h"
#include "core/gemma/point.h"
#include "core/gemma/sampler.h"
#include "core/lens/dark.h"
#include "core/lens/direct.h"
#include "core/lens/edit.h"
#include "core/lens/evaluation.h"
#include "core/lens/readout.h"
#include "core/math/precision.h"
#include "core/sae/catalogue.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct engine;
struct session;

/* Raised whenever the same input could give other bits than before: cached values of an older
 * version are not used. */
#define ENGINE_NUMERICS_VERSION 1

enum embed_scale { EMBED_SCALE_AUTO, EMBED_SCALE_BF16, EMBED_SCALE_F32 };

struct engine_options {
    const char *model;              /* folder or hub cache */
    const char *model_id;           /* NULL: from the folder */
    const char *const *sae_folders; /* may be empty */
    size_t n_sae_folders;
    const char *const *tuned_lenses; /* files; may be empty */
    size_t n_tuned_lenses;
    int threads;            /* 0: all processors */
    uint64_t sae_memory;    /* budget in bytes for open SAEs; 0: a quarter of the memory */
    uint64_t prefix_memory; /* for keys and values of texts that generations left; 0: none is kept
                             */
    enum precision precision;
    enum embed_scale embed_scale; /* auto: fp32 square root in exact precision, else bf16 */
    bool tokenizer_only;          /* open the tokenizer files and nothing else */
    /* Called with one line for the user (a warning, something left out); may be NULL. */
    void (*notice)(void *user, const char *line);
    void *notice_user;
};

int engine_open(struct engine **out, const struct engine_options *options, struct status *st);
void engine_close(struct engine *engine); /* after every session; NULL is fine */

/* Brings the weights into memory in the background, in the order of the layers, so that the first
 * answers need not wait for each page. Weights that would not fit are left alone. Call it once. */
void engine_read_ahead(struct engine *engine);

const char *engine_model_id(const struct engine *engine);
const struct gemma_config *engine_config(const struct engine *engine);
struct hash engine_model_identity(
    const struct engine *engine); /* weights, scale, precision, numerics version */
const struct catalogue *engine_catalogue(const struct engine *engine);
int engine_threads(const struct engine *engine);
enum precision engine_precision(const struct engine *engine);

/* STATUS_CORRUPT if a file of the weights was truncated or written in place since it was opened:
 * what was computed meanwhile must be thrown away. Every pass ends with it; from any thread. */
int engine_check_weights(struct engine *engine, struct status *st);

/* --- tokens ---------------------------------------------------------------------------------- */

/* False for a model folder without tokenizer files: only ids are taken then. */
bool engine_has_tokenizer(const struct engine *engine);

/* Ids of a text. add_bos puts <bos> in front unless the text starts with a literal "<bos>".
 * *ids is the caller's (memory_free). */
int engine_tokenize(const struct engine *engine, const char *text, size_t n, bool add_bos,
                    int32_t **ids, size_t *n_ids, struct status *st);

/* Appends the text of one id as token lists show it; "<id:17>" without a tokenizer. */
void engine_token_text(const struct engine *engine, int32_t id, struct text *out);
bool engine_is_special(const struct engine *engine, int32_t id);
/* From the tokenizer, else config.json; -1: none. */
int32_t engine_bos(const struct engine *engine);

/* Ids that no statistic counts: <bos>, <eos> and <pad>, by the tokenizer or, without one, by
 * config.json. Returns how many there are. */
#define ENGINE_UNCOUNTED 3
size_t engine_uncounted(const struct engine *engine, int32_t ids[ENGINE_UNCOUNTED]);

/* Appends the text of several ids together: byte pieces joined into characters, special tokens
 * written out. */
int engine_decode(const struct engine *engine, const int32_t *ids, size_t n, struct text *out,
                  struct status *st);

/* The id of a piece by its content ("<end_of_turn>"); -1: none. */
int32_t engine_find_token(const struct engine *engine, const char *content);

/* True if the folder brings a chat template (tokenizer_config.json has one, or a chat_template file
 * lies there): a model tuned for conversations, not a base model. */
bool engine_has_chat_template(const struct engine *engine);

/* Where a text ends: the config's and the tokenizer's <eos>; with chat also <end_of_turn>, which is
 * left out without it. Returns how many. */
#define ENGINE_STOP_MAX (CONFIG_EOS_MAX + 2)
size_t engine_stop_ids(const struct engine *engine, bool chat, int32_t ids[ENGINE_STOP_MAX]);

/* --- reading the model ------------------------------------------------------------------------ */

enum read_kind {
    READ_POINT,    /* a point of the forward pass */
    READ_FEATURES, /* a source's active features, every position, as sparse rows; of neurons all */
    READ_INPUT,    /* what the source encodes          [P, d_in]  */
    READ_PRE,      /* before the activation function   [P, d_sae] */
    READ_ACTS,     /* activations, dense               [P, d_sae] */
    READ_RECON,    /* the reconstruction               [P, d_out] */
    READ_ERROR     /* the target minus it              [P, d_out] */
};

/* One thing to read from one prompt. The first part is the request; engine_trace fills the second,
 * which belongs to the caller afterwards (engine_read_free). */
struct engine_read {
    enum read_kind kind;
    enum point point;         /* READ_POINT */
    int layer;                /* READ_POINT, where the point has one */
    const char *source;       /* the other kinds: a name in the catalogue */
    const int32_t *positions; /* [n_positions], each in 0..n_ids-1; NULL: all. Ignored by loss and
                                 features. Rows come in this order. */
    size_t n_positions;
    bool only_one;  /* READ_FEATURES: this entry alone, from its own column, not all of the row */
    uint32_t entry; /* ... */
    size_t top;     /* POINT_LOGITS: 0 = whole rows, else the n best as top_ids, data, top_probs */

    float *data;      /* row-major; of top logits [P, top] */
    int n_dims;       /* [P, width]; [H, P, T] for scores and pattern; [P, heads, K] for q, k, v; */
    size_t shape[3];  /* [T-1] for loss */
    int32_t *top_ids; /* [P, top], best first, ties to the lower id */
    float *top_probs; /* [P, top], of the softmax over the whole vocabulary */
    struct sparse features;
};

struct engine_prompt {
    const int32_t *ids; /* [n_ids], each in 0..vocab_size-1, n_ids >= 1 */
    size_t n_ids;
    struct engine_read *reads;
    size_t n_reads;
    const struct edit *edits; /* [n_edits] done to this prompt's rows before they are read */
    size_t n_edits;
};

/* What is wrong with the edits, known before anything is opened or computed. */
int engine_check_edits(const struct engine *engine, const struct edit *edits, size_t n,
                       struct status *st);

/* Bytes of `data` that the read will have, known before anything is computed. Also checks the read
 * (layer, source, positions) and says in st what is wrong with it. */
int engine_read_size(const struct engine *engine, const struct engine_prompt *prompt,
                     const struct engine_read *read, uint64_t *bytes, struct status *st);
void engine_read_free(struct engine_read *read);

int session_create(struct session **out, struct engine *engine, struct status *st);
void session_destroy(struct session *session);

/* Runs all prompts as one packed forward pass, as deep as the deepest thing that is read, and fills
 * every read. *cancel (may be NULL) is looked at between layers. On an error no read is filled. */
int engine_trace(struct session *session, struct engine_prompt *prompts, size_t n_prompts,
                 const atomic_bool *cancel, struct status *st);

/* What the sources [n_sources of dark, by name] leave unexplained: dark's request is run and filled
 * (its saes are this call's own). STATUS_INVALID for ids or lengths that the model does not have,
 * STATUS_NOT_FOUND for an unknown source. Ends with dark_free. */
int engine_dark_matter(struct session *session, struct dark *dark, const char *const *sources,
                       const atomic_bool *cancel, struct status *st);

/* The same in steps, as tasks of passes (below): a pass of the model, or a product of some of its
 * rows with the unembedding. dark and the names are borrowed until dark_reading_close; dark is
 * filled after the last step. Opening checks and takes memory; SAEs wait for the first step. */
struct dark_reading;
int dark_reading_open(struct dark_reading **out, struct engine *engine, struct dark *dark,
                      const char *const *sources, struct status *st);
void dark_reading_close(struct dark_reading *reading); /* NULL is fine; dark_free is the caller's */

/* Counts what dark has (filled by engine_dark_matter) under its source number `source`. */
int engine_evaluation_add(struct session *session, struct evaluation *evaluation,
                          const struct dark *dark, size_t source, const int64_t *number,
                          const int64_t *line, struct status *st);

/* linear_fit of an evaluation, which takes some seconds for wide sources. */
int engine_evaluation_linear(struct engine *engine, const struct evaluation *evaluation, double *r2,
                             double *r2_norm, struct status *st);

/* Direct logit attribution at one position, norms frozen (core/lens/direct.h): which parts of the
 * residual stream make the logits of chosen tokens. Everything below is a part of `precap`. */
struct attribution_source {
    const char *name; /* the request */
    size_t n_active, n_features;
    struct direct_part *features; /* [n, n_features] of each target those of largest magnitude */
    float *features_sum;          /* [n] of all active ones */
    float *bias;                  /* [n] what the SAE says without features */
    float *error;                 /* [n] what it leaves unexplained */
};

struct attribution {
    /* The request, all of it borrowed: */
    const int32_t *ids; /* [n_ids] */
    size_t n_ids;
    const struct edit *edits; /* [n_edits] */
    size_t n_edits;
    size_t position;
    const int32_t *targets; /* [n_targets]; 0: the likeliest token there */
    size_t n_targets;
    struct attribution_source *sources; /* [n_sources] */
    size_t n_sources;
    int neuron_layer; /* -1: none */
    size_t top;       /* neurons and features kept of each target */

    /* The reply: n targets, L layers, H heads. */
    const int32_t *target_ids; /* [n] */
    size_t n;
    int32_t likeliest;
    float *logit, *precap, *slope; /* [n] after and before the softcap; d logit / d precap */
    float *embed, *rest;         /* [n] embed + attn + mlp + rest = precap; rest: what edits of the
                                    stream put in, else rounding */
    float *attn, *mlp;           /* [L, n] */
    float *heads;                /* [L, H, n] they add up to attn */
    struct direct_part *neurons; /* [n, n_neurons] */
    size_t n_neurons;
    float *neurons_sum; /* [n] of all neurons: mlp of their layer */
    float *block;       /* owns the floats */

    struct attribution_work *work; /* the engine's own, during a pass */
};

/* What is wrong with the request, known before anything is computed; engine_attribution says the
 * same. Ends with attribution_free. */
int attribution_check(const struct engine *engine, const struct attribution *attribution,
                      struct status *st);
int engine_attribution(struct session *session, struct attribution *attribution,
                       const atomic_bool *cancel, struct status *st);
void attribution_free(struct attribution *attribution);

/* Tokens that went through the model since the engine was opened, and in how many passes (for
 * /metrics). */
uint64_t engine_tokens_computed(const struct engine *engine);
uint64_t engine_passes_computed(const struct engine *engine);

/* What generations found of texts that began as theirs (for /metrics). */
struct kv_prefixes_figures engine_prefixes(const struct engine *engine);

/* --- generating ------------------------------------------------------------------------------- */

/* A text to be continued. */
struct generation_start {
    const int32_t *ids; /* [n_ids] */
    size_t n_ids;
    const struct edit *edits; /* [n_edits] at work on the prompt and on every token generated */
    size_t n_edits;
};

/* All of it is borrowed until generation_close. */
struct generation_options {
    const struct generation_start *starts; /* decoded together, one pass over the weights a token */
    size_t n_starts;
    size_t n_tokens;                /* at most so many each; fewer where max_positions says so */
    struct sampler_options sampler; /* of each start alike: the same seed for all */
    size_t n_logprobs;              /* the likeliest of each step; 0: none */
    const int32_t *stop_ids;        /* [n_stop_ids] generated, kept, and the last */
    size_t n_stop_ids;
    const char *const *sources; /* [n_sources] whose strongest features of each token are kept */
    size_t n_sources;
    size_t n_features; /* so many of each source, at most */
};

/* One token of the text. Its features are there one step later, when the model has read it. */
struct generation_token {
    int32_t id;
    float logprob;           /* of id, in the model's own softmax */
    int32_t *top_ids;        /* [n_logprobs] falling */
    float *top_logprobs;     /* [n_logprobs] */
    bool has_features;       /* the next three are filled */
    size_t *n_active;        /* [n_sources] how many of the n_features are there */
    uint32_t *feature_index; /* [n_sources, n_features] falling by value */
    float *feature_value;    /* [n_sources, n_features] */
};

struct generation_text {
    int32_t *ids; /* [n] generated */
    size_t n;
    const struct generation_token *tokens; /* [n] */
};

struct generation;

/* Checks everything and computes nothing. STATUS_INVALID "No room to generate: ..." for a prompt
 * that leaves none. */
int generation_open(struct generation **out, struct engine *engine,
                    const struct generation_options *options, struct status *st);

/* One pass: the prompts at the first call, then one more token of every text that has not ended.
 * *more is false once all have (a last pass reads the last tokens' features). A generation that
 * failed or was cancelled cannot be continued. */
int generation_step(struct generation *generation, struct session *session,
                    const atomic_bool *cancel, bool *more, struct status *st);

/* What start i has become so far; until the next step. */
struct generation_text generation_text(const struct generation *generation, size_t i);

void generation_close(struct generation *generation); /* NULL is fine */

/* --- the lens ----------------------------------------------------------------------------------
 */

/* Where it looks: a point of D numbers a token, in these layers (ignored by embed, which is one
 * row). */
struct lens_site {
    enum point point;
    const int *layers; /* [n_layers] */
    size_t n_layers;
};

/* All of it is borrowed until lens_reading_close. */
struct lens_options {
    const int32_t *ids; /* [n_ids] the prompt */
    size_t n_ids;
    const struct edit *edits; /* [n_edits] at work on the prompt and on every token generated */
    size_t n_edits;
    const struct lens_site *sites; /* [n_sites] */
    size_t n_sites;
    const bool *wanted; /* [n_ids] positions of the prompt that are read; NULL: all */
    bool norm, softcap; /* as in readout_options */
    bool words_only;    /* only words among the likeliest; nothing without a tokenizer */
    size_t top_n;
    const int32_t *track; /* [n_track] */
    size_t n_track;
    const char *tuned; /* the tuned lens that rows go through first; NULL: none. Sites without a map
                          are refused, but for the last layer's resid_post */

    size_t n_tokens; /* generated behind the prompt and read as well, at most so many */
    struct sampler_options sampler;
    const int32_t *stop_ids; /* [n_stop_ids] generated, read, and the last */
    size_t n_stop_ids;
};

/* One position that has been read. */
struct lens_position {
    size_t position;
    int32_t id;
    bool generated;
    const struct readout_row *rows; /* [n_rows] by site, then layer, in the order of the options */
    size_t n_rows;
};

struct lens_reading;

/* How many tuned lenses were opened with the engine, in the order of the options, and the name of
 * each. */
size_t engine_tuned_lenses(const struct engine *engine);
const char *engine_tuned_lens(const struct engine *engine, size_t i);

/* Whether rows of the point are part of the residual stream, or are added to it. */
bool lens_reading_takes(enum point point);

/* Checks everything and computes nothing. */
int lens_reading_open(struct lens_reading **out, struct engine *engine,
                      const struct lens_options *options, struct status *st);

/* A piece of the work: some positions of the prompt through the model (LENS_CHUNK at most, kept
 * with their rows until they are read) or one more token, and a product with the unembedding. *more
 * is false after the last. Memory depends on the sites, not on the length of the prompt. */
#define LENS_CHUNK 64
int lens_reading_step(struct lens_reading *reading, struct session *session,
                      const atomic_bool *cancel, bool *more, struct status *st);

/* What the last step has read: [*n] positions, rising; until the next step. */
const struct lens_position *lens_reading_ready(const struct lens_reading *reading, size_t *n);

/* The ids generated so far, and how many tokens of n_tokens fit. */
const int32_t *lens_reading_generated(const struct lens_reading *reading, size_t *n);

void lens_reading_close(struct lens_reading *reading); /* NULL is fine */

/* --- several requests in one pass --------------------------------------------------------------
 */

/* What one request wants of a pass: all of a trace (prompts) or of an attribution, or the next step
 * of one of the others; one of the five is set. Its bits do not depend on the company. */
struct engine_task {
    struct engine_prompt *prompts; /* [n_prompts] */
    size_t n_prompts;
    struct attribution *attribution;
    struct dark_reading *dark;
    struct lens_reading *lens;
    struct generation *generation;

    struct status st;    /* what is wrong with this task, which is no one else's trouble */
    bool more;           /* set by engine_finish: there is another step */
    struct trace *trace; /* the engine's own, during a pass */
};

size_t engine_task_rows(const struct engine_task *task); /* that its next step adds to a pass */

/* Runs the model once for all tasks whose st is left without an error; each of those must then go
 * through engine_finish, in any order. An error that is returned is the pass's own (memory,
 * *cancel, damaged weights): no task has been answered, and after STATUS_MEMORY each may be tried
 * again. */
int engine_pass(struct session *session, struct engine_task *tasks, size_t n,
                const atomic_bool *cancel, struct status *st);

/* What comes after the pass: features, products with the unembedding, the next token. Returns
 * task->st.code. */
int engine_finish(struct session *session, struct engine_task *task);

/* --- features without a prompt -----------------------------------------------------------------
 */

/* Identity of what produced a source's numbers: engine_model_identity and the SAE's own. Opens the
 * SAE if it is not open. */
int engine_source_identity(struct engine *engine, const char *source, struct hash *identity,
                           struct status *st);

/* Column `index` of W_enc -> *vector [*n] (the caller's, memory_free); on an error NULL and 0. */
int engine_encoder_vector(struct engine *engine, const char *source, size_t index, float **vector,
                          size_t *n, struct status *st);
/* Row `index` of W_dec. */
int engine_decoder_vector(struct engine *engine, const char *source, size_t index, float **vector,
                          size_t *n, struct status *st);

/* The features of `source` whose decoder rows have the largest cosine with vector [n_vector]. */
int engine_nearest(struct engine *engine, const char *source, const float *vector, size_t n_vector,
                   size_t n, uint32_t *index, float *cosine, size_t *found, struct status *st);

/* What a feature writes into the vocabulary: U . W_dec[j], for sources on z U . (W_o W_dec[j]);
 * without final norm, its gain, post-norm gains and softcap (neuronpedia.md section 4). */
#define ENGINE_LOGITS 10
struct engine_logits {
    int32_t top_ids[ENGINE_LOGITS], bottom_ids[ENGINE_LOGITS]; /* ties to the lower id */
    float top[ENGINE_LOGITS], bottom[ENGINE_LOGITS]; /* largest first; most negative first */
    struct histogram histogram;                      /* over the whole vocabulary */
};

/* Of the features first .. first+n-1 -> out [n]. *known is false (and out untouched) for a source
 * whose decoder leads elsewhere than to the residual stream, or a vocabulary of fewer than
 * ENGINE_LOGITS tokens. Holds at most ENGINE_LOGITS_BYTES of logits at a time. With `first` a
 * multiple of ENGINE_LOGITS_STEP the bits do not depend on how the features are divided. *cancel
 * may be NULL. */
#define ENGINE_LOGITS_BYTES ((size_t)64 << 20)
#define ENGINE_LOGITS_STEP 256
int engine_feature_logits(struct engine *engine, const char *source, size_t first, size_t n,
                          struct engine_logits *out, bool *known, const atomic_bool *cancel,
                          struct status *st);

/* What the error votes for on average: the mean over the counted tokens of its contribution to each
 * token's logit before the softcap, norms frozen. *known is false where the source does not lead to
 * the residual stream, nothing was counted, or the vocabulary has fewer than ENGINE_LOGITS tokens.
 */
int engine_evaluation_votes(struct engine *engine, const struct evaluation *evaluation,
                            struct engine_logits *out, bool *known, struct status *st);

#endif
