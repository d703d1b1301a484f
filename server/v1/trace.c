/* POST /v1/trace: the activation cache of TransformerLens over HTTP (docs/api.md, "trace").
 *
 * {prompt | tokens, read: [names], positions: "all" | [ints, negative from the end], top: n,
 *  format: "json" | "safetensors"} -> one tensor a name, and the token ids beside them. */
#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "server/v1/await.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READS_MAX 4096
#define NAME_MAX_LENGTH 200
/* Characters that a float32 takes in JSON, about. */
#define JSON_FLOAT_BYTES 11

struct trace {
    struct await await; /* first, see await.h */
    cJSON *body;
    struct fields fields;
    struct prompts prompts;
    char (*names)[NAME_MAX_LENGTH]; /* [n_reads] what each read is called in the reply */
    struct engine_read *reads;      /* [n_reads] until the job has them */
    size_t n_reads;
    int32_t *positions; /* [n_positions], NULL: all */
    size_t n_positions;
    size_t top;
    bool safetensors;
};

static void trace_free(void *state)
{
    struct trace *t = state;
    job_free(t->await.job);
    memory_free(t->names);
    memory_free(t->reads);
    memory_free(t->positions);
    prompts_free(&t->prompts);
    cJSON_Delete(t->body);
    memory_free(t);
}

/* --- the request ------------------------------------------------------------------------------ */

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
    if (t->n_reads == READS_MAX) {
        status_set(&t->fields.st, STATUS_INVALID, "read: more than %d tensors", READS_MAX);
        return;
    }
    (void)snprintf(t->names[t->n_reads], NAME_MAX_LENGTH, "%s", name);
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
            char full[NAME_MAX_LENGTH];
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
        char full[NAME_MAX_LENGTH]; /* "resid_post.02" is resid_post.2 */
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
    t->names = memory_zalloc(READS_MAX, sizeof *t->names);
    t->reads = memory_zalloc(READS_MAX, sizeof *t->reads);
    if (!t->names || !t->reads) {
        status_no_memory(&t->fields.st, READS_MAX * sizeof *t->names);
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
        } else if (strlen(name) >= NAME_MAX_LENGTH) {
            unknown_read(t, name);
        } else if (!add_source_read(t, app, name)) {
            add_point_read(t, app, name);
        }
    }
}

static void read_position_list(struct trace *t, const cJSON *list)
{
    int n = cJSON_GetArraySize(list);
    long long T = (long long)t->prompts.items[0].n_ids;
    t->positions = memory_alloc((size_t)n, sizeof *t->positions);
    if (n == 0 || !t->positions) {
        status_set(&t->fields.st, n ? STATUS_MEMORY : STATUS_INVALID,
                   "positions: expected \"all\" or at least one position");
        return;
    }
    const cJSON *item;
    cJSON_ArrayForEach(item, list)
    {
        long long position;
        if (!json_integer(item, -(1LL << 31), (1LL << 31) - 1, &position)) {
            status_set(&t->fields.st, STATUS_UNPROCESSABLE,
                       "positions: expected whole numbers, found %s", fields_kind(item));
            return;
        }
        if (position < -T || position >= T) {
            status_set(&t->fields.st, STATUS_INVALID,
                       "positions: expected %lld..%lld for %lld tokens, found %lld", -T, T - 1, T,
                       position);
            return;
        }
        t->positions[t->n_positions++] = (int32_t)(position < 0 ? position + T : position);
    }
}

static void read_positions(struct trace *t)
{
    const cJSON *value = fields_get(&t->fields, "positions");
    const char *word = value ? cJSON_GetStringValue(value) : "all";
    if (t->fields.st.code || (word && strcmp(word, "all") == 0)) {
        return;
    }
    if (cJSON_IsArray(value)) {
        read_position_list(t, value);
    } else {
        status_set(&t->fields.st, word ? STATUS_INVALID : STATUS_UNPROCESSABLE,
                   "positions: expected \"all\" or a list of positions, found %s",
                   word ? word : fields_kind(value));
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

static void read_edits(struct trace *t)
{
    const cJSON *edits = fields_array(&t->fields, "edits");
    if (edits && cJSON_GetArraySize(edits) > 0) {
        status_set(&t->fields.st, STATUS_UNSUPPORTED, "edits: not served yet; leave the field out");
    }
}

/* --- the job
 * -------------------------------------------------------------------------------------- */

static int32_t *copy_ids(const int32_t *ids, size_t n)
{
    int32_t *copy = memory_alloc(n, sizeof *copy);
    if (copy) {
        memcpy(copy, ids, n * sizeof *copy);
    }
    return copy;
}

/* Gives the reads and the ids to a job; every read has positions of its own. */
static int make_job(struct trace *t)
{
    struct status *st = &t->fields.st;
    struct job *job = job_create(1);
    t->await.job = job;
    if (!job) {
        return status_no_memory(st, sizeof *job);
    }
    struct engine_prompt *prompt = &job->prompts[0];
    prompt->n_ids = t->prompts.items[0].n_ids;
    prompt->ids = copy_ids(t->prompts.items[0].ids, prompt->n_ids);
    prompt->reads = t->reads;
    prompt->n_reads = t->n_reads;
    t->reads = NULL;
    bool ok = prompt->ids != NULL;
    for (size_t i = 0; ok && t->positions && i < t->n_reads; i++) {
        prompt->reads[i].positions = copy_ids(t->positions, t->n_positions);
        prompt->reads[i].n_positions = t->n_positions;
        ok = prompt->reads[i].positions != NULL;
    }
    return ok ? STATUS_OK : status_no_memory(st, prompt->n_ids * sizeof(int32_t));
}

/* Bytes of the reply, from the shapes alone. */
static int reply_bytes(const struct trace *t, const struct app *app, uint64_t *bytes,
                       struct status *st)
{
    *bytes = 0;
    const struct engine_prompt *prompt = &t->await.job->prompts[0];
    for (size_t i = 0; i < prompt->n_reads; i++) {
        uint64_t one;
        int code = engine_read_size(app->engine, prompt, &prompt->reads[i], &one, st);
        if (code) {
            return code;
        }
        one = t->safetensors ? one : one / sizeof(float) * JSON_FLOAT_BYTES;
        if (__builtin_add_overflow(*bytes, one, bytes)) {
            *bytes = UINT64_MAX;
        }
    }
    return STATUS_OK;
}

/* --- the reply
 * ------------------------------------------------------------------------------------- */

/* One tensor of the reply: a read, or one of the three that the best logits make. */
struct part {
    const char *name;
    const float *values; /* or, where it is NULL, */
    const int32_t *ids;
    int n_dims;
    size_t shape[3];
};

static size_t parts_of(const struct trace *t, const struct engine_read *read, const char *name,
                       struct part *out)
{
    struct part p = {.name = name, .values = read->data, .n_dims = read->n_dims};
    memcpy(p.shape, read->shape, sizeof p.shape);
    if (!(read->kind == READ_POINT && read->point == POINT_LOGITS && t->top)) {
        out[0] = p;
        return 1;
    }
    out[0] = out[1] = out[2] = p;
    out[0].name = "top_ids";
    out[0].ids = read->top_ids;
    out[0].values = NULL;
    out[1].name = "top_logits";
    out[2].name = "top_probs";
    out[2].values = read->top_probs;
    return 3;
}

static size_t part_elements(const struct part *p)
{
    size_t n = 1;
    for (int i = 0; i < p->n_dims; i++) {
        n *= p->shape[i];
    }
    return n;
}

static void write_part_json(struct emitter *w, const struct part *p)
{
    emit_key(w, p->name);
    emit_object(w);
    emit_key(w, "dtype");
    emit_string(w, p->values ? "F32" : "I32");
    emit_key(w, "shape");
    emit_array(w);
    for (int i = 0; i < p->n_dims; i++) {
        emit_int(w, (long long)p->shape[i]);
    }
    emit_end_array(w);
    emit_key(w, "data");
    if (p->values) {
        emit_floats(w, p->values, part_elements(p));
    } else {
        emit_array(w);
        for (size_t i = 0; i < part_elements(p); i++) {
            emit_int(w, p->ids[i]);
        }
        emit_end_array(w);
    }
    emit_end_object(w);
}

static enum http_next reply_json(struct exchange *x, const struct trace *t,
                                 const struct part *parts, size_t n)
{
    const struct prompt *prompt = &t->prompts.items[0];
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "tokens");
    emit_array(&w);
    for (size_t i = 0; i < prompt->n_ids; i++) {
        emit_int(&w, prompt->ids[i]);
    }
    emit_end_array(&w);
    size_t mark = reply_begin(&w, "token_strings");
    prompts_emit_tokens(&w, x->app, prompt->ids, prompt->n_ids);
    reply_end(&w, "token_strings", mark);
    emit_key(&w, "positions");
    emit_array(&w);
    for (size_t i = 0; i < (t->positions ? t->n_positions : prompt->n_ids); i++) {
        emit_int(&w, t->positions ? t->positions[i] : (long long)i);
    }
    emit_end_array(&w);
    emit_key(&w, "tensors");
    emit_object(&w);
    for (size_t i = 0; i < n; i++) {
        write_part_json(&w, &parts[i]);
    }
    emit_end_object(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}

static enum http_next reply_safetensors(struct exchange *x, const struct trace *t,
                                        const struct part *parts, size_t n)
{
    const struct prompt *prompt = &t->prompts.items[0];
    struct status st = {0};
    struct safetensors_entry *entries = memory_zalloc(n + 1, sizeof *entries);
    if (!entries) {
        status_no_memory(&st, (n + 1) * sizeof *entries);
        return exchange_fail(x, &st);
    }
    entries[0] = (struct safetensors_entry){
        "tokens", {.dtype = DTYPE_I32, .n_dims = 1, .shape = {prompt->n_ids, 1, 1, 1}}};
    for (size_t i = 0; i < n; i++) {
        struct tensor *tensor = &entries[i + 1].tensor;
        entries[i + 1].name = parts[i].name;
        tensor->dtype = parts[i].values ? DTYPE_F32 : DTYPE_I32;
        tensor->n_dims = parts[i].n_dims;
        for (int d = 0; d < TENSOR_DIMENSIONS; d++) {
            tensor->shape[d] = d < parts[i].n_dims ? parts[i].shape[d] : 1;
        }
    }
    int code = safetensors_header(&x->response.body, entries, n + 1, NULL, &st);
    memory_free(entries);
    if (code) {
        text_clear(&x->response.body);
        return exchange_fail(x, &st);
    }
    text_append(&x->response.body, (const char *)prompt->ids, prompt->n_ids * sizeof *prompt->ids);
    for (size_t i = 0; i < n; i++) {
        const void *bytes =
            parts[i].values ? (const void *)parts[i].values : (const void *)parts[i].ids;
        text_append(&x->response.body, bytes, part_elements(&parts[i]) * sizeof(float));
    }
    x->response.content_type = "application/octet-stream";
    return HTTP_DONE;
}

static enum http_next reply(struct exchange *x)
{
    const struct trace *t = x->state;
    const struct engine_prompt *prompt = &t->await.job->prompts[0];
    struct part *parts = memory_zalloc(prompt->n_reads * 3, sizeof *parts);
    if (!parts) {
        struct status st;
        status_no_memory(&st, prompt->n_reads * 3 * sizeof *parts);
        return exchange_fail(x, &st);
    }
    size_t n = 0;
    for (size_t i = 0; i < prompt->n_reads; i++) {
        n += parts_of(t, &prompt->reads[i], t->names[i], parts + n);
    }
    enum http_next next =
        t->safetensors ? reply_safetensors(x, t, parts, n) : reply_json(x, t, parts, n);
    memory_free(parts);
    return next;
}

enum http_next trace(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct trace *t = memory_zalloc(1, sizeof *t);
    if (!t) {
        cJSON_Delete(body);
        return exchange_error(x, 500, "out of memory");
    }
    t->body = body;
    t->fields.body = body;
    t->await.reply = reply;
    x->state = t;
    x->free_state = trace_free;

    fields_model(&t->fields);
    prompts_read(&t->prompts, app, &t->fields);
    t->top = (size_t)fields_integer(&t->fields, "top", 0,
                                    (long long)engine_config(app->engine)->vocab_size, 0);
    read_names(t, app);
    if (!t->fields.st.code) {
        read_positions(t);
    }
    if (!t->fields.st.code) {
        read_format(t);
        read_edits(t);
    }
    uint64_t bytes = 0;
    if (t->fields.st.code || make_job(t) || reply_bytes(t, app, &bytes, &t->fields.st)) {
        return exchange_fail(x, &t->fields.st);
    }
    return reply_fits(x, bytes) ? await_job(x) : HTTP_DONE;
}
