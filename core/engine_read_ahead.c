/* A mapped file is read page by page as it is used, and even where the system has it in memory each
 * page must be entered once into the tables of this process: the first answer waits for that. A
 * thread goes ahead, in small pieces and with the priority of all others: one of the lowest
 * priority would be put off while it holds the tables' lock, and the first answer with it. */
#include "core/base/machine.h"
#include "core/base/mapped_file.h"
#include "core/engine_private.h"

#define PIECE ((size_t)1 << 20) /* bytes under one lock, and between two looks at `stop` */

bool engine_weights_fit(uint64_t weight_bytes, uint64_t memory, int64_t available)
{
    return (memory == 0 || weight_bytes <= memory / 4 * 3) &&
           (available < 0 || weight_bytes / 1024 <= (uint64_t)available);
}

static void *read_ahead(void *argument)
{
    struct engine *e = argument;
    const struct tensor *t;
    for (size_t i = 0; (t = weights_matrix(&e->weights, i)) != NULL; i++) {
        size_t bytes = tensor_bytes(t);
        for (size_t at = 0; at < bytes; at += PIECE) {
            size_t n = bytes - at < PIECE ? bytes - at : PIECE;
            if (atomic_load(&e->read_ahead.stop) ||
                !mapped_file_read_ahead((const unsigned char *)t->data + at, n)) {
                return NULL;
            }
        }
    }
    return NULL;
}

void engine_read_ahead(struct engine *e)
{
    if (engine_weights_fit(e->folder.weight_bytes, machine_memory(),
                           machine_number("/proc/meminfo", "MemAvailable"))) {
        e->read_ahead.runs = pthread_create(&e->read_ahead.thread, NULL, read_ahead, e) == 0;
    }
}

void engine_stop_read_ahead(struct engine *e)
{
    atomic_store(&e->read_ahead.stop, true);
    if (e->read_ahead.runs) {
        pthread_join(e->read_ahead.thread, NULL);
        e->read_ahead.runs = false;
    }
}
