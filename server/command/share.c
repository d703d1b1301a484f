#include "server/command/share.h"

#include "core/base/memory.h"
#include "core/base/text.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char *join(const char *a, const char *b)
{
    struct text t = {0};
    text_printf(&t, "%s/%s", a, b);
    return text_take(&t, NULL);
}

static bool is_share(const char *folder)
{
    char *page = join(folder, "static/index.html");
    char *migrations = join(folder, "migrations");
    bool yes = page && migrations && access(page, R_OK) == 0 && access(migrations, R_OK) == 0;
    memory_free(page);
    memory_free(migrations);
    return yes;
}

/* Beside the program, above it (build/release/ in a checkout), or in ../share/darkmatter. */
int share_find(struct options *o, struct status *st)
{
    if (o->share) {
        return is_share(o->share)
                   ? STATUS_OK
                   : status_set(st, STATUS_NOT_FOUND,
                                "--share %s: expected a folder with static/ and migrations/",
                                o->share);
    }
    char self[PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
    self[n > 0 ? n : 0] = '\0';
    static const char *const places[] = {"", "../..", "../share/darkmatter"};
    char *slash = strrchr(self, '/');
    for (size_t i = 0; slash && i < sizeof places / sizeof places[0]; i++) {
        *slash = '\0';
        char *folder = join(self, places[i]);
        char clean[PATH_MAX];
        bool found = folder && is_share(folder) && realpath(folder, clean);
        memory_free(folder);
        if (found) {
            o->owned[0] = memory_string(clean);
            o->share = o->owned[0];
            return o->share ? STATUS_OK : status_no_memory(st, PATH_MAX);
        }
    }
    return status_set(
        st, STATUS_NOT_FOUND,
        "static/ and migrations/ were not found beside the program (%s); name the folder "
        "that holds them with --share",
        self);
}

int share_use_demo(struct options *o, struct status *st)
{
    if (o->model || o->n_saes) {
        if (!o->model) {
            return status_set(
                st, STATUS_INVALID,
                "--saes needs --model: the SAEs of another model do not fit the demo");
        }
        return STATUS_OK;
    }
    o->owned[1] = join(o->share, "demo");
    o->owned[2] = join(o->share, "demo/saes");
    if (!o->owned[1] || !o->owned[2]) {
        return status_no_memory(st, strlen(o->share) + 16);
    }
    o->is_demo = true;
    o->model = o->owned[1];
    o->saes[o->n_saes++] = o->owned[2];
    return STATUS_OK;
}

/* Without --corpus the demo's, which says nothing about another model. */
int share_use_demo_corpus(struct options *o, struct status *st)
{
    if (o->name && o->n_corpora > 1) {
        return status_set(st, STATUS_INVALID,
                          "--name names one corpus, but --corpus is given %zu "
                          "times: index them one after the other",
                          o->n_corpora);
    }
    if (o->n_corpora) {
        return STATUS_OK;
    }
    if (!o->is_demo) {
        return status_set(st, STATUS_INVALID,
                          "--corpus is needed: JSON lines, a text file, a folder, or - for stdin");
    }
    o->owned[3] = join(o->share, "demo/corpus/demo-corpus.jsonl");
    if (!o->owned[3]) {
        return status_no_memory(st, strlen(o->share) + 64);
    }
    o->corpora[o->n_corpora++] = o->owned[3];
    return STATUS_OK;
}
