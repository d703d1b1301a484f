/* Objects of Neuronpedia's database as JSON: every column is there, from our own tables, from an
 * imported line, or blank. */
#ifndef DM_API_RECORD_H
#define DM_API_RECORD_H

#include "core/base/json.h"
#include "server/http/emit.h"

#include <stdbool.h>
#include <stddef.h>

struct record_key {
    const char *name;
    const char *blank;                                    /* JSON, where nothing is known: "null" */
    void (*write)(struct emitter *w, const void *record); /* of our own; NULL: blank */
    bool is_ours;                                         /* written so for imported lines too */
};

/* The members of an object: from `line` if that is given, else from `record`. */
void record_write(struct emitter *w, const struct record_key *keys, size_t n, const void *record,
                  const cJSON *line);

/* A value as JSON; null for NULL. */
void record_value(struct emitter *w, const cJSON *value);

/* "17": an index is a string here. */
void record_index(struct emitter *w, long long index);

/* The time as "2026-02-03T04:05:06.789Z", into now; returns now. */
#define RECORD_TIME 40
const char *record_now(char now[RECORD_TIME]);

/* Members that have no value here: keys from the list, NULL-ended, each with the value `json`. */
void record_blank(struct emitter *w, const char *const *keys, const char *json);

#endif
