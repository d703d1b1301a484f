/* The catalogue: which SAEs lie under the folders that --saes named, and what they are called.
 *
 * Looks for Gemma Scope (params.npz), Gemma Scope 2 (params.safetensors, config.json beside it or
 * everything read from the path) and SAELens (cfg.json + sae_weights.safetensors), in plain
 * folders, hub snapshots and hub caches (links followed, loops cut). Only headers are read; nothing
 * is opened for good. Names: design.md section 1 and tests/fixtures/oracle/README.md; kinds that
 * cannot be run, and SAEs that do not fit the model, are kept with the reason. */
#ifndef DM_SAE_CATALOGUE_H
#define DM_SAE_CATALOGUE_H

#include "core/base/status.h"
#include "core/gemma/config.h"
#include "core/gemma/point.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum sae_format { SAE_FORMAT_SCOPE, SAE_FORMAT_SCOPE2, SAE_FORMAT_SAELENS };
enum sae_architecture { SAE_STANDARD, SAE_JUMPRELU, SAE_TOPK, SAE_GATED, SAE_NONE };

/* One source: a dictionary that can be opened. Strings are owned by the catalogue. */
struct sae_source {
    char *name;       /* "20-gemmascope-res-16k", unique in the catalogue */
    char *source_set; /* "gemmascope-res-16k": the name without its layer and its __suffix */
    char *path;       /* the folder that holds the files */
    enum sae_format format;
    enum sae_architecture architecture;
    int layer;
    enum point input;  /* the point it encodes */
    enum point output; /* the point it reconstructs: the input, but mlp_out for transcoders */
    bool is_transcoder;
    bool is_neurons; /* no SAE: the columns of `input` themselves, see catalogue_neurons.c */
    size_t d_in, d_out, d_sae;
    char l0[24];        /* "71", "medium", "" where unknown */
    uint64_t bytes;     /* of its tensors on disk */
    char hook_name[80]; /* TransformerLens's name of the input, e.g. "blocks.20.hook_resid_post" */
};

/* Something that was found and cannot be served. */
struct sae_refusal {
    char *path;
    char *reason; /* a clause that follows "path: " */
    /* STATUS_UNSUPPORTED: whole, but of a kind or a name that cannot be served; else it is broken
     * or does not fit the model. */
    enum status_code code;
};

struct catalogue {
    struct sae_source *sources; /* by layer, then name */
    size_t n_sources;
    struct sae_refusal *refusals; /* by path */
    size_t n_refusals;
    /* What needs no file: the model's own neurons, two sources a layer, in the order of layers.
     * They are found by name and stand in no list of SAEs. */
    struct sae_source *neurons;
    size_t n_neurons;
};

/* Scans the folders. A folder that does not exist is an error; one that holds nothing is not. */
int catalogue_scan(struct catalogue *catalogue, const char *const *folders, size_t n_folders,
                   const struct gemma_config *config, struct status *st);

/* An SAE, or neurons. */
const struct sae_source *catalogue_find(const struct catalogue *catalogue, const char *name);

/* A number of its own for every source, neurons too: 0 .. n_sources + n_neurons - 1. */
size_t catalogue_number(const struct catalogue *catalogue, const struct sae_source *source);
const struct sae_source *catalogue_at(const struct catalogue *catalogue, size_t number);

void catalogue_free(struct catalogue *catalogue);

const char *sae_architecture_name(enum sae_architecture architecture); /* "jumprelu", "none" ... */

#endif
