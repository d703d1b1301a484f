/* A corpus as the contexts that are indexed: documents are read, repeated ones left out, turned
 * into tokens, and cut.
 *
 * A line is {"text": "..."} or {"tokens": [ids]}; other fields are ignored, blank lines and empty
 * texts too. Packed (the default), the tokens of all documents follow one another without a mark
 * between them and are cut into contexts of <bos> and context-1 tokens, the last one shorter; not
 * packed, each document is cut on its own. <bos> is never inside: where a text says it, it is left
 * out. A {"tokens"} line is a context of its own, exactly as given. The same files and settings
 * give the same contexts. */
#ifndef DM_WORK_CORPUS_H
#define DM_WORK_CORPUS_H

#include "core/base/text.h"
#include "core/engine.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct corpus;

struct corpus_options {
    const char *path;         /* see lines.h; NULL: the texts below */
    const char *const *texts; /* [n_texts], borrowed until corpus_close */
    size_t n_texts;
    size_t context;       /* tokens, <bos> among them: 2 .. the model's positions */
    bool whole_documents; /* not packed */
    bool keep_duplicates;
    int64_t limit_tokens; /* stop before a context that would count more; 0: none */
    /* Called for the first CORPUS_NAMED lines that cannot be used; may be NULL. */
    void (*notice)(void *user, const char *line);
    void *notice_user;
};

enum { CORPUS_NAMED = 10 };

struct corpus_context {
    const int32_t *ids; /* [n], until the next call */
    size_t n;
    int64_t line;    /* of the corpus, from 1: where the first token comes from */
    int64_t counted; /* tokens that statistics count */
};

struct corpus_figures {
    int64_t lines, wrong, duplicates; /* of the input */
    int64_t contexts, tokens;         /* given; counted tokens */
};

/* The engine is borrowed. */
int corpus_open(struct corpus **out, const struct engine *engine,
                const struct corpus_options *options, struct status *st);

/* *found is false behind the last context. A line that cannot be used is counted and left out; a
 * file that cannot be read is an error. */
int corpus_next(struct corpus *corpus, struct corpus_context *out, bool *found, struct status *st);

struct corpus_figures corpus_figures(const struct corpus *corpus);

/* Tokens that there will be, by how much of the files was read so far; 0 where unknown. */
int64_t corpus_estimate(const struct corpus *corpus);

void corpus_close(struct corpus *corpus); /* NULL is fine */

/* Appends the settings that make the same files another corpus, as canonical JSON:
 * {"context":128,"pack":true,"keep_duplicates":false,"bos":true} */
void corpus_settings(const struct engine *engine, const struct corpus_options *options,
                     struct text *out);

/* Appends the name a path has when none is given: "stdin", or its last part. */
void corpus_name(const char *path, struct text *out);

#endif
