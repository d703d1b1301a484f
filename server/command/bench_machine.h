/* What a measurement was taken on, and how quiet it was there. */
#ifndef DM_COMMAND_BENCH_MACHINE_H
#define DM_COMMAND_BENCH_MACHINE_H

struct bench_machine {
    char cpu[160];  /* "AMD EPYC (family 26, model 2)" */
    int processors; /* of the machine */
    int allowed;    /* that this process may use */
    double memory_gb;
    char pages[32]; /* transparent huge pages: "always", "madvise", "never", "" unknown */
    double load;    /* of the last minute, when the measurement began */
    double others;  /* share of the allowed processors' time that other processes had meanwhile */
    double stolen;  /* share that the host took away */
    double cache_bytes; /* of the largest cache; 0: unknown */
    /* As they stood at the beginning, in ticks: */
    double total, busy, steal, own;
};

void bench_machine_begin(struct bench_machine *machine);
void bench_machine_end(struct bench_machine *machine); /* fills in others and stolen */

/* What makes the figures doubtful, one sentence; "" for a quiet machine. Before bench_machine_end
 * only the load counts. */
const char *bench_machine_doubt(const struct bench_machine *machine, char sentence[200]);

#endif
