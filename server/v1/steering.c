#include "server/v1/steering.h"

#include "core/base/memory.h"

#include <string.h>

static struct steering *steering_of(struct stepper *stepper)
{
    return (struct steering *)(void *)stepper; /* its first member */
}

static void free_rest(struct stepper *stepper)
{
    struct steering *s = steering_of(stepper);
    edit_list_free(&s->edits);
    prompts_free(&s->prompts);
    for (int i = 0; i < STEERING_TYPES; i++) {
        conversation_free(&s->conversations[i]);
    }
    memory_free(s->sources);
    cJSON_Delete(s->body);
}

static enum http_next fail(struct stepper *stepper, const struct status *st)
{
    struct exchange *x = stepper->x;
    (void)exchange_fail(x, st);
    if (steering_of(stepper)->says_message) {
        struct emitter w = {.out = &x->response.body};
        text_clear(&x->response.body);
        emit_object(&w);
        emit_key(&w, "error");
        emit_string(&w, st->message);
        emit_key(&w, "message");
        emit_string(&w, st->message);
        emit_end_object(&w);
    }
    return HTTP_DONE;
}

/* "data: {...}\n\n": the reply so far. */
static void step(struct stepper *stepper, struct text *out, bool last)
{
    (void)last;
    struct steering *s = steering_of(stepper);
    if (stepper->stream) {
        struct emitter w = {.out = out};
        text_string(out, "data: ");
        s->write(&w, s);
        text_string(out, "\n\n");
    }
}

static void broken(struct text *out, const struct status *st)
{
    struct emitter w = {.out = out};
    text_string(out, "data: ");
    emit_object(&w);
    emit_key(&w, "error");
    emit_string(&w, st->message);
    emit_end_object(&w);
    text_string(out, "\n\n");
}

static enum http_next reply(struct stepper *stepper)
{
    struct emitter w = {.out = &stepper->x->response.body};
    struct steering *s = steering_of(stepper);
    s->write(&w, s);
    return HTTP_DONE;
}

struct steering *steering_create(struct exchange *x,
                                 void (*write)(struct emitter *w, const struct steering *s))
{
    cJSON *body = exchange_json(x);
    struct steering *s = body ? stepper_create(x, sizeof *s, free_rest) : NULL;
    if (!s) {
        cJSON_Delete(body);
        return NULL;
    }
    s->stepper.frames_repeat = true;
    s->stepper.content_type = "text/event-stream; charset=utf-8";
    s->stepper.step = step;
    s->stepper.broken = broken;
    s->stepper.reply = reply;
    s->stepper.fail = fail;
    s->body = body;
    s->fields.body = body;
    s->write = write;
    return s;
}

/* One text a type that is wanted. */
static int make_job(struct steering *s, struct status *st)
{
    size_t n = 0;
    for (int type = 0; type < STEERING_TYPES; type++) {
        if (!s->wants[type]) {
            continue;
        }
        struct generation_start *text = &s->starts[n];
        text->ids = s->is_chat ? s->conversations[type].ids : s->prompts.items[0].ids;
        text->n_ids = s->is_chat ? s->conversations[type].n_ids : s->prompts.items[0].n_ids;
        if (type == STEERING_STEERED) {
            text->edits = s->edits.items;
            text->n_edits = s->edits.n;
        }
        s->start_of[type] = n++;
    }
    s->options.starts = s->starts;
    s->options.n_starts = n;
    s->options.stop_ids = s->stop_ids;
    s->options.n_stop_ids = engine_stop_ids(s->stepper.app->engine, s->is_chat, s->stop_ids);
    struct job *job = job_create(0);
    s->stepper.job = job;
    if (!job) {
        return status_no_memory(st, sizeof *job);
    }
    for (size_t i = 0; i < n; i++) {
        job->work_tokens += s->starts[i].n_ids;
        job->positions += s->starts[i].n_ids + s->options.n_tokens;
    }
    return generation_open(&job->generation, s->stepper.app->engine, &s->options, st);
}

enum http_next steering_run(struct steering *s)
{
    struct status *st = &s->fields.st;
    return st->code || make_job(s, st) ? fail(&s->stepper, st) : stepper_run(&s->stepper);
}
