#include "server/work/index_turn.h"

#include "server/store/store.h"

#include <time.h>

#define TRY_NANOSECONDS 100000000

static bool is_set(const atomic_bool *flag)
{
    return flag && atomic_load(flag);
}

int index_turn_take(const struct indexer *ix, int *turn, struct status *st)
{
    struct indexer_progress progress = {.phase = "waiting", .seconds_left = -1.0};
    for (;;) {
        int code = store_lock_index(ix->store, turn, &progress.waiting_for, st);
        if (code || *turn >= 0) {
            return code;
        }
        if (is_set(ix->cancel) || is_set(ix->abandon)) {
            return status_set(st, STATUS_CANCELLED, "indexing was stopped");
        }
        if (ix->progress) {
            ix->progress(ix->user, &progress);
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = TRY_NANOSECONDS}, NULL);
    }
}

void index_turn_end(int turn)
{
    store_unlock_index(turn);
}
