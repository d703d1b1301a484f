#include "server/v1/fields.h"

#include "core/base/memory.h"

#include <ctype.h>
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

void fields_camel(const char *snake, char camel[FIELDS_NAME])
{
    size_t n = 0;
    for (const char *s = snake; *s && n + 1 < FIELDS_NAME; s++) {
        if (*s == '_' && s[1]) {
            camel[n++] = (char)toupper((unsigned char)*++s);
        } else {
            camel[n++] = *s;
        }
    }
    camel[n] = '\0';
}

const char *fields_kind(const cJSON *value)
{
    if (cJSON_IsArray(value)) {
        return "an array";
    }
    if (cJSON_IsObject(value)) {
        return "an object";
    }
    if (cJSON_IsString(value)) {
        return "a string";
    }
    if (cJSON_IsNumber(value)) {
        return "a number";
    }
    return cJSON_IsBool(value) ? "true or false" : "null";
}

const cJSON *fields_get(struct fields *f, const char *name)
{
    if (f->st.code) {
        return NULL;
    }
    char camel[FIELDS_NAME];
    fields_camel(name, camel);
    const cJSON *value = json_get(f->body, name);
    const cJSON *other = strcmp(name, camel) != 0 ? json_get(f->body, camel) : NULL;
    if (value && other && !cJSON_Compare(value, other, true)) {
        status_set(&f->st, STATUS_INVALID,
                   "%s: given again as %s with another value; send one of them", name, camel);
        return NULL;
    }
    return value ? value : other;
}

const cJSON *fields_need(struct fields *f, const char *name)
{
    const cJSON *value = fields_get(f, name);
    if (!value && !f->st.code) {
        status_set(&f->st, STATUS_UNPROCESSABLE, "%s: this field is missing", name);
    }
    return value;
}

static void wrong_type(struct fields *f, const char *name, const char *expected, const cJSON *value)
{
    status_set(&f->st, STATUS_UNPROCESSABLE, "%s: expected %s, found %s", name, expected,
               fields_kind(value));
}

const char *fields_string(struct fields *f, const char *name)
{
    const cJSON *value = fields_get(f, name);
    if (value && !cJSON_IsString(value)) {
        wrong_type(f, name, "a string", value);
        return NULL;
    }
    return value ? value->valuestring : NULL;
}

const cJSON *fields_array(struct fields *f, const char *name)
{
    const cJSON *value = fields_get(f, name);
    if (value && !cJSON_IsArray(value)) {
        wrong_type(f, name, "an array", value);
        return NULL;
    }
    return value;
}

bool fields_bool(struct fields *f, const char *name, bool fallback)
{
    const cJSON *value = fields_get(f, name);
    if (value && !cJSON_IsBool(value)) {
        wrong_type(f, name, "true or false", value);
        return fallback;
    }
    return value ? cJSON_IsTrue(value) : fallback;
}

bool fields_is_whole(const cJSON *value)
{
    return cJSON_IsNumber(value) && isfinite(value->valuedouble) &&
           value->valuedouble == floor(value->valuedouble);
}

long long fields_integer(struct fields *f, const char *name, long long low, long long high,
                         long long fallback)
{
    const cJSON *value = fields_get(f, name);
    if (!value) {
        return fallback;
    }
    if (!fields_is_whole(value)) {
        wrong_type(f, name, "a whole number", value);
        return fallback;
    }
    long long found;
    if (!json_integer(value, low, high, &found)) {
        status_set(&f->st, STATUS_INVALID, "%s: expected %lld to %lld, found %.15g", name, low,
                   high, value->valuedouble);
        return fallback;
    }
    return found;
}

double fields_number(struct fields *f, const char *name, double low, double high, double fallback)
{
    const cJSON *value = fields_get(f, name);
    if (!value) {
        return fallback;
    }
    if (!cJSON_IsNumber(value)) {
        wrong_type(f, name, "a number", value);
        return fallback;
    }
    if (!(value->valuedouble >= low && value->valuedouble <= high)) {
        status_set(&f->st, STATUS_INVALID, "%s: expected %.7g to %.7g, found %.15g", name, low,
                   high, value->valuedouble);
        return fallback;
    }
    return value->valuedouble;
}

uint64_t fields_seed(struct fields *f, const char *name)
{
    double seed = fields_number(f, name, -HUGE_VAL, HUGE_VAL, 0.0);
    if (seed == floor(seed) && fabs(seed) < 0x1p63) {
        return (uint64_t)(int64_t)seed;
    }
    uint64_t bits;
    memcpy(&bits, &seed, sizeof bits);
    return bits;
}

/* Decimal digits only: strtoull alone would take signs and blanks. */
static bool parse_index(const char *s, size_t count, size_t *index)
{
    size_t digits = strspn(s, "0123456789");
    if (digits == 0 || digits > 18 || s[digits]) {
        return false;
    }
    unsigned long long value = strtoull(s, NULL, 10);
    *index = (size_t)value;
    return value < count;
}

size_t fields_index(struct fields *f, const char *name, size_t count)
{
    const cJSON *value = fields_get(f, name);
    size_t index = 0;
    long long number;
    if (!value) {
        return 0;
    }
    if (!cJSON_IsString(value) && !fields_is_whole(value)) {
        wrong_type(f, name, "a whole number or a string of digits", value);
    } else if (cJSON_IsString(value)) {
        if (!parse_index(value->valuestring, count, &index)) {
            status_set(&f->st, STATUS_INVALID, "%s: expected 0 to %zu, found \"%.40s\"", name,
                       count - 1, value->valuestring);
        }
    } else if (json_integer(value, 0, (long long)count - 1, &number)) {
        index = (size_t)number;
    } else {
        status_set(&f->st, STATUS_INVALID, "%s: expected 0 to %zu, found %.15g", name, count - 1,
                   value->valuedouble);
    }
    return f->st.code ? 0 : index;
}

float *fields_floats(struct fields *f, const char *name, size_t *n)
{
    *n = 0;
    const cJSON *array = fields_array(f, name);
    if (!array) {
        return NULL;
    }
    size_t count = (size_t)cJSON_GetArraySize(array);
    float *values = memory_alloc(count, sizeof *values);
    if (!values) {
        status_no_memory(&f->st, count * sizeof *values);
        return NULL;
    }
    for (const cJSON *item = array->child; item; item = item->next) {
        float value = (float)item->valuedouble;
        if (!cJSON_IsNumber(item)) {
            status_set(&f->st, STATUS_UNPROCESSABLE, "%s[%zu]: expected a number, found %s", name,
                       *n, fields_kind(item));
        } else if (!isfinite(value)) {
            status_set(&f->st, STATUS_INVALID, "%s[%zu]: %.15g does not fit float32", name, *n,
                       item->valuedouble);
        }
        if (f->st.code) {
            memory_free(values);
            return NULL;
        }
        values[(*n)++] = value;
    }
    return values;
}

void fields_model(struct fields *f)
{
    (void)fields_string(f, "model");
}
