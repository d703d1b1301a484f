/* darkmatter verify: holds the model and its SAEs against published numbers, a line for each thing
 * that was checked. Exit code 0 if something was checked and nothing was off. */
#include "core/base/memory.h"
#include "server/command/command.h"
#include "server/command/golden.h"
#include "server/http/emit.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES_MAX 64

struct verifying {
    struct engine *engine;
    bool json, colour;
    struct emitter w; /* --json: the list of lines */
    const char *file;
    size_t n[3]; /* by outcome */
    char *paths[FILES_MAX];
    size_t n_paths;
};

static const char *const words[] = {"ok", "FAILED", "skipped"};

/* --- lines ------------------------------------------------------------------------------------ */

/* On one line, whatever a model wrote. */
static void print_text(const char *s)
{
    for (; *s; s++) {
        (void)putchar((unsigned char)*s < 0x20 ? ' ' : *s);
    }
}

static void print_line(const struct verifying *v, const struct golden_line *line)
{
    static const char *const colours[] = {"\033[32m", "\033[31m", "\033[33m"};
    const char *colour = v->colour ? colours[line->outcome] : "";
    (void)printf("%s%-7s%s %s: ", colour, words[line->outcome], v->colour ? "\033[0m" : "",
                 line->what);
    if (line->outcome == GOLDEN_SKIPPED) {
        (void)printf("%s\n", line->reason);
        return;
    }
    if (line->n_wrong) {
        (void)printf("%zu of %zu off, furthest ", line->n_wrong, line->n);
    } else if (line->n > 1) {
        (void)printf("%zu values, furthest ", line->n);
    }
    print_text(line->item);
    (void)printf(": expected ");
    print_text(line->expected);
    (void)printf(", found ");
    print_text(line->found);
    (void)printf(*line->tolerance ? " (may be off by %s)\n" : "\n", line->tolerance);
    (void)fflush(stdout);
}

static void emit_line(struct emitter *w, const char *file, const struct golden_line *line)
{
    const struct {
        const char *key, *value;
    } fields[] = {{"file", file},
                  {"what", line->what},
                  {"outcome", words[line->outcome]},
                  {"item", line->item},
                  {"expected", line->expected},
                  {"found", line->found},
                  {"tolerance", line->tolerance},
                  {"reason", line->reason}};
    emit_object(w);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (*fields[i].value) {
            emit_key(w, fields[i].key);
            emit_string(w, fields[i].value);
        }
    }
    emit_key(w, "compared");
    emit_int(w, (long long)line->n);
    emit_key(w, "off");
    emit_int(w, (long long)line->n_wrong);
    emit_end_object(w);
}

static void report(void *user, const struct golden_line *line)
{
    struct verifying *v = user;
    v->n[line->outcome]++;
    if (v->json) {
        emit_line(&v->w, v->file, line);
    } else {
        print_line(v, line);
    }
}

/* --- files ------------------------------------------------------------------------------------ */

static int add_path(struct verifying *v, const char *folder, const char *name, struct status *st)
{
    struct text path = {0};
    text_printf(&path, "%s%s%s", folder, *folder ? "/" : "", name);
    if (v->n_paths == FILES_MAX) {
        text_free(&path);
        return status_set(st, STATUS_INVALID, "more than %d files of published numbers", FILES_MAX);
    }
    v->paths[v->n_paths] = text_take(&path, NULL);
    return v->paths[v->n_paths++] ? STATUS_OK : status_no_memory(st, 256);
}

static int compare_paths(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* --golden, else all that come with the program. */
static int find_files(struct verifying *v, const struct options *o, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < o->n_goldens && !code; i++) {
        code = add_path(v, "", o->goldens[i], st);
    }
    if (code || o->n_goldens) {
        return code;
    }
    struct text folder = {0};
    text_printf(&folder, "%s/golden", o->share);
    DIR *files = folder.failed ? NULL : opendir(folder.data);
    if (!files) {
        code = status_set(st, STATUS_NOT_FOUND,
                          "%s: expected the folder of published numbers, found none; name a file "
                          "with --golden",
                          folder.data ? folder.data : "golden");
    }
    const struct dirent *entry;
    while (!code && (entry = readdir(files)) != NULL) {
        if (text_ends_with(entry->d_name, ".json")) {
            code = add_path(v, folder.data, entry->d_name, st);
        }
    }
    if (files) {
        (void)closedir(files);
    }
    text_free(&folder);
    qsort(v->paths, v->n_paths, sizeof *v->paths, compare_paths);
    return code;
}

/* Runs the files that hold for this model; models: those that the others hold for. */
static int run_files(struct verifying *v, size_t *n_run, struct text *models, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < v->n_paths && !code; i++) {
        struct golden *g;
        code = golden_open(&g, v->paths[i], st);
        if (code) {
            break;
        }
        if (strcmp(golden_model(g), engine_model_id(v->engine)) == 0) {
            v->file = v->paths[i];
            (*n_run)++;
            if (!v->json) {
                (void)printf("%s: %s\n", v->file, golden_source(g));
            }
            code = golden_run(g, v->engine, report, v, st);
        } else if (!models->data || !strstr(models->data, golden_model(g))) {
            text_printf(models, "%s%s", models->length ? ", " : "", golden_model(g));
        }
        golden_close(g);
    }
    return code;
}

static void print_sum(struct verifying *v, struct text *out)
{
    if (!v->json) {
        (void)printf("%s: %zu ok, %zu FAILED, %zu skipped\n", engine_model_id(v->engine), v->n[0],
                     v->n[1], v->n[2]);
        return;
    }
    emit_end_array(&v->w);
    for (int i = 0; i < 3; i++) {
        emit_key(&v->w, i == GOLDEN_FAILED ? "failed" : words[i]);
        emit_int(&v->w, (long long)v->n[i]);
    }
    emit_end_object(&v->w);
    (void)printf("%s\n", out->data ? out->data : "");
}

static int verify(struct verifying *v, struct status *st)
{
    struct text models = {0};
    struct text out = {0};
    size_t n_run = 0;
    v->w = (struct emitter){.out = &out};
    if (v->json) {
        emit_object(&v->w);
        emit_key(&v->w, "model");
        emit_string(&v->w, engine_model_id(v->engine));
        emit_key(&v->w, "checks");
        emit_array(&v->w);
    }
    int code = run_files(v, &n_run, &models, st);
    if (!code && n_run == 0) {
        code = status_set(st, STATUS_NOT_FOUND,
                          "there are no published numbers for \"%s\", but for %s: --model-id says "
                          "which model this is, --golden names a file of your own",
                          engine_model_id(v->engine), models.data ? models.data : "no model");
    }
    if (!code) {
        print_sum(v, &out);
    }
    text_free(&models);
    text_free(&out);
    return code;
}

int command_verify(const struct options *o)
{
    struct verifying v = {.json = o->json,
                          .colour = !o->json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR")};
    struct engine_options options = options_engine(o);
    struct status st = {0};
    options.notice = command_notice;
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    int code = find_files(&v, o, &st);
    (void)(code || (code = engine_open(&v.engine, &options, &st)) || (code = verify(&v, &st)));
    engine_close(v.engine);
    for (size_t i = 0; i < v.n_paths; i++) {
        memory_free(v.paths[i]);
    }
    if (code) {
        return command_failed(&st);
    }
    return v.n[GOLDEN_FAILED] == 0 && v.n[GOLDEN_OK] > 0 ? EXIT_OK : EXIT_FAILED;
}
