/* Any bytes as the index.json of a folder of shards. The first byte says whether they are all of it
 * or only its shards, behind the settings of the run that reads them. Refused with a sentence that
 * names the file, or entries that follow one another and whose files are there. */
#include "server/work/collector_private.h"
#include "tests/engine_fixture.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

enum { FILES = 4, FILE_BYTES = 100 };

static char folder[64], path[96];
static struct text settings; /* of index.json, up to its shards */
static const struct collector_read reads[] = {{POINT_RESID_POST, 1}};
static struct collector collector = {
    .out = folder, .reads = reads, .n_reads = 1, .corpus = {.context = 16}};

static void put(const char *name, const char *bytes, size_t n)
{
    FILE *file = fopen(name, "wb");
    if (!file || fwrite(bytes, 1, n, file) != n || fclose(file) != 0) {
        abort();
    }
}

static void leave(void)
{
    char command[160];
    (void)snprintf(command, sizeof command, "rm -rf %s", folder);
    (void)system(command);
}

static void open_once(void)
{
    static const char *const corpora[] = {"texts.jsonl"};
    static const char bytes[FILE_BYTES];
    struct status st;
    struct collector_index none = {0};
    (void)snprintf(folder, sizeof folder, "/tmp/darkmatter-fuzz-XXXXXX");
    collector.corpora = corpora;
    collector.n_corpora = 1;
    if (open_engine(&collector.engine, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st) || !mkdtemp(folder) ||
        atexit(leave)) {
        abort();
    }
    for (size_t i = 0; i < FILES; i++) {
        char name[COLLECTOR_NAME];
        collector_shard_name(i, name);
        (void)snprintf(path, sizeof path, "%s/%s", folder, name);
        put(path, bytes, sizeof bytes);
    }
    (void)snprintf(path, sizeof path, "%s/index.json", folder);
    cJSON *root;
    if (collector_index_write(&none, &collector, &st) ||
        json_parse_file(&root, path, 1 << 20, &st)) {
        abort();
    }
    cJSON_DeleteItemFromObjectCaseSensitive(root, "shards");
    char *json = cJSON_PrintUnformatted(root);
    text_append(&settings, json, strlen(json) - 1);
    text_string(&settings, ",\"shards\":");
    cJSON_free(json);
    cJSON_Delete(root);
}

static void check(const struct collector_index *index)
{
    int64_t document = 0;
    if (index->n > FILES) {
        abort();
    }
    for (size_t i = 0; i < index->n; i++) {
        const struct collector_entry *e = &index->entries[i];
        if (e->first_document != document || e->documents < 1 || e->bytes != FILE_BYTES ||
            strlen(e->ids) != HASH_HEX - 1) {
            abort();
        }
        document += e->documents;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct collector_index index;
    struct status st = {0};
    struct text json = {0};
    if (!*folder) {
        open_once();
    }
    if (size && data[0] % 2) {
        text_append(&json, settings.data, settings.length);
    }
    text_append(&json, (const char *)data + (size > 0), size - (size > 0));
    put(path, json.data, json.length);
    if (collector_index_read(&index, &collector, &st)) {
        if (!strstr(st.message, "index.json")) {
            abort();
        }
    } else {
        check(&index);
    }
    memory_free(index.entries);
    text_free(&json);
    return 0;
}
