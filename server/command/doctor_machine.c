/* doctor: processor, memory, limits, and the address to listen on. */
#include "core/base/machine.h"
#include "core/base/threads.h"
#include "core/math/kernels.h"
#include "server/command/command.h"
#include "server/command/doctor.h"
#include "server/command/share.h"
#include "server/http/listener.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#define SPACE_BESIDE ((uint64_t)1 << 30) /* addresses that stacks, heaps and libraries take */
enum { DESCRIPTORS_LEAST = 256 };

/* Whether /proc/cpuinfo lists the feature, as a word of its own. */
static bool has_flag(const char *flags, const char *name)
{
    size_t n = strlen(name);
    for (const char *at = flags; (at = strstr(at, name)) != NULL; at += n) {
        if ((at == flags || at[-1] == ' ') && (at[n] == ' ' || at[n] == '\0')) {
            return true;
        }
    }
    return false;
}

static int count_threads(int wanted)
{
    struct threads *threads = NULL;
    struct status st = {0};
    int n = threads_create(&threads, wanted, &st) ? 0 : threads_count(threads);
    threads_destroy(threads);
    return n;
}

static void say_processor(struct doctor *d)
{
    static const char info[] = "/proc/cpuinfo";
    char model[128];
    char flags[4096];
    (void)machine_line(info, "model name", model, sizeof model);
    bool x86 = machine_line(info, "flags", flags, sizeof flags);
    bool avx2 = has_flag(flags, "avx2") && has_flag(flags, "fma");
    int n = count_threads(d->options->threads);
    doctor_say(d, FINDING_OK, "%s%s%s%s; %d thread%s compute%s, with %s",
               model[0] ? model : "a processor", avx2 ? ", AVX2" : "",
               has_flag(flags, "avx512f") ? ", AVX-512" : "",
               has_flag(flags, "avx512_bf16") ? ", AVX-512 BF16" : "", n, n == 1 ? "" : "s",
               n == 1 ? "s" : "", kernel_backend());
    if (x86 && !avx2) {
        doctor_say(
            d, FINDING_NOTE,
            "the processor has no AVX2 and FMA: the same numbers, several times slower; take "
            "a machine from 2013 or later (Intel Haswell, AMD Zen), or let the virtual "
            "machine pass the host's processor on");
    }
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    if (processors > n) {
        doctor_say(d, FINDING_NOTE,
                   "%ld processors are there and %d are used, as --threads or the process's limits "
                   "(taskset, --cpus) say",
                   processors, n);
    }
}

static void say_memory(struct doctor *d)
{
    static const char huge[] = "/sys/kernel/mm/transparent_hugepage/enabled";
    int64_t available = machine_number("/proc/meminfo", "MemAvailable") * 1024;
    char pages[64];
    doctor_say(d, FINDING_OK, "%s of memory for this process", doctor_size(d->memory).text);
    if (available > 0 && (uint64_t)available < d->folder.weight_bytes) {
        doctor_say(d, FINDING_NOTE,
                   "only %s are free, less than the weights (%s): stop what else runs "
                   "here, or they will be read from the disk again and again",
                   doctor_size((uint64_t)available).text, doctor_size(d->folder.weight_bytes).text);
    }
    if (machine_line(huge, "", pages, sizeof pages) && strstr(pages, "[never]")) {
        doctor_say(d, FINDING_NOTE,
                   "huge pages are off; `echo madvise > %s`, as root, lets large buffers be read "
                   "faster",
                   huge);
    }
}

static void say_limits(struct doctor *d)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max < COMMAND_DESCRIPTORS) {
        bool few = limit.rlim_max < DESCRIPTORS_LEAST;
        doctor_say(d, few ? FINDING_WRONG : FINDING_NOTE,
                   "%llu files may be open at once, of which each connection, shard and SAE takes "
                   "one; raise the limit (`ulimit -Hn %d`, LimitNOFILE= in a unit)",
                   (unsigned long long)limit.rlim_max, COMMAND_DESCRIPTORS);
    }
    if (getrlimit(RLIMIT_AS, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY &&
        limit.rlim_cur < d->folder.weight_bytes + SPACE_BESIDE) {
        doctor_say(d, FINDING_WRONG,
                   "the process may use %s of addresses (`ulimit -v`), too few to map weights "
                   "of %s; set it to unlimited: mapped files are no memory of its own",
                   doctor_size(limit.rlim_cur).text, doctor_size(d->folder.weight_bytes).text);
    }
}

static void say_temporary(struct doctor *d)
{
    const char *folder = getenv("TMPDIR");
    uint64_t free_bytes = 0;
    folder = folder && *folder ? folder : "/tmp";
    if (access(folder, W_OK) != 0) {
        doctor_say(
            d, FINDING_WRONG,
            "%s cannot be written (%s), where an index keeps what it has not stored yet; set "
            "TMPDIR to a folder with room",
            folder, strerror(errno));
    } else if (doctor_disk(folder, &free_bytes) && free_bytes < (uint64_t)100 << 20) {
        doctor_say(d, FINDING_NOTE,
                   "%s has %s left, where an index keeps what it has not stored yet; set "
                   "TMPDIR to a folder with more",
                   folder, doctor_size(free_bytes).text);
    }
}

static void say_address(struct doctor *d)
{
    const struct options *o = d->options;
    struct status st = {0};
    int fd = -1;
    if (command_check_access(o, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
    }
    if (o->port == 0) {
        return;
    }
    status_clear(&st);
    if (listener_open(o->host, o->port, &fd, &st) == 0) {
        (void)close(fd);
        doctor_say(d, FINDING_OK, "port %d of %s is free", o->port, o->host);
    } else if (command_is_answered(o)) {
        doctor_say(d, FINDING_NOTE,
                   "a server answers on port %d of %s already; stop it first, or "
                   "take another --port",
                   o->port, o->host);
    } else {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
    }
}

void doctor_machine(struct doctor *d)
{
    struct status st = {0};
    struct options found = *d->options;
    d->area = "machine";
    if (!d->options->share && share_find(&found, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
    }
    say_processor(d);
    say_memory(d);
    say_limits(d);
    say_temporary(d);
    say_address(d);
}
