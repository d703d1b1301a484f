/* Dark matter over the boundary: checks, and SAEs by their names. */
#include "core/base/memory.h"
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

struct dark_reading {
    struct engine *engine;
    struct dark *dark;
    const char *const *sources;
    size_t opened;            /* of dark's SAEs: held from the first step to the last */
    struct dark_steps *steps; /* NULL before the first */
};

int dark_reading_open(struct dark_reading **out, struct engine *engine, struct dark *dark,
                      const char *const *sources, struct status *st)
{
    *out = NULL;
    int code = check_prompts(engine, dark, st);
    struct dark_reading *r = code ? NULL : memory_zalloc(1, sizeof *r);
    if (!r) {
        return code ? code : status_no_memory(st, sizeof *r);
    }
    *r = (struct dark_reading){.engine = engine, .dark = dark, .sources = sources};
    *out = r;
    return STATUS_OK;
}

/* Gives the SAEs back, which say whether their files are still whole. */
static int close_saes(struct dark_reading *r, int code, struct status *st)
{
    while (r->opened) {
        struct dark_source *s = &r->dark->sources[--r->opened];
        code = pool_release(r->engine->pool, s->sae, code, st);
        s->sae = NULL;
    }
    return code;
}

void dark_reading_close(struct dark_reading *r)
{
    if (r) {
        (void)close_saes(r, STATUS_CANCELLED, NULL);
        dark_end(r->steps);
        memory_free(r);
    }
}

int dark_reading_prepare(struct dark_reading *r, struct pass_part *part, struct status *st)
{
    struct engine *e = r->engine;
    int code = STATUS_OK;
    while (r->opened < r->dark->n_sources && !code) {
        code = pool_acquire(e->pool, r->sources[r->opened], &r->dark->sources[r->opened].sae, st);
        r->opened += code == STATUS_OK;
    }
    if (!code && !r->steps) {
        code = dark_begin(&r->steps, r->dark, &e->weights, e->threads, st);
    }
    return code ? code : dark_prepare(r->steps, part, st);
}

int dark_reading_finish(struct dark_reading *r, bool *more, struct status *st)
{
    int code = dark_finish(r->steps, more, st);
    code = code ? code : engine_check_weights(r->engine, st);
    if (!*more || code) {
        code = close_saes(r, code, st);
    }
    *more = *more && !code;
    return code;
}

size_t dark_reading_rows(const struct dark_reading *r)
{
    return r->steps ? dark_rows(r->steps) : r->dark->first[r->dark->n_prompts];
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
