/* Between the parts of the catalogue: catalogue.c walks folders (catalogue_folder.c lists them),
 * catalogue_path.c reads what a path says, catalogue_read.c turns one folder into an entry,
 * catalogue_name.c gives out the names; catalogue_neurons.c adds what needs no file. */
#ifndef DM_SAE_CATALOGUE_PRIVATE_H
#define DM_SAE_CATALOGUE_PRIVATE_H

#include "core/base/status.h"
#include "core/sae/catalogue.h"
#include "core/sae/sae_config.h"

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>
#include <sys/types.h>

/* What the names of a Gemma Scope SAE's folders say. */
struct catalogue_place {
    int layer;
    char width[24]; /* "16k", as written */
    char l0[24];    /* "71", "medium"; "" for Scope 1's canonical/ */
    char site[16];  /* "res", "mlp", "att", "transcoder"; "" if no folder says */
    bool in_all;    /* Scope 2: under resid_post_all/ and its like */
};

/* layer_N/width_W/average_l0_X; STATUS_UNSUPPORTED or STATUS_INVALID with the reason. */
int catalogue_path_scope(struct catalogue_place *place, const char *folder, struct status *st);

/* SITE[_all]/layer_N_width_W_l0_S[_affine]; false if it is not that. */
bool catalogue_path_scope2(struct catalogue_place *place, const char *folder);

/* The last name of a path; in a hub cache's snapshot NAME of models--ORG--NAME. */
void catalogue_path_title(const char *folder, char *buffer, size_t size);

/* folder/file, for memory_free; NULL if there is no memory. */
char *catalogue_path_join(const char *folder, const char *file);

struct catalogue_entry {
    struct sae_source source; /* name and source_set NULL until catalogue_name_all */
    struct catalogue_place place;
    char saelens_name[160];
    bool has_skip;
    char *key; /* the path, a hub cache's snapshots/HASH left out */
    dev_t device[2];
    ino_t inode[2]; /* of the weights and, where there is one, of the file beside them */
};

struct catalogue_builder {
    const struct gemma_config *config;
    struct catalogue_entry *entries; /* in the order they were found */
    size_t n_entries, capacity_entries;
    struct sae_refusal *refusals;
    size_t n_refusals, capacity_refusals;
    struct stat *visited; /* folders, to cut loops of links */
    size_t n_visited, capacity_visited;
};

/* A list of n entries of `size` bytes with room for one more: the old one or one in its place. NULL
 * if there is no memory; the old one is then still there. */
void *catalogue_grow(void *old, size_t n, size_t *capacity, size_t size, struct status *st);

/* The names in a folder, sorted, those with a dot in front left out. */
struct catalogue_folder {
    char **list;
    size_t n, capacity;
};

/* *error is errno where the folder cannot be read. */
int catalogue_folder_read(struct catalogue_folder *names, const char *path, int *error,
                          struct status *st);
bool catalogue_folder_has(const struct catalogue_folder *names, const char *name);

/* For the snapshots/ of a hub cache: the one that refs/main names goes first, because where two
 * revisions hold the same SAE the first one found is kept. */
void catalogue_folder_main_first(struct catalogue_folder *names, const char *path);
void catalogue_folder_free(struct catalogue_folder *names);

/* The reason is cut where it begins with "path: ". */
int catalogue_refuse(struct catalogue_builder *builder, const char *path, enum status_code code,
                     const char *reason, struct status *st);

/* Appends the SAE in `folder`, or a refusal, or nothing if it is there already. Fails only for
 * want of memory. */
int catalogue_read(struct catalogue_builder *builder, enum sae_format format, const char *folder,
                   struct status *st);

void catalogue_entry_free(struct catalogue_entry *entry);

/* Names every entry; those whose name is taken become refusals. */
int catalogue_name_all(struct catalogue_builder *builder, struct status *st);

int catalogue_add_neurons(struct catalogue *catalogue, const struct gemma_config *config,
                          struct status *st);

#endif
