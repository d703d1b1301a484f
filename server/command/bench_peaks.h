/* The machine's own peaks beside what `darkmatter bench` measures. */
#ifndef DM_COMMAND_BENCH_PEAKS_H
#define DM_COMMAND_BENCH_PEAKS_H

#include "server/command/bench.h"

/* Threads and memory for them, of the engine's number of threads. */
int bench_peaks_open(struct bench *b, struct status *st);
void bench_peaks_close(struct bench *b);

/* Measures all three on pinned threads, which takes about 50 ms: raises those of multiply-adds,
 * returns the bytes per second that are read now. */
double bench_peaks_take(struct bench *b);

/* Keeps what was read around a value. */
void bench_peaks_keep(struct bench *b, double reads);

#endif
