/* A folder of its own under /tmp for tests that need files, removed with all that is in it. */
#ifndef DM_TESTS_SCRATCH_H
#define DM_TESTS_SCRATCH_H

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct scratch {
    char root[64];
    char path[512]; /* what scratch_path gave last */
};

static inline void scratch_open(struct scratch *s)
{
    (void)snprintf(s->root, sizeof s->root, "/tmp/darkmatter-test-XXXXXX");
    if (!mkdtemp(s->root)) {
        perror(s->root);
        exit(1);
    }
}

/* "root/name", until the next call. */
static inline const char *scratch_path(struct scratch *s, const char *name)
{
    (void)snprintf(s->path, sizeof s->path, "%s/%s", s->root, name);
    return s->path;
}

/* Makes the folders that lead to root/name. */
static inline const char *scratch_parents(struct scratch *s, const char *name)
{
    (void)scratch_path(s, name);
    for (char *p = s->path + strlen(s->root) + 1; (p = strchr(p, '/')) != NULL; p++) {
        *p = '\0';
        (void)mkdir(s->path, 0755);
        *p = '/';
    }
    return s->path;
}

static inline void scratch_write(struct scratch *s, const char *name, const void *bytes, size_t n)
{
    FILE *f = fopen(scratch_parents(s, name), "wb");
    if (!f || fwrite(bytes, 1, n, f) != n || fclose(f) != 0) {
        perror(s->path);
        exit(1);
    }
}

static inline void scratch_text(struct scratch *s, const char *name, const char *text)
{
    scratch_write(s, name, text, strlen(text));
}

static inline void scratch_link(struct scratch *s, const char *name, const char *target)
{
    if (symlink(target, scratch_parents(s, name)) != 0) {
        perror(s->path);
        exit(1);
    }
}

static inline int scratch_remove_(const char *path, const struct stat *info, int type,
                                  struct FTW *ftw)
{
    (void)info;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline void scratch_close(struct scratch *s)
{
    (void)nftw(s->root, scratch_remove_, 16, FTW_DEPTH | FTW_PHYS);
}

#endif
