#include "server/work/pace.h"

struct pace pace_of(int64_t estimate, int64_t tokens, int64_t lately, double seconds)
{
    struct pace p = {.total_tokens = estimate && estimate < tokens ? tokens : estimate,
                     .per_second = seconds > 0.0 ? (double)lately / seconds : 0.0,
                     .seconds_left = -1.0};
    if (p.total_tokens && p.per_second > 0.0) {
        p.seconds_left = (double)(p.total_tokens - tokens) / p.per_second;
    }
    return p;
}
