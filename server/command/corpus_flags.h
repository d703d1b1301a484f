/* What the flags say of the corpora that index, evaluate and collect read. */
#ifndef DM_COMMAND_CORPUS_FLAGS_H
#define DM_COMMAND_CORPUS_FLAGS_H

#include "server/command/options.h"
#include "server/work/corpus.h"

/* How the corpus at `path` is read (NULL: set later); its notices go to stderr. */
struct corpus_options corpus_flags_options(const struct options *options, const char *path);

/* Appends what it is called: --name, else by its path. */
void corpus_flags_name(const struct options *options, const char *path, struct text *out);

#endif
