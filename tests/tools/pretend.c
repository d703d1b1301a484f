/* Loaded before a program (LD_PRELOAD), so that tests may see it on another machine:
 *   PRETEND_ROOT=FOLDER   fopen of /proc/x reads FOLDER/proc/x where that is there
 *   PRETEND_FREE=BYTES    statvfs says that so many are free
 *   PRETEND_FS=NUMBER     statfs says that this is the file system's type
 *   PRETEND_CLOCK=FILE    the time of day is as many seconds later as the file says, at each call
 * Built by tests/cli/program.py. */
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/vfs.h>
#include <time.h>
#include <unistd.h>

/* NOLINTBEGIN(readability-inconsistent-declaration-parameter-name): libc's names are reserved ones
 */

FILE *fopen(const char *path, const char *mode)
{
    FILE *(*real)(const char *, const char *);
    *(void **)&real = dlsym(RTLD_NEXT, "fopen");
    const char *root = getenv("PRETEND_ROOT");
    char other[4096];
    if (root && path[0] == '/' &&
        snprintf(other, sizeof other, "%s%s", root, path) < (int)sizeof other &&
        access(other, R_OK) == 0) {
        path = other;
    }
    return real(path, mode);
}

int statvfs(const char *path, struct statvfs *out)
{
    int (*real)(const char *, struct statvfs *);
    *(void **)&real = dlsym(RTLD_NEXT, "statvfs");
    int failed = real(path, out);
    const char *bytes = getenv("PRETEND_FREE");
    if (!failed && bytes) {
        out->f_bavail = strtoull(bytes, NULL, 10) / out->f_frsize;
    }
    return failed;
}

int statfs(const char *path, struct statfs *out)
{
    int (*real)(const char *, struct statfs *);
    *(void **)&real = dlsym(RTLD_NEXT, "statfs");
    int failed = real(path, out);
    const char *type = getenv("PRETEND_FS");
    if (!failed && type) {
        out->f_type = (__fsword_t)strtoull(type, NULL, 0);
    }
    return failed;
}

/* --- the time of day -------------------------------------------------------------------------- */

static time_t later(void)
{
    const char *path = getenv("PRETEND_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    char text[32] = "";
    if (file >= 0) {
        ssize_t n = read(file, text, sizeof text - 1);
        text[n > 0 ? n : 0] = '\0';
        (void)close(file);
    }
    return (time_t)strtoll(text, NULL, 10);
}

int clock_gettime(clockid_t which, struct timespec *out)
{
    int failed = (int)syscall(SYS_clock_gettime, which, out);
    if (!failed && (which == CLOCK_REALTIME || which == CLOCK_REALTIME_COARSE)) {
        out->tv_sec += later();
    }
    return failed;
}

int gettimeofday(struct timeval *restrict out, void *restrict zone)
{
    struct timespec now;
    (void)zone;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    *out = (struct timeval){now.tv_sec, now.tv_nsec / 1000};
    return 0;
}

time_t time(time_t *out)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    if (out) {
        *out = now.tv_sec;
    }
    return now.tv_sec;
}

/* NOLINTEND(readability-inconsistent-declaration-parameter-name) */
