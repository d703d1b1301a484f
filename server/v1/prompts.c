#include "server/v1/prompts.h"

#include "core/base/memory.h"

#include <stdio.h>
#include <string.h>

void prompts_free(struct prompts *prompts)
{
    for (size_t i = 0; i < prompts->n; i++) {
        memory_free(prompts->items[i].ids);
    }
    memory_free(prompts->items);
    *prompts = (struct prompts){0};
}

void prompts_label(const struct prompts *prompts, size_t i, char label[FIELDS_NAME])
{
    if (prompts->batch) {
        (void)snprintf(label, FIELDS_NAME, "%s[%zu]", prompts->field, i);
    } else {
        (void)snprintf(label, FIELDS_NAME, "%s", prompts->field);
    }
}

bool prompts_has_bos(const struct app *app, const struct prompt *prompt)
{
    return prompt->ids[0] == engine_bos(app->engine);
}

static int check_limit(const struct app *app, size_t n, const char *label, struct status *st)
{
    if (n > app->token_limit) {
        return status_set(st, STATUS_INVALID, "Text too long: %zu tokens, max is %zu (%s)", n,
                          app->token_limit, label);
    }
    return STATUS_OK;
}

int prompts_tokenize(const struct app *app, const char *text, bool add_bos, const char *label,
                     int32_t **ids, size_t *n_ids, struct status *st)
{
    *ids = NULL;
    *n_ids = 0;
    if (!engine_has_tokenizer(app->engine)) {
        return status_set(st, STATUS_INVALID,
                          "%s: this model's folder has no tokenizer.json or tokenizer.model, so "
                          "text cannot be read; send tokens (ids) instead",
                          label);
    }
    int code = engine_tokenize(app->engine, text, strlen(text), add_bos, ids, n_ids, st);
    if (code) {
        return status_prefix(st, "%s", label);
    }
    code = check_limit(app, *n_ids, label, st);
    if (code) {
        memory_free(*ids);
        *ids = NULL;
        *n_ids = 0;
    }
    return code;
}

static int read_text(struct prompt *prompt, const struct app *app, const cJSON *value,
                     const char *label, struct status *st)
{
    if (!cJSON_IsString(value)) {
        return status_set(st, STATUS_UNPROCESSABLE, "%s: expected a string, found %s", label,
                          fields_kind(value));
    }
    int code =
        prompts_tokenize(app, value->valuestring, true, label, &prompt->ids, &prompt->n_ids, st);
    if (!code && prompt->n_ids == 0) {
        code = status_set(st, STATUS_INVALID, "%s: the text has no tokens", label);
    }
    return code;
}

static int read_id(const struct app *app, const cJSON *item, const char *label, size_t at,
                   int32_t *id, struct status *st)
{
    size_t vocab_size = engine_config(app->engine)->vocab_size;
    long long value;
    if (json_integer(item, 0, (long long)vocab_size - 1, &value)) {
        *id = (int32_t)value;
        return STATUS_OK;
    }
    if (!fields_is_whole(item)) {
        return status_set(st, STATUS_UNPROCESSABLE, "%s[%zu]: expected a whole number, found %s",
                          label, at, fields_kind(item));
    }
    return status_set(st, STATUS_INVALID,
                      "%s[%zu]: expected an id of the vocabulary, 0 to %zu, found %.15g", label, at,
                      vocab_size - 1, item->valuedouble);
}

static int read_ids(struct prompt *prompt, const struct app *app, const cJSON *value,
                    const char *label, struct status *st)
{
    if (!cJSON_IsArray(value)) {
        return status_set(st, STATUS_UNPROCESSABLE, "%s: expected a list of ids, found %s", label,
                          fields_kind(value));
    }
    size_t n = (size_t)cJSON_GetArraySize(value);
    if (n == 0) {
        return status_set(st, STATUS_INVALID, "%s: expected at least one id", label);
    }
    int code = check_limit(app, n, label, st);
    if (code) {
        return code;
    }
    prompt->ids = memory_alloc(n, sizeof *prompt->ids);
    if (!prompt->ids) {
        return status_no_memory(st, n * sizeof *prompt->ids);
    }
    for (const cJSON *item = value->child; item && !code; item = item->next) {
        code = read_id(app, item, label, prompt->n_ids, &prompt->ids[prompt->n_ids], st);
        prompt->n_ids++;
    }
    return code;
}

/* The one of `text` and `tokens` that was sent. */
static const cJSON *pick(struct prompts *prompts, struct fields *f, const char *text)
{
    const cJSON *texts = fields_get(f, text);
    const cJSON *tokens = fields_get(f, "tokens");
    if (f->st.code) {
        return NULL;
    }
    if (!texts && !tokens) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "%s: this field is missing; send %s, or tokens (ids) instead", text, text);
    } else if (texts && tokens) {
        status_set(&f->st, STATUS_INVALID, "%s: send either %s or tokens, not both", text, text);
    }
    prompts->field = texts ? text : "tokens";
    return texts ? texts : tokens;
}

static void read_all(struct prompts *prompts, const struct app *app, struct fields *f,
                     const cJSON *first, size_t n)
{
    prompts->items = memory_zalloc(n, sizeof *prompts->items);
    if (!prompts->items) {
        status_no_memory(&f->st, n * sizeof *prompts->items);
        return;
    }
    prompts->n = n;
    bool ids = strcmp(prompts->field, "tokens") == 0;
    const cJSON *value = first;
    for (size_t i = 0; i < n && !f->st.code; i++, value = value->next) {
        char label[FIELDS_NAME];
        prompts_label(prompts, i, label);
        struct prompt *prompt = &prompts->items[i];
        (void)(ids ? read_ids(prompt, app, value, label, &f->st)
                   : read_text(prompt, app, value, label, &f->st));
    }
}

void prompts_read(struct prompts *prompts, const struct app *app, struct fields *f)
{
    *prompts = (struct prompts){0};
    const cJSON *value = pick(prompts, f, "prompt");
    if (!f->st.code) {
        read_all(prompts, app, f, value, 1);
    }
}

void prompts_read_batch(struct prompts *prompts, const struct app *app, struct fields *f)
{
    *prompts = (struct prompts){.batch = true};
    const cJSON *list = pick(prompts, f, "prompts");
    if (f->st.code) {
        return;
    }
    if (!cJSON_IsArray(list)) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "%s: expected a list, found %s", prompts->field,
                   fields_kind(list));
        return;
    }
    int n = cJSON_GetArraySize(list);
    if (n == 0) {
        status_set(&f->st, STATUS_INVALID, "%s: At least one prompt is required", prompts->field);
    } else if (n > PROMPTS_MAX) {
        status_set(&f->st, STATUS_INVALID, "%s: Batch size %d exceeds maximum of %d",
                   prompts->field, n, PROMPTS_MAX);
    } else {
        read_all(prompts, app, f, list->child, (size_t)n);
    }
}

void prompts_emit_tokens(struct emitter *w, const struct app *app, const int32_t *ids, size_t n)
{
    struct text token = {0};
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        text_clear(&token);
        engine_token_text(app->engine, ids[i], &token);
        emit_string_n(w, token.data ? token.data : "", token.length);
    }
    emit_end_array(w);
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}
