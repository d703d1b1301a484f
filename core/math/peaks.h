/* What this machine can do at most: the yardstick beside which every speed is reported, measured in
 * the same minutes (shared machines change theirs). Each call takes some milliseconds. */
#ifndef DM_MATH_PEAKS_H
#define DM_MATH_PEAKS_H

#include "core/base/threads.h"

#include <stddef.h>

/* Multiply-adds (2 operations each) per second, all threads busy, in the CPU's widest vectors: of
 * fp32, and of bf16 pairs added up in fp32 (VDPBF16PS). 0 where the CPU or this program has none.
 */
double peak_fp32(struct threads *threads);
double peak_bf16(struct threads *threads);

/* Bytes per second at which memory [bytes], 64-byte aligned, is read once from its first byte to
 * its last by all threads. Give it other memory each time, or what is measured is a cache. */
double peak_read(struct threads *threads, const void *memory, size_t bytes);

#endif
