#include "server/work/index_progress.h"

#include "server/http/emit.h"

static void write_known(struct emitter *w, const char *key, double value, bool known)
{
    emit_key(w, key);
    if (known) {
        emit_rounded(w, value, 1);
    } else {
        emit_null(w);
    }
}

void index_progress_json(const struct indexer_progress *p, struct text *out)
{
    struct emitter w = {.out = out};
    emit_object(&w);
    emit_key(&w, "phase");
    emit_string(&w, p->phase ? p->phase : "activations");
    emit_key(&w, "documents");
    emit_int(&w, p->documents);
    emit_key(&w, "tokens");
    emit_int(&w, p->tokens);
    write_known(&w, "totalTokens", (double)p->total_tokens, p->total_tokens > 0);
    write_known(&w, "tokensPerSecond", p->tokens_per_second, p->tokens_per_second > 0.0);
    write_known(&w, "secondsLeft", p->seconds_left, p->seconds_left >= 0.0);
    if (p->readings > 1) {
        emit_key(&w, "reading");
        emit_int(&w, (long long)p->reading);
        emit_key(&w, "readings");
        emit_int(&w, (long long)p->readings);
    }
    if (p->source) {
        emit_key(&w, "source");
        emit_string(&w, p->source);
        emit_key(&w, "features");
        emit_int(&w, (long long)p->features);
        emit_key(&w, "ofFeatures");
        emit_int(&w, (long long)p->of_features);
    }
    if (p->of_evaluated) {
        emit_key(&w, "evaluated");
        emit_int(&w, p->evaluated);
        emit_key(&w, "ofEvaluated");
        emit_int(&w, p->of_evaluated);
    }
    emit_end_object(&w);
}
