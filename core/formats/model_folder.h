/* A Hugging Face model folder, or the hub cache it came in.
 *
 * Accepts a folder with config.json, a snapshot of a hub cache (symbolic links into blobs/), or the
 * cache's models--ORG--NAME folder itself (then the snapshot that refs/main names, else the only or
 * newest one). Links that lead nowhere and *.incomplete blobs are named in the error. */
#ifndef DM_FORMATS_MODEL_FOLDER_H
#define DM_FORMATS_MODEL_FOLDER_H

#include "core/base/status.h"
#include "core/formats/safetensors.h"
#include "core/formats/tensor.h"

#include <stdbool.h>
#include <stdint.h>

struct model_folder {
    char *path;   /* the folder that holds config.json */
    char *id;     /* design.md section 1: --model-id, darkmatter.json, NAME, folder name */
    char *config; /* path of config.json; NULL only after model_folder_find of a folder of tokenizer
                     files */
    char *generation_config; /* path, or NULL */
    char *tokenizer_json;    /* path, or NULL */
    char *tokenizer_model;   /* path, or NULL */
    char *tokenizer_config;  /* path, or NULL */
    struct safetensors **shards;
    size_t n_shards;
    uint64_t weight_bytes; /* of the tensors of all shards together */
};

/* Finds the files and opens every shard (model.safetensors.index.json if all files that it names
 * exist, else model.safetensors). `id` overrides the model's name when it is not NULL. */
int model_folder_open(struct model_folder *folder, const char *path, const char *id,
                      struct status *st);

/* The same, the weights left closed: for commands that read only the tokenizer files. */
int model_folder_find(struct model_folder *folder, const char *path, const char *id,
                      struct status *st);

/* The tensor of that full name in whichever shard has it, or NULL; *file is that shard's path, or
 * the folder's where there is none, for messages. */
const struct tensor *model_folder_tensor(const struct model_folder *folder, const char *name,
                                         const char **file);

/* The worst of the shards' states (mapped_file.h); *file is that shard's path. */
enum mapped_state model_folder_state(const struct model_folder *folder, const char **file);
void model_folder_accept(struct model_folder *folder); /* mapped_file_accept of every shard */

void model_folder_close(struct model_folder *folder); /* safe on a zeroed struct */

#endif
