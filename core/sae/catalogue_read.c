#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/sae/catalogue_private.h"
#include "core/sae/sae_weights.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What a Gemma Scope site reads and writes; [0] Scope 1, [1] Scope 2, whose transcoders read the
 * norm's output with its gain (gemma-scope-2's hf_hook_point_in). */
static const struct {
    const char *site;
    enum point input[2], output;
} sites[] = {
    {"res", {POINT_RESID_POST, POINT_RESID_POST}, POINT_RESID_POST},
    {"mlp", {POINT_MLP_OUT, POINT_MLP_OUT}, POINT_MLP_OUT},
    {"att", {POINT_Z, POINT_Z}, POINT_Z},
    {"transcoder", {POINT_MLP_IN_PREGAIN, POINT_MLP_IN}, POINT_MLP_OUT},
};
#define SITES (sizeof sites / sizeof *sites)

static size_t width_of(const struct gemma_config *model, enum point point)
{
    return point == POINT_Z         ? model->n_heads * model->head_dim
           : point == POINT_NEURONS ? model->intermediate_size
                                    : model->hidden_size;
}

/* SAEs that do not fit are told so by layer first: it is the plainer difference. */
static int check_fit(const struct gemma_config *model, const struct sae_config *config,
                     struct status *st)
{
    char hook[80];
    if (config->layer < 0 || (size_t)config->layer >= model->n_layers) {
        return status_set(st, STATUS_INVALID,
                          "does not fit the model: it is for layer %d, the model has layers 0 to "
                          "%zu",
                          config->layer, model->n_layers - 1);
    }
    const struct {
        const char *verb;
        enum point point;
        size_t found;
    } ends[] = {{"reads", config->input, config->d_in}, {"writes", config->output, config->d_out}};
    for (size_t i = 0; i < 2; i++) {
        size_t expected = width_of(model, ends[i].point);
        if (ends[i].found != expected) {
            return status_set(st, STATUS_INVALID,
                              "does not fit the model: expected %zu values of %s, this SAE %s %zu",
                              expected,
                              sae_config_hook(ends[i].point, config->layer, hook, sizeof hook),
                              ends[i].verb, ends[i].found);
        }
    }
    return STATUS_OK;
}

/* Without a folder that says the site, z is the only one that a width may give away. */
static int site_from_width(const struct gemma_config *model, size_t d_in,
                           struct catalogue_place *place, struct status *st)
{
    size_t z = model->n_heads * model->head_dim;
    if (d_in == z && z != model->hidden_size) {
        snprintf(place->site, sizeof place->site, "att");
        return STATUS_OK;
    }
    if (d_in != model->hidden_size) {
        return status_set(st, STATUS_INVALID,
                          "does not fit the model: expected %zu (residual stream, MLP) or %zu "
                          "(attention heads) values, this SAE reads %zu",
                          model->hidden_size, z, d_in);
    }
    return status_set(st, STATUS_UNSUPPORTED,
                      "no folder above says whether this is a res, mlp or transcoder SAE; keep the "
                      "repository's name as the folder's (gemma-scope-2b-pt-res, .../resid_post)");
}

static void apply_site(struct sae_config *config, const struct catalogue_place *place, int scope)
{
    for (size_t i = 0; i < SITES; i++) {
        if (strcmp(sites[i].site, place->site) == 0) {
            config->input = sites[i].input[scope];
            config->output = sites[i].output;
            config->is_transcoder = config->input != config->output;
        }
    }
    config->layer = place->layer;
}

static int read_scope2_place(struct catalogue_entry *e, struct sae_config *config,
                             const char *beside, struct status *st)
{
    bool named = catalogue_path_scope2(&e->place, e->source.path);
    struct stat file;
    config->architecture = SAE_JUMPRELU;
    if (stat(beside, &file) != 0 && errno == ENOENT && lstat(beside, &file) != 0) {
        return named ? STATUS_OK
                     : status_set(st, STATUS_INVALID,
                                  "no config.json, and the folder is not called "
                                  "layer_N_width_W_l0_S, from which it could be read");
    }
    if (sae_config_open_scope2(config, beside, st)) {
        return (int)st->code;
    }
    if (named && e->place.layer != config->layer) {
        return status_set(st, STATUS_CORRUPT,
                          "the folder's name says layer %d, its config.json layer %d",
                          e->place.layer, config->layer);
    }
    e->place.site[0] = '\0';
    for (size_t i = 0; i < SITES; i++) {
        if (config->input == sites[i].input[1] && config->output == sites[i].output) {
            snprintf(e->place.site, sizeof e->place.site, "%s", sites[i].site);
        }
    }
    if (!e->place.site[0]) {
        return status_set(st, STATUS_UNSUPPORTED, "an SAE on a transcoder's input; not supported");
    }
    e->place.layer = config->layer;
    if (!e->place.l0[0]) {
        snprintf(e->place.l0, sizeof e->place.l0, "%s", config->l0);
    }
    return STATUS_OK;
}

static bool valid_name(const char *s)
{
    size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return n > 0 && s[n] == '\0';
}

static int read_saelens(struct catalogue_entry *e, struct sae_config *config, const char *beside,
                        struct status *st)
{
    if (sae_config_open_saelens(config, beside, st)) {
        return (int)st->code;
    }
    if (valid_name(config->neuronpedia_source)) {
        snprintf(e->saelens_name, sizeof e->saelens_name, "%s", config->neuronpedia_source);
        return STATUS_OK;
    }
    char title[128];
    catalogue_path_title(e->source.path, title, sizeof title);
    for (char *p = title; *p; p++) { /* names stand in URLs */
        char one[2] = {*p, '\0'};
        if (!valid_name(one)) {
            *p = '-';
        }
    }
    snprintf(e->saelens_name, sizeof e->saelens_name, "%d-%s", config->layer,
             title[0] ? title : "sae");
    return STATUS_OK;
}

static void fill(struct catalogue_entry *e, const struct sae_config *config,
                 const struct sae_tensors *tensors)
{
    struct sae_source *s = &e->source;
    s->architecture = config->architecture;
    s->layer = config->layer;
    s->input = config->input;
    s->output = config->output;
    s->is_transcoder = config->is_transcoder;
    s->d_in = config->d_in;
    s->d_out = config->d_out;
    s->d_sae = config->d_sae;
    s->bytes = tensors->bytes;
    e->has_skip = tensors->skip.n_dims > 0;
    snprintf(s->l0, sizeof s->l0, "%s", e->place.l0);
    sae_config_hook(s->input, s->layer, s->hook_name, sizeof s->hook_name);
    if (!e->place.width[0]) { /* as the published folders write it */
        const size_t kilo = 1024, mega = kilo * kilo;
        bool millions = s->d_sae % mega == 0;
        bool thousands = s->d_sae % kilo == 0;
        snprintf(e->place.width, sizeof e->place.width, "%zu%s",
                 millions    ? s->d_sae / mega
                 : thousands ? s->d_sae / kilo
                             : s->d_sae,
                 millions    ? "m"
                 : thousands ? "k"
                             : "");
    }
}

static int read_entry(const struct gemma_config *model, struct catalogue_entry *e,
                      const char *weights_path, const char *beside, struct status *st)
{
    struct sae_config config = {.architecture = SAE_JUMPRELU};
    enum sae_format format = e->source.format;
    int code = format == SAE_FORMAT_SCOPE    ? catalogue_path_scope(&e->place, e->source.path, st)
               : format == SAE_FORMAT_SCOPE2 ? read_scope2_place(e, &config, beside, st)
                                             : read_saelens(e, &config, beside, st);
    if (code) {
        return code;
    }
    struct sae_weights weights;
    struct sae_tensors tensors;
    if (sae_weights_open(&weights, weights_path, st)) {
        return (int)st->code;
    }
    if (format != SAE_FORMAT_SAELENS && strcmp(e->place.site, "transcoder") == 0) {
        config.is_transcoder = true;
    }
    code = sae_weights_sizes(&weights, &config, st);
    if (!code && format != SAE_FORMAT_SAELENS) {
        if (!e->place.site[0]) {
            code = site_from_width(model, config.d_in, &e->place, st);
        }
        apply_site(&config, &e->place, format == SAE_FORMAT_SCOPE2);
    }
    if (!code) {
        code = check_fit(model, &config, st);
    }
    if (!code) {
        code = sae_weights_tensors(&weights, &config, true, &tensors, st);
    }
    if (!code && config.k > config.d_sae) {
        code = status_set(st, STATUS_CORRUPT, "expected k of at most d_sae %zu, found %zu",
                          config.d_sae, config.k);
    }
    if (!code) {
        fill(e, &config, &tensors);
    }
    sae_weights_close(&weights);
    return code;
}

/* The path without the revision of a hub cache: two revisions of one file are one SAE. */
static char *key_of(const char *path)
{
    char *key = memory_string(path);
    char *at = key ? strstr(key, "/snapshots/") : NULL;
    if (at && strstr(key, "/models--")) {
        const char *rest = strchr(at + strlen("/snapshots/"), '/');
        memmove(at, rest ? rest : "", rest ? strlen(rest) + 1 : 1);
    }
    return key;
}

static bool known(const struct catalogue_builder *builder, const struct catalogue_entry *e)
{
    for (size_t i = 0; i < builder->n_entries; i++) {
        const struct catalogue_entry *other = &builder->entries[i];
        bool same_files = e->device[0] == other->device[0] && e->inode[0] == other->inode[0] &&
                          e->device[1] == other->device[1] && e->inode[1] == other->inode[1];
        if (e->source.format == other->source.format &&
            (same_files || strcmp(e->key, other->key) == 0)) {
            return true;
        }
    }
    return false;
}

void catalogue_entry_free(struct catalogue_entry *entry)
{
    memory_free(entry->source.name);
    memory_free(entry->source.source_set);
    memory_free(entry->source.path);
    memory_free(entry->key);
    *entry = (struct catalogue_entry){0};
}

int catalogue_read(struct catalogue_builder *builder, enum sae_format format, const char *folder,
                   struct status *st)
{
    struct catalogue_entry e = {.source.format = format};
    char *weights = catalogue_path_join(folder, sae_weights_file(format));
    char *beside =
        catalogue_path_join(folder, format == SAE_FORMAT_SCOPE2 ? "config.json" : "cfg.json");
    struct stat file;
    int code = STATUS_OK;
    e.source.path = memory_string(folder);
    e.key = key_of(folder);
    if (!weights || !beside || !e.source.path || !e.key) {
        code = status_no_memory(st, strlen(folder) + 1);
        goto done;
    }
    if (stat(weights, &file) == 0) {
        e.device[0] = file.st_dev;
        e.inode[0] = file.st_ino;
    }
    if (format != SAE_FORMAT_SCOPE && stat(beside, &file) == 0) {
        e.device[1] = file.st_dev;
        e.inode[1] = file.st_ino;
    }
    if (known(builder, &e)) {
        goto done;
    }
    code = read_entry(builder->config, &e, weights, beside, st);
    if (code && code != STATUS_MEMORY) {
        struct status why = *st;
        status_clear(st);
        code = catalogue_refuse(builder, folder, why.code, why.message, st);
    } else if (!code) {
        struct catalogue_entry *list =
            catalogue_grow(builder->entries, builder->n_entries, &builder->capacity_entries,
                           sizeof *builder->entries, st);
        if (list) {
            builder->entries = list;
            list[builder->n_entries++] = e;
            e = (struct catalogue_entry){0};
        } else {
            code = (int)st->code;
        }
    }
done:
    catalogue_entry_free(&e);
    memory_free(weights);
    memory_free(beside);
    return code;
}
