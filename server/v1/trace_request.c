/* The fields of POST /v1/trace: which tensors, of which positions, in which format. */
#include "core/base/memory.h"
#include "server/v1/position_list.h"
#include "server/v1/trace_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *prefix;
    enum read_kind kind;
} source_reads[] = {{"input:", READ_INPUT},
                    {"pre:", READ_PRE},
                    {"acts:", READ_ACTS},
                    {"recon:", READ_RECON},
                    {"error:", READ_ERROR}};

static void add_read(struct trace *t, const struct engine_read *read, const char *name)
{
    for (size_t i = 0; i < t->n_reads; i++) {
        if (strcmp(t->names[i], name) == 0) {
            return; /* asked for twice, answered once */
        }
    }
    if (t->n_reads == TRACE_READS_MAX) {
        status_set(&t->fields.st, STATUS_INVALID, "read: more than %d tensors", TRACE_READS_MAX);
        return;
    }
    (void)snprintf(t->names[t->n_reads], TRACE_NAME_SIZE, "%s", name);
    t->reads[t->n_reads++] = *read;
}

static void unknown_read(struct trace *t, const char *name)
{
    status_set(
        &t->fields.st, STATUS_INVALID,
        "read: \"%.120s\" is not a name that can be read: expected embed, final_norm, logits, "
        "loss, a point with its layer (resid_post.2, attn_out.*), or input:, pre:, acts:, recon: "
        "or error: before a source",
        name);
}

/* "acts:20-gemmascope-res-16k" */
static bool add_source_read(struct trace *t, const struct app *app, const char *name)
{
    for (size_t i = 0; i < sizeof source_reads / sizeof source_reads[0]; i++) {
        if (!text_starts_with(name, source_reads[i].prefix)) {
            continue;
        }
        const char *source = name + strlen(source_reads[i].prefix);
        const struct sae_source *s = catalogue_find(engine_catalogue(app->engine), source);
        if (!s) {
            status_set(
                &t->fields.st, STATUS_NOT_FOUND,
                "read: there is no source \"%.120s\"; GET /v1/capabilities lists those there are",
                source);
            return true;
        }
        struct engine_read read = {.kind = source_reads[i].kind, .source = s->name};
        add_read(t, &read, name);
        return true;
    }
    return false;
}

/* "resid_post.20", "resid_post.*", "logits" */
static void add_point_read(struct trace *t, const struct app *app, const char *name)
{
    const char *dot = strchr(name, '.');
    size_t length = dot ? (size_t)(dot - name) : strlen(name);
    struct engine_read read = {.kind = READ_POINT};
    if (!point_find(name, length, &read.point) || point_has_layer(read.point) != (dot != NULL)) {
        unknown_read(t, name);
        return;
    }
    if (!dot) {
        read.top = read.point == POINT_LOGITS ? t->top : 0;
        add_read(t, &read, name);
        return;
    }
    int layers = (int)engine_config(app->engine)->n_layers;
    if (strcmp(dot, ".*") == 0) {
        for (read.layer = 0; read.layer < layers && !t->fields.st.code; read.layer++) {
            char full[TRACE_NAME_SIZE];
            (void)snprintf(full, sizeof full, "%s.%d", point_name(read.point), read.layer);
            add_read(t, &read, full);
        }
        return;
    }
    char *end;
    long layer = strtol(dot + 1, &end, 10);
    if (dot[1] < '0' || dot[1] > '9' || *end) {
        unknown_read(t, name);
    } else if (layer >= layers) {
        status_set(&t->fields.st, STATUS_INVALID, "read: %.80s: this model has the layers 0..%d",
                   name, layers - 1);
    } else {
        char full[TRACE_NAME_SIZE]; /* "resid_post.02" is resid_post.2 */
        read.layer = (int)layer;
        (void)snprintf(full, sizeof full, "%s.%d", point_name(read.point), read.layer);
        add_read(t, &read, full);
    }
}

static void read_names(struct trace *t, const struct app *app)
{
    (void)fields_need(&t->fields, "read");
    const cJSON *list = fields_array(&t->fields, "read");
    if (!list) {
        return;
    }
    if (cJSON_GetArraySize(list) == 0) {
        status_set(&t->fields.st, STATUS_INVALID, "read: expected at least one name");
        return;
    }
    t->names = memory_zalloc(TRACE_READS_MAX, sizeof *t->names);
    t->reads = memory_zalloc(TRACE_READS_MAX, sizeof *t->reads);
    if (!t->names || !t->reads) {
        status_no_memory(&t->fields.st, TRACE_READS_MAX * sizeof *t->names);
        return;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        const char *name = cJSON_GetStringValue(item);
        if (t->fields.st.code) {
            return;
        }
        if (!name) {
            status_set(&t->fields.st, STATUS_UNPROCESSABLE, "read: expected strings, found %s",
                       fields_kind(item));
        } else if (strlen(name) >= TRACE_NAME_SIZE) {
            unknown_read(t, name);
        } else if (!add_source_read(t, app, name)) {
            add_point_read(t, app, name);
        }
    }
}

static void read_format(struct trace *t)
{
    const char *format = fields_string(&t->fields, "format");
    t->safetensors = format && strcmp(format, "safetensors") == 0;
    if (format && !t->safetensors && strcmp(format, "json") != 0) {
        status_set(&t->fields.st, STATUS_INVALID,
                   "format: expected \"json\" or \"safetensors\", found \"%.40s\"", format);
    }
}

void trace_request(struct trace *t, const struct app *app)
{
    fields_model(&t->fields);
    prompts_read(&t->prompts, app, &t->fields);
    t->top = (size_t)fields_integer(&t->fields, "top", 0,
                                    (long long)engine_config(app->engine)->vocab_size, 0);
    read_names(t, app);
    if (!t->fields.st.code) {
        t->positions = position_list_read(&t->fields, t->prompts.items[0].n_ids, &t->n_positions);
    }
    if (!t->fields.st.code) {
        read_format(t);
        const struct prompt *prompt = &t->prompts.items[0];
        edit_list_read(&t->edits, app, &t->fields, prompt, prompt->n_ids);
    }
}
