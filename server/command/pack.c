/* darkmatter pack: a BF16 copy of a model's folder, and what the rounding did to its weights. */
#include "core/formats/pack.h"

#include "core/base/clock.h"
#include "server/command/command.h"
#include "server/http/emit.h"

#include <signal.h>
#include <stdio.h>
#include <unistd.h>

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    atomic_store(&stopping, true);
}

struct packing_shown {
    bool bar; /* stderr is a terminal */
    double started, shown;
};

static void show(void *user, uint64_t done, uint64_t total)
{
    struct packing_shown *x = user;
    double t = clock_seconds();
    if (t - x->shown < (x->bar ? 0.1 : 3.0)) {
        return;
    }
    x->shown = t;
    double rate = (double)done / (t - x->started);
    (void)fprintf(stderr, "%s%.2f of %.2f GB, %.0f MB/s, %.0f s left%s", x->bar ? "\r\033[K" : "",
                  (double)done / 1e9, (double)total / 1e9, rate / 1e6,
                  (double)(total - done) / rate, x->bar ? "" : "\n");
    (void)fflush(stderr);
}

static void print_report(const char *out, const struct pack_report *r)
{
    bool large = r->bytes_in >= 1000000000u;
    double unit = large ? 1e9 : 1e6;
    (void)printf("%s: %.2f %s of weights became %.2f %s, with %zu files beside them\n", out,
                 (double)r->bytes_in / unit, large ? "GB" : "MB", (double)r->bytes_out / unit,
                 large ? "GB" : "MB", r->n_files);
    if (r->n_rounded == 0) {
        (void)printf("all %llu weights are exactly what they were\n",
                     (unsigned long long)r->n_values);
        return;
    }
    (void)printf("%llu of %llu weights (%.2f %%) were rounded\n", (unsigned long long)r->n_rounded,
                 (unsigned long long)r->n_values,
                 100.0 * (double)r->n_rounded / (double)r->n_values);
    (void)printf("largest error: %.3g, of %.7g in %s\n", r->absolute, r->absolute_value,
                 r->absolute_tensor);
    (void)printf("largest relative error: %.3g, of %.7g in %s\n", r->relative, r->relative_value,
                 r->relative_tensor);
}

static void emit_worst(struct emitter *w, const char *key, double error, double value,
                       const char *tensor)
{
    emit_key(w, key);
    emit_object(w);
    emit_key(w, "error");
    emit_double(w, error);
    emit_key(w, "value");
    emit_double(w, value);
    emit_key(w, "tensor");
    emit_string(w, tensor);
    emit_end_object(w);
}

static void print_json(const char *out, const struct pack_report *r)
{
    struct text json = {0};
    struct emitter w = {.out = &json};
    emit_object(&w);
    emit_key(&w, "folder");
    emit_string(&w, out);
    emit_key(&w, "bytes_in");
    emit_int(&w, (long long)r->bytes_in);
    emit_key(&w, "bytes_out");
    emit_int(&w, (long long)r->bytes_out);
    emit_key(&w, "values");
    emit_int(&w, (long long)r->n_values);
    emit_key(&w, "rounded");
    emit_int(&w, (long long)r->n_rounded);
    if (r->n_rounded) {
        emit_worst(&w, "largest", r->absolute, r->absolute_value, r->absolute_tensor);
        emit_worst(&w, "largest_relative", r->relative, r->relative_value, r->relative_tensor);
    }
    emit_end_object(&w);
    (void)printf("%s\n", json.data ? json.data : "");
    text_free(&json);
}

int command_pack(const struct options *o)
{
    struct packing_shown shown = {
        .bar = isatty(STDERR_FILENO) != 0, .started = clock_seconds(), .shown = clock_seconds()};
    const struct pack_options options = {.model = o->model,
                                         .out = o->paths[0],
                                         .progress = show,
                                         .user = &shown,
                                         .cancel = &stopping};
    struct pack_report report;
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    int code = pack_folder(&options, &report, &st);
    if (shown.bar) {
        (void)fputs("\r\033[K", stderr);
    }
    if (code) {
        return command_failed(&st);
    }
    if (o->json) {
        print_json(o->paths[0], &report);
    } else {
        print_report(o->paths[0], &report);
    }
    return EXIT_OK;
}
