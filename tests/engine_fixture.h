/* What the tests of core/engine*.c share. */
#ifndef DM_TESTS_ENGINE_FIXTURE_H
#define DM_TESTS_ENGINE_FIXTURE_H

#include "core/engine.h"
#include "tests/oracle.h"

#include <unistd.h>

#define NANO2 "tests/fixtures/oracle/gemma2-nano-bf16"
#define NANO3 "tests/fixtures/oracle/gemma3-nano-bf16"

struct lines {
    char text[2048];
    int n;
};

static inline void keep_line(void *user, const char *line)
{
    struct lines *lines = user;
    size_t used = strlen(lines->text);
    snprintf(lines->text + used, sizeof lines->text - used, "%s\n", line);
    lines->n++;
}

static inline int open_engine(struct engine **e, const char *folder, enum embed_scale scale,
                              int threads, struct lines *lines, struct status *st)
{
    char saes[160];
    snprintf(saes, sizeof saes, "%s/saes", folder);
    const char *folders[] = {saes};
    struct engine_options o = {.model = folder,
                               .sae_folders = folders,
                               .n_sae_folders = access(saes, R_OK) == 0,
                               .threads = threads,
                               .embed_scale = scale,
                               .notice = lines ? keep_line : NULL,
                               .notice_user = lines};
    return engine_open(e, &o, st);
}

static inline void free_reads(struct engine_read *reads, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        engine_read_free(&reads[i]);
    }
}

static inline size_t elements(const struct engine_read *r)
{
    size_t n = 1;
    for (int i = 0; i < r->n_dims; i++) {
        n *= r->shape[i];
    }
    return n;
}

#endif
