#include "server/api/texts.h"

#include "core/base/memory.h"

static void read_text(struct prompts *prompts, const struct app *app, const cJSON *value,
                      struct status *st)
{
    char label[FIELDS_NAME];
    struct prompt *prompt = &prompts->items[prompts->n++];
    prompts_label(prompts, prompts->n - 1, label);
    if (!cJSON_IsString(value)) {
        status_set(st, STATUS_UNPROCESSABLE, "%s: expected a string, found %s", label,
                   fields_kind(value));
    } else if (!value->valuestring[0]) {
        status_set(st, STATUS_INVALID, "%s: expected some text, found none", label);
    } else {
        (void)prompts_tokenize(app, value->valuestring, true, label, &prompt->ids, &prompt->n_ids,
                               st);
    }
}

static void read_strings(struct prompts *prompts, const struct app *app, struct fields *f,
                         const cJSON *value, size_t most)
{
    size_t n = prompts->batch ? (size_t)cJSON_GetArraySize(value) : 1;
    if (n == 0 || n > most) {
        status_set(&f->st, STATUS_INVALID, "%s: expected 1 to %zu texts, found %zu", prompts->field,
                   most, n);
        return;
    }
    prompts->items = memory_zalloc(n, sizeof *prompts->items);
    if (!prompts->items) {
        status_no_memory(&f->st, n * sizeof *prompts->items);
        return;
    }
    const cJSON *next = prompts->batch ? value->child : value;
    for (size_t i = 0; i < n && !f->st.code; i++, next = next->next) {
        read_text(prompts, app, next, &f->st);
    }
}

void texts_read(struct prompts *prompts, const struct app *app, struct fields *f, const char *name,
                size_t most)
{
    *prompts = (struct prompts){.field = name};
    const cJSON *value = fields_get(f, name);
    const cJSON *tokens = fields_get(f, "tokens");
    if (f->st.code) {
        return;
    }
    if (value && tokens) {
        status_set(&f->st, STATUS_INVALID, "%s: send either %s or tokens, not both", name, name);
    } else if (value) {
        prompts->batch = cJSON_IsArray(value);
        read_strings(prompts, app, f, value, most);
    } else if (!tokens) {
        status_set(&f->st, STATUS_UNPROCESSABLE,
                   "%s: this field is missing; send %s, or tokens (ids) instead", name, name);
    } else if (cJSON_IsArray(tokens) && cJSON_IsArray(tokens->child)) {
        prompts_read_batch(prompts, app, f);
    } else {
        prompts_read(prompts, app, f);
    }
    if (!f->st.code && prompts->n > most) {
        status_set(&f->st, STATUS_INVALID, "tokens: expected 1 to %zu lists, found %zu", most,
                   prompts->n);
    }
}
