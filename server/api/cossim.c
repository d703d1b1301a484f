/* POST /api/cossim (neuronpedia.md 2): the features whose decoder rows are most alike, in the same
 * source or in another that writes to vectors of the same width. Kept once computed. */
#include "core/base/memory.h"
#include "server/api/explained.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/v1/reply.h"

#define RESULTS_DEFAULT 10
#define RESULTS_MAX 128

struct neighbours {
    uint32_t index[RESULTS_MAX];
    float cosine[RESULTS_MAX];
    size_t n;
};

/* From the database, or computed and kept there. */
static int find(struct neighbours *found, const struct app *app, const struct subject *s,
                int64_t index, const struct subject *target, size_t wanted, struct status *st)
{
    int code = store_read_neighbours(app->store, s->row, (uint32_t)index, target->row, found->index,
                                     found->cosine, wanted, &found->n, st);
    if (code || found->n == wanted) {
        return code;
    }
    float *row = NULL;
    size_t n_row;
    code = engine_decoder_vector(app->engine, s->name, (size_t)index, &row, &n_row, st);
    if (!code) {
        code = engine_nearest(app->engine, target->name, row, n_row, wanted, found->index,
                              found->cosine, &found->n, st);
    }
    memory_free(row);
    if (!code) {
        code = store_write_neighbours(app->store, s->row, (uint32_t)index, target->row,
                                      found->index, found->cosine, found->n, st);
    }
    return code;
}

static void write_feature(struct emitter *w, const struct subject *s, int64_t index)
{
    emit_object(w);
    emit_key(w, "model");
    emit_string(w, s->model);
    emit_key(w, "source");
    emit_string(w, s->name);
    emit_key(w, "index");
    emit_int(w, index);
    emit_end_object(w);
}

static int write_label(void *user, const struct store_feature *feature)
{
    struct emitter *w = user;
    if (*feature->label) {
        emit_key(w, "description");
        emit_string(w, feature->label);
    }
    return 0;
}

/* What the neighbour means: its explanation, else its label, else nothing. */
static int write_description(struct emitter *w, const struct app *app, const struct subject *target,
                             uint32_t index, struct status *st)
{
    char *text = NULL;
    int code = explained_first(app, target, index, &text, st);
    if (text) {
        emit_key(w, "description");
        emit_string(w, text);
    } else if (!code && target->indexed) {
        code = store_visit_features(app->store, target->row, index, 1, write_label, w, st);
    }
    memory_free(text);
    return code;
}

static int reply(struct emitter *w, const struct app *app, const struct subject *s, int64_t index,
                 const struct subject *target, const struct neighbours *found, struct status *st)
{
    int code = STATUS_OK;
    emit_object(w);
    emit_key(w, "data"); /* the envelope of upstream's HTTP library, which it passes on */
    emit_object(w);
    emit_key(w, "feature");
    write_feature(w, s, index);
    size_t mark = reply_begin(w, "topk_decoder_cossim_features");
    emit_array(w);
    for (size_t i = 0; i < found->n && !code; i++) {
        emit_object(w);
        emit_key(w, "feature");
        write_feature(w, target, found->index[i]);
        reply_float(w, "cosine_similarity", found->cosine[i]);
        code = write_description(w, app, target, found->index[i], st);
        emit_end_object(w);
    }
    emit_end_array(w);
    reply_end(w, "topk_decoder_cossim_features", mark);
    emit_end_object(w);
    emit_key(w, "response");
    emit_raw(w, "{}", 2);
    emit_end_object(w);
    return code;
}

/* Everything but attention heads (z) is written in the residual stream's basis. */
static bool same_space(const struct sae_source *a, const struct sae_source *b)
{
    bool z = a->output == POINT_Z || b->output == POINT_Z;
    return !z || (a->output == b->output && a->layer == b->layer);
}

static void open_target(struct subject *target, const struct app *app, const struct subject *s,
                        struct fields *f)
{
    const char *model = fields_string(f, "target_model_id");
    const char *name = fields_string(f, "target_source_id");
    if (f->st.code || subject_need_sae(s, &f->st)) {
        return;
    }
    (void)subject_open(target, app, model ? model : s->model, name ? name : s->name, &f->st);
    if (f->st.code || subject_need_sae(target, &f->st)) {
        return;
    }
    const struct sae_source *a = s->source, *b = target->source;
    if (a->d_out != b->d_out) {
        status_set(&f->st, STATUS_INVALID,
                   "targetSourceId: decoder rows of \"%.120s\" have %zu numbers, those of "
                   "\"%.120s\" %zu; they have no cosine",
                   b->name, b->d_out, a->name, a->d_out);
    } else if (!same_space(a, b)) {
        status_set(&f->st, STATUS_INVALID,
                   "targetSourceId: \"%.120s\" writes to %s.%d, \"%.120s\" to %s.%d; a cosine "
                   "between them has no meaning",
                   b->name, point_name(b->output), b->layer, a->name, point_name(a->output),
                   a->layer);
    }
}

enum http_next api_cossim(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    struct subject s, target = {0};
    struct neighbours found = {.n = 0};
    struct emitter w = {.out = &x->response.body};
    subject_open_fields(&s, app, &f);
    int64_t index = f.st.code ? 0 : subject_index_field(&s, &f);
    long long wanted = fields_integer(&f, "num_results", 1, RESULTS_MAX, RESULTS_DEFAULT);
    open_target(&target, app, &s, &f);
    if (!f.st.code && !find(&found, app, &s, index, &target, (size_t)wanted, &f.st)) {
        (void)reply(&w, app, &s, index, &target, &found, &f.st);
    }
    subject_close(&target);
    subject_close(&s);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
