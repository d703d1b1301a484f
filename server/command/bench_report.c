/* What `darkmatter bench` prints at its end. */
#include "core/math/kernels.h"
#include "core/math/median.h"
#include "server/app.h"
#include "server/command/bench.h"
#include "server/command/bench_machine.h"
#include "server/http/emit.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

/* A row's rounds put together. Shares are of 1; 0: not counted. */
struct figure {
    double middle, low, high;
    double of_fp32, of_bf16, of_reads, of_ready;
    const char *limit; /* the nearest of the four; NULL: none */
    double share;
};

static double middle_of(const double *values, size_t n)
{
    double copy[BENCH_READS];
    memcpy(copy, values, n * sizeof *values);
    return n ? median(copy, n) : 0;
}

static void consider(struct figure *f, const char *limit, double share)
{
    if (share > f->share) {
        f->share = share;
        f->limit = limit;
    }
}

static struct figure figure_of(const struct bench *b, const struct bench_row *row)
{
    struct figure f = {.middle = middle_of(row->value, row->n)};
    f.low = f.high = f.middle;
    for (size_t i = 0; i < row->n; i++) {
        f.low = row->value[i] < f.low ? row->value[i] : f.low;
        f.high = row->value[i] > f.high ? row->value[i] : f.high;
    }
    double operations = middle_of(row->operations, row->n);
    f.of_fp32 = b->peaks.fp32 > 0 ? operations / b->peaks.fp32 : 0;
    f.of_bf16 = b->peaks.bf16 > 0 ? operations / b->peaks.bf16 : 0;
    f.of_reads = middle_of(row->reads, row->n);
    f.of_ready = middle_of(row->ready, row->n);
    bool bf16 = row->precision == PRECISION_BF16 && b->peaks.bf16 > b->peaks.fp32;
    consider(&f, bf16 ? "bf16" : "fp32", bf16 ? f.of_bf16 : f.of_fp32);
    consider(&f, "reads", f.of_reads);
    consider(&f, "ready", f.of_ready);
    return f;
}

static void range_of(const double *values, size_t n, double *low, double *high)
{
    *low = *high = n ? values[0] : 0;
    for (size_t i = 0; i < n; i++) {
        *low = values[i] < *low ? values[i] : *low;
        *high = values[i] > *high ? values[i] : *high;
    }
}

static void write_date(char out[32])
{
    time_t now = time(NULL);
    struct tm t;
    (void)gmtime_r(&now, &t);
    (void)strftime(out, 32, "%Y-%m-%dT%H:%MZ", &t);
}

/* --- plain text ------------------------------------------------------------------------------- */

static void print_head(const struct bench *b, const struct bench_machine *m)
{
    const struct gemma_config *c = engine_config(bench_engine(b));
    char date[32];
    double low, high;
    write_date(date);
    range_of(b->peaks.reads, b->peaks.n_reads, &low, &high);
    (void)printf("darkmatter %s, %s: %s (%zu layers of %zu, %.2f GB)%s%s\n", APP_VERSION, date,
                 engine_model_id(bench_engine(b)), c->n_layers, c->hidden_size,
                 b->weight_bytes / 1e9, b->source ? ", SAE " : "",
                 b->source ? b->source->name : "");
    (void)printf("%s, %d of %d processors, %.0f GB; %d threads, kernels %s; huge pages %s\n",
                 m->cpu, m->allowed, m->processors, m->memory_gb, engine_threads(bench_engine(b)),
                 kernel_backend(), *m->pages ? m->pages : "unknown");
    (void)printf("load %.1f at the start; meanwhile other programs had %.1f %% of the processors, "
                 "the host took %.1f %%\n",
                 m->load, 100 * m->others, 100 * m->stolen);
    if (b->peaks.n_reads) {
        (void)printf("peaks: fp32 %.0f GFLOP/s, bf16 %.0f GFLOP/s, reads %.1f GB/s (%.1f to "
                     "%.1f)\n",
                     b->peaks.fp32 / 1e9, b->peaks.bf16 / 1e9,
                     middle_of(b->peaks.reads, b->peaks.n_reads) / 1e9, low / 1e9, high / 1e9);
    }
    (void)printf("\n%-25s %-5s %10s %-10s  %-19s  %s\n", "figure", "", "median", "",
                 "lowest to highest", "of the nearest limit");
}

static int places(double value)
{
    return value < 10 ? 2 : value < 1000 ? 1 : 0;
}

static void print_row(const struct bench *b, const struct bench_row *row)
{
    const char *precision =
        row->precision < 0 ? "" : precision_name((enum precision)row->precision);
    if (row->n == 0) {
        (void)printf("%-25s %-5s %10s %s\n", row->name, precision, "-", row->skipped);
        return;
    }
    struct figure f = figure_of(b, row);
    char range[48];
    (void)snprintf(range, sizeof range, "%.*f to %.*f", places(f.low), f.low, places(f.high),
                   f.high);
    (void)printf("%-25s %-5s %10.*f %-10s  %-19s", row->name, precision, places(f.middle), f.middle,
                 row->unit, range);
    if (f.limit) {
        (void)printf("  %.0f %% of %s", 100 * f.share,
                     strcmp(f.limit, "ready") == 0 ? "a ready body" : f.limit);
    }
    (void)putchar('\n');
}

void bench_print(const struct bench *b, const struct bench_machine *machine)
{
    char doubt[200];
    print_head(b, machine);
    for (size_t i = 0; i < b->n_rows; i++) {
        print_row(b, &b->table[i]);
    }
    if (b->in_cache) {
        (void)printf("\nThe weights fit into the processor's cache: nothing is held against reads "
                     "from memory.\n");
    }
    if (*bench_machine_doubt(machine, doubt)) {
        (void)printf("\nwarning: %s\n", doubt);
    }
}

/* --- JSON ------------------------------------------------------------------------------------- */

static void number(struct emitter *w, const char *key, double value, int decimals)
{
    emit_key(w, key);
    emit_rounded(w, value, decimals);
}

static void words(struct emitter *w, const char *key, const char *value)
{
    emit_key(w, key);
    emit_string(w, value);
}

static void emit_machine(struct emitter *w, const struct bench *b, const struct bench_machine *m)
{
    char doubt[200];
    emit_key(w, "machine");
    emit_object(w);
    words(w, "cpu", m->cpu);
    number(w, "processors", m->processors, 0);
    number(w, "allowed", m->allowed, 0);
    number(w, "memory_gb", m->memory_gb, 1);
    number(w, "threads", engine_threads(bench_engine(b)), 0);
    words(w, "kernels", kernel_backend());
    words(w, "huge_pages", m->pages);
    number(w, "load", m->load, 2);
    number(w, "others", m->others, 4);
    number(w, "stolen", m->stolen, 4);
    words(w, "doubt", bench_machine_doubt(m, doubt));
    emit_end_object(w);
}

static void emit_peaks(struct emitter *w, const struct bench *b)
{
    double low, high;
    range_of(b->peaks.reads, b->peaks.n_reads, &low, &high);
    emit_key(w, "peaks");
    emit_object(w);
    number(w, "fp32_gflops", b->peaks.fp32 / 1e9, 1);
    number(w, "bf16_gflops", b->peaks.bf16 / 1e9, 1);
    number(w, "reads_gbs", middle_of(b->peaks.reads, b->peaks.n_reads) / 1e9, 2);
    number(w, "reads_gbs_low", low / 1e9, 2);
    number(w, "reads_gbs_high", high / 1e9, 2);
    emit_end_object(w);
}

static void emit_share(struct emitter *w, const char *key, double share)
{
    emit_key(w, key);
    if (share > 0) {
        emit_rounded(w, share, 4);
    } else {
        emit_null(w);
    }
}

static void emit_row(struct emitter *w, const struct bench *b, const struct bench_row *row)
{
    struct figure f = figure_of(b, row);
    emit_object(w);
    words(w, "figure", row->name);
    emit_key(w, "precision");
    if (row->precision < 0) {
        emit_null(w);
    } else {
        emit_string(w, precision_name((enum precision)row->precision));
    }
    words(w, "unit", row->unit);
    if (row->n == 0) {
        words(w, "skipped", row->skipped);
    } else {
        number(w, "median", f.middle, 3);
        number(w, "low", f.low, 3);
        number(w, "high", f.high, 3);
        emit_key(w, "values");
        emit_array(w);
        for (size_t i = 0; i < row->n; i++) {
            emit_rounded(w, row->value[i], 3);
        }
        emit_end_array(w);
        emit_share(w, "of_fp32", f.of_fp32);
        emit_share(w, "of_bf16", f.of_bf16);
        emit_share(w, "of_reads", f.of_reads);
        emit_share(w, "of_ready", f.of_ready);
        emit_key(w, "limit");
        if (f.limit) {
            emit_string(w, f.limit);
        } else {
            emit_null(w);
        }
        emit_share(w, "share", f.share);
    }
    emit_end_object(w);
}

void bench_print_json(const struct bench *b, const struct bench_machine *machine)
{
    const struct gemma_config *c = engine_config(bench_engine(b));
    struct text out = {0};
    struct emitter w = {.out = &out};
    char date[32];
    write_date(date);
    emit_object(&w);
    words(&w, "version", APP_VERSION);
    words(&w, "date", date);
    words(&w, "model", engine_model_id(bench_engine(b)));
    number(&w, "layers", (double)c->n_layers, 0);
    number(&w, "hidden_size", (double)c->hidden_size, 0);
    number(&w, "weight_bytes", b->weight_bytes, 0);
    emit_key(&w, "source");
    if (b->source) {
        emit_string(&w, b->source->name);
    } else {
        emit_null(&w);
    }
    number(&w, "rounds", b->options->rounds, 0);
    emit_machine(&w, b, machine);
    emit_peaks(&w, b);
    emit_key(&w, "figures");
    emit_array(&w);
    for (size_t i = 0; i < b->n_rows; i++) {
        emit_row(&w, b, &b->table[i]);
    }
    emit_end_array(&w);
    emit_end_object(&w);
    (void)printf("%s\n", out.data ? out.data : "");
    text_free(&out);
}
