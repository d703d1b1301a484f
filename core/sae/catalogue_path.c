#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/config.h"
#include "core/sae/catalogue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *catalogue_path_join(const char *folder, const char *file)
{
    size_t n = strlen(folder) + strlen(file) + 2;
    char *path = memory_alloc(n, 1);
    if (path) {
        snprintf(path, n, "%s/%s", folder, file);
    }
    return path;
}

/* The i-th name from the end (0: the last) into buffer; "" if there is none or it is too long. */
static void component(const char *path, size_t i, char *buffer, size_t size)
{
    const char *end = path + strlen(path);
    buffer[0] = '\0';
    for (;;) {
        while (end > path && end[-1] == '/') {
            end--;
        }
        const char *start = end;
        while (start > path && start[-1] != '/') {
            start--;
        }
        if (start == end) {
            return;
        }
        if (i-- == 0) {
            size_t n = (size_t)(end - start);
            if (n < size) {
                memcpy(buffer, start, n);
                buffer[n] = '\0';
            }
            return;
        }
        end = start;
    }
}

/* Takes `word` off the front of *s. */
static bool take(const char **s, const char *word)
{
    if (!text_starts_with(*s, word)) {
        return false;
    }
    *s += strlen(word);
    return true;
}

static bool take_layer(const char **s, int *layer)
{
    const char *start = *s;
    int n = 0;
    for (; **s >= '0' && **s <= '9' && n < CONFIG_LAYERS_MAX; (*s)++) {
        n = n * 10 + (**s - '0');
    }
    *layer = n;
    return *s > start && n < CONFIG_LAYERS_MAX;
}

/* Takes letters and digits, at least one. */
static bool take_word(const char **s, char *buffer, size_t size)
{
    size_t n = strspn(*s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789");
    if (n == 0 || n >= size) {
        return false;
    }
    memcpy(buffer, *s, n);
    buffer[n] = '\0';
    *s += n;
    return true;
}

static bool take_digits(const char **s, char *buffer, size_t size)
{
    return take_word(s, buffer, size) && strspn(buffer, "0123456789") == strlen(buffer);
}

/* The site that a folder's name says: gemma-scope-2b-pt-res, models--google--...-att, mlp. */
static const char *site_of(const char *name)
{
    static const struct {
        const char *word, *site;
    } sites[] = {{"res", "res"},
                 {"mlp", "mlp"},
                 {"att", "att"},
                 {"transcoders", "transcoder"},
                 {"transcoder", "transcoder"}};
    /* A name of the family may go on after the word ("-res-main", as archives are called). */
    bool family = strstr(name, "gemma-scope") != NULL;
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        size_t n = strlen(sites[i].word);
        for (const char *at = strstr(name, sites[i].word); at; at = strstr(at + 1, sites[i].word)) {
            bool starts = at == name || at[-1] == '-';
            if (starts && (at[n] == '\0' || (family && at[n] == '-'))) {
                return sites[i].site;
            }
        }
    }
    return NULL;
}

static int read_scope(struct catalogue_place *place, const char *folder, struct status *st)
{
    char names[3][256];
    *place = (struct catalogue_place){0};
    for (size_t i = 0; i < 3; i++) {
        component(folder, i, names[i], sizeof names[i]);
    }
    if (strcmp(names[2], "embedding") == 0) {
        return status_set(st, STATUS_UNSUPPORTED,
                          "SAEs of embedding/ read the unscaled token embedding, which is not a "
                          "point of this server; not supported");
    }
    const char *l0 = names[0], *width = names[1], *layer = names[2];
    bool canonical = strcmp(l0, "canonical") == 0;
    if ((canonical ||
         (take(&l0, "average_l0_") && take_digits(&l0, place->l0, sizeof place->l0) && !*l0)) &&
        take(&width, "width_") && take_word(&width, place->width, sizeof place->width) && !*width &&
        take(&layer, "layer_") && take_layer(&layer, &place->layer) && !*layer) {
        for (size_t i = 3; place->site[0] == '\0'; i++) {
            char name[256];
            component(folder, i, name, sizeof name);
            const char *site = site_of(name);
            if (name[0] == '\0') {
                break;
            }
            snprintf(place->site, sizeof place->site, "%s", site ? site : "");
        }
        return STATUS_OK;
    }
    return status_set(st, STATUS_INVALID,
                      "expected the folders layer_N/width_W/average_l0_X around params.npz, as "
                      "Gemma Scope has them");
}

int catalogue_path_scope(struct catalogue_place *place, const char *folder, struct status *st)
{
    int code = read_scope(place, folder, st);
    if (code == STATUS_UNSUPPORTED || (code == STATUS_OK && place->site[0])) {
        return code;
    }
    /* A link may hide the names that tell: what it leads to has them. */
    char *real = realpath(folder, NULL);
    struct catalogue_place other;
    struct status ignored = {0};
    if (real && read_scope(&other, real, &ignored) == STATUS_OK && (code || other.site[0])) {
        *place = other;
        code = STATUS_OK;
        status_clear(st);
    }
    free(real); /* libc's */
    return code;
}

bool catalogue_path_scope2(struct catalogue_place *place, const char *folder)
{
    static const struct {
        const char *folder, *site;
    } sites[] = {{"resid_post", "res"},
                 {"mlp_out", "mlp"},
                 {"attn_out", "att"},
                 {"transcoder", "transcoder"}};
    char name[256], parent[256];
    component(folder, 0, name, sizeof name);
    component(folder, 1, parent, sizeof parent);
    *place = (struct catalogue_place){0};
    const char *p = name;
    if (!take(&p, "layer_") || !take_layer(&p, &place->layer) || !take(&p, "_width_") ||
        !take_word(&p, place->width, sizeof place->width) || !take(&p, "_l0_") ||
        !take_word(&p, place->l0, sizeof place->l0) || (*p && strcmp(p, "_affine") != 0)) {
        *place = (struct catalogue_place){0};
        return false;
    }
    place->in_all = text_ends_with(parent, "_all");
    for (size_t i = 0; i < sizeof sites / sizeof *sites; i++) {
        const char *s = parent;
        if (take(&s, sites[i].folder) && (*s == '\0' || strcmp(s, "_all") == 0)) {
            snprintf(place->site, sizeof place->site, "%s", sites[i].site);
        }
    }
    return true;
}

void catalogue_path_title(const char *folder, char *buffer, size_t size)
{
    char parent[256], repository[256];
    component(folder, 0, buffer, size);
    component(folder, 1, parent, sizeof parent);
    component(folder, 2, repository, sizeof repository);
    if (strcmp(parent, "snapshots") == 0 && text_starts_with(repository, "models--")) {
        const char *name = strstr(repository + strlen("models--"), "--");
        snprintf(buffer, size, "%s", name ? name + 2 : repository + strlen("models--"));
    }
}
