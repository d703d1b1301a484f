#include "core/math/top.h"

/* An insertion into a short sorted list, which most of the values never enter. */
size_t top_pick(const float *values, size_t n, size_t top, int32_t *index, float *best)
{
    size_t found = 0;
    for (size_t i = 0; top && i < n; i++) {
        float x = values[i];
        if (!(x == x) || (found == top && !(x > best[found - 1]))) {
            continue;
        }
        size_t place = found < top ? found++ : found - 1;
        for (; place > 0 && x > best[place - 1]; place--) {
            best[place] = best[place - 1];
            index[place] = index[place - 1];
        }
        best[place] = x;
        index[place] = (int32_t)i;
    }
    return found;
}
