/* How fast a corpus is read and how long the rest will take. */
#ifndef DM_WORK_PACE_H
#define DM_WORK_PACE_H

#include <stdint.h>

struct pace {
    int64_t total_tokens; /* of the corpus, an estimate; 0: unknown */
    double per_second;    /* 0: unknown yet */
    double seconds_left;  /* below 0: unknown */
};

/* After `tokens` of about `estimate` (0: unknown), `lately` of them within the last `seconds`. */
struct pace pace_of(int64_t estimate, int64_t tokens, int64_t lately, double seconds);

#endif
