#include "server/command/bench_peaks.h"

#include "core/base/memory.h"
#include "core/math/peaks.h"

#include <string.h>

/* Each part is far beyond any cache. The fastest counts: the first wakes the threads up, and
 * another program's turn of some milliseconds would make a quarter of one look lost. */
#define FOOTPRINT ((size_t)768 << 20)
enum { PARTS = 4 };

int bench_peaks_open(struct bench *b, struct status *st)
{
    if (threads_create(&b->threads, engine_threads(bench_engine(b)), st)) {
        return (int)st->code;
    }
    b->memory = memory_pages(FOOTPRINT);
    if (!b->memory) {
        return status_no_memory(st, FOOTPRINT);
    }
    memset(b->memory, 1, FOOTPRINT); /* a page that was never written is read from a cache */
    return STATUS_OK;
}

void bench_peaks_close(struct bench *b)
{
    memory_free_pages(b->memory, b->memory ? FOOTPRINT : 0);
    threads_destroy(b->threads);
}

double bench_peaks_take(struct bench *b)
{
    struct bench_peaks *p = &b->peaks;
    threads_pin(b->threads, true);
    double fp32 = peak_fp32(b->threads), bf16 = peak_bf16(b->threads);
    double reads = 0;
    for (size_t i = 0; i < PARTS; i++) {
        double rate = peak_read(b->threads, b->memory + i * (FOOTPRINT / PARTS), FOOTPRINT / PARTS);
        reads = rate > reads ? rate : reads;
    }
    threads_pin(b->threads, false);
    p->fp32 = fp32 > p->fp32 ? fp32 : p->fp32;
    p->bf16 = bf16 > p->bf16 ? bf16 : p->bf16;
    return reads;
}

void bench_peaks_keep(struct bench *b, double reads)
{
    if (b->peaks.n_reads < BENCH_READS) {
        b->peaks.reads[b->peaks.n_reads++] = reads;
    }
}
