/* index.json of a folder of shards: what was collected, how, and which files hold it. */
#include "core/base/memory.h"
#include "core/base/new_file.h"
#include "server/http/emit.h"
#include "server/work/collector_private.h"

#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define LIMIT ((size_t)256 << 20) /* bytes of index.json */

void collector_shard_name(size_t number, char name[COLLECTOR_NAME])
{
    (void)snprintf(name, COLLECTOR_NAME, "shard-%05zu.safetensors", number);
}

static int path_of(const struct collector *c, struct text *path, struct status *st)
{
    text_printf(path, "%s/index.json", c->out);
    return path->failed ? status_no_memory(st, 256) : STATUS_OK;
}

/* --- writing ---------------------------------------------------------------------------------- */

static void write_reads(struct emitter *w, const struct collector *c)
{
    emit_key(w, "reads");
    emit_array(w);
    for (size_t i = 0; i < c->n_reads; i++) {
        char name[48];
        const struct collector_read *r = &c->reads[i];
        (void)snprintf(name, sizeof name, point_has_layer(r->point) ? "%s.%d" : "%s",
                       point_name(r->point), r->layer);
        emit_string(w, name);
    }
    emit_end_array(w);
}

static void write_corpora(struct emitter *w, const struct collector *c)
{
    emit_key(w, "corpora");
    emit_array(w);
    for (size_t i = 0; i < c->n_corpora; i++) {
        struct text name = {0};
        corpus_name(c->corpora[i], &name);
        emit_string(w, name.data ? name.data : "");
        w->out->failed = w->out->failed || name.failed;
        text_free(&name);
    }
    emit_end_array(w);
}

/* What must be the same for a run to go on in the folder. */
static void write_settings(struct emitter *w, const struct collector *c)
{
    char identity[HASH_HEX];
    struct text cut = {0};
    hash_hex(engine_model_identity(c->engine), identity);
    emit_key(w, "model");
    emit_string(w, engine_model_id(c->engine));
    emit_key(w, "identity");
    emit_string(w, identity);
    write_corpora(w, c);
    emit_key(w, "contexts");
    corpus_settings(c->engine, &c->corpus, &cut);
    emit_raw(w, cut.data ? cut.data : "null", cut.data ? cut.length : 4);
    w->out->failed = w->out->failed || cut.failed;
    text_free(&cut);
    write_reads(w, c);
    emit_key(w, "dtype");
    emit_string(w, dtype_name(c->dtype));
    emit_key(w, "shard_size");
    emit_int(w, (long long)(c->shard_bytes ? c->shard_bytes : COLLECTOR_SHARD));
}

static void write_entries(struct emitter *w, const struct collector_index *index)
{
    emit_key(w, "shards");
    emit_array(w);
    for (size_t i = 0; i < index->n; i++) {
        const struct collector_entry *e = &index->entries[i];
        char name[COLLECTOR_NAME];
        collector_shard_name(i, name);
        emit_object(w);
        emit_key(w, "file");
        emit_string(w, name);
        emit_key(w, "first_document");
        emit_int(w, e->first_document);
        emit_key(w, "documents");
        emit_int(w, e->documents);
        emit_key(w, "rows");
        emit_int(w, e->rows);
        emit_key(w, "counted");
        emit_int(w, e->tokens);
        emit_key(w, "bytes");
        emit_int(w, (long long)e->bytes);
        emit_key(w, "ids");
        emit_string(w, e->ids);
        emit_end_object(w);
    }
    emit_end_array(w);
}

int collector_index_write(const struct collector_index *index, const struct collector *c,
                          struct status *st)
{
    struct text json = {0}, path = {0};
    struct emitter w = {.out = &json};
    struct new_file file;
    emit_object(&w);
    write_settings(&w, c);
    emit_key(&w, "limit_tokens");
    emit_int(&w, c->corpus.limit_tokens);
    emit_key(&w, "complete");
    emit_bool(&w, index->complete);
    write_entries(&w, index);
    emit_end_object(&w);
    text_char(&json, '\n');
    int code = json.failed ? status_no_memory(st, json.capacity) : path_of(c, &path, st);
    code = code ? code : new_file_open(&file, path.data, st);
    if (!code) {
        code = new_file_end(&file, new_file_write(&file, json.data, json.length, st), st);
    }
    text_free(&json);
    text_free(&path);
    return code;
}

/* --- reading ---------------------------------------------------------------------------------- */

static int differ(const struct collector *c, const cJSON *wanted, const cJSON *found,
                  struct status *st)
{
    char *expected = cJSON_PrintUnformatted(found), *now = cJSON_PrintUnformatted(wanted);
    int code =
        status_set(st, STATUS_INVALID,
                   "%s/index.json: %s: the folder was begun with %.200s, and this run has "
                   "%.200s: give it a folder of its own",
                   c->out, wanted->string, expected ? expected : "nothing", now ? now : "nothing");
    cJSON_free(expected);
    cJSON_free(now);
    return code;
}

static int compare_settings(const struct collector *c, const cJSON *root, struct status *st)
{
    struct text json = {0};
    struct emitter w = {.out = &json};
    cJSON *wanted = NULL;
    emit_object(&w);
    write_settings(&w, c);
    emit_end_object(&w);
    int code = json.failed ? status_no_memory(st, json.capacity)
                           : json_parse(&wanted, json.data, json.length, "settings", st);
    for (const cJSON *item = wanted ? wanted->child : NULL; item && !code; item = item->next) {
        const cJSON *found = json_get(root, item->string);
        code = found && cJSON_Compare(item, found, true) ? STATUS_OK : differ(c, item, found, st);
    }
    cJSON_Delete(wanted);
    text_free(&json);
    return code;
}

/* Entry i, which must begin where the one before ended. */
static bool read_entry(const struct collector_index *index, const cJSON *item,
                       struct collector_entry *e)
{
    const struct collector_entry *last = index->n ? &index->entries[index->n - 1] : NULL;
    long long first = 0, documents = 0, rows = 0, tokens = 0, bytes = 0;
    char name[COLLECTOR_NAME];
    collector_shard_name(index->n, name);
    const char *file = cJSON_GetStringValue(json_get(item, "file"));
    const char *ids = cJSON_GetStringValue(json_get(item, "ids"));
    bool sound = file && strcmp(file, name) == 0 &&
                 json_integer(json_get(item, "first_document"), 0, 1LL << 53, &first) &&
                 json_integer(json_get(item, "documents"), 1, 1LL << 53, &documents) &&
                 json_integer(json_get(item, "rows"), 1, 1LL << 53, &rows) &&
                 json_integer(json_get(item, "counted"), 0, 1LL << 53, &tokens) &&
                 json_integer(json_get(item, "bytes"), 1, 1LL << 53, &bytes) && ids &&
                 strlen(ids) == HASH_HEX - 1 &&
                 first == (last ? last->first_document + last->documents : 0);
    (void)snprintf(e->ids, sizeof e->ids, "%s", ids ? ids : "");
    e->first_document = first;
    e->documents = documents;
    e->rows = rows;
    e->tokens = tokens;
    e->bytes = (uint64_t)bytes;
    return sound;
}

static bool is_there(const struct collector *c, size_t number, const struct collector_entry *e)
{
    char name[COLLECTOR_NAME];
    struct text path = {0};
    struct stat file;
    collector_shard_name(number, name);
    text_printf(&path, "%s/%s", c->out, name);
    bool there = !path.failed && stat(path.data, &file) == 0 && (uint64_t)file.st_size == e->bytes;
    text_free(&path);
    return there;
}

/* *all: every file is there and as long as it was. Those from the first that is not are left out,
 * to be made again. */
static int read_entries(struct collector_index *index, const struct collector *c, const cJSON *root,
                        bool *all, struct status *st)
{
    const cJSON *item;
    *all = true;
    cJSON_ArrayForEach(item, json_get(root, "shards"))
    {
        struct collector_entry e = {0};
        if (!read_entry(index, item, &e)) {
            return status_set(st, STATUS_CORRUPT,
                              "%s/index.json: shards: entry %zu is not what was written there; "
                              "remove the folder and begin anew",
                              c->out, index->n);
        }
        *all = is_there(c, index->n, &e);
        int code = *all ? collector_index_add(index, &e, st) : STATUS_OK;
        if (code || !*all) {
            return code;
        }
    }
    return STATUS_OK;
}

int collector_index_read(struct collector_index *index, const struct collector *c,
                         struct status *st)
{
    struct text path = {0};
    cJSON *root = NULL;
    bool all = false;
    *index = (struct collector_index){0};
    int code = path_of(c, &path, st);
    if (!code && access(path.data, F_OK) == 0) {
        code = json_parse_file(&root, path.data, LIMIT, st);
        code = code ? code : compare_settings(c, root, st);
        code = code ? code : read_entries(index, c, root, &all, st);
    }
    if (!code && all && cJSON_IsTrue(json_get(root, "complete"))) {
        long long limit;
        index->complete = json_integer(json_get(root, "limit_tokens"), 0, 1LL << 53, &limit) &&
                          limit == c->corpus.limit_tokens;
        index->n -= !index->complete && index->n; /* with another limit the last one may go on */
    }
    cJSON_Delete(root);
    text_free(&path);
    return code;
}

int collector_index_add(struct collector_index *index, const struct collector_entry *entry,
                        struct status *st)
{
    if (index->n == index->capacity) {
        size_t capacity = index->capacity ? 2 * index->capacity : 64;
        struct collector_entry *grown = memory_resize(index->entries, capacity, sizeof *grown);
        if (!grown) {
            return status_no_memory(st, capacity * sizeof *grown);
        }
        index->entries = grown;
        index->capacity = capacity;
    }
    index->entries[index->n++] = *entry;
    return STATUS_OK;
}
