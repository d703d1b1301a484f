/* The lock that indexers of one database take, in a file beside it: the system gives it back when
 * the process that holds it ends, however that is. */
#include "core/base/text.h"
#include "server/store/store_private.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static int cannot_lock(const char *path, struct status *st)
{
    return status_set(st, STATUS_IO, "%s: the indexers' lock cannot be taken: %s", path,
                      strerror(errno));
}

/* Who holds it, as that process wrote into the file; 0: it has not yet. */
static int64_t read_holder(int file)
{
    char text[32] = "";
    ssize_t n = pread(file, text, sizeof text - 1, 0);
    return n > 0 ? strtoll(text, NULL, 10) : 0;
}

static int take(int file, const char *path, bool *taken, int64_t *holder, struct status *st)
{
    /* Of the open file, not of the process: two indexers in one process exclude each other too. */
    struct flock whole = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    *taken = fcntl(file, F_OFD_SETLK, &whole) == 0;
    if (!*taken && errno != EAGAIN && errno != EACCES) {
        return cannot_lock(path, st);
    }
    if (!*taken) {
        *holder = read_holder(file);
        return 0;
    }
    char text[32];
    int n = snprintf(text, sizeof text, "%lld\n", (long long)getpid());
    return ftruncate(file, 0) == 0 && pwrite(file, text, (size_t)n, 0) == n ? 0
                                                                            : cannot_lock(path, st);
}

int store_lock_index(struct store *store, int *lock, int64_t *holder, struct status *st)
{
    struct text path = {0};
    bool taken = false;
    *lock = -1;
    *holder = 0;
    text_printf(&path, "%s-index", store->path);
    if (path.failed) {
        text_free(&path);
        return status_no_memory(st, strlen(store->path));
    }
    int file = open(path.data, O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    int code = file >= 0 ? take(file, path.data, &taken, holder, st) : cannot_lock(path.data, st);
    if (taken && code == 0) {
        *lock = file;
    } else if (file >= 0) {
        (void)close(file);
    }
    text_free(&path);
    return code;
}

void store_unlock_index(int lock)
{
    if (lock >= 0) {
        (void)close(lock); /* the number in the file stays: without the lock it says nothing */
    }
}
