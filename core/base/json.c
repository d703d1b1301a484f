#include "core/base/json.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Looks for what cJSON would accept or lose without a word: deep nesting and U+0000. */
static int scan(const char *bytes, size_t n, const char *name, struct status *st)
{
    int depth = 0;
    bool in_string = false;
    for (size_t i = 0; i < n; i++) {
        char c = bytes[i];
        if (c == '\0') {
            return status_set(st, STATUS_INVALID, "%s: byte %zu is U+0000, which is not accepted",
                              name, i);
        }
        if (in_string) {
            if (c == '\\') {
                if (n - i > 5 && memcmp(bytes + i + 1, "u0000", 5) == 0) {
                    return status_set(st, STATUS_INVALID,
                                      "%s: byte %zu is the escape \\u0000 (U+0000), which is not "
                                      "accepted in a string; remove it",
                                      name, i);
                }
                i++;
            } else if (c == '"') {
                in_string = false;
            }
        } else if (c == '"') {
            in_string = true;
        } else if (c == '{' || c == '[') {
            if (++depth > JSON_NESTING_LIMIT) {
                return status_set(st, STATUS_INVALID, "%s: nested deeper than %d levels", name,
                                  JSON_NESTING_LIMIT);
            }
        } else if (c == '}' || c == ']') {
            depth--;
        }
    }
    return STATUS_OK;
}

static int compare_keys(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* Sorted, so that a hostile object of many keys costs n log n and not n squared. */
static int duplicate_in(const cJSON *object, const char *name, struct status *st)
{
    size_t n = (size_t)cJSON_GetArraySize(object);
    const char **keys = memory_alloc(n, sizeof *keys);
    if (!keys) {
        return status_no_memory(st, n * sizeof *keys);
    }
    size_t i = 0;
    for (const cJSON *child = object->child; child; child = child->next) {
        keys[i++] = child->string;
    }
    qsort(keys, n, sizeof *keys, compare_keys);
    int code = STATUS_OK;
    for (i = 1; i < n && code == STATUS_OK; i++) {
        if (strcmp(keys[i - 1], keys[i]) == 0) {
            code = status_set(st, STATUS_INVALID,
                              "%s: the key \"%.80s\" stands twice in one object", name, keys[i]);
        }
    }
    memory_free(keys);
    return code;
}

static int duplicate_key(const cJSON *node, const char *name, struct status *st)
{
    int code = cJSON_IsObject(node) && node->child ? duplicate_in(node, name, st) : STATUS_OK;
    for (const cJSON *child = node->child; child && code == STATUS_OK; child = child->next) {
        if (child->child) {
            code = duplicate_key(child, name, st);
        }
    }
    return code;
}

static int syntax_error(const char *bytes, const char *where, const char *name, struct status *st)
{
    size_t line = 1;
    const char *start = bytes;
    for (const char *p = bytes; p < where; p++) {
        if (*p == '\n') {
            line++;
            start = p + 1;
        }
    }
    return status_set(st, STATUS_INVALID, "%s: not valid JSON at line %zu, column %zu", name, line,
                      (size_t)(where - start) + 1);
}

int json_parse(cJSON **root, const char *bytes, size_t n, const char *name, struct status *st)
{
    *root = NULL;
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) { /* a byte order mark */
        bytes += 3;
        n -= 3;
    }
    size_t valid = text_utf8_valid(bytes, n);
    if (valid < n) {
        return status_set(st, STATUS_INVALID, "%s: byte %zu is not valid UTF-8", name, valid);
    }
    int code = scan(bytes, n, name, st);
    if (code) {
        return code;
    }
    const char *end = NULL;
    cJSON *tree = cJSON_ParseWithLengthOpts(bytes, n, &end, false);
    if (!tree) {
        return syntax_error(bytes, end ? end : bytes, name, st);
    }
    for (; end < bytes + n; end++) {
        if (!strchr(" \t\r\n", *end)) {
            cJSON_Delete(tree);
            return syntax_error(bytes, end, name, st);
        }
    }
    code = duplicate_key(tree, name, st);
    if (code) {
        cJSON_Delete(tree);
        return code;
    }
    *root = tree;
    return STATUS_OK;
}

int json_parse_file(cJSON **root, const char *path, size_t limit, struct status *st)
{
    *root = NULL;
    struct mapped_file file;
    int code = mapped_file_open(&file, path, st);
    if (code) {
        return code;
    }
    if (file.size > limit) {
        code = status_set(st, STATUS_CORRUPT, "%s: expected at most %zu bytes, found %zu", path,
                          limit, file.size);
    } else {
        code = json_parse(root, file.data ? (const char *)file.data : "", file.size, path, st);
    }
    if (code == STATUS_OK && (code = mapped_file_check(&file, st))) {
        cJSON_Delete(*root);
        *root = NULL;
    }
    mapped_file_close(&file);
    return code;
}

const cJSON *json_get(const cJSON *object, const char *key)
{
    const cJSON *item = cJSON_GetObjectItemCaseSensitive(object, key);
    return item && !cJSON_IsNull(item) ? item : NULL;
}

bool json_integer(const cJSON *value, long long low, long long high, long long *out)
{
    if (!cJSON_IsNumber(value)) {
        return false;
    }
    double d = value->valuedouble;
    if (!(d >= -9223372036854775808.0 && d < 9223372036854775808.0) ||
        d != floor(d)) { /* what long long holds */
        return false;
    }
    long long n = (long long)d;
    if (n < low || n > high) {
        return false;
    }
    *out = n;
    return true;
}
