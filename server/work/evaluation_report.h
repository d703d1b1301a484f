/* An evaluation as the JSON that is kept and shown: figures, histograms, the tokens and the
 * contexts that the source fails on most (docs/api-web.md, "evaluation"). */
#ifndef DM_WORK_EVALUATION_REPORT_H
#define DM_WORK_EVALUATION_REPORT_H

#include "core/engine.h"

struct evaluation_about {
    const char *source;
    const char *corpus;   /* its name */
    const char *settings; /* JSON */
    int64_t token_limit;  /* 0: none */
    bool finished;
    double linear_r2, linear_norm_r2; /* NaN: not known */
    bool has_votes;
    struct engine_logits votes; /* of the mean error */
};

void evaluation_report(const struct engine *engine, const struct evaluation *evaluation,
                       const struct evaluation_about *about, struct text *out);

#endif
