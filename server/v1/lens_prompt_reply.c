/* The frames of POST /v1/lens/prompt: always snake_case, as Neuronpedia's are. */
#include "core/base/memory.h"
#include "server/v1/lens_prompt_private.h"
#include "server/v1/token_list.h"

/* --- meta ------------------------------------------------------------------------------------- */

static void emit_name(struct emitter *w, const char *key, const char *name)
{
    emit_key(w, key);
    if (name) {
        emit_string(w, name);
    } else {
        emit_null(w);
    }
}

static void emit_layers(struct emitter *w, const struct lens_site *site)
{
    emit_array(w);
    for (size_t i = 0; i < (point_has_layer(site->point) ? site->n_layers : 1); i++) {
        emit_int(w, point_has_layer(site->point) ? site->layers[i] : 0);
    }
    emit_end_array(w);
}

static void emit_ours(struct emitter *w, const struct lens_prompt *l)
{
    emit_key(w, "layers_by_site");
    emit_object(w);
    for (size_t i = 0; i < l->options.n_sites; i++) {
        emit_key(w, point_name(l->sites[i].point));
        emit_layers(w, &l->sites[i]);
    }
    emit_end_object(w);
    emit_key(w, "track");
    token_list_emit(w, l->stepper.app, l->track, l->options.n_track);
    emit_key(w, "norm");
    emit_string(w, l->options.norm ? "final" : "none");
    emit_key(w, "softcap");
    emit_bool(w, l->options.softcap);
    emit_key(w, "filter_non_word_tokens");
    emit_bool(w, l->options.words_only);
    emit_name(w, "tuned", l->options.tuned);
}

void lens_prompt_write_meta(struct text *out, const struct lens_prompt *l)
{
    const struct lens_site all = {POINT_RESID_POST, l->layers, l->n_layers};
    struct emitter writer = {.out = out}, *w = &writer;
    emit_object(w);
    emit_key(w, "kind");
    emit_string(w, "meta");
    emit_key(w, "model");
    emit_string(w, engine_model_id(l->stepper.app->engine));
    emit_key(w, "types");
    emit_array(w);
    emit_string(w, "LOGIT_LENS");
    emit_end_array(w);
    emit_key(w, "layers_by_type");
    emit_object(w);
    emit_key(w, "LOGIT_LENS");
    emit_layers(w, &all);
    emit_end_object(w);
    emit_key(w, "top_n");
    emit_int(w, (long long)l->options.top_n);
    emit_key(w, "prompt_len");
    emit_int(w, (long long)l->options.n_ids);
    emit_key(w, "num_completion_tokens");
    emit_int(w, (long long)l->options.n_tokens);
    emit_key(w, "temperature");
    emit_float(w, l->options.sampler.temperature);
    emit_key(w, "prepend_bos");
    emit_bool(w, l->prepend_bos);
    emit_key(w, "reuse_len");
    emit_int(w, (long long)l->reuse);
    emit_ours(w, l);
    emit_end_object(w);
}

/* --- tokens ----------------------------------------------------------------------------------- */

/* Which part of the conversation the token belongs to; nulls where there is none. A token that was
 * generated belongs to the reply. */
static void emit_span(struct emitter *w, const struct lens_prompt *l, size_t position)
{
    const struct conversation *c = &l->chat;
    const char *role = NULL, *section = NULL;
    size_t message = c->n;
    bool told = l->is_chat;
    if (l->is_chat && position < c->n_ids) {
        size_t s = 0;
        while (s + 1 < c->n_spans && l->offsets[position] >= c->spans[s].end) {
            s++;
        }
        message = c->spans[s].message;
        section = chat_template_section(c->spans[s].section);
        role = message < c->n                       ? c->messages[message].role
               : c->spans[s].section == CHAT_PROMPT ? "assistant"
                                                    : NULL;
        told = message < c->n;
    } else if (l->is_chat) {
        role = "assistant";
        section = chat_template_section(CHAT_CONTENT);
    }
    emit_key(w, "message_index");
    if (told) {
        emit_int(w, (long long)message);
    } else {
        emit_null(w);
    }
    emit_name(w, "role", role);
    emit_name(w, "channel", NULL);
    emit_name(w, "section", section);
}

static void emit_token(struct emitter *w, const struct lens_prompt *l, size_t position, int32_t id,
                       bool generated)
{
    emit_key(w, "position");
    emit_int(w, (long long)position);
    emit_key(w, "token");
    token_list_emit_text(w, l->stepper.app, id);
    emit_key(w, "id");
    emit_int(w, id);
    emit_key(w, "is_generated");
    emit_bool(w, generated);
    emit_key(w, "is_char_continuation"); /* each token is shown by its own text alone */
    emit_bool(w, false);
    emit_span(w, l, position);
}

void lens_prompt_write_prompt(struct text *out, const struct lens_prompt *l)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "kind");
    emit_string(&w, "prompt");
    emit_key(&w, "tokens");
    emit_array(&w);
    for (size_t i = 0; i < l->options.n_ids; i++) {
        emit_object(&w);
        emit_token(&w, l, i, l->options.ids[i], false);
        emit_end_object(&w);
    }
    emit_end_array(&w);
    emit_end_object(&w);
}

/* --- figures ---------------------------------------------------------------------------------- */

/* One list a row of n rows, under `key`; `part` writes a row's. */
static void emit_rows(struct emitter *w, const char *key, const struct lens_prompt *l,
                      const struct readout_row *rows, size_t n,
                      void (*part)(struct emitter *w, const struct lens_prompt *l,
                                   const struct readout_row *row))
{
    emit_key(w, key);
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        part(w, l, &rows[i]);
    }
    emit_end_array(w);
}

static void emit_top_tokens(struct emitter *w, const struct lens_prompt *l,
                            const struct readout_row *row)
{
    prompts_emit_tokens(w, l->stepper.app, row->top_ids, row->n_top);
}

static void emit_whole(struct emitter *w, const int32_t *values, size_t n)
{
    emit_array(w);
    for (size_t i = 0; i < n; i++) {
        emit_int(w, values[i]);
    }
    emit_end_array(w);
}

static void emit_top_ids(struct emitter *w, const struct lens_prompt *l,
                         const struct readout_row *row)
{
    (void)l;
    emit_whole(w, row->top_ids, row->n_top);
}

static void emit_top_probs(struct emitter *w, const struct lens_prompt *l,
                           const struct readout_row *row)
{
    (void)l;
    emit_floats(w, row->top_probs, row->n_top);
}

static void emit_top_logits(struct emitter *w, const struct lens_prompt *l,
                            const struct readout_row *row)
{
    (void)l;
    emit_floats(w, row->top_logits, row->n_top);
}

static void emit_entropy(struct emitter *w, const struct lens_prompt *l,
                         const struct readout_row *row)
{
    (void)l;
    emit_float(w, row->entropy);
}

static void emit_kl(struct emitter *w, const struct lens_prompt *l, const struct readout_row *row)
{
    (void)l;
    emit_float(w, row->kl);
}

static void emit_probs(struct emitter *w, const struct lens_prompt *l,
                       const struct readout_row *row)
{
    emit_floats(w, row->probs, l->options.n_track);
}

static void emit_ranks(struct emitter *w, const struct lens_prompt *l,
                       const struct readout_row *row)
{
    emit_whole(w, row->ranks, l->options.n_track);
}

static void emit_logits(struct emitter *w, const struct lens_prompt *l,
                        const struct readout_row *row)
{
    emit_floats(w, row->logits, l->options.n_track);
}

static void emit_site(struct emitter *w, const struct lens_prompt *l, const struct lens_site *site,
                      const struct readout_row *rows, size_t n)
{
    emit_object(w);
    emit_key(w, "type");
    emit_string(w, "LOGIT_LENS");
    emit_key(w, "site");
    emit_string(w, point_name(site->point));
    emit_rows(w, "top_tokens", l, rows, n, emit_top_tokens);
    emit_rows(w, "top_ids", l, rows, n, emit_top_ids);
    emit_rows(w, "top_probs", l, rows, n, emit_top_probs);
    emit_rows(w, "top_logits", l, rows, n, emit_top_logits);
    emit_rows(w, "entropy", l, rows, n, emit_entropy);
    emit_rows(w, "kl", l, rows, n, emit_kl);
    if (l->options.n_track) {
        emit_rows(w, "track_probs", l, rows, n, emit_probs);
        emit_rows(w, "track_ranks", l, rows, n, emit_ranks);
        emit_rows(w, "track_logits", l, rows, n, emit_logits);
    }
    emit_end_object(w);
}

void lens_prompt_write_position(struct text *out, const struct lens_prompt *l,
                                const struct lens_position *p)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "kind");
    emit_string(&w, "token");
    emit_token(&w, l, p->position, p->id, p->generated);
    emit_key(&w, "results");
    emit_array(&w);
    size_t row = 0;
    for (size_t i = 0; i < l->options.n_sites; i++) {
        size_t n = point_has_layer(l->sites[i].point) ? l->sites[i].n_layers : 1;
        emit_site(&w, l, &l->sites[i], p->rows + row, n);
        row += n;
    }
    emit_end_array(&w);
    emit_end_object(&w);
}

void lens_prompt_write_done(struct text *out, const struct lens_prompt *l)
{
    struct emitter w = {.out = out};
    struct text completion = {0};
    struct status st;
    size_t n;
    const int32_t *ids = lens_reading_generated(l->stepper.job->lens, &n);
    const struct engine *engine = l->stepper.app->engine;
    out->failed = engine_decode(engine, ids, n, &completion, &st) || out->failed;
    emit_object(&w);
    emit_key(&w, "kind");
    emit_string(&w, "done");
    emit_key(&w, "seq_len");
    emit_int(&w, (long long)l->options.n_ids + (long long)n);
    emit_key(&w, "prompt_len");
    emit_int(&w, (long long)l->options.n_ids);
    emit_key(&w, "vocab_size");
    emit_int(&w, (long long)engine_config(engine)->vocab_size);
    emit_key(&w, "completion");
    emit_string_n(&w, completion.data ? completion.data : "", completion.length);
    emit_end_object(&w);
    text_free(&completion);
}

/* --- size ------------------------------------------------------------------------------------- */

uint64_t lens_prompt_reply_bytes(const struct lens_prompt *l)
{
    enum { TOP_BYTES = 56, TRACK_BYTES = 36, ROW_BYTES = 48, TOKEN_BYTES = 320 };
    const struct lens_options *o = &l->options;
    uint64_t rows = 0, read = o->n_tokens;
    for (size_t i = 0; i < o->n_sites; i++) {
        rows += point_has_layer(l->sites[i].point) ? l->sites[i].n_layers : 1;
    }
    for (size_t i = 0; i < o->n_ids; i++) {
        read += l->wanted[i];
    }
    return read * rows * (o->top_n * TOP_BYTES + o->n_track * TRACK_BYTES + ROW_BYTES) +
           (read + o->n_ids) * TOKEN_BYTES;
}
