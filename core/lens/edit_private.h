/* What edit.c (checks, opening) and edit_apply.c (the hook) share. */
#ifndef DM_LENS_EDIT_PRIVATE_H
#define DM_LENS_EDIT_PRIVATE_H

#include "core/lens/edit.h"

/* An edit with what it needs at hand. */
struct op {
    const struct edit *edit;
    const struct sae_source *source; /* NULL without one */
    enum point point;                /* where it acts */
    int layer;
    bool own_neurons; /* indices are entries of the row itself */
    struct sae *sae;  /* CLAMP, SPLICE, ERROR_ONLY: held open */
    float *direction; /* [width] v of ADD; u of unit ADD, ORTHOGONAL, CAP */
    float *rows;      /* CLAMP [n, d_out] */
    float *input;     /* [input_rows, d_in] a transcoder's input in this run */
    size_t input_rows;
};

struct edits {
    struct op *ops; /* [n] in request order */
    size_t n;
    struct pool *pool;
    struct threads *threads;
    size_t prompt_length;
};

/* Whether the edit acts on the row at `position`. */
bool edit_selects(const struct edit *e, size_t prompt_length, size_t position);

/* Where an edit of a source acts: what an SAE reconstructs, or the values of the model's neurons.
 */
static inline enum point edit_point(const struct sae_source *s)
{
    return s->is_neurons ? s->input : s->output;
}

static inline bool edit_has_direction(const struct edit *e)
{
    return e->type == EDIT_ADD || e->type == EDIT_ORTHOGONAL || e->type == EDIT_CAP;
}

static inline bool edit_needs_source(const struct edit *e)
{
    return e->type == EDIT_CLAMP || e->type == EDIT_SPLICE || e->type == EDIT_ERROR_ONLY;
}

static inline bool edit_encodes(const struct edit *e)
{
    return edit_needs_source(e) && !e->keep_error;
}

#endif
