/* Makes the dashboard of a source of neurons from what was counted of them (neuron_index.h): parts
 * 0 to 5 as an SAE's feature has them, and part 6, the lowest values. Of a text the values around
 * the example are known, and the others are 0. */
#ifndef DM_WORK_NEURON_BUILDER_H
#define DM_WORK_NEURON_BUILDER_H

#include "server/work/builder.h"

/* As builder_run. The builder's seed does not count: samples were drawn when they were counted. */
int neuron_builder_run(const struct builder *builder, const char *name, struct status *st);

#endif
