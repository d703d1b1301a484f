/* Dark matter over the boundary: checks, and SAEs by their names. */
#include "core/engine_private.h"

static int check_prompts(const struct engine *e, const struct dark *dark, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < dark->n_prompts && !code; i++) {
        struct engine_prompt prompt = {.ids = dark->ids + dark->first[i],
                                       .n_ids = dark->first[i + 1] - dark->first[i]};
        code = engine_prepare_prompt(e, &prompt, st);
    }
    return code;
}

int engine_dark_matter(struct session *session, struct dark *dark, const char *const *sources,
                       const atomic_bool *cancel, struct status *st)
{
    struct engine *e = session->engine;
    int code = check_prompts(e, dark, st);
    size_t opened = 0;
    while (opened < dark->n_sources && !code) {
        code = pool_acquire(e->pool, sources[opened], &dark->sources[opened].sae, st);
        opened += code == STATUS_OK;
    }
    if (!code) {
        code = dark_run(dark, &e->weights, e->threads, session->forward, cancel, st);
    }
    if (!code) {
        atomic_fetch_add(&e->tokens_computed, dark->first[dark->n_prompts]);
        code = engine_check_weights(e, st);
    }
    for (size_t i = 0; i < opened; i++) {
        code = pool_release(e->pool, dark->sources[i].sae, code, st);
        dark->sources[i].sae = NULL;
    }
    return code;
}

int engine_evaluation_add(struct session *session, struct evaluation *evaluation,
                          const struct dark *dark, size_t source, const int64_t *number,
                          const int64_t *line, struct status *st)
{
    return evaluation_add(evaluation, dark, source, number, line, session->engine->threads, st);
}

int engine_evaluation_linear(struct engine *e, const struct evaluation *evaluation, double *r2,
                             double *r2_norm, struct status *st)
{
    return linear_fit(&evaluation->linear, e->threads, r2, r2_norm, st);
}
