/* The fields of POST /v1/lens/prompt. */
#include "core/base/memory.h"
#include "server/v1/lens_prompt_private.h"
#include "server/v1/position_list.h"
#include "server/v1/token_list.h"

#include <string.h>

#define TOP_MAX 100
#define TRACK_MAX 32

/* --- what is read over --------------------------------------------------------------------------
 */

/* input_token_ids is what Neuronpedia calls `tokens`: it wins over the texts, and nothing is
 * generated behind it. */
static bool read_exact_ids(struct lens_prompt *l)
{
    const cJSON *ids = fields_array(&l->fields, "input_token_ids");
    if (!ids || !ids->child) {
        return false;
    }
    cJSON *alone = cJSON_CreateObject();
    cJSON *copy = cJSON_Duplicate(ids, true);
    if (!alone || !copy || !cJSON_AddItemToObject(alone, "tokens", copy)) {
        cJSON_Delete(alone);
        status_no_memory(&l->fields.st, 1);
        return true;
    }
    struct fields f = {.body = alone};
    prompts_read(&l->prompts, l->stepper.app, &f);
    if (f.st.code) {
        const char *rest = f.st.message + strlen("tokens");
        status_set(&l->fields.st, f.st.code, "%s%s",
                   text_starts_with(f.st.message, "tokens") ? "input_token_ids" : "",
                   text_starts_with(f.st.message, "tokens") ? rest : f.st.message);
    }
    cJSON_Delete(alone);
    return true;
}

static void read_chat(struct lens_prompt *l)
{
    l->is_chat = true;
    if (!engine_has_chat_template(l->stepper.app->engine)) {
        status_set(&l->fields.st, STATUS_INVALID,
                   "chat: model %s has no chat template: it is a base model, which continues text; "
                   "send prompt instead",
                   engine_model_id(l->stepper.app->engine));
        return;
    }
    conversation_read(&l->chat, l->stepper.app, &l->fields, "chat", true);
    if (!l->fields.st.code && !(l->offsets = conversation_offsets(&l->chat, l->stepper.app))) {
        status_no_memory(&l->fields.st, l->chat.n_ids * sizeof *l->offsets);
    }
}

/* A text without <bos> in front; true if that was asked for. */
static bool read_bare_prompt(struct lens_prompt *l)
{
    struct fields *f = &l->fields;
    const char *prompt = l->prepend_bos ? NULL : fields_string(f, "prompt");
    if (!prompt || fields_get(f, "tokens")) {
        return false;
    }
    l->prompts.items = memory_zalloc(1, sizeof *l->prompts.items);
    if (!l->prompts.items) {
        status_no_memory(&f->st, sizeof *l->prompts.items);
        return true;
    }
    struct prompt *item = &l->prompts.items[0];
    l->prompts.n = 1;
    l->prompts.field = "prompt";
    if (!prompts_tokenize(l->stepper.app, prompt, false, "prompt", &item->ids, &item->n_ids,
                          &f->st) &&
        item->n_ids == 0) {
        status_set(&f->st, STATUS_INVALID, "prompt: the text has no tokens");
    }
    return true;
}

/* Returns true if the ids are exactly those of an earlier run, to be read again. */
static bool read_input(struct lens_prompt *l)
{
    struct fields *f = &l->fields;
    l->prepend_bos = fields_bool(f, "prepend_bos", true);
    bool exact = read_exact_ids(l);
    const cJSON *chat = exact ? NULL : fields_get(f, "chat");
    if (chat && (fields_get(f, "prompt") || fields_get(f, "tokens"))) {
        status_set(&f->st, STATUS_INVALID,
                   "chat: send exactly one of prompt, tokens and chat, not several");
    } else if (chat && !f->st.code) {
        read_chat(l);
    } else if (!exact && !f->st.code && !read_bare_prompt(l)) {
        prompts_read(&l->prompts, l->stepper.app, f);
    }
    if (!f->st.code) {
        l->options.ids = l->is_chat ? l->chat.ids : l->prompts.items[0].ids;
        l->options.n_ids = l->is_chat ? l->chat.n_ids : l->prompts.items[0].n_ids;
        l->options.n_ids = (size_t)fields_integer(f, "max_seq_len", 1, (long long)l->options.n_ids,
                                                  (long long)l->options.n_ids);
    }
    return exact;
}

/* --- what is read -------------------------------------------------------------------------------
 */

static void check_type(struct fields *f, const cJSON *value)
{
    const char *name = cJSON_GetStringValue(value);
    if (!name) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "type: expected \"LOGIT_LENS\", found %s",
                   fields_kind(value));
    } else if (strcmp(name, "JACOBIAN_LENS") == 0) {
        status_set(&f->st, STATUS_INVALID,
                   "type: Jacobian lens is not available for this model; there is \"LOGIT_LENS\" "
                   "(with tuned: a tuned lens)");
    } else if (strcmp(name, "LOGIT_LENS") != 0) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "type: expected \"LOGIT_LENS\", found \"%.40s\"",
                   name);
    }
}

static void read_types(struct fields *f)
{
    const cJSON *type = fields_get(f, "type");
    if (cJSON_IsArray(type)) {
        if (!type->child) {
            status_set(&f->st, STATUS_INVALID, "type: Provide at least one lens type");
        }
        for (const cJSON *item = type->child; item && !f->st.code; item = item->next) {
            check_type(f, item);
        }
    } else if (type) {
        check_type(f, type);
    }
}

/* Each layer once, rising; the last one always, as Neuronpedia does. */
static void read_layers(struct lens_prompt *l)
{
    struct fields *f = &l->fields;
    size_t L = engine_config(l->stepper.app->engine)->n_layers;
    const cJSON *list = fields_array(f, "layers");
    bool *in = memory_zalloc(L, sizeof *in);
    l->layers = memory_alloc(L, sizeof *l->layers);
    if (!in || !l->layers) {
        status_no_memory(&f->st, L * sizeof *l->layers);
        memory_free(in);
        return;
    }
    for (const cJSON *item = list ? list->child : NULL; item && !f->st.code; item = item->next) {
        long long layer;
        if (!fields_is_whole(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "layers: expected whole numbers, found %s",
                       fields_kind(item));
        } else if (!json_integer(item, 0, (long long)L - 1, &layer)) {
            status_set(&f->st, STATUS_INVALID,
                       "layers: this model has the layers 0..%zu, found %.15g", L - 1,
                       item->valuedouble);
        } else {
            in[layer] = true;
        }
    }
    bool all = !list || !list->child;
    for (size_t i = 0; i < L && !f->st.code; i++) {
        if (all || in[i] || i + 1 == L) {
            l->layers[l->n_layers++] = (int)i;
        }
    }
    memory_free(in);
}

static void add_site(struct lens_prompt *l, const char *name)
{
    enum point point = POINT_RESID_POST;
    if (!point_find(name, strlen(name), &point) || !lens_reading_takes(point)) {
        status_set(&l->fields.st, STATUS_INVALID,
                   "sites: \"%.40s\" is no part of the residual stream: expected embed, resid_pre, "
                   "attn_out_raw, attn_out, resid_mid, mlp_out_raw, mlp_out or resid_post",
                   name);
        return;
    }
    for (size_t i = 0; i < l->options.n_sites; i++) {
        if (l->sites[i].point == point) {
            return; /* asked for twice, answered once */
        }
    }
    l->sites[l->options.n_sites++] =
        (struct lens_site){.point = point, .layers = l->layers, .n_layers = l->n_layers};
}

static void read_sites(struct lens_prompt *l)
{
    struct fields *f = &l->fields;
    const cJSON *list = fields_array(f, "sites");
    for (const cJSON *item = list ? list->child : NULL; item && !f->st.code; item = item->next) {
        if (!cJSON_IsString(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "sites: expected strings, found %s",
                       fields_kind(item));
        } else {
            add_site(l, item->valuestring);
        }
    }
    if (!f->st.code && l->options.n_sites == 0) {
        add_site(l, "resid_post");
    }
    l->options.sites = l->sites;
}

/* How many ids at the front are those of `cached_token_ids`. */
static size_t read_reuse(struct lens_prompt *l)
{
    const cJSON *list = fields_array(&l->fields, "cached_token_ids");
    size_t n = 0;
    for (const cJSON *item = list ? list->child : NULL; item; item = item->next, n++) {
        if (!fields_is_whole(item)) {
            status_set(&l->fields.st, STATUS_UNPROCESSABLE,
                       "cached_token_ids: expected whole numbers, found %s", fields_kind(item));
            return 0;
        }
        if (n == l->options.n_ids || item->valuedouble != (double)l->options.ids[n]) {
            break;
        }
    }
    return l->edits.n == 0 ? n : 0; /* what the client has was read without edits */
}

static void read_positions(struct lens_prompt *l)
{
    size_t n, T = l->options.n_ids;
    int32_t *positions = position_list_read(&l->fields, T, &n);
    l->reuse = read_reuse(l);
    l->wanted = memory_zalloc(T, sizeof *l->wanted);
    if (!l->wanted) {
        status_no_memory(&l->fields.st, T * sizeof *l->wanted);
    } else {
        for (size_t i = 0; i < (positions ? n : T); i++) {
            size_t position = positions ? (size_t)positions[i] : i;
            l->wanted[position] = position >= l->reuse;
        }
    }
    memory_free(positions);
    l->options.wanted = l->wanted;
}

static void read_norm(struct lens_prompt *l)
{
    const char *norm = fields_string(&l->fields, "norm");
    l->options.norm = !norm || strcmp(norm, "final") == 0;
    if (!l->options.norm && strcmp(norm, "none") != 0) {
        status_set(&l->fields.st, STATUS_INVALID,
                   "norm: expected \"final\" or \"none\", found \"%.40s\"", norm);
    }
    l->options.softcap = fields_bool(&l->fields, "softcap", true);
}

/* --- what comes behind the prompt
 * ----------------------------------------------------------------- */

static void read_generation(struct lens_prompt *l, bool exact)
{
    struct fields *f = &l->fields;
    const struct engine *engine = l->stepper.app->engine;
    size_t room = engine_config(engine)->max_positions - l->options.n_ids;
    l->options.n_tokens = (size_t)fields_integer(f, "num_completion_tokens", 0, INT32_MAX, 0);
    room = exact ? 0 : room;
    l->options.n_tokens = l->options.n_tokens < room ? l->options.n_tokens : room;
    l->options.sampler.temperature = (float)fields_number(f, "temperature", 0.0, 1e6, 1.0);
    l->options.sampler.seed = fields_seed(f, "seed");
    l->options.stop_ids = l->stop_ids;
    l->options.n_stop_ids = engine_stop_ids(engine, l->is_chat, l->stop_ids);
}

/* Neuronpedia's own interventions are other arithmetic than our edits; only what asks for one is
 * refused. */
static void refuse_steering(struct fields *f)
{
    const cJSON *tokens = fields_array(f, "steer_tokens");
    if (tokens && tokens->child) {
        status_set(&f->st, STATUS_UNSUPPORTED,
                   "steer_tokens: not served; send edits instead (docs/api.md, \"Edits\")");
    } else if (fields_get(f, "swap_token")) {
        status_set(&f->st, STATUS_UNSUPPORTED,
                   "swap_token: not served; send edits instead (docs/api.md, \"Edits\")");
    }
}

void lens_prompt_request(struct lens_prompt *l)
{
    struct fields *f = &l->fields;
    const struct app *app = l->stepper.app;
    fields_model(f);
    read_types(f);
    refuse_steering(f);
    l->stepper.stream = fields_bool(f, "stream", true);
    l->options.top_n = (size_t)fields_integer(f, "top_n", 0, TOP_MAX, 10);
    l->options.words_only =
        fields_bool(f, "filter_non_word_tokens", true) && engine_has_tokenizer(app->engine);
    l->options.tuned = fields_string(f, "tuned");
    read_norm(l);
    read_layers(l);
    read_sites(l);
    l->track = token_list_read(f, app, "track", TRACK_MAX, &l->options.n_track);
    l->options.track = l->track;
    bool exact = read_input(l);
    if (f->st.code) {
        return;
    }
    read_generation(l, exact);
    const struct prompt prompt = {(int32_t *)(uintptr_t)l->options.ids, l->options.n_ids};
    edit_list_read(&l->edits, app, f, &prompt, engine_config(app->engine)->max_positions);
    l->options.edits = l->edits.items;
    l->options.n_edits = l->edits.n;
    if (!f->st.code) {
        read_positions(l);
    }
}
