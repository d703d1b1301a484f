/* AVX-512 (F, BW, DQ, VL): 16 lanes, tiles of 24 registers. */
#include "core/math/kernels_level.h"

#if defined(__x86_64__)

#define TARGET __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma,f16c")))
#include "core/math/kernels_avx512.h"

#define PRODUCT_ROWS 6
#define COLUMN_ROWS 6
#define COLUMN_VECTORS 4
#include "core/math/kernels_lanes.h"

const struct kernels_level kernels_avx512 = {
    .name = "avx512", .words = "AVX-512, fp32", LEVEL_FUNCTIONS};

#endif
