/* GET /v1/capabilities: what this server has and does, and the truth about what it does not
 * (neuronpedia.md 3.14). */
#include "server/app.h"
#include "server/http/emit.h"
#include "server/http/router.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"
#include "server/work/index_jobs.h"

#include <string.h>

/* The neurons are sources too, but not in the lists that clients go through: two names a layer are
 * more than they look for. ?neurons=true puts them there. */
static size_t listed(const struct catalogue *c, bool neurons)
{
    return c->n_sources + (neurons ? c->n_neurons : 0);
}

static bool served(const struct app *app, const char *pattern)
{
    for (size_t i = 0; i < app->n_routes; i++) {
        if (strcmp(app->routes[i].pattern, pattern) == 0) {
            return true;
        }
    }
    return false;
}

static void write_endpoints(struct emitter *w, const struct app *app)
{
    static const struct {
        const char *name, *pattern; /* a NULL pattern: never served here */
    } endpoints[] = {
        {"tokenize", "/v1/tokenize"},
        {"activation_single", "/v1/activation/single"},
        {"activation_all", "/v1/activation/all"},
        {"activation_source", "/v1/activation/source"},
        {"activation_raw", "/v1/activation/raw"},
        {"activation_topk_by_token", "/v1/activation/topk-by-token"},
        {"activation_attention", "/v1/activation/attention"},
        {"trace", "/v1/trace"},
        {"dark_matter", "/v1/dark-matter"},
        {"dfa", NULL},
        {"steer_completion", "/v1/steer/completion"},
        {"steer_completion_chat", "/v1/steer/completion-chat"},
        {"apply_chat_template", "/v1/apply-chat-template"},
        {"attribution", "/v1/attribution"},
        {"lens_logit", "/v1/lens/prompt"},
        {"lens_jacobian", NULL},
        {"neurons", "/v1/activation/single"},
    };
    emit_key(w, "endpoints");
    emit_object(w);
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        emit_key(w, endpoints[i].name);
        emit_bool(w, endpoints[i].pattern && served(app, endpoints[i].pattern));
    }
    emit_end_object(w);
}

static void write_source(struct emitter *w, const struct sae_source *s)
{
    emit_object(w);
    emit_key(w, "name");
    emit_string(w, s->name);
    reply_string(w, "source_set", s->source_set);
    emit_key(w, "layer");
    emit_int(w, s->layer);
    emit_key(w, "point");
    emit_string(w, point_name(s->input));
    reply_string(w, "output_point", point_name(s->output));
    reply_string(w, "hook_name", s->hook_name);
    emit_key(w, "architecture");
    emit_string(w, sae_architecture_name(s->architecture));
    emit_key(w, "transcoder");
    emit_bool(w, s->is_transcoder);
    reply_int(w, "d_in", (long long)s->d_in);
    reply_int(w, "d_out", (long long)s->d_out);
    reply_int(w, "d_sae", (long long)s->d_sae);
    emit_key(w, "l0");
    emit_string(w, s->l0);
    emit_end_object(w);
}

/* Names of the sources, or of their sets, each set once. */
static void write_names(struct emitter *w, const struct catalogue *c, bool neurons, bool sets)
{
    emit_array(w);
    for (size_t i = 0; i < listed(c, neurons); i++) {
        const struct sae_source *s = catalogue_at(c, i);
        bool seen = false;
        for (size_t j = 0; sets && j < i; j++) {
            seen = seen || strcmp(catalogue_at(c, j)->source_set, s->source_set) == 0;
        }
        if (!seen) {
            emit_string(w, sets ? s->source_set : s->name);
        }
    }
    emit_end_array(w);
}

/* What the names of layer L's neurons are made of, and how many there are. */
static void write_neurons(struct emitter *w, const struct catalogue *c)
{
    size_t mark = reply_begin(w, "neuron_sets");
    emit_array(w);
    for (size_t i = 0; i < 2 && i < c->n_neurons; i++) {
        const struct sae_source *s = &c->neurons[i];
        emit_object(w);
        reply_string(w, "source_set", s->source_set);
        emit_key(w, "name");
        emit_string(w, s->input == POINT_MLP_OUT ? "{layer}-mlp_out" : "{layer}");
        emit_key(w, "point");
        emit_string(w, point_name(s->input));
        reply_int(w, "d_sae", (long long)s->d_sae);
        emit_end_object(w);
    }
    emit_end_array(w);
    reply_end(w, "neuron_sets", mark);
}

static void write_refusals(struct emitter *w, const struct catalogue *c)
{
    size_t mark = reply_begin(w, "sources_left_out");
    emit_array(w);
    for (size_t i = 0; i < c->n_refusals; i++) {
        emit_object(w);
        emit_key(w, "path");
        emit_string(w, c->refusals[i].path);
        emit_key(w, "reason");
        emit_string(w, c->refusals[i].reason);
        emit_end_object(w);
    }
    emit_end_array(w);
    reply_end(w, "sources_left_out", mark);
}

/* The last index job; state "none" where this process has run none. */
static void write_index(struct emitter *w, const struct app *app)
{
    struct index_jobs_state state = {.state = "none"};
    if (!app->index_jobs || !index_jobs_state(app->index_jobs, &state, NULL)) {
        state = (struct index_jobs_state){.state = "none"};
    }
    emit_key(w, "index");
    emit_object(w);
    emit_key(w, "state");
    emit_string(w, state.state);
    emit_key(w, "tokens");
    emit_int(w, state.tokens);
    emit_key(w, "total");
    emit_int(w, state.total);
    emit_end_object(w);
}

static void write_tuned(struct emitter *w, const struct app *app)
{
    size_t mark = reply_begin(w, "tuned_lenses");
    emit_array(w);
    for (size_t i = 0; i < engine_tuned_lenses(app->engine); i++) {
        emit_string(w, engine_tuned_lens(app->engine, i));
    }
    emit_end_array(w);
    reply_end(w, "tuned_lenses", mark);
}

enum http_next capabilities(struct exchange *x)
{
    const struct app *app = x->app;
    const struct gemma_config *config = engine_config(app->engine);
    const struct catalogue *catalogue = engine_catalogue(app->engine);
    struct emitter w = {.out = &x->response.body};
    const char *wish = x->request.query(&x->request, "neurons");
    bool neurons = wish && strcmp(wish, "true") == 0;
    emit_object(&w);
    emit_key(&w, "model");
    emit_string(&w, engine_model_id(app->engine));
    emit_key(&w, "sources");
    write_names(&w, catalogue, neurons, false);
    size_t mark = reply_begin(&w, "sae_sets");
    write_names(&w, catalogue, neurons, true);
    reply_end(&w, "sae_sets", mark);
    mark = reply_begin(&w, "source_details");
    emit_array(&w);
    for (size_t i = 0; i < listed(catalogue, neurons); i++) {
        write_source(&w, catalogue_at(catalogue, i));
    }
    emit_end_array(&w);
    reply_end(&w, "source_details", mark);
    write_neurons(&w, catalogue);
    write_refusals(&w, catalogue);
    emit_key(&w, "backend");
    emit_string(&w, "darkmatter");
    emit_key(&w, "version");
    emit_string(&w, APP_VERSION);
    emit_key(&w, "device");
    emit_string(&w, "cpu");
    emit_key(&w, "precision");
    emit_string(&w, precision_name(engine_precision(app->engine)));
    reply_int(&w, "num_layers", (long long)config->n_layers);
    reply_int(&w, "hidden_size", (long long)config->hidden_size);
    reply_int(&w, "vocab_size", (long long)config->vocab_size);
    reply_int(&w, "max_tokens", (long long)config->max_positions);
    reply_int(&w, "token_limit", (long long)app->token_limit);
    reply_int(&w, "activation_token_limit", (long long)app->token_limit);
    write_tuned(&w, app);
    reply_int(&w, "lens_token_limit", (long long)app->token_limit);
    reply_int(&w, "max_num_results", 1000);
    reply_int(&w, "max_prompts", PROMPTS_MAX);
    reply_bool(&w, "has_tokenizer", engine_has_tokenizer(app->engine));
    reply_bool(&w, "has_chat_template", engine_has_chat_template(app->engine));
    reply_bool(&w, "decoder_norms_folded", false);
    write_index(&w, app);
    write_endpoints(&w, app);
    emit_end_object(&w);
    return HTTP_DONE;
}
