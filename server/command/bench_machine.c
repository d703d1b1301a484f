#include "server/command/bench_machine.h"

#include "core/base/machine.h"

#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/times.h>
#include <sys/utsname.h>
#include <unistd.h>

static void name_cpu(char out[160])
{
    static const char info[] = "/proc/cpuinfo";
    char name[100], family[16], model[16];
    struct utsname system;
    if (!machine_line(info, "model name", name, sizeof name)) {
        (void)snprintf(name, sizeof name, "%.64s", uname(&system) == 0 ? system.machine : "?");
    }
    if (machine_line(info, "cpu family", family, sizeof family) &&
        machine_line(info, "model\t", model, sizeof model)) {
        (void)snprintf(out, 160, "%s (family %s, model %s)", name, family, model);
    } else {
        (void)snprintf(out, 160, "%s", name);
    }
}

/* The word in brackets: "always [madvise] never". */
static void read_pages(char out[32])
{
    char line[100];
    (void)machine_line("/sys/kernel/mm/transparent_hugepage/enabled", "", line, sizeof line);
    const char *open = strchr(line, '[');
    (void)snprintf(out, 32, "%.*s", open ? (int)strcspn(open + 1, "]") : 0, open ? open + 1 : "");
}

/* The first line of /proc/stat: user nice system idle iowait irq softirq steal, in ticks. */
static void read_ticks(double *total, double *busy, double *steal)
{
    double t[8] = {0};
    char line[512];
    (void)machine_line("/proc/stat", "cpu ", line, sizeof line);
    char *at = line;
    for (int i = 0; i < 8; i++) {
        t[i] = strtod(at, &at);
    }
    *steal = t[7];
    *busy = t[0] + t[1] + t[2] + t[5] + t[6];
    *total = *busy + t[3] + t[4] + t[7];
}

/* Of this process and those that it started and saw end. */
static double own_ticks(void)
{
    struct tms t;
    (void)times(&t);
    return (double)(t.tms_utime + t.tms_stime + t.tms_cutime + t.tms_cstime);
}

void bench_machine_begin(struct bench_machine *m)
{
    cpu_set_t set;
    double loads[1] = {0};
    *m = (struct bench_machine){.processors = (int)sysconf(_SC_NPROCESSORS_ONLN)};
    m->allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : m->processors;
    m->memory_gb = (double)machine_memory() / (1024.0 * 1024 * 1024);
    name_cpu(m->cpu);
    read_pages(m->pages);
#ifdef _SC_LEVEL3_CACHE_SIZE
    long cache = sysconf(_SC_LEVEL3_CACHE_SIZE);
    m->cache_bytes = cache > 0 ? (double)cache : 0;
#endif
    m->load = getloadavg(loads, 1) == 1 ? loads[0] : 0;
    read_ticks(&m->total, &m->busy, &m->steal);
    m->own = own_ticks();
}

void bench_machine_end(struct bench_machine *m)
{
    double total, busy, steal;
    read_ticks(&total, &busy, &steal);
    double passed = total - m->total, own = own_ticks() - m->own;
    if (passed <= 0) {
        return;
    }
    double others = (busy - m->busy - own) / passed;
    m->others = others > 0 ? others : 0;
    m->stolen = (steal - m->steal) / passed;
}

const char *bench_machine_doubt(const struct bench_machine *m, char sentence[200])
{
    *sentence = '\0';
    if (m->others > 0.05) {
        (void)snprintf(sentence, 200,
                       "other programs took %.0f %% of the processors' time meanwhile: these "
                       "figures say little",
                       100 * m->others);
    } else if (m->stolen > 0.02) {
        (void)snprintf(sentence, 200,
                       "the host of this virtual machine took %.0f %% of its time meanwhile",
                       100 * m->stolen);
    } else if (m->load > 0.5 * m->allowed) {
        (void)snprintf(sentence, 200,
                       "the machine was busy at the start (load %.1f on %d processors)", m->load,
                       m->allowed);
    }
    return sentence;
}
