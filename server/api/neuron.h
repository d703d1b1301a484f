/* Neuronpedia's Neuron objects: one feature with everything that is known of it.
 *
 * Our own dashboard goes first (origin "here"); where there is none, an imported one stands in its
 * place (origin "imported"); the two are never mixed. A source without either says
 * indexed: false, and maxActApprox is null there, because 0 would mean a dead feature. */
#ifndef DM_API_NEURON_H
#define DM_API_NEURON_H

#include "server/api/subject.h"

#define NEURON_ALL SIZE_MAX

struct neuron {
    const struct app *app;
    const struct subject *subject;
    int64_t index;
    bool found;                     /* our own dashboard has it */
    struct store_feature_page page; /* then */
    cJSON *imported;                /* the imported line, NULL if there is none */
    uint32_t nearest[10];           /* kept neighbours in the same source */
    float cosine[10];
    size_t n_nearest;
};

/* examples: false leaves them unread. Zero it, read it, free it in any case. */
int neuron_read(struct neuron *neuron, const struct app *app, const struct subject *subject,
                int64_t index, bool examples, struct status *st);
void neuron_free(struct neuron *neuron);

/* The members of the object: every column, then indexed, origin, count, label and explanations. */
int neuron_write(struct emitter *w, const struct neuron *neuron, struct status *st);

/* The member `activations`: at most `limit`. */
int neuron_write_activations(struct emitter *w, const struct neuron *neuron, size_t limit,
                             struct status *st);

/* True if anything at all is known of it: a dashboard, an imported line, or the source's SAE. */
bool neuron_exists(const struct neuron *neuron);

/* The member `imported`, for a feature that has a dashboard here and an imported one: the imported
 * object with its activations; null otherwise. */
int neuron_write_imported(struct emitter *w, const struct neuron *neuron, struct status *st);

/* A short object for long lists: modelId, layer, index, sourceSetName, maxActApprox, frac_nonzero,
 * label, indexed, explanations. */
int neuron_write_short(struct emitter *w, const struct neuron *neuron, struct status *st);

#endif
