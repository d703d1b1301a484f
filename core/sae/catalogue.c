#include "core/sae/catalogue.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/sae/catalogue_private.h"
#include "core/sae/sae_weights.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_LIMIT 40 /* folders within folders; a hub cache needs eight */

const char *sae_architecture_name(enum sae_architecture architecture)
{
    static const char *const names[] = {"standard", "jumprelu", "topk", "gated", "none"};
    return names[architecture];
}

void *catalogue_grow(void *old, size_t n, size_t *capacity, size_t size, struct status *st)
{
    if (n < *capacity) {
        return old;
    }
    size_t wanted = n ? 2 * n : 16;
    void *bigger = memory_resize(old, wanted, size);
    if (!bigger) {
        status_no_memory(st, (unsigned long long)wanted * size);
        return NULL;
    }
    *capacity = wanted;
    return bigger;
}

/* Messages of the readers begin with the file that they read, which lies in the folder. */
int catalogue_refuse(struct catalogue_builder *builder, const char *path, enum status_code code,
                     const char *reason, struct status *st)
{
    if (text_starts_with(reason, path)) {
        reason += strlen(path);
        reason += strspn(reason, "/: ");
    }
    struct sae_refusal *list =
        catalogue_grow(builder->refusals, builder->n_refusals, &builder->capacity_refusals,
                       sizeof *builder->refusals, st);
    if (!list) {
        return (int)st->code;
    }
    builder->refusals = list;
    struct sae_refusal refusal = {memory_string(path), memory_string(reason), code};
    if (!refusal.path || !refusal.reason) {
        memory_free(refusal.path);
        memory_free(refusal.reason);
        return status_no_memory(st, strlen(path) + strlen(reason) + 2);
    }
    list[builder->n_refusals++] = refusal;
    return STATUS_OK;
}

static int refuse_errno(struct catalogue_builder *builder, const char *path, int error,
                        struct status *st)
{
    return catalogue_refuse(builder, path, STATUS_IO, strerror(error), st);
}

/* A link that leads nowhere, an unfinished download: said if the file is one that is looked for. */
static int check_link(struct catalogue_builder *builder, const char *folder, const char *name,
                      bool *usable, struct status *st)
{
    static const char *const looked_for[] = {"params.npz", "params.safetensors", "cfg.json",
                                             "config.json", "sae_weights.safetensors"};
    struct stat file;
    char *path = catalogue_path_join(folder, name);
    *usable = true;
    if (!path) {
        return status_no_memory(st, strlen(folder) + strlen(name) + 2);
    }
    int code = STATUS_OK;
    for (size_t i = 0; i < sizeof looked_for / sizeof *looked_for; i++) {
        if (strcmp(name, looked_for[i]) == 0 && stat(path, &file) != 0) {
            int error = errno;
            char target[PATH_MAX];
            ssize_t n = readlink(path, target, sizeof target - 1);
            struct text reason = {0};
            if (n > 0 && error == ENOENT) {
                target[n] = '\0';
                text_printf(&reason, "a link to %s, which is not there; download the file again",
                            target);
            } else {
                text_string(&reason, strerror(error));
            }
            code = reason.failed
                       ? status_no_memory(st, 256)
                       : catalogue_refuse(builder, path, STATUS_NOT_FOUND, reason.data, st);
            text_free(&reason);
            *usable = false;
        }
    }
    memory_free(path);
    return code;
}

static bool is_folder(const char *path)
{
    struct stat file;
    return stat(path, &file) == 0 && S_ISDIR(file.st_mode);
}

static int read_files(struct catalogue_builder *builder, const char *path,
                      const struct catalogue_folder *names, struct status *st)
{
    bool all_usable = true;
    bool scope2 = catalogue_folder_has(names, sae_weights_file(SAE_FORMAT_SCOPE2));
    for (size_t i = 0; i < names->n; i++) {
        bool usable;
        if (!scope2 && strcmp(names->list[i], "config.json") == 0) {
            continue; /* a model's */
        }
        if (check_link(builder, path, names->list[i], &usable, st)) {
            return (int)st->code;
        }
        all_usable = all_usable && usable;
    }
    if (!all_usable) {
        return STATUS_OK;
    }
    bool weights = catalogue_folder_has(names, sae_weights_file(SAE_FORMAT_SAELENS));
    if (catalogue_folder_has(names, sae_weights_file(SAE_FORMAT_SCOPE)) &&
        catalogue_read(builder, SAE_FORMAT_SCOPE, path, st)) {
        return (int)st->code;
    }
    if (scope2 && catalogue_read(builder, SAE_FORMAT_SCOPE2, path, st)) {
        return (int)st->code;
    }
    if (weights && catalogue_folder_has(names, "cfg.json")) {
        return catalogue_read(builder, SAE_FORMAT_SAELENS, path, st);
    }
    if (weights) {
        return catalogue_refuse(builder, path, STATUS_NOT_FOUND,
                                "sae_weights.safetensors without a cfg.json", st);
    }
    if (catalogue_folder_has(names, "params_layer_0.safetensors")) {
        return catalogue_refuse(builder, path, STATUS_UNSUPPORTED,
                                "a crosscoder or cross-layer transcoder (clt), which spans several "
                                "layers; not supported",
                                st);
    }
    if (catalogue_folder_has(names, "cfg.json")) {
        return catalogue_refuse(builder, path, STATUS_NOT_FOUND,
                                "cfg.json without the sae_weights.safetensors of SAELens", st);
    }
    return STATUS_OK;
}

/* True the first time that this folder is seen, however it was reached. */
static bool first_visit(struct catalogue_builder *builder, const struct stat *folder,
                        struct status *st)
{
    for (size_t i = 0; i < builder->n_visited; i++) {
        if (builder->visited[i].st_dev == folder->st_dev &&
            builder->visited[i].st_ino == folder->st_ino) {
            return false;
        }
    }
    struct stat *list = catalogue_grow(builder->visited, builder->n_visited,
                                       &builder->capacity_visited, sizeof *builder->visited, st);
    if (!list) {
        return false;
    }
    builder->visited = list;
    list[builder->n_visited++] = *folder;
    return true;
}

static int visit(struct catalogue_builder *builder, const char *path, int depth, struct status *st)
{
    struct stat folder;
    struct catalogue_folder names = {0};
    int error = 0;
    if (stat(path, &folder) != 0 || !first_visit(builder, &folder, st)) {
        return (int)st->code;
    }
    int code = catalogue_folder_read(&names, path, &error, st);
    if (!code && error) {
        code = refuse_errno(builder, path, error, st);
    }
    if (!code) {
        code = read_files(builder, path, &names, st);
    }
    if (text_ends_with(path, "/snapshots")) {
        catalogue_folder_main_first(&names, path);
    }
    for (size_t i = 0; i < names.n && !code; i++) {
        char *child = catalogue_path_join(path, names.list[i]);
        if (!child) {
            code = status_no_memory(st, strlen(path) + strlen(names.list[i]) + 2);
        } else if (is_folder(child)) {
            code = depth < DEPTH_LIMIT ? visit(builder, child, depth + 1, st)
                                       : catalogue_refuse(builder, child, STATUS_UNSUPPORTED,
                                                          "nested too deep", st);
        }
        memory_free(child);
    }
    catalogue_folder_free(&names);
    return code;
}

/* Absolute, so that folder names above the given one can say what lies in it. Links in the path
 * stay: their names may be the ones that tell. */
static char *absolute(const char *folder, struct status *st)
{
    char here[PATH_MAX];
    char *path;
    if (!is_folder(folder)) {
        int error = access(folder, F_OK) == 0 ? ENOTDIR : errno;
        status_set(st, error == ENOENT ? STATUS_NOT_FOUND : STATUS_IO,
                   "%s: expected a folder with SAEs (--saes): %s", folder, strerror(error));
        return NULL;
    }
    bool plain = !strstr(folder, "./") && !text_ends_with(folder, ".");
    if (plain && folder[0] == '/') {
        path = memory_string(folder);
    } else if (plain && getcwd(here, sizeof here)) {
        path = catalogue_path_join(here, folder);
    } else {
        path = memory_string(realpath(folder, here) ? here : folder);
    }
    if (!path) {
        status_no_memory(st, strlen(folder) + 1);
        return NULL;
    }
    for (size_t n = strlen(path); n > 1 && path[n - 1] == '/'; n--) {
        path[n - 1] = '\0';
    }
    return path;
}

static int by_layer(const void *a, const void *b)
{
    const struct sae_source *x = a, *y = b;
    return x->layer != y->layer ? (x->layer > y->layer) - (x->layer < y->layer)
                                : strcmp(x->name, y->name);
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const struct sae_refusal *)a)->path, ((const struct sae_refusal *)b)->path);
}

/* Moves what the builder has into the catalogue. */
static int deliver(struct catalogue_builder *builder, struct catalogue *catalogue,
                   struct status *st)
{
    catalogue->sources = memory_zalloc(builder->n_entries, sizeof *catalogue->sources);
    if (!catalogue->sources) {
        return status_no_memory(st, builder->n_entries * sizeof *catalogue->sources);
    }
    for (size_t i = 0; i < builder->n_entries; i++) {
        catalogue->sources[i] = builder->entries[i].source;
        builder->entries[i].source = (struct sae_source){0};
    }
    catalogue->n_sources = builder->n_entries;
    catalogue->refusals = builder->refusals;
    catalogue->n_refusals = builder->n_refusals;
    builder->refusals = NULL;
    builder->n_refusals = 0;
    if (catalogue->n_sources) {
        qsort(catalogue->sources, catalogue->n_sources, sizeof *catalogue->sources, by_layer);
    }
    if (catalogue->n_refusals) {
        qsort(catalogue->refusals, catalogue->n_refusals, sizeof *catalogue->refusals, by_path);
    }
    return STATUS_OK;
}

int catalogue_scan(struct catalogue *catalogue, const char *const *folders, size_t n_folders,
                   const struct gemma_config *config, struct status *st)
{
    struct catalogue_builder builder = {.config = config};
    *catalogue = (struct catalogue){0};
    status_clear(st);
    int code = STATUS_OK;
    for (size_t i = 0; i < n_folders && !code; i++) {
        char *path = absolute(folders[i], st);
        code = path ? visit(&builder, path, 0, st) : (int)st->code;
        memory_free(path);
    }
    if (!code) {
        code = catalogue_name_all(&builder, st);
    }
    if (!code) {
        code = deliver(&builder, catalogue, st);
    }
    if (!code) {
        code = catalogue_add_neurons(catalogue, config, st);
    }
    for (size_t i = 0; i < builder.n_entries; i++) {
        catalogue_entry_free(&builder.entries[i]);
    }
    for (size_t i = 0; i < builder.n_refusals; i++) {
        memory_free(builder.refusals[i].path);
        memory_free(builder.refusals[i].reason);
    }
    memory_free(builder.entries);
    memory_free(builder.refusals);
    memory_free(builder.visited);
    return code;
}

const struct sae_source *catalogue_find(const struct catalogue *catalogue, const char *name)
{
    for (size_t i = 0; i < catalogue->n_sources; i++) {
        if (strcmp(catalogue->sources[i].name, name) == 0) {
            return &catalogue->sources[i];
        }
    }
    for (size_t i = 0; i < catalogue->n_neurons; i++) {
        if (strcmp(catalogue->neurons[i].name, name) == 0) {
            return &catalogue->neurons[i];
        }
    }
    return NULL;
}

size_t catalogue_number(const struct catalogue *catalogue, const struct sae_source *source)
{
    return source->is_neurons ? catalogue->n_sources + (size_t)(source - catalogue->neurons)
                              : (size_t)(source - catalogue->sources);
}

const struct sae_source *catalogue_at(const struct catalogue *catalogue, size_t number)
{
    return number < catalogue->n_sources ? &catalogue->sources[number]
                                         : &catalogue->neurons[number - catalogue->n_sources];
}

static void free_sources(struct sae_source *sources, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        memory_free(sources[i].name);
        memory_free(sources[i].source_set);
        memory_free(sources[i].path);
    }
    memory_free(sources);
}

void catalogue_free(struct catalogue *catalogue)
{
    free_sources(catalogue->sources, catalogue->n_sources);
    free_sources(catalogue->neurons, catalogue->n_neurons);
    for (size_t i = 0; i < catalogue->n_refusals; i++) {
        memory_free(catalogue->refusals[i].path);
        memory_free(catalogue->refusals[i].reason);
    }
    memory_free(catalogue->refusals);
    *catalogue = (struct catalogue){0};
}
