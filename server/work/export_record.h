/* Our own dashboards as lines of Neuronpedia's export files: the column names, types and rounding
 * of neuronpedia.md section 2. */
#ifndef DM_WORK_EXPORT_RECORD_H
#define DM_WORK_EXPORT_RECORD_H

#include "core/engine.h"
#include "server/store/dashboards.h"
#include "server/store/explanations.h"

struct export_source {
    const struct engine *engine; /* for the texts of tokens; NULL: "<id:17>" */
    const char *model, *source, *set;
    const struct store_dashboard *dashboard;
};

/* Appends the set's name: what stands between the first "-" and "__". */
void export_set_name(const char *source, struct text *out);

/* Append one JSON object without a line end; out->failed when memory ran out. */
void export_feature(struct text *out, const struct export_source *s,
                    const struct store_feature *feature);
void export_activation(struct text *out, const struct export_source *s, uint32_t index,
                       const struct store_example *example);
void export_explanation(struct text *out, const struct store_explanation *explanation);

#endif
