#include "server/work/import_lines.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "server/store/explanations.h"
#include "server/work/import_record.h"
#include "server/work/lines.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

/* A batch is one transaction, bounded by lines and by bytes. */
enum { BATCH_LINES = 1024, BATCH_BYTES = 8 << 20 };

struct importer {
    struct store *store;
    const struct import_options *options;
    struct import_figures *figures;
    struct lines *lines;
    struct import_record records[BATCH_LINES];
    size_t n, bytes;
};

static void name_wrong(struct importer *im, const char *reason)
{
    if (im->figures->wrong++ < IMPORT_NAMED && im->options->notice) {
        im->options->notice(im->options->user, reason);
    }
}

static int write_explanations(struct importer *im, struct status *st)
{
    struct store_explanation batch[BATCH_LINES];
    size_t n = 0;
    for (size_t i = 0; i < im->n; i++) {
        if (im->records[i].kind == IMPORT_EXPLANATION) {
            batch[n++] = im->records[i].explanation;
        }
    }
    im->figures->explanations += (int64_t)n;
    return n ? store_put_explanations(im->store, batch, n, st) : STATUS_OK;
}

static int write_lines(struct importer *im, struct status *st)
{
    struct store_imported batch[BATCH_LINES];
    size_t n = 0;
    for (size_t i = 0; i < im->n; i++) {
        const struct import_record *r = &im->records[i];
        if (r->kind == IMPORT_FEATURE || r->kind == IMPORT_ACTIVATION) {
            batch[n++] = r->line;
            im->figures->features += r->kind == IMPORT_FEATURE;
            im->figures->activations += r->kind == IMPORT_ACTIVATION;
        }
    }
    return n ? store_put_imported(im->store, batch, n, st) : STATUS_OK;
}

static void forget_batch(struct importer *im)
{
    for (size_t i = 0; i < im->n; i++) {
        import_record_free(&im->records[i]);
    }
    im->n = im->bytes = 0;
}

static int flush(struct importer *im, struct status *st)
{
    int code = write_explanations(im, st);
    code = code ? code : write_lines(im, st);
    forget_batch(im);
    lines_position(im->lines, &im->figures->done, &im->figures->total);
    if (!code && im->options->progress && im->options->progress(im->options->user, im->figures)) {
        code = status_set(st, STATUS_CANCELLED, "stopped; what was read is kept");
    }
    return code;
}

static int take(struct importer *im, const struct lines_record *line, struct status *st)
{
    struct import_record *r = &im->records[im->n];
    struct text name = {0};
    text_printf(&name, "%s:%" PRId64, line->file, line->line);
    int code = name.failed ? status_no_memory(st, strlen(line->file))
               : line->is_too_long
                   ? status_set(st, STATUS_TOO_LARGE, "%s: expected a line of at most %zu MB",
                                name.data, LINES_RECORD_LIMIT >> 20)
                   : import_record_read(r, line->bytes, line->n, name.data, st);
    text_free(&name);
    if (code == STATUS_MEMORY) {
        return code;
    }
    if (code) {
        name_wrong(im, st->message);
        status_clear(st);
        return STATUS_OK;
    }
    im->figures->empty += r->kind == IMPORT_EMPTY;
    im->figures->other += r->kind == IMPORT_OTHER;
    if (r->kind >= IMPORT_EXPLANATION) {
        im->n++;
        im->bytes += line->n;
    }
    return im->n == BATCH_LINES || im->bytes >= BATCH_BYTES ? flush(im, st) : STATUS_OK;
}

/* A file that breaks off is named like a wrong line; the next one is read. */
static int read_all(struct importer *im, struct status *st)
{
    for (;;) {
        struct lines_record line;
        bool found;
        int code = lines_next(im->lines, &line, &found, st);
        if (code == STATUS_CORRUPT || code == STATUS_IO) {
            name_wrong(im, st->message);
            status_clear(st);
            lines_skip_file(im->lines);
            continue;
        }
        if (code || !found) {
            return code;
        }
        if (!line.is_plain && (code = take(im, &line, st)) != STATUS_OK) {
            return code;
        }
    }
}

int import_lines(struct store *store, const char *path, const struct import_options *options,
                 struct import_figures *figures, struct status *st)
{
    struct importer *im = memory_zalloc(1, sizeof *im);
    if (!im) {
        return status_no_memory(st, sizeof *im);
    }
    *im = (struct importer){.store = store, .options = options, .figures = figures};
    int code = lines_open(&im->lines, path, st);
    if (!code) {
        code = read_all(im, st);
        code = code ? code : flush(im, st);
    }
    forget_batch(im);
    lines_close(im->lines);
    memory_free(im);
    return code;
}
