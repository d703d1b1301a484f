/* darkmatter import: Neuronpedia's export files into the database. A wrong line is named on stderr
 * and costs no other line; the exit code then is 1. */
#include "core/base/clock.h"
#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/work/import_lines.h"

#include <inttypes.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BAR_SECONDS 0.1 /* on a terminal */
#define LINE_SECONDS 3.0

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, true);
}

struct importing {
    const char *path;
    bool terminal, drawn;
    double started, shown;
};

static void clear_bar(struct importing *im)
{
    if (im->drawn) {
        (void)fputs("\r\033[K", stderr);
        im->drawn = false;
    }
}

static void notice(void *user, const char *line)
{
    clear_bar(user);
    (void)fprintf(stderr, "%s\n", line);
}

static int progress(void *user, const struct import_figures *f)
{
    struct importing *im = user;
    double time = clock_seconds();
    if (time - im->shown >= (im->terminal ? BAR_SECONDS : LINE_SECONDS)) {
        int64_t lines = f->explanations + f->features + f->activations + f->empty + f->other;
        double seconds = time - im->started;
        im->shown = time;
        (void)fprintf(stderr, "%s%s: %" PRId64 " lines, %.0f lines/s",
                      im->terminal ? "\r\033[K" : "", im->path, lines, (double)lines / seconds);
        if (f->total && f->done) {
            double part = (double)f->done / (double)f->total;
            (void)fprintf(stderr, ", %.0f %%", 100 * part);
        }
        (void)fputs(im->terminal ? "" : "\n", stderr);
        (void)fflush(stderr);
        im->drawn = im->terminal;
    }
    return atomic_load(&stopping);
}

static void print_figures(const struct import_figures *f)
{
    (void)printf("%" PRId64 " explanations, %" PRId64 " features, %" PRId64
                 " activations imported; %" PRId64
                 " explanations without a description and %" PRId64
                 " lines of other kinds left out; %" PRId64 " wrong\n",
                 f->explanations, f->features, f->activations, f->empty, f->other, f->wrong);
}

int command_import(const struct options *options)
{
    struct status st = {0};
    struct text migrations = {0};
    struct store *store = NULL;
    struct import_figures figures = {0};
    struct importing im = {.terminal = isatty(STDERR_FILENO) == 1, .started = clock_seconds()};
    im.shown = im.started;
    const struct import_options how = {.notice = notice, .progress = progress, .user = &im};
    text_printf(&migrations, "%s/migrations", options->share);
    int code = migrations.failed ? status_no_memory(&st, 16)
                                 : store_open(&store, options->db, migrations.data, &st);
    if (code == STATUS_OK) {
        (void)signal(SIGINT, on_signal);
        (void)signal(SIGTERM, on_signal);
        for (size_t i = 0; i < options->n_paths && code == STATUS_OK; i++) {
            im.path = options->paths[i];
            code = import_lines(store, im.path, &how, &figures, &st);
        }
        clear_bar(&im);
        if (figures.wrong > IMPORT_NAMED) {
            (void)fprintf(stderr, "... and %" PRId64 " more wrong lines\n",
                          figures.wrong - IMPORT_NAMED);
        }
        print_figures(&figures);
    }
    text_free(&migrations);
    store_close(store);
    if (code != STATUS_OK) {
        return command_failed(&st);
    }
    return figures.wrong ? EXIT_FAILED : EXIT_OK;
}
