/* What collector.c (contexts through the model), collector_shard.c (one file) and collector_index.c
 * (index.json) share. */
#ifndef DM_WORK_COLLECTOR_PRIVATE_H
#define DM_WORK_COLLECTOR_PRIVATE_H

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/text.h"
#include "server/work/collector.h"

/* --- a shard that is being filled ------------------------------------------------------------- */

/* The rows of one read. */
struct collector_column {
    char name[48];
    size_t width;
    int n_dims; /* of the tensor; 0 until there is a row */
    size_t shape[3];
    unsigned char *data; /* [capacity, width] of the dtype */
    size_t bytes;
};

struct collector_shard {
    const struct collector *c;
    struct collector_column *columns; /* [n_reads] */
    int64_t *documents;               /* [capacity] of each row, and so on */
    int32_t *tokens, *positions;
    unsigned char *bos;
    size_t n, capacity, row_bytes;
};

int collector_shard_open(struct collector_shard *shard, const struct collector *c,
                         struct status *st);
void collector_shard_close(struct collector_shard *shard); /* safe on a zeroed struct */

/* Whether a context of n rows more would go beyond the size of a shard. */
bool collector_shard_is_full(const struct collector_shard *shard, size_t n);

/* One context and its reads, in the order of the columns. */
int collector_shard_add(struct collector_shard *shard, int64_t document,
                        const struct engine_prompt *prompt, struct status *st);

/* Writes the file; the shard is empty afterwards. */
int collector_shard_write(struct collector_shard *shard, const char *path, uint64_t *bytes,
                          struct status *st);

/* --- index.json ------------------------------------------------------------------------------- */

struct collector_entry {
    int64_t first_document, documents, rows;
    int64_t tokens; /* counted ones */
    uint64_t bytes;
    char ids[HASH_HEX]; /* hash of the ids of all contexts up to the shard's end */
};

struct collector_index {
    struct collector_entry *entries; /* [n] */
    size_t n, capacity;
    bool complete; /* the corpus was read to its end */
};

/* Reads OUT/index.json, if it is there, and compares its settings. */
int collector_index_read(struct collector_index *index, const struct collector *c,
                         struct status *st);
int collector_index_add(struct collector_index *index, const struct collector_entry *entry,
                        struct status *st);
int collector_index_write(const struct collector_index *index, const struct collector *c,
                          struct status *st);

/* "shard-00017.safetensors" */
#define COLLECTOR_NAME 48
void collector_shard_name(size_t number, char name[COLLECTOR_NAME]);

#endif
