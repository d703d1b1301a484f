#include "core/base/mapped_guard.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Looked at by the signal handler: nothing but atomics. A place is taken first, then filled, and
 * `to` is what makes it valid. */
static struct guard {
    atomic_bool taken, broken;
    atomic_uintptr_t from, to;
} guards[MAPPED_GUARDS];
static atomic_int used; /* places below are or were taken */

static struct sigaction before; /* what SIGBUS did without us */

static struct guard *find(uintptr_t at)
{
    int n = atomic_load(&used);
    for (int i = 0; i < n; i++) {
        struct guard *g = &guards[i];
        if (at < atomic_load(&g->to) && at >= atomic_load(&g->from)) {
            return g;
        }
    }
    return NULL;
}

/* The system call itself: sanitizers wrap mmap, and a wrapper may take locks. All of the mapping is
 * replaced at once, as a page each would be a signal and a mapping for every page that is gone. */
static bool put_zeros(const struct guard *g)
{
    uintptr_t from = atomic_load(&g->from);
    size_t n = atomic_load(&g->to) - from;
    long got = syscall(SYS_mmap, from, n, PROT_READ,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED | MAP_NORESERVE, -1, 0L);
    return got == (long)from;
}

static void on_bus_error(int number, siginfo_t *info, void *context)
{
    int error = errno;
    /* A positive code is the kernel's: a kill(2) carries no address. */
    struct guard *g = info->si_code > 0 ? find((uintptr_t)info->si_addr) : NULL;
    if (g) {
        atomic_store(&g->broken, true);
        if (put_zeros(g)) {
            errno = error;
            return;
        }
    }
    if ((before.sa_flags & SA_SIGINFO) && before.sa_sigaction) {
        before.sa_sigaction(number, info, context);
    } else if (before.sa_handler != SIG_DFL && before.sa_handler != SIG_IGN) {
        before.sa_handler(number);
    } else {
        (void)signal(number, SIG_DFL); /* the same read fails again, and ends the process */
        if (info->si_code <= 0) {
            (void)raise(number);
        }
    }
    errno = error;
}

static void install(void)
{
    struct sigaction action = {.sa_sigaction = on_bus_error, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGBUS, &action, &before);
}

int mapped_guard_add(const void *data, size_t n)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
    for (int i = 0; i < MAPPED_GUARDS; i++) {
        if (atomic_load_explicit(&guards[i].taken, memory_order_relaxed) ||
            atomic_exchange(&guards[i].taken, true)) {
            continue;
        }
        int below = atomic_load(&used);
        while (below <= i && !atomic_compare_exchange_weak(&used, &below, i + 1)) {
        }
        atomic_store(&guards[i].broken, false);
        atomic_store(&guards[i].from, (uintptr_t)data);
        atomic_store(&guards[i].to, (uintptr_t)data + n);
        return i;
    }
    return -1;
}

bool mapped_guard_broken(int place)
{
    return place >= 0 && atomic_load(&guards[place].broken);
}

void mapped_guard_remove(int place)
{
    if (place >= 0) {
        atomic_store(&guards[place].to, 0);
        atomic_store(&guards[place].taken, false);
    }
}
