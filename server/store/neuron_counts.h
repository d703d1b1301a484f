/* What was counted of neurons: one opaque blob each, written together with how far it goes, so that
 * a run which ends anywhere goes on from there. */
#ifndef DM_STORE_NEURON_COUNTS_H
#define DM_STORE_NEURON_COUNTS_H

#include "server/store/store.h"

/* One turn at writing: begin, put for every neuron, end. end moves the source's mark in the corpus
 * to `documents` and commits; abandon takes all back. Other writes wait meanwhile. */
struct neuron_counts_writer;
int neuron_counts_begin(struct store *store, int64_t source, struct neuron_counts_writer **writer,
                        struct status *st);
int neuron_counts_put(struct neuron_counts_writer *writer, uint32_t number, const void *bytes,
                      size_t n, struct status *st);
int neuron_counts_end(struct neuron_counts_writer *writer, int64_t corpus, int64_t documents,
                      int64_t tokens, struct status *st);
void neuron_counts_abandon(struct neuron_counts_writer *writer);

/* Calls visit for every neuron of the source, by number; stops at its non-zero return and returns
 * it. The bytes are valid during the call. */
int neuron_counts_visit(struct store *store, int64_t source,
                        int (*visit)(void *user, uint32_t number, const void *bytes, size_t n,
                                     struct status *st),
                        void *user, struct status *st);

/* The documents that the source was run over, by corpus and number. */
struct neuron_document {
    int64_t corpus, number, text;
    size_t n_tokens;
};
int neuron_counts_documents(struct store *store, int64_t source,
                            int (*visit)(void *user, const struct neuron_document *document,
                                         struct status *st),
                            void *user, struct status *st);

/* Tokens that count in them. */
int neuron_counts_tokens(struct store *store, int64_t source, int64_t *tokens, struct status *st);

#endif
