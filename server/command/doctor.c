/* darkmatter doctor: what is on disk, what fits, what is wrong and what to do about it, in words.
 * Nothing is written. Exit code 1 if anything is wrong. */
#include "server/command/doctor.h"

#include "core/base/machine.h"
#include "core/base/memory.h"
#include "server/command/command.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

static const char *const words[] = {"ok", "note", "WRONG"};

void doctor_say(struct doctor *d, enum finding finding, const char *format, ...)
{
    static const char *const colours[] = {"\033[32m", "\033[33m", "\033[31m"};
    char line[2048];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(line, sizeof line, format, args);
    va_end(args);
    d->n[finding]++;
    if (!d->options->json) {
        (void)printf("%-8s  %s%-5s%s  %s\n", d->area, d->colour ? colours[finding] : "",
                     words[finding], d->colour ? "\033[0m" : "", line);
        (void)fflush(stdout);
        return;
    }
    emit_object(&d->w);
    emit_key(&d->w, "area");
    emit_string(&d->w, d->area);
    emit_key(&d->w, "finding");
    emit_string(&d->w, finding == FINDING_WRONG ? "wrong" : words[finding]);
    emit_key(&d->w, "message");
    emit_string(&d->w, line);
    emit_end_object(&d->w);
}

struct doctor_size doctor_size(uint64_t bytes)
{
    struct doctor_size size;
    if (bytes < 1000 * 1000) {
        (void)snprintf(size.text, sizeof size.text, "%llu bytes", (unsigned long long)bytes);
    } else if (bytes < 1000 * 1000 * 1000) {
        (void)snprintf(size.text, sizeof size.text, "%.1f MB", (double)bytes / 1e6);
    } else {
        (void)snprintf(size.text, sizeof size.text, "%.2f GB", (double)bytes / 1e9);
    }
    return size;
}

bool doctor_disk(const char *folder, uint64_t *available)
{
    struct statvfs disk;
    if (statvfs(folder, &disk) != 0) {
        return false;
    }
    *available = (uint64_t)disk.f_bavail * disk.f_frsize;
    return true;
}

static void print_sum(struct doctor *d, const struct text *out)
{
    if (!d->options->json) {
        (void)printf("%zu ok, %zu note%s, %zu WRONG\n", d->n[FINDING_OK], d->n[FINDING_NOTE],
                     d->n[FINDING_NOTE] == 1 ? "" : "s", d->n[FINDING_WRONG]);
        return;
    }
    emit_end_array(&d->w);
    static const char *const keys[] = {"ok", "notes", "wrong"};
    for (int i = 0; i < 3; i++) {
        emit_key(&d->w, keys[i]);
        emit_int(&d->w, (long long)d->n[i]);
    }
    emit_end_object(&d->w);
    (void)printf("%s\n", out->data ? out->data : "");
}

int command_doctor(const struct options *o)
{
    struct text out = {0};
    struct doctor *d = memory_zalloc(1, sizeof *d);
    struct status st = {0};
    if (!d) {
        (void)status_no_memory(&st, sizeof *d);
        return command_failed(&st);
    }
    *d = (struct doctor){.options = o,
                         .w = {.out = &out},
                         .colour = !o->json && isatty(STDOUT_FILENO) && !getenv("NO_COLOR"),
                         .memory = machine_memory()};
    if (o->json) {
        emit_object(&d->w);
        emit_key(&d->w, "findings");
        emit_array(&d->w);
    }
    doctor_model(d);
    doctor_database(d);
    doctor_machine(d);
    print_sum(d, &out);
    int code = d->n[FINDING_WRONG] ? EXIT_FAILED : EXIT_OK;
    model_folder_close(&d->folder);
    text_free(&out);
    memory_free(d);
    return code;
}
