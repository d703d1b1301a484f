/* The command line: one table of flags for all commands (design: README.md, docs/operations.md). */
#ifndef DM_COMMAND_OPTIONS_H
#define DM_COMMAND_OPTIONS_H

#include "core/base/status.h"
#include "core/base/text.h"
#include "core/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define OPTIONS_LIST 64

struct options {
    const char *command;
    const char *share; /* the folder that holds static/, migrations/ and demo/ */
    const char *model; /* NULL: the demo's */
    const char *model_id;
    const char *saes[OPTIONS_LIST];
    size_t n_saes;
    const char *tuned_lenses[OPTIONS_LIST];
    size_t n_tuned_lenses;
    const char *db;
    const char *host;
    const char *allow_hosts[OPTIONS_LIST];
    size_t n_allow_hosts;
    const char *secret; /* DARKMATTER_SECRET; NULL when unset or empty */
    bool no_secret;
    int port;
    int threads;
    size_t token_limit;
    uint64_t reply_limit;
    uint64_t sae_memory;
    uint64_t prefix_memory; /* 0: nothing of a continued text is kept for the next */
    enum precision precision;
    enum embed_scale embed_scale;
    int log;         /* enum request_log_format */
    int slow_ms;     /* 0: no request is slow */
    bool no_special; /* tokenize */
    bool is_demo;    /* neither --model nor --saes was given */
    bool no_auto_index;
    const char *corpora[OPTIONS_LIST]; /* index */
    size_t n_corpora;
    const char *sources[OPTIONS_LIST];
    size_t n_sources;
    const char *name;
    int context;
    uint64_t limit_tokens; /* 0: none */
    bool no_pack, keep_duplicates;
    int seed;
    const char *goldens[OPTIONS_LIST]; /* verify */
    size_t n_goldens;
    const char *reads[OPTIONS_LIST]; /* collect */
    size_t n_reads;
    int dtype; /* 0 f32, 1 bf16, 2 f16 */
    uint64_t shard_size;
    bool json;
    int rounds;          /* bench */
    int bench_precision; /* 0 both, 1 exact, 2 bf16 */
    const char **paths;  /* [n_paths] import: what to read; export: the folder to write; bench: the
                            figures */
    size_t n_paths;

    char *owned[4]; /* paths that were made here */
};

/* STATUS_INVALID for a flag that the command does not have, a missing or impossible value. When
 * neither --model nor --saes is given both are the demo's; --model alone serves no SAEs. import
 * needs no model, and export none where --model-id is given. */
int options_parse(struct options *options, int argc, char **argv, struct status *st);
void options_free(struct options *options);

/* How the command is used, for --help and usage errors; NULL command: all of them. */
void options_usage(const char *command, struct text *out);

/* The engine's part of the options. */
struct engine_options options_engine(const struct options *options);

#endif
