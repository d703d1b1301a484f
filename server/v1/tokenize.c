/* POST /v1/tokenize (neuronpedia.md 3.9): the ids of a text and what each one says. */
#include "core/base/memory.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"
#include "server/v1/routes.h"

static void write_reply(struct exchange *x, const int32_t *ids, size_t n, bool prepend_bos)
{
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "tokens");
    emit_array(&w);
    for (size_t i = 0; i < n; i++) {
        emit_int(&w, ids[i]);
    }
    emit_end_array(&w);
    size_t mark = reply_begin(&w, "token_strings");
    prompts_emit_tokens(&w, x->app, ids, n);
    reply_end(&w, "token_strings", mark);
    reply_bool(&w, "prepend_bos", prepend_bos);
    emit_end_object(&w);
}

enum http_next tokenize(struct exchange *x)
{
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    int32_t *ids = NULL;
    size_t n = 0;
    fields_model(&f);
    (void)fields_need(&f, "text");
    const char *text = fields_string(&f, "text");
    bool prepend_bos = fields_bool(&f, "prepend_bos", true);
    if (f.st.code || prompts_tokenize(x->app, text, prepend_bos, "text", &ids, &n, &f.st)) {
        (void)exchange_fail(x, &f.st);
    } else {
        write_reply(x, ids, n, prepend_bos);
    }
    memory_free(ids);
    cJSON_Delete(body);
    return HTTP_DONE;
}
