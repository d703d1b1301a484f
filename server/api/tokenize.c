/* POST /api/tokenize (neuronpedia.md 2): /v1/tokenize in upstream's envelope. */
#include "core/base/memory.h"
#include "server/api/routes.h"
#include "server/api/subject.h"
#include "server/v1/prompts.h"
#include "server/v1/reply.h"

#include <string.h>

#define PROMPT_MAX 10000 /* characters */

/* Characters of valid UTF-8. */
static size_t characters(const char *s)
{
    size_t n = 0;
    for (; *s; s++) {
        n += ((unsigned char)*s & 0xC0) != 0x80;
    }
    return n;
}

static void reply(struct exchange *x, const int32_t *ids, size_t n, bool bos)
{
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "data");
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
    reply_bool(&w, "prepend_bos", bos);
    emit_end_object(&w);
    emit_key(&w, "response");
    emit_raw(&w, "{}", 2);
    emit_end_object(&w);
}

enum http_next api_tokenize(struct exchange *x)
{
    const struct app *app = x->app;
    cJSON *body = exchange_json(x);
    if (!body) {
        return HTTP_DONE;
    }
    struct fields f = {.body = body};
    int32_t *ids = NULL;
    size_t n = 0;
    subject_check_model_field(app, &f);
    (void)fields_need(&f, "prompt");
    const char *prompt = fields_string(&f, "prompt");
    bool bos = fields_bool(&f, "prepend_bos", true);
    size_t length = prompt ? characters(prompt) : 0;
    if (!f.st.code && (length < 1 || length > PROMPT_MAX)) {
        status_set(&f.st, STATUS_INVALID, "prompt: expected 1 to %d characters, found %zu",
                   PROMPT_MAX, length);
    }
    if (!f.st.code && !prompts_tokenize(app, prompt, bos, "prompt", &ids, &n, &f.st)) {
        reply(x, ids, n, bos);
    }
    memory_free(ids);
    cJSON_Delete(body);
    return f.st.code ? exchange_fail(x, &f.st) : HTTP_DONE;
}
