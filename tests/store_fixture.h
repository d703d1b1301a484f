/* Made-up activations and a store in a folder of its own, for the tests of server/store. */
#ifndef DM_TESTS_STORE_FIXTURE_H
#define DM_TESTS_STORE_FIXTURE_H

#include "server/store/store.h"
#include "server/store/store_private.h"
#include "tests/test.h"

#include <sqlite3.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MIGRATIONS "migrations"

enum { D_SAE = 16384, N_MAX = 512 };

struct fixture {
    char folder[64], path[96];
    struct store *store;
    struct status st;
    int64_t model, source;
};

static inline struct hash fixture_identity(const char *of)
{
    struct hash h = hash_start();
    hash_add(&h, of, strlen(of));
    return h;
}

static inline bool fixture_folder(struct fixture *f)
{
    *f = (struct fixture){0};
    (void)snprintf(f->folder, sizeof f->folder, "/tmp/darkmatter-store-XXXXXX");
    if (!mkdtemp(f->folder)) {
        test_failures_++;
        return false;
    }
    (void)snprintf(f->path, sizeof f->path, "%s/a.db", f->folder);
    return true;
}

static inline int fixture_source(struct fixture *f, int64_t model, const char *name,
                                 const char *identity, int64_t *row)
{
    struct store_source source = {.name = name,
                                  .identity = fixture_identity(identity),
                                  .layer = 20,
                                  .point = "resid_post",
                                  .d_in = 2304,
                                  .d_sae = D_SAE};
    return store_source(f->store, model, &source, row, &f->st);
}

static inline bool fixture_reopen_with(struct fixture *f, const char *migrations)
{
    if (store_open(&f->store, f->path, migrations, &f->st) != 0 ||
        store_model(f->store, "gemma-2-2b", fixture_identity("m"), &f->model, &f->st) != 0 ||
        fixture_source(f, f->model, "20-gemmascope-res-16k", "s", &f->source) != 0) {
        printf("    %s\n", f->st.message);
        test_failures_++;
        return false;
    }
    return true;
}

static inline bool fixture_reopen(struct fixture *f)
{
    return fixture_reopen_with(f, MIGRATIONS);
}

static inline bool fixture_open(struct fixture *f)
{
    return fixture_folder(f) && fixture_reopen(f);
}

static inline void fixture_close(struct fixture *f)
{
    char command[192];
    store_close(f->store);
    f->store = NULL;
    (void)snprintf(command, sizeof command, "chmod -R u+w %s; rm -r %s", f->folder, f->folder);
    CHECK(system(command) == 0); /* NOLINT(cert-env33-c): the path is ours */
}

/* --- made-up texts and rows: all follow from the seed ----------------------------------------- */

static inline uint32_t fixture_random(uint64_t *state)
{
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

static inline void fixture_ids(uint64_t seed, int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        ids[i] = (int32_t)(fixture_random(&seed) % 256000);
    }
    ids[0] = 2; /* BOS */
}

/* About `active` features a row, values of random bits (NaN and infinities among them). */
static inline void fixture_rows(uint64_t seed, struct sparse *rows, size_t n, uint32_t active)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t index[N_MAX];
        float value[N_MAX];
        size_t m = 0;
        uint32_t step = active ? 2 * D_SAE / active : 0;
        uint32_t at = active ? fixture_random(&seed) % step : 0;
        while (active && at < D_SAE && m < N_MAX) {
            uint32_t bits = fixture_random(&seed) << 1 | (fixture_random(&seed) & 1);
            index[m] = at;
            memcpy(&value[m], &bits, sizeof bits);
            m++;
            at += 1 + fixture_random(&seed) % step;
        }
        sparse_append(rows, index, value, m);
    }
}

static inline int fixture_write(struct fixture *f, int64_t model, int64_t source, uint64_t seed,
                                size_t n, struct status *st)
{
    int32_t ids[N_MAX];
    struct sparse rows = {0};
    fixture_ids(seed, ids, n);
    fixture_rows(seed ^ (uint64_t)source << 32, &rows, n, 70);
    struct store_activations entry = {.source = source, .ids = ids, .n = n, .rows = &rows};
    int code = store_write_activations(f->store, model, &entry, 1, st);
    sparse_free(&rows);
    return code;
}

static inline bool fixture_same(const struct sparse *a, const struct sparse *b)
{
    if (a->rows != b->rows || a->rows == 0) {
        return a->rows == b->rows;
    }
    size_t n = a->start[a->rows];
    return memcmp(a->start, b->start, (a->rows + 1) * sizeof *a->start) == 0 &&
           memcmp(a->index, b->index, n * sizeof *a->index) == 0 &&
           memcmp(a->value, b->value, n * sizeof *a->value) == 0;
}

enum outcome { ABSENT, SAME, OTHER, FAILED };

/* What a read gives, against what fixture_write wrote. */
static inline enum outcome fixture_read(struct fixture *f, int64_t model, int64_t source,
                                        uint64_t seed, size_t n, struct status *st)
{
    int32_t ids[N_MAX];
    struct sparse rows = {0};
    struct sparse expected = {0};
    bool found;
    fixture_ids(seed, ids, n);
    fixture_rows(seed ^ (uint64_t)source << 32, &expected, n, 70);
    enum outcome outcome = FAILED;
    if (store_read_activations(f->store, model, source, ids, n, &rows, &found, st) == 0) {
        bool same = fixture_same(&rows, found ? &expected : &(struct sparse){0});
        outcome = !same ? OTHER : found ? SAME : ABSENT;
    }
    sparse_free(&rows);
    sparse_free(&expected);
    return outcome;
}

/* Runs SQL on the file from outside, as another program would. */
static inline bool fixture_sql(const struct fixture *f, const char *sql)
{
    sqlite3 *db = NULL;
    char *message = NULL;
    bool good = sqlite3_open(f->path, &db) == SQLITE_OK &&
                sqlite3_exec(db, sql, NULL, NULL, &message) == SQLITE_OK;
    if (!good) {
        printf("    %s: %s\n", sql, message ? message : "cannot be opened");
        test_failures_++;
    }
    sqlite3_free(message);
    (void)sqlite3_close(db);
    return good;
}

/* The first column of the first row, as text; "" when there is none. */
static inline void fixture_ask(const struct fixture *f, const char *sql, char answer[256])
{
    sqlite3 *db = NULL;
    sqlite3_stmt *s = NULL;
    answer[0] = '\0';
    if (sqlite3_open(f->path, &db) == SQLITE_OK &&
        sqlite3_prepare_v2(db, sql, -1, &s, NULL) == SQLITE_OK && sqlite3_step(s) == SQLITE_ROW) {
        (void)snprintf(answer, 256, "%s", (const char *)sqlite3_column_text(s, 0));
    }
    (void)sqlite3_finalize(s);
    (void)sqlite3_close(db);
}

#endif
