/* The lens's request: what can be said of it before anything is computed. */
#include "core/base/memory.h"
#include "core/engine_lens_private.h"

#include <string.h>

bool lens_reading_takes(enum point point)
{
    switch (point) {
    case POINT_EMBED:
    case POINT_RESID_PRE:
    case POINT_ATTN_OUT_RAW:
    case POINT_ATTN_OUT:
    case POINT_RESID_MID:
    case POINT_MLP_OUT_RAW:
    case POINT_MLP_OUT:
    case POINT_RESID_POST:
        return true;
    default:
        return false;
    }
}

static int check_sites(const struct engine *e, const struct lens_options *o, size_t *n_rows,
                       struct status *st)
{
    *n_rows = 0;
    for (size_t i = 0; i < o->n_sites; i++) {
        const struct lens_site *site = &o->sites[i];
        if (!lens_reading_takes(site->point)) {
            return status_set(st, STATUS_INVALID,
                              "sites[%zu]: \"%s\" is not part of the residual stream: expected "
                              "embed, resid_pre, attn_out_raw, attn_out, resid_mid, mlp_out_raw, "
                              "mlp_out or resid_post",
                              i, point_name(site->point));
        }
        for (size_t k = 0; k < site->n_layers && point_has_layer(site->point); k++) {
            if (site->layers[k] < 0 || (size_t)site->layers[k] >= e->config.n_layers) {
                return status_set(st, STATUS_INVALID,
                                  "layers: this model has the layers 0..%zu, found %d",
                                  e->config.n_layers - 1, site->layers[k]);
            }
        }
        *n_rows += point_has_layer(site->point) ? site->n_layers : 1;
    }
    return *n_rows ? STATUS_OK
                   : status_set(st, STATUS_INVALID, "sites: expected at least one to read");
}

size_t engine_tuned_lenses(const struct engine *e)
{
    return e->n_tuned;
}

const char *engine_tuned_lens(const struct engine *e, size_t i)
{
    return tuned_name(e->tuned[i]);
}

static int find_tuned(const struct engine *e, const struct lens_options *o,
                      const struct tuned **tuned, struct status *st)
{
    *tuned = NULL;
    for (size_t i = 0; i < e->n_tuned && o->tuned; i++) {
        *tuned = strcmp(tuned_name(e->tuned[i]), o->tuned) == 0 ? e->tuned[i] : *tuned;
    }
    if (o->tuned && !*tuned) {
        return status_set(st, STATUS_NOT_FOUND,
                          "tuned: there is no tuned lens \"%.120s\"; GET /v1/capabilities lists "
                          "those there are, and serve opens them with --tuned-lens FILE",
                          o->tuned);
    }
    for (size_t i = 0; i < o->n_sites && *tuned; i++) {
        const struct lens_site *site = &o->sites[i];
        size_t n = point_has_layer(site->point) ? site->n_layers : 1;
        for (size_t k = 0; k < n; k++) {
            int layer = point_has_layer(site->point) ? site->layers[k] : 0;
            if (!tuned_has(*tuned, site->point, layer) &&
                !lens_reading_is_last(e, site->point, layer)) {
                return status_set(st, STATUS_INVALID,
                                  "tuned: \"%.120s\" has no map for %s.%d; ask for the sites and "
                                  "layers that it was trained on",
                                  o->tuned, point_name(site->point), layer);
            }
        }
    }
    return STATUS_OK;
}

int lens_reading_open(struct lens_reading **out, struct engine *e, const struct lens_options *o,
                      struct status *st)
{
    size_t n_rows;
    const struct tuned *tuned = NULL;
    *out = NULL;
    const struct generation_start start = {o->ids, o->n_ids, o->edits, o->n_edits};
    int code = engine_check_start(e, &start, o->n_tokens > 0, st);
    code = code ? code : check_sites(e, o, &n_rows, st);
    code = code ? code : find_tuned(e, o, &tuned, st);
    for (size_t i = 0; i < o->n_track && !code; i++) {
        if (o->track[i] < 0 || (size_t)o->track[i] >= e->config.vocab_size) {
            code = status_set(st, STATUS_INVALID, "track[%zu]: expected an id in 0..%zu, found %d",
                              i, e->config.vocab_size - 1, (int)o->track[i]);
        }
    }
    if (code) {
        return code;
    }
    struct lens_reading *r = memory_zalloc(1, sizeof *r);
    if (!r) {
        return status_no_memory(st, sizeof *r);
    }
    r->engine = e;
    r->options = *o;
    r->n_rows = n_rows;
    r->tuned = tuned;
    size_t room = e->config.max_positions - o->n_ids;
    r->n_tokens = o->n_tokens < room ? o->n_tokens : room;
    if (r->options.top_n > e->config.vocab_size) {
        r->options.top_n = e->config.vocab_size;
    }
    *out = r;
    return STATUS_OK;
}
