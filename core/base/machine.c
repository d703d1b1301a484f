#include "core/base/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

bool machine_line(const char *path, const char *name, char *out, size_t size)
{
    char line[4096];
    size_t n = strlen(name);
    bool found = false;
    FILE *f = fopen(path, "re");
    out[0] = '\0';
    while (f && !found && fgets(line, sizeof line, f)) {
        found = strncmp(line, name, n) == 0;
        if (found) {
            const char *rest = line + n + strspn(line + n, " \t:");
            (void)snprintf(out, size, "%.*s", (int)strcspn(rest, "\n"), rest);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return found;
}

int64_t machine_number(const char *path, const char *name)
{
    char rest[64];
    return machine_line(path, name, rest, sizeof rest) && *rest >= '0' && *rest <= '9'
               ? strtoll(rest, NULL, 10)
               : -1;
}

static void lower_to(uint64_t *memory, int64_t limit)
{
    if (limit > 0 && (!*memory || (uint64_t)limit < *memory)) {
        *memory = (uint64_t)limit;
    }
}

/* Control groups, version 2: the group's own limit and those of all above it hold together. */
static void lower_to_groups(uint64_t *memory)
{
    char group[1024];
    char path[1152];
    if (!machine_line("/proc/self/cgroup", "0::", group, sizeof group)) {
        return;
    }
    for (char *slash = group + strlen(group); slash; slash = strrchr(group, '/')) {
        *slash = '\0';
        (void)snprintf(path, sizeof path, "/sys/fs/cgroup%s/memory.max", group);
        lower_to(memory, machine_number(path, ""));
    }
}

uint64_t machine_memory(void)
{
    int64_t kilobytes = machine_number("/proc/meminfo", "MemTotal");
    uint64_t memory = kilobytes > 0 ? (uint64_t)kilobytes * 1024 : 0;
    lower_to_groups(&memory);
    lower_to(&memory, machine_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", "")); /* v. 1 */
    return memory;
}
