#include "core/lens/tuned.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/formats/safetensors.h"
#include "core/math/kernels.h"

#include <stdlib.h>
#include <string.h>

struct map {
    enum point point;
    int layer;
    const struct tensor *weight; /* [D, D] */
    const struct tensor *bias;   /* [D], or NULL */
};

struct tuned {
    char *name;
    size_t width;
    struct safetensors *file;
    struct map *maps;
    size_t n;
};

const char *tuned_name(const struct tuned *t)
{
    return t->name;
}

static struct map *find(const struct tuned *t, enum point point, int layer)
{
    for (size_t i = 0; i < t->n; i++) {
        if (t->maps[i].point == point && (t->maps[i].layer == layer || !point_has_layer(point))) {
            return &t->maps[i];
        }
    }
    return NULL;
}

bool tuned_has(const struct tuned *t, enum point point, int layer)
{
    return find(t, point, layer) != NULL;
}

/* "resid_post.3.weight", "embed.bias", "3.weight". False if it is none of these. */
static bool parse_name(const char *name, enum point *point, int *layer, bool *is_bias)
{
    const char *last = strrchr(name, '.');
    if (!last || (strcmp(last, ".weight") != 0 && strcmp(last, ".bias") != 0)) {
        return false;
    }
    *is_bias = strcmp(last, ".bias") == 0;
    *layer = 0;
    size_t length = strcspn(name, ".");
    const char *digits = name;
    *point = POINT_RESID_PRE;
    if (*name < '0' || *name > '9') {
        if (!point_find(name, length, point)) {
            return false;
        }
        if (!point_has_layer(*point)) {
            return name + length == last;
        }
        digits = name + length + 1;
    }
    size_t n = name + length == last && digits != name ? 0 : strspn(digits, "0123456789");
    *layer = (int)strtol(digits, NULL, 10);
    return n > 0 && n < 5 && digits + n == last;
}

static int add_tensor(struct tuned *t, size_t i, const struct gemma_config *config,
                      struct status *st)
{
    const char *path = safetensors_path(t->file), *name = safetensors_name(t->file, i);
    const struct tensor *tensor = safetensors_at(t->file, i);
    enum point point;
    int layer;
    bool is_bias;
    if (!parse_name(name, &point, &layer, &is_bias) || (size_t)layer >= config->n_layers ||
        point_width(config, point) != t->width) {
        return status_set(st, STATUS_CORRUPT,
                          "%s: %.120s: expected SITE.LAYER.weight or .bias with a point of the "
                          "residual stream and a layer 0..%zu, such as resid_post.3.weight",
                          path, name, config->n_layers - 1);
    }
    const size_t shape[] = {t->width, t->width};
    int code = tensor_expect(tensor, path, name, is_bias ? 1 : 2, shape, st);
    struct map *map = find(t, point, layer);
    if (code) {
        return code;
    }
    if (!map) {
        map = &t->maps[t->n++];
        *map = (struct map){.point = point, .layer = layer};
    }
    const struct tensor **place = is_bias ? &map->bias : &map->weight;
    if (*place) {
        return status_set(st, STATUS_CORRUPT, "%s: %.120s: the map of this point is there twice",
                          path, name);
    }
    *place = tensor;
    return STATUS_OK;
}

static int read_maps(struct tuned *t, const struct gemma_config *config, struct status *st)
{
    size_t n = safetensors_count(t->file);
    t->maps = memory_zalloc(n, sizeof *t->maps);
    int code = t->maps ? STATUS_OK : status_no_memory(st, n * sizeof *t->maps);
    for (size_t i = 0; i < n && !code; i++) {
        code = add_tensor(t, i, config, st);
    }
    for (size_t i = 0; i < t->n && !code; i++) {
        if (!t->maps[i].weight) {
            code = status_set(st, STATUS_CORRUPT, "%s: %s.%d has a bias and no weight",
                              safetensors_path(t->file), point_name(t->maps[i].point),
                              t->maps[i].layer);
        }
    }
    if (!code && t->n == 0) {
        code = status_set(st, STATUS_CORRUPT, "%s: a tuned lens needs at least one map, found none",
                          safetensors_path(t->file));
    }
    return code;
}

int tuned_open(struct tuned **out, const char *path, const struct gemma_config *config,
               struct status *st)
{
    struct tuned *t = memory_zalloc(1, sizeof *t);
    *out = NULL;
    if (!t) {
        return status_no_memory(st, sizeof *t);
    }
    const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;
    size_t length = strlen(name), suffix = strlen(".safetensors");
    length -= length > suffix && text_ends_with(name, ".safetensors") ? suffix : 0;
    t->name = memory_string_n(name, length);
    t->width = config->hidden_size;
    int code = t->name ? safetensors_open(&t->file, path, st) : status_no_memory(st, length);
    code = code ? code : read_maps(t, config, st);
    if (code) {
        tuned_close(t);
        return code;
    }
    *out = t;
    return STATUS_OK;
}

void tuned_close(struct tuned *t)
{
    if (t) {
        safetensors_close(t->file);
        memory_free(t->maps);
        memory_free(t->name);
        memory_free(t);
    }
}

int tuned_apply(const struct tuned *t, struct threads *threads, enum point point, int layer,
                float *x, size_t rows, struct status *st)
{
    const struct map *map = find(t, point, layer);
    size_t D = t->width;
    if (!map || rows == 0) {
        return STATUS_OK;
    }
    float *moved = memory_alloc((rows + 1) * D, sizeof *moved);
    if (!moved) {
        return status_no_memory(st, (rows + 1) * D * sizeof *moved);
    }
    float *bias = moved + rows * D;
    memset(bias, 0, D * sizeof *bias);
    if (map->bias) {
        tensor_widen(map->bias, 0, D, bias);
    }
    kernel_matmul(threads, x, rows, map->weight, moved);
    for (size_t i = 0; i < rows * D; i++) {
        x[i] += moved[i] + bias[i % D];
    }
    memory_free(moved);
    return safetensors_state(t->file) == MAPPED_SAME
               ? STATUS_OK
               : status_set(st, STATUS_CORRUPT,
                            "%s: the file was written since it was opened; start the server again",
                            safetensors_path(t->file));
}
