#include "server/work/import_record.h"

#include "core/base/hash.h"
#include "core/base/memory.h"
#include "core/base/text.h"

#include <stdio.h>
#include <string.h>

/* --- fields ----------------------------------------------------------------------------------- */

static int wrong_type(const char *name, const char *key, const char *expected, struct status *st)
{
    return status_set(st, STATUS_UNPROCESSABLE, "%s: %s: expected %s", name, key, expected);
}

/* A string that may be absent or null, then "". */
static int optional_string(const cJSON *root, const char *key, const char *name, const char **out,
                           struct status *st)
{
    const cJSON *value = json_get(root, key);
    *out = value ? cJSON_GetStringValue(value) : "";
    return *out ? STATUS_OK : wrong_type(name, key, "a string", st);
}

static int needed_string(const cJSON *root, const char *key, const char *name, const char **out,
                         struct status *st)
{
    *out = cJSON_GetStringValue(json_get(root, key));
    return *out && **out ? STATUS_OK : wrong_type(name, key, "a string that is not empty", st);
}

/* An index is a number in SAEDashboard's files and a string in those of the database. */
static int read_index(const cJSON *root, const char *name, int64_t *index, struct status *st)
{
    const cJSON *value = json_get(root, "index");
    const char *digits = cJSON_GetStringValue(value);
    long long number = 0;
    bool good = !digits && json_integer(value, 0, UINT32_MAX, &number);
    if (digits && *digits && strspn(digits, "0123456789") == strlen(digits)) {
        for (; *digits && number <= UINT32_MAX; digits++) {
            number = number * 10 + (*digits - '0');
        }
        good = number <= UINT32_MAX;
    }
    *index = number;
    return good ? STATUS_OK
                : wrong_type(name, "index",
                             "a whole number from 0 to 4294967295, or a string of one", st);
}

/* A list that may be absent or null; its elements as `is` says. null stands for NaN in numbers. */
static int check_list(const cJSON *root, const char *key, bool numbers, const char *name, size_t *n,
                      struct status *st)
{
    const cJSON *list = json_get(root, key);
    const char *expected = numbers ? "a list of numbers" : "a list of strings";
    *n = 0;
    if (list && !cJSON_IsArray(list)) {
        return wrong_type(name, key, expected, st);
    }
    for (const cJSON *e = list ? list->child : NULL; e; e = e->next, (*n)++) {
        if (numbers ? !cJSON_IsNumber(e) && !cJSON_IsNull(e) : !cJSON_IsString(e)) {
            return wrong_type(name, key, expected, st);
        }
    }
    return STATUS_OK;
}

/* The id of the line, or one made from what it says. */
static int read_id(struct import_record *r, const char *bytes, size_t n, const char *name,
                   const char **id, struct status *st)
{
    int code = optional_string(r->root, "id", name, id, st);
    if (!code && **id == '\0') {
        struct hash h = hash_start();
        char hex[HASH_HEX];
        hash_add(&h, bytes, n);
        hash_hex(h, hex);
        (void)snprintf(r->id, sizeof r->id, "line-%s", hex);
        *id = r->id;
    }
    return code;
}

/* --- kinds ------------------------------------------------------------------------------------ */

static bool has_any(const cJSON *root, const char *const *keys)
{
    for (; *keys; keys++) {
        if (cJSON_GetObjectItemCaseSensitive(root, *keys)) {
            return true;
        }
    }
    return false;
}

static int kind_of(const cJSON *root, const char *name, enum import_kind *kind, struct status *st)
{
    static const char *const description[] = {"description", NULL};
    static const char *const explanation[] = {"typeName", "explanationModelName", NULL};
    static const char *const activation[] = {"tokens", "values", "maxValueTokenIndex", NULL};
    static const char *const place[] = {"layer", "index", NULL};
    static const char *const feature[] = {
        "pos_str", "neg_str", "frac_nonzero", "maxActApprox", "freq_hist_data_bar_heights", NULL};
    static const char *const other[] = {"id", "name", "modelId", NULL};
    if (!cJSON_IsObject(root)) {
        return status_set(st, STATUS_UNPROCESSABLE, "%s: expected a JSON object", name);
    }
    if (has_any(root, explanation) || (has_any(root, description) && has_any(root, place))) {
        *kind = IMPORT_EXPLANATION;
    } else if (has_any(root, activation)) {
        *kind = IMPORT_ACTIVATION;
    } else if (has_any(root, feature) || has_any(root, place)) {
        *kind = IMPORT_FEATURE;
    } else if (has_any(root, other)) {
        *kind = IMPORT_OTHER;
    } else {
        return status_set(
            st, STATUS_UNPROCESSABLE,
            "%s: expected an explanation, a feature or an activation of Neuronpedia's "
            "export, found none of their keys",
            name);
    }
    return STATUS_OK;
}

static bool is_blank(const char *s)
{
    return s[strspn(s, " \t\r\n")] == '\0';
}

/* What has no column of its own is kept as JSON; the embedding, nine tenths of the bytes, is not.
 */
static int take_other(struct import_record *r, struct status *st)
{
    static const char *const columns[] = {
        "id",          "modelId",   "layer",     "index",
        "description", "authorId",  "typeName",  "explanationModelName",
        "notes",       "createdAt", "embedding", NULL};
    cJSON *rest = cJSON_CreateObject();
    if (!rest) {
        return status_no_memory(st, sizeof *rest);
    }
    cJSON_DeleteItemFromObjectCaseSensitive(r->root, "embedding");
    cJSON *next;
    struct text out = {0};
    for (cJSON *e = r->root->child; e; e = next) {
        next = e->next;
        bool known = false;
        for (const char *const *c = columns; *c && !known; c++) {
            known = strcmp(*c, e->string) == 0;
        }
        if (!known) {
            (void)cJSON_AddItemToObject(rest, e->string, cJSON_DetachItemViaPointer(r->root, e));
        }
    }
    char *printed = rest->child ? cJSON_PrintUnformatted(rest) : NULL;
    bool failed = rest->child && !printed;
    text_string(&out, printed ? printed : "");
    cJSON_free(printed);
    cJSON_Delete(rest);
    r->owned = text_take(&out, NULL);
    r->explanation.other = r->owned;
    return failed || !r->owned ? status_no_memory(st, 64) : STATUS_OK;
}

static int read_explanation(struct import_record *r, const char *name, struct status *st)
{
    struct store_explanation *e = &r->explanation;
    const cJSON *root = r->root;
    if (needed_string(root, "modelId", name, &e->model, st) ||
        needed_string(root, "layer", name, &e->source, st) ||
        read_index(root, name, &e->index, st) ||
        optional_string(root, "description", name, &e->description, st) ||
        optional_string(root, "authorId", name, &e->author, st) ||
        optional_string(root, "typeName", name, &e->type_name, st) ||
        optional_string(root, "explanationModelName", name, &e->explainer, st) ||
        optional_string(root, "notes", name, &e->notes, st) ||
        optional_string(root, "createdAt", name, &e->created_at, st)) {
        return (int)st->code;
    }
    if (is_blank(e->description)) {
        r->kind = IMPORT_EMPTY;
        return STATUS_OK;
    }
    struct text content = {0};
    text_printf(&content, "%s\n%s\n%lld\n%s\n%s\n%s", e->model, e->source, (long long)e->index,
                e->type_name, e->explainer, e->description);
    int code = content.failed ? status_no_memory(st, strlen(e->description))
                              : read_id(r, content.data, content.length, name, &e->id, st);
    text_free(&content);
    e->origin = "imported";
    return code ? code : take_other(r, st);
}

static int check_feature(const cJSON *root, const char *name, struct status *st)
{
    static const char *const strings[] = {"pos_str", "neg_str", NULL};
    static const char *const numbers[] = {"pos_values",
                                          "neg_values",
                                          "freq_hist_data_bar_heights",
                                          "freq_hist_data_bar_values",
                                          "logits_hist_data_bar_heights",
                                          "logits_hist_data_bar_values",
                                          NULL};
    static const char *const scalars[] = {"frac_nonzero", "maxActApprox", NULL};
    size_t n;
    for (const char *const *key = strings; *key; key++) {
        if (check_list(root, *key, false, name, &n, st)) {
            return (int)st->code;
        }
    }
    for (const char *const *key = numbers; *key; key++) {
        if (check_list(root, *key, true, name, &n, st)) {
            return (int)st->code;
        }
    }
    for (const char *const *key = scalars; *key; key++) {
        const cJSON *value = json_get(root, *key);
        if (value && !cJSON_IsNumber(value)) {
            return wrong_type(name, *key, "a number", st);
        }
    }
    return STATUS_OK;
}

static int check_activation(const cJSON *root, const char *name, struct status *st)
{
    size_t tokens, values;
    if (check_list(root, "tokens", false, name, &tokens, st) ||
        check_list(root, "values", true, name, &values, st)) {
        return (int)st->code;
    }
    if (tokens == 0 || tokens != values) {
        return status_set(st, STATUS_UNPROCESSABLE,
                          "%s: expected as many tokens as values, at least one, found %zu and %zu",
                          name, tokens, values);
    }
    return STATUS_OK;
}

/* Kept as it came, a byte order mark excepted. */
static int read_line(struct import_record *r, const char *bytes, size_t n, const char *name,
                     struct status *st)
{
    struct store_imported *line = &r->line;
    if (needed_string(r->root, "modelId", name, &line->model, st) ||
        needed_string(r->root, "layer", name, &line->source, st) ||
        read_index(r->root, name, &line->index, st) ||
        (r->kind == IMPORT_FEATURE ? check_feature(r->root, name, st)
                                   : check_activation(r->root, name, st)) ||
        (r->kind == IMPORT_ACTIVATION && read_id(r, bytes, n, name, &line->id, st))) {
        return (int)st->code;
    }
    r->owned = memory_string_n(bytes, n);
    line->line = r->owned;
    return r->owned ? STATUS_OK : status_no_memory(st, n);
}

/* Reading an embedding takes longer than all the rest, so its numbers are cut out beforehand where
 * they are plain: a list of numbers, or a string of one. A quote inside a string has a backslash in
 * front, so what is found is a key. *copy has the line with null there, or nothing if there was no
 * such key. */
static void cut_embedding(const char *bytes, size_t n, struct text *copy)
{
    static const char key[] = "\"embedding\"";
    const char *end = bytes + n;
    const char *at = memmem(bytes, n, key, sizeof key - 1);
    if (!at || at == bytes || at[-1] == '\\') {
        return;
    }
    at += sizeof key - 1;
    while (at < end && (*at == ' ' || *at == ':')) {
        at++;
    }
    const char *from = at;
    bool quoted = at < end && *at == '"';
    at += quoted;
    if (at == end || *at++ != '[') {
        return;
    }
    static const bool plain[256] = {
        ['0'] = true, ['1'] = true, ['2'] = true, ['3'] = true, ['4'] = true, ['5'] = true,
        ['6'] = true, ['7'] = true, ['8'] = true, ['9'] = true, ['+'] = true, ['-'] = true,
        ['.'] = true, ['e'] = true, ['E'] = true, [','] = true, [' '] = true};
    while (at < end && plain[(unsigned char)*at]) {
        at++;
    }
    if ((size_t)(end - at) < 1u + quoted || *at != ']' || (quoted && at[1] != '"')) {
        return;
    }
    at += 1 + quoted;
    text_append(copy, bytes, (size_t)(from - bytes));
    text_string(copy, "null");
    text_append(copy, at, (size_t)(end - at));
}

static int parse(cJSON **root, const char *bytes, size_t n, const char *name, struct status *st)
{
    struct text copy = {0};
    cut_embedding(bytes, n, &copy);
    int code = copy.failed   ? status_no_memory(st, n)
               : copy.length ? json_parse(root, copy.data, copy.length, name, st)
                             : json_parse(root, bytes, n, name, st);
    text_free(&copy);
    return code;
}

int import_record_read(struct import_record *record, const char *bytes, size_t n, const char *name,
                       struct status *st)
{
    *record = (struct import_record){.kind = IMPORT_OTHER};
    if (n >= 3 && memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) {
        bytes += 3;
        n -= 3;
    }
    size_t blank = 0;
    while (blank < n && strchr(" \t\r", bytes[blank]) && bytes[blank]) {
        blank++;
    }
    if (blank == n) {
        return STATUS_OK;
    }
    int code = parse(&record->root, bytes, n, name, st);
    code = code ? code : kind_of(record->root, name, &record->kind, st);
    if (!code && record->kind == IMPORT_EXPLANATION) {
        code = read_explanation(record, name, st);
    } else if (!code && record->kind != IMPORT_OTHER) {
        code = read_line(record, bytes, n, name, st);
    }
    if (code || record->kind < IMPORT_EXPLANATION) {
        import_record_free(record);
    }
    return code;
}

void import_record_free(struct import_record *record)
{
    cJSON_Delete(record->root);
    memory_free(record->owned);
    record->root = NULL;
    record->owned = NULL;
}
