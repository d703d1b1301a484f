/* Corpus files of any content, compressed or not: contexts of valid ids and at most the length
 * asked for, packed or not, or an error that says something. */
#include "server/work/corpus.h"
#include "tests/engine_fixture.h"
#include "tests/fuzz/file.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void read_all(const struct engine *e, const struct corpus_options *o)
{
    struct corpus *corpus;
    struct corpus_context context;
    struct status st = {0};
    int64_t counted = 0;
    bool found = true;
    int code = corpus_open(&corpus, e, o, &st);
    while (!code && found && !(code = corpus_next(corpus, &context, &found, &st)) && found) {
        counted += context.counted;
        if (context.n == 0 || context.n > engine_config(e)->max_positions || context.line < 1) {
            abort();
        }
        for (size_t i = 0; i < context.n; i++) {
            if (context.ids[i] < 0 || (size_t)context.ids[i] >= engine_config(e)->vocab_size) {
                abort();
            }
        }
    }
    if (!code && corpus_figures(corpus).tokens != counted) {
        abort();
    }
    if (code && !st.message[0]) {
        abort();
    }
    corpus_close(corpus);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct engine *e;
    struct status st;
    if (!e &&
        engine_open(
            &e, &(struct engine_options){.model = "demo", .tokenizer_only = false, .threads = 1},
            &st)) {
        abort();
    }
    struct corpus_options o = {.path = fuzz_file(data, size), .context = 16};
    read_all(e, &o);
    o.whole_documents = true;
    o.keep_duplicates = true;
    o.limit_tokens = 40;
    read_all(e, &o);
    return 0;
}
