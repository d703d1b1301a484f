/* The fields of a request body, in snake_case or camelCase, with their types.
 *
 * Names are given in snake_case here; "source_set" also finds "sourceSet". Both at once are fine
 * when they say the same, STATUS_INVALID otherwise. null counts as absent. The first thing wrong
 * stays in `st` and every later call does nothing, so that a handler reads all its fields and looks
 * once: a missing field or a wrong type is STATUS_UNPROCESSABLE (422), a value that cannot be used
 * STATUS_INVALID (400), and every message begins with the field's name. */
#ifndef DM_V1_FIELDS_H
#define DM_V1_FIELDS_H

#include "core/base/json.h"
#include "core/base/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Start with `struct fields f = {.body = object};` (borrowed; results point into it). */
struct fields {
    const cJSON *body;
    struct status st;
};

#define FIELDS_NAME 64 /* room for a name, with the NUL */

/* "max_value_index" -> "maxValueIndex". */
void fields_camel(const char *snake, char camel[FIELDS_NAME]);

/* "an array", "a string", ...: for messages. */
const char *fields_kind(const cJSON *value);

/* True for a number without a fraction: 5 and 5.0. */
bool fields_is_whole(const cJSON *value);

/* The value of any type; NULL if it is absent or something was wrong before. */
const cJSON *fields_get(struct fields *f, const char *name);

/* The same for a field that must be there. */
const cJSON *fields_need(struct fields *f, const char *name);

/* NULL or the fallback where the field is absent (use fields_need before if it must not be). */
const char *fields_string(struct fields *f, const char *name);
const cJSON *fields_array(struct fields *f, const char *name);
bool fields_bool(struct fields *f, const char *name, bool fallback);

/* A whole number (5.0 is one); outside low..high it is STATUS_INVALID with both in the message. */
long long fields_integer(struct fields *f, const char *name, long long low, long long high,
                         long long fallback);

/* Any number in low..high, likewise. */
double fields_number(struct fields *f, const char *name, double low, double high, double fallback);

/* The seed of a generator: any number will do, its bits are mixed anyway. 0 where it is absent. */
uint64_t fields_seed(struct fields *f, const char *name);

/* An index, which Neuronpedia's clients send as "12082" or as 12082: 0..count-1. */
size_t fields_index(struct fields *f, const char *name, size_t count);

/* A list of finite numbers that fit float32 -> memory_alloc'd [*n], the caller's; NULL if absent or
 * wrong. */
float *fields_floats(struct fields *f, const char *name, size_t *n);

/* `model` is advisory here: any name will do, a number will not. */
void fields_model(struct fields *f);

#endif
