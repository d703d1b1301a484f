/* Models and sources: the row ids of what produced a number. */
#include "server/store/store_private.h"

#include <stdint.h>

static const char sql_find_model[] =
    "SELECT id FROM model WHERE name = :name AND identity = :identity";
static const char sql_add_model[] =
    "INSERT INTO model (name, identity) VALUES (:name, :identity) RETURNING id";

int store_model(struct store *store, const char *id, struct hash identity, int64_t *model,
                struct status *st)
{
    uint8_t bytes[HASH_BYTES];
    hash_bytes(identity, bytes);
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    struct connection *c = &store->writer;
    const char *const steps[] = {sql_find_model, sql_add_model};
    bool found = false;
    int code = 0;
    for (int i = 0; i < 2 && code == 0 && !found; i++) {
        sqlite3_stmt *statement;
        if (connection_prepare(c, steps[i], &statement, st) != 0 ||
            connection_bind_text(c, statement, ":name", id, st) != 0 ||
            connection_bind_blob(c, statement, ":identity", bytes, sizeof bytes, st) != 0 ||
            connection_step_integer(c, statement, &found, model, st) != 0) {
            code = (int)st->code;
        }
    }
    return store_write_end(store, code, st);
}

static const char sql_find_source[] = "SELECT id FROM source"
                                      " WHERE model = :model AND name = :name"
                                      " AND identity = :identity";

static int find_source(struct connection *c, int64_t model, const struct store_source *source,
                       const uint8_t identity[HASH_BYTES], bool *found, int64_t *row,
                       struct status *st)
{
    sqlite3_stmt *statement;
    if (connection_prepare(c, sql_find_source, &statement, st) != 0 ||
        connection_bind_integer(c, statement, ":model", model, st) != 0 ||
        connection_bind_text(c, statement, ":name", source->name, st) != 0 ||
        connection_bind_blob(c, statement, ":identity", identity, HASH_BYTES, st) != 0) {
        return (int)st->code;
    }
    return connection_step_integer(c, statement, found, row, st);
}

static const char sql_add_source[] =
    "INSERT INTO source (model, name, identity, layer, point, d_in, d_sae)"
    " VALUES (:model, :name, :identity, :layer, :point, :d_in, :d_sae) RETURNING id";

static int add_source(struct connection *c, int64_t model, const struct store_source *source,
                      const uint8_t identity[HASH_BYTES], int64_t *row, struct status *st)
{
    sqlite3_stmt *statement;
    bool added;
    if (connection_prepare(c, sql_add_source, &statement, st) != 0 ||
        connection_bind_integer(c, statement, ":model", model, st) != 0 ||
        connection_bind_text(c, statement, ":name", source->name, st) != 0 ||
        connection_bind_blob(c, statement, ":identity", identity, HASH_BYTES, st) != 0 ||
        connection_bind_integer(c, statement, ":layer", source->layer, st) != 0 ||
        connection_bind_text(c, statement, ":point", source->point, st) != 0 ||
        connection_bind_integer(c, statement, ":d_in", (int64_t)source->d_in, st) != 0 ||
        connection_bind_integer(c, statement, ":d_sae", (int64_t)source->d_sae, st) != 0) {
        return (int)st->code;
    }
    return connection_step_integer(c, statement, &added, row, st);
}

int store_source(struct store *store, int64_t model, const struct store_source *source,
                 int64_t *row, struct status *st)
{
    uint8_t identity[HASH_BYTES];
    hash_bytes(source->identity, identity);
    if (store_write_begin(store, st) != 0) {
        return (int)st->code;
    }
    bool found = false;
    int code = find_source(&store->writer, model, source, identity, &found, row, st);
    if (code == 0 && !found) {
        code = add_source(&store->writer, model, source, identity, row, st);
    }
    return store_write_end(store, code, st);
}
