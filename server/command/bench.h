/* What the files of `darkmatter bench` share: the rows of its table, and who fills them.
 *
 * Rounds are interleaved: every round measures every row once, with the machine's own peaks right
 * before and after what it is held against, so that a machine whose speed changes from minute to
 * minute changes them all alike. */
#ifndef DM_COMMAND_BENCH_H
#define DM_COMMAND_BENCH_H

#include "core/base/threads.h"
#include "core/engine.h"
#include "server/command/options.h"
#include "server/command/workshop.h"

#include <stdbool.h>
#include <stddef.h>

enum { BENCH_ROUNDS = 99, BENCH_ROWS = 64, BENCH_PRECISIONS = 2, BENCH_READS = 4096 };

/* A line of the table. */
struct bench_row {
    const char *name, *unit; /* "prefill 512", "tokens/s" */
    int precision;           /* enum precision; -1: it has none */
    size_t n;                /* rounds so far */
    double value[BENCH_ROUNDS];
    double operations[BENCH_ROUNDS]; /* per second; 0: not counted */
    double reads[BENCH_ROUNDS];      /* share of the bandwidth around it; 0: not counted */
    double ready[BENCH_ROUNDS]; /* share of the rate at which a ready body is sent; 0: not one */
    char skipped[100];          /* why it is not measured; "": it is */
};

/* What the machine can do; the highest of the run for multiply-adds, which nothing but disturbance
 * lowers, and the reads around every value. */
struct bench_peaks {
    double fp32, bf16;
    double reads[BENCH_READS];
    size_t n_reads;
};

struct bench_model { /* one precision's */
    struct workshop shop;
    struct session *session;
};

struct bench {
    const struct options *options;
    const atomic_bool *stop;
    struct bench_model models[BENCH_PRECISIONS]; /* by enum precision; engine NULL: not asked for */
    const struct sae_source *source;             /* NULL: no SAE */
    double weight_bytes;                         /* of the model's files */
    double number_bytes;                         /* of one weight, as stored */
    bool in_cache;           /* all weights fit into the processor's cache: no share of the reads */
    char folder[64];         /* for databases and corpora; removed at the end */
    struct threads *threads; /* for the peaks, and for encoding alone */
    unsigned char *memory;   /* to be read for the peak */
    struct bench_peaks peaks;
    struct sae *sae; /* encode: opened at its first round */
    float *rows;     /* [n_rows, d_in] what it encodes */
    size_t n_rows_encoded;
    struct bench_row table[BENCH_ROWS];
    size_t n_rows;
    uint32_t seed; /* of the next text: no text is run twice */
    double started;
};

/* The engine that any figure of the model's shape may look at. */
const struct engine *bench_engine(const struct bench *b);

/* The row of that name and precision (-1: any), NULL if it was not asked for. */
struct bench_row *bench_row(struct bench *b, const char *name, int precision);

/* Puts a round's value into the row of that name; a row that was not asked for is no error. */
void bench_put(struct bench *b, const char *name, double value, double ready);

/* n ids of a text that was not run before -> *ids, the caller's (memory_free). */
int bench_text(struct bench *b, size_t n, int32_t **ids, struct status *st);

/* --- bench_work.c: what the model does ------------------------------------------------------- */

/* Adds its rows, one of each precision that was asked for. */
void bench_work_rows(struct bench *b);

/* Runs every weight through the processor once, so that no first touch is measured. */
int bench_work_warm(struct bench *b, struct status *st);

bool bench_is_work(const struct bench_row *row); /* one of those */

/* Measures a row of those once. */
int bench_work_run(struct bench *b, struct bench_row *row, struct status *st);

/* --- bench_server.c: what a server of its own does ------------------------------------------- */

void bench_server_rows(struct bench *b);

/* Starts a server, measures all of those rows that are wanted, and stops it. Rounds count from 0.
 */
int bench_server_run(struct bench *b, size_t round, struct status *st);

/* --- bench_report.c -------------------------------------------------------------------------- */

struct bench_machine;
void bench_print(const struct bench *b, const struct bench_machine *machine);
void bench_print_json(const struct bench *b, const struct bench_machine *machine);

/* Numbers in the matrices of one layer. */
double bench_layer_weights(const struct gemma_config *config);

#endif
