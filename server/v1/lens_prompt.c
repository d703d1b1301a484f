/* POST /v1/lens/prompt: the logit lens (neuronpedia.md 3.17; docs/api.md, "Lenses").
 *
 * The reply is a line of JSON for each position as soon as it is read, or one object at the end. */
#include "core/base/memory.h"
#include "server/v1/lens_prompt_private.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

static struct lens_prompt *state_of(struct stepper *stepper)
{
    return (struct lens_prompt *)(void *)stepper; /* its first member */
}

static void free_rest(struct stepper *stepper)
{
    struct lens_prompt *l = state_of(stepper);
    edit_list_free(&l->edits);
    prompts_free(&l->prompts);
    conversation_free(&l->chat);
    memory_free(l->offsets);
    memory_free(l->layers);
    memory_free(l->wanted);
    memory_free(l->track);
    cJSON_Delete(l->body);
}

/* --- frames ----------------------------------------------------------------------------------- */

static void begin(struct stepper *stepper, struct text *out)
{
    lens_prompt_write_meta(out, state_of(stepper));
    text_char(out, '\n');
    lens_prompt_write_prompt(out, state_of(stepper));
    text_char(out, '\n');
}

/* What the step has read: lines of a stream, or more of {"meta", "tokens", "done"}. */
static void step(struct stepper *stepper, struct text *out, bool last)
{
    struct lens_prompt *l = state_of(stepper);
    size_t n;
    const struct lens_position *ready = lens_reading_ready(stepper->job->lens, &n);
    if (!stepper->stream && out->length == 0) {
        text_string(out, "{\"meta\":");
        lens_prompt_write_meta(out, l);
        text_string(out, ",\"tokens\":[");
    }
    for (size_t i = 0; i < n; i++) {
        text_string(out, !stepper->stream && l->begun ? "," : "");
        lens_prompt_write_position(out, l, &ready[i]);
        text_string(out, stepper->stream ? "\n" : "");
        l->begun = true;
    }
    if (last) {
        text_string(out, stepper->stream ? "" : "],\"done\":");
        lens_prompt_write_done(out, l);
        text_string(out, stepper->stream ? "\n" : "}");
    }
}

static void broken(struct text *out, const struct status *st)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "kind");
    emit_string(&w, "error");
    emit_key(&w, "error");
    emit_string(&w, st->message);
    emit_end_object(&w);
    text_char(out, '\n');
}

static enum http_next reply(struct stepper *stepper)
{
    stepper->x->response.body = stepper->text;
    stepper->text = (struct text){0};
    return HTTP_DONE;
}

static enum http_next fail(struct stepper *stepper, const struct status *st)
{
    return exchange_fail(stepper->x, st);
}

/* --- the handler ------------------------------------------------------------------------------ */

/* A client that would rather ask another server than wait. */
static bool is_too_busy(struct lens_prompt *l)
{
    struct exchange *x = l->stepper.x;
    if (!fields_bool(&l->fields, "fail_if_busy", false) || l->fields.st.code ||
        queue_depth(l->stepper.app->queue) == 0) {
        return false;
    }
    (void)exchange_error(x, 429, "Server is busy with another request (fail_if_busy)");
    return true;
}

static int make_job(struct lens_prompt *l)
{
    struct job *job = job_create(0);
    l->stepper.job = job;
    if (!job) {
        return status_no_memory(&l->fields.st, sizeof *job);
    }
    job->work_tokens = l->options.n_ids;
    job->positions = l->options.n_ids + l->options.n_tokens;
    return lens_reading_open(&job->lens, l->stepper.app->engine, &l->options, &l->fields.st);
}

enum http_next lens_prompt(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    struct lens_prompt *l = body ? stepper_create(x, sizeof *l, free_rest) : NULL;
    if (!l) {
        cJSON_Delete(body);
        return HTTP_DONE;
    }
    l->body = body;
    l->fields.body = body;
    l->stepper.content_type = "application/x-ndjson; charset=utf-8";
    l->stepper.begin = begin;
    l->stepper.step = step;
    l->stepper.broken = broken;
    l->stepper.reply = reply;
    l->stepper.fail = fail;
    lens_prompt_request(l);
    if (is_too_busy(l)) {
        return HTTP_DONE;
    }
    if (l->fields.st.code) {
        return exchange_fail(x, &l->fields.st);
    }
    if (!reply_fits(x, lens_prompt_reply_bytes(l))) {
        return HTTP_DONE;
    }
    return make_job(l) ? exchange_fail(x, &l->fields.st) : stepper_run(&l->stepper);
}
