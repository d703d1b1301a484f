#include "core/engine.h"

#include "core/base/json.h"
#include "core/base/machine.h"
#include "core/base/memory.h"
#include "core/engine_private.h"
#include "core/formats/narrow.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

__attribute__((format(printf, 2, 3))) static void notice(const struct engine_options *o,
                                                         const char *format, ...)
{
    char line[1024];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    if (o->notice) {
        o->notice(o->notice_user, line);
    }
}

/* --- opening ---------------------------------------------------------------------------------- */

/* sqrt(D) in fp32 as Hugging Face has it in float32, or rounded to bf16 as in bfloat16. */
static float embed_scale(const struct gemma_config *config, const struct engine_options *o)
{
    float scale = sqrtf((float)config->hidden_size);
    if (o->embed_scale == EMBED_SCALE_BF16 ||
        (o->embed_scale == EMBED_SCALE_AUTO && o->precision == PRECISION_BF16)) {
        uint32_t bits = (uint32_t)narrow_bf16(scale) << 16;
        memcpy(&scale, &bits, sizeof scale);
    }
    return scale;
}

static int open_tokenizer(struct engine *e, const struct engine_options *o, struct status *st)
{
    if (e->folder.tokenizer_json) {
        return tokenizer_open_json(&e->tokenizer, e->folder.tokenizer_json, st);
    }
    if (e->folder.tokenizer_model) {
        return tokenizer_open_model(&e->tokenizer, e->folder.tokenizer_model, st);
    }
    notice(o,
           "%s has no tokenizer.json and no tokenizer.model: requests must give \"tokens\" (ids) "
           "instead of a prompt; copy either file there to type text",
           e->folder.path);
    return STATUS_OK;
}

/* Old folders keep the template in tokenizer_config.json, newer ones in a file of its own. A
 * tokenizer_config.json that cannot be read is no reason to refuse a model: nothing else is taken
 * from it. */
static bool find_chat_template(const struct model_folder *folder)
{
    struct status st;
    cJSON *root = NULL;
    bool found = false;
    if (folder->tokenizer_config &&
        json_parse_file(&root, folder->tokenizer_config, (size_t)64 << 20, &st) == 0) {
        found = json_get(root, "chat_template") != NULL;
    }
    cJSON_Delete(root);
    static const char *const files[] = {"chat_template.jinja", "chat_template.json"};
    for (size_t i = 0; i < sizeof files / sizeof files[0] && !found; i++) {
        struct text path = {0};
        text_printf(&path, "%s/%s", folder->path, files[i]);
        found = !path.failed && access(path.data, R_OK) == 0;
        text_free(&path);
    }
    return found;
}

/* Everything that changes a number besides the inputs: contents, sizes, scale, our own version. */
static struct hash model_identity(const struct engine *e)
{
    const struct gemma_config *c = &e->config;
    struct hash h = weights_identity(&e->weights);
    const uint64_t whole[] = {
        (uint64_t)c->family, c->n_heads,  c->n_kv_heads,        c->head_dim,
        c->sliding_window,   c->n_layers, c->intermediate_size, ENGINE_NUMERICS_VERSION};
    const float real[] = {e->weights.embed_scale, c->rms_norm_eps,   c->attention_scale,
                          c->attention_softcap,   c->final_softcap,  c->rope_theta[0],
                          c->rope_theta[1],       c->rope_factor[0], c->rope_factor[1]};
    hash_add(&h, whole, sizeof whole);
    hash_add(&h, real, sizeof real);
    hash_add(&h, c->local, c->n_layers * sizeof c->local[0]);
    const char *precision = precision_name(e->weights.precision);
    hash_add(&h, precision, strlen(precision));
    return h;
}

/* touch(1), or a copy onto itself, changes nothing: the samples that make up the identity decide.
 */
static bool same_weights(struct engine *e)
{
    struct hash now = model_identity(e);
    bool same = memcmp(&now, &e->identity, sizeof now) == 0;
    if (same) {
        model_folder_accept(&e->folder);
    }
    return same;
}

int engine_check_weights(struct engine *e, struct status *st)
{
    const char *file;
    enum mapped_state state = model_folder_state(&e->folder, &file);
    if (state == MAPPED_TOUCHED && same_weights(e)) {
        state = model_folder_state(&e->folder, &file);
    }
    if (state == MAPPED_SAME) {
        return STATUS_OK;
    }
    return status_set(
        st, STATUS_CORRUPT,
        "%s: the weights %s while they were in use; put the file back as it was and "
        "start darkmatter again",
        file, state == MAPPED_TOUCHED ? "were written to" : "were cut short, or could not be read");
}

static int open_weights(struct engine *e, const struct engine_options *o, struct status *st)
{
    int code = config_open(&e->config, e->folder.config, st);
    if (code == STATUS_OK) {
        code = weights_open(&e->weights, &e->folder, &e->config, embed_scale(&e->config, o),
                            o->precision, st);
    }
    if (code) {
        return code;
    }
    e->identity = model_identity(e);
    code = engine_check_weights(e, st);
    if (code) {
        return code;
    }
    if (e->config.note[0]) {
        notice(o, "%s: %s", e->folder.path, e->config.note);
    }
    uint64_t memory = machine_memory();
    if (memory && e->folder.weight_bytes > memory) {
        notice(o,
               "the weights are %.1f GB and there are %.1f GB of memory: they will be read "
               "from the disk again and again; a BF16 copy is half as large",
               (double)e->folder.weight_bytes / 1e9, (double)memory / 1e9);
    }
    return STATUS_OK;
}

static int open_sources(struct engine *e, const struct engine_options *o, struct status *st)
{
    int code = catalogue_scan(&e->catalogue, o->sae_folders, o->n_sae_folders, &e->config, st);
    if (code) {
        return code;
    }
    for (size_t i = 0; i < e->catalogue.n_refusals; i++) {
        notice(o, "left out: %s: %s", e->catalogue.refusals[i].path,
               e->catalogue.refusals[i].reason);
    }
    if (o->n_sae_folders && e->catalogue.n_sources == 0) {
        notice(o, "no SAE that fits this model was found under --saes");
    }
    uint64_t memory = machine_memory();
    return pool_create(&e->pool, &e->catalogue, o->sae_memory ? o->sae_memory : memory / 4, st);
}

static int open_tuned(struct engine *e, const struct engine_options *o, struct status *st)
{
    if (o->n_tuned_lenses == 0) {
        return STATUS_OK;
    }
    e->tuned = memory_zalloc(o->n_tuned_lenses, sizeof *e->tuned);
    int code = e->tuned ? STATUS_OK : status_no_memory(st, o->n_tuned_lenses * sizeof *e->tuned);
    for (size_t i = 0; i < o->n_tuned_lenses && !code; i++) {
        code = tuned_open(&e->tuned[i], o->tuned_lenses[i], &e->config, st);
        e->n_tuned += code == STATUS_OK;
        for (size_t k = 0; k < i && !code; k++) {
            if (strcmp(tuned_name(e->tuned[k]), tuned_name(e->tuned[i])) == 0) {
                code =
                    status_set(st, STATUS_INVALID,
                               "%s: another tuned lens is called \"%s\" already; rename the file",
                               o->tuned_lenses[i], tuned_name(e->tuned[i]));
            }
        }
    }
    return code;
}

int engine_open(struct engine **out, const struct engine_options *o, struct status *st)
{
    *out = NULL;
    struct engine *e = memory_zalloc(1, sizeof *e);
    if (!e) {
        return status_no_memory(st, sizeof *e);
    }
    int code = o->tokenizer_only ? model_folder_find(&e->folder, o->model, o->model_id, st)
                                 : model_folder_open(&e->folder, o->model, o->model_id, st);
    if (code == STATUS_OK) {
        e->has_chat_template = find_chat_template(&e->folder);
        code = open_tokenizer(e, o, st);
    }
    if (code == STATUS_OK && !o->tokenizer_only) {
        (void)((code = open_weights(e, o, st)) ||
               (code = threads_create(&e->threads, o->threads, st)) ||
               (code = o->prefix_memory ? kv_prefixes_create(&e->prefixes, o->prefix_memory, st)
                                        : STATUS_OK) ||
               (code = open_sources(e, o, st)) || (code = open_tuned(e, o, st)));
    }
    if (code) {
        engine_close(e);
        return code;
    }
    *out = e;
    return STATUS_OK;
}

void engine_close(struct engine *e)
{
    if (!e) {
        return;
    }
    engine_stop_read_ahead(e);
    for (size_t i = 0; i < e->n_tuned; i++) {
        tuned_close(e->tuned[i]);
    }
    memory_free(e->tuned);
    memory_free(atomic_load(&e->words));
    kv_prefixes_destroy(e->prefixes);
    pool_destroy(e->pool);
    catalogue_free(&e->catalogue);
    threads_destroy(e->threads);
    tokenizer_close(e->tokenizer);
    weights_close(&e->weights);
    model_folder_close(&e->folder);
    memory_free(e);
}

const char *engine_model_id(const struct engine *e)
{
    return e->folder.id;
}

const struct gemma_config *engine_config(const struct engine *e)
{
    return &e->config;
}

struct hash engine_model_identity(const struct engine *e)
{
    return e->identity;
}

const struct catalogue *engine_catalogue(const struct engine *e)
{
    return &e->catalogue;
}

int engine_threads(const struct engine *e)
{
    return threads_count(e->threads);
}

enum precision engine_precision(const struct engine *e)
{
    return e->weights.precision;
}

uint64_t engine_tokens_computed(const struct engine *e)
{
    return atomic_load(&e->tokens_computed);
}

uint64_t engine_passes_computed(const struct engine *e)
{
    return atomic_load(&e->passes_computed);
}

int session_create(struct session **out, struct engine *engine, struct status *st)
{
    struct session *s = memory_zalloc(1, sizeof *s);
    *out = s;
    if (!s) {
        return status_no_memory(st, sizeof *s);
    }
    s->engine = engine;
    int code = forward_create(&s->forward, &engine->weights, engine->threads, st);
    if (code) {
        session_destroy(s);
        *out = NULL;
    }
    return code;
}

void session_destroy(struct session *s)
{
    if (s) {
        forward_destroy(s->forward);
        memory_free(s);
    }
}

/* --- features without a prompt ---------------------------------------------------------------- */

int engine_source_identity(struct engine *e, const char *source, struct hash *identity,
                           struct status *st)
{
    const struct sae_source *s = catalogue_find(&e->catalogue, source);
    if (s && s->is_neurons) { /* the model's own: what it is and which point, nothing else */
        *identity = e->identity;
        hash_add(identity, s->hook_name, strlen(s->hook_name));
        return STATUS_OK;
    }
    struct hash of_sae;
    int code = pool_identity(e->pool, source, &of_sae, st);
    if (code == STATUS_OK) {
        *identity = e->identity;
        hash_add(identity, &of_sae, sizeof of_sae);
    }
    return code;
}

int engine_encoder_vector(struct engine *e, const char *source, size_t index, float **vector,
                          size_t *n, struct status *st)
{
    *vector = NULL;
    *n = 0;
    struct sae *sae;
    int code = pool_acquire(e->pool, source, &sae, st);
    if (code) {
        return code;
    }
    const struct sae_source *s = sae_source(sae);
    size_t d_in = s->d_in;
    float *out = memory_alloc(d_in, sizeof *out);
    if (index >= s->d_sae) {
        code = status_set(st, STATUS_INVALID, "index: expected 0..%zu for source %s, found %zu",
                          s->d_sae - 1, s->name, index);
    } else {
        code = out ? sae_encoder_column(sae, index, out, st)
                   : status_no_memory(st, d_in * sizeof *out);
    }
    code = pool_release(e->pool, sae, code, st);
    if (code) {
        memory_free(out);
        return code;
    }
    *vector = out;
    *n = d_in;
    return STATUS_OK;
}
