/* darkmatter tokenize: JSON lines in ({"text": ...}), JSON lines out ({"ids": [...], "tokens":
 * [...]}). Reads only the tokenizer files. A line that cannot be used is answered with {"error"} in
 * its place, so that lines in and lines out stay in step; the exit code then is 1. */
#include "core/base/json.h"
#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/http/emit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int tokenize_line(const struct engine *engine, const char *line, size_t n, bool add_bos,
                         struct emitter *w, struct status *st)
{
    cJSON *root;
    int code = json_parse(&root, line, n, "line", st);
    if (code) {
        return code;
    }
    const char *text = cJSON_GetStringValue(json_get(root, "text"));
    int32_t *ids = NULL;
    size_t n_ids = 0;
    if (!text) {
        code =
            status_set(st, STATUS_UNPROCESSABLE, "text: expected {\"text\": \"...\"} on each line");
    } else {
        code = engine_tokenize(engine, text, strlen(text), add_bos, &ids, &n_ids, st);
    }
    cJSON_Delete(root);
    if (code) {
        return code;
    }
    emit_object(w);
    emit_key(w, "ids");
    emit_array(w);
    for (size_t i = 0; i < n_ids; i++) {
        emit_int(w, ids[i]);
    }
    emit_end_array(w);
    emit_key(w, "tokens");
    emit_array(w);
    struct text token = {0};
    for (size_t i = 0; i < n_ids; i++) {
        text_clear(&token);
        engine_token_text(engine, ids[i], &token);
        emit_string_n(w, token.data ? token.data : "", token.length);
    }
    emit_end_array(w);
    emit_end_object(w);
    text_free(&token);
    memory_free(ids);
    return STATUS_OK;
}

int command_tokenize(const struct options *options)
{
    struct engine_options o = options_engine(options);
    o.tokenizer_only = true;
    struct engine *engine;
    struct status st = {0};
    if (engine_open(&engine, &o, &st)) {
        return command_failed(&st);
    }
    int code = EXIT_OK;
    if (!engine_has_tokenizer(engine)) {
        status_set(&st, STATUS_NOT_FOUND, "%s: no tokenizer.json and no tokenizer.model",
                   options->model);
        code = command_failed(&st);
    }
    char *line = NULL;
    size_t capacity = 0;
    ssize_t n;
    while (code != EXIT_FAILED && (n = getline(&line, &capacity, stdin)) > 0) {
        n -= line[n - 1] == '\n';
        struct text out = {0};
        struct emitter w = {.out = &out};
        if (tokenize_line(engine, line, (size_t)n, !options->no_special, &w, &st)) {
            emit_object(&w);
            emit_key(&w, "error");
            emit_string(&w, st.message);
            emit_end_object(&w);
        }
        text_char(&out, '\n');
        bool written = !out.failed && fwrite(out.data, 1, out.length, stdout) == out.length;
        text_free(&out);
        if (!written) {
            status_set(&st, STATUS_IO, "the output could not be written");
            code = command_failed(&st);
        }
    }
    if (code == EXIT_OK && st.code) {
        code = EXIT_FAILED; /* some line was answered with an error */
    }
    free(line); /* getline's */
    engine_close(engine);
    return code;
}
