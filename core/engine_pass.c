/* One pass of the model for several requests: each task prepares a part of it, and makes something
 * of its rows afterwards. */
#include "core/base/memory.h"
#include "core/engine_private.h"

static int prepare(struct session *session, struct engine_task *task, struct pass_part *part)
{
    struct status *st = &task->st;
    status_clear(st);
    task->more = false;
    return task->generation    ? generation_prepare(task->generation, part, st)
           : task->lens        ? lens_reading_prepare(task->lens, part, st)
           : task->dark        ? dark_reading_prepare(task->dark, part, st)
           : task->attribution ? attribution_prepare(session->engine, task->attribution, part, st)
                               : trace_prepare(session->engine, task, part, st);
}

size_t engine_task_rows(const struct engine_task *task)
{
    size_t rows = 0;
    for (size_t i = 0; i < task->n_prompts; i++) {
        rows += task->prompts[i].n_ids;
    }
    return task->generation    ? generation_rows(task->generation)
           : task->lens        ? lens_reading_rows(task->lens)
           : task->dark        ? dark_reading_rows(task->dark)
           : task->attribution ? task->attribution->n_ids
                               : rows;
}

/* Ends what was prepared, as if it had not been: the task may be prepared again. */
static void drop(struct engine_task *task)
{
    if (task->generation) {
        generation_drop(task->generation);
    } else if (task->lens) {
        lens_reading_drop(task->lens);
    } else if (task->attribution) {
        attribution_drop(task->attribution);
    } else if (!task->dark) { /* which makes its pass anew */
        trace_drop(task);
    }
}

static void count(struct engine *e, const struct pass_part *parts, size_t n)
{
    size_t tokens = 0;
    for (size_t i = 0; i < n; i++) {
        for (size_t s = 0; s < parts[i].n_sequences; s++) {
            tokens += parts[i].sequences[s].fork_layer ? 0 : parts[i].sequences[s].n;
        }
    }
    atomic_fetch_add(&e->tokens_computed, tokens);
    atomic_fetch_add(&e->passes_computed, tokens > 0);
}

int engine_pass(struct session *session, struct engine_task *tasks, size_t n,
                const atomic_bool *cancel, struct status *st)
{
    struct engine *e = session->engine;
    struct pass_part *parts = memory_zalloc(n, sizeof *parts);
    if (!parts) {
        return status_no_memory(st, n * sizeof *parts);
    }
    for (size_t i = 0; i < n; i++) {
        if (prepare(session, &tasks[i], &parts[i])) {
            parts[i] = (struct pass_part){0};
        }
    }
    int code = pass_run(session->forward, parts, n, cancel, st);
    if (!code) {
        count(e, parts, n);
        code = engine_check_weights(e, st);
    }
    for (size_t i = 0; i < n && code; i++) {
        if (!tasks[i].st.code) {
            drop(&tasks[i]);
        }
    }
    memory_free(parts);
    return code;
}

int engine_finish(struct session *session, struct engine_task *task)
{
    struct status *st = &task->st;
    return task->generation    ? generation_finish(task->generation, &task->more, st)
           : task->lens        ? lens_reading_finish(task->lens, &task->more, st)
           : task->dark        ? dark_reading_finish(task->dark, &task->more, st)
           : task->attribution ? attribution_finish(session->engine, task->attribution, st)
                               : trace_finish(task, st);
}

/* A task that has the session to itself. */
static int run_alone(struct session *session, struct engine_task *task, const atomic_bool *cancel,
                     struct status *st)
{
    int code = engine_pass(session, task, 1, cancel, st);
    if (!code && (task->st.code || engine_finish(session, task))) {
        *st = task->st;
        code = (int)st->code;
    }
    return code;
}

int engine_trace(struct session *session, struct engine_prompt *prompts, size_t n_prompts,
                 const atomic_bool *cancel, struct status *st)
{
    struct engine_task task = {.prompts = prompts, .n_prompts = n_prompts};
    return run_alone(session, &task, cancel, st);
}

int engine_attribution(struct session *session, struct attribution *attribution,
                       const atomic_bool *cancel, struct status *st)
{
    struct engine_task task = {.attribution = attribution};
    return run_alone(session, &task, cancel, st);
}

int engine_dark_matter(struct session *session, struct dark *dark, const char *const *sources,
                       const atomic_bool *cancel, struct status *st)
{
    struct engine_task task = {.more = true};
    int code = dark_reading_open(&task.dark, session->engine, dark, sources, st);
    while (!code && task.more) {
        code = run_alone(session, &task, cancel, st);
    }
    dark_reading_close(task.dark);
    if (code) {
        dark_free(dark);
    }
    return code;
}

int generation_step(struct generation *generation, struct session *session,
                    const atomic_bool *cancel, bool *more, struct status *st)
{
    struct engine_task task = {.generation = generation};
    int code = run_alone(session, &task, cancel, st);
    *more = !code && task.more;
    return code;
}

int lens_reading_step(struct lens_reading *reading, struct session *session,
                      const atomic_bool *cancel, bool *more, struct status *st)
{
    struct engine_task task = {.lens = reading};
    int code = run_alone(session, &task, cancel, st);
    *more = !code && task.more;
    return code;
}
