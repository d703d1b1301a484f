#include "server/command/bench_child.h"

#include "core/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

enum { ARGUMENTS = 2 * OPTIONS_LIST + 32, VARIABLES = 1024, START_SECONDS = 120, LINE = 4096 };

struct line {
    const char *argv[ARGUMENTS];
    size_t n;
    char threads[16], sae_memory[32], db[128];
};

static void add(struct line *line, const char *flag, const char *value)
{
    if (value) {
        line->argv[line->n++] = flag;
        line->argv[line->n++] = value;
    }
}

static void write_line(struct line *line, const struct options *o, enum precision precision,
                       const char *folder)
{
    static const char *const scales[] = {"auto", "bf16", "f32"};
    *line = (struct line){.argv = {"darkmatter", "serve"}, .n = 2};
    (void)snprintf(line->threads, sizeof line->threads, "%d", o->threads);
    (void)snprintf(line->sae_memory, sizeof line->sae_memory, "%llu",
                   (unsigned long long)o->sae_memory);
    (void)snprintf(line->db, sizeof line->db, "%s/server.db", folder);
    add(line, "--port", "0");
    add(line, "--db", line->db);
    add(line, "--share", o->share);
    add(line, "--precision", precision_name(precision));
    add(line, "--embed-scale", scales[o->embed_scale]);
    add(line, "--threads", o->threads ? line->threads : NULL);
    add(line, "--sae-memory", o->sae_memory ? line->sae_memory : NULL);
    line->argv[line->n++] = "--no-auto-index";
    if (!o->is_demo) { /* which serves explanations as well when nothing is named */
        add(line, "--model", o->model);
        add(line, "--model-id", o->model_id);
        for (size_t i = 0; i < o->n_saes; i++) {
            add(line, "--saes", o->saes[i]);
        }
    }
}

/* The environment without the secret, which would be asked for. */
static void copy_environment(char *out[VARIABLES])
{
    size_t n = 0;
    for (char **v = environ; *v && n + 1 < VARIABLES; v++) {
        if (strncmp(*v, "DARKMATTER_SECRET=", 18) != 0) {
            out[n++] = *v;
        }
    }
    out[n] = NULL;
}

static int spawn(struct bench_child *child, struct line *line, const char *messages, int out)
{
    char *variables[VARIABLES];
    union {
        const char **words;
        char *const *argv; /* posix_spawn changes none of them */
    } arguments = {.words = line->argv};
    posix_spawn_file_actions_t actions;
    copy_environment(variables);
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    (void)posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, messages,
                                           O_WRONLY | O_CREAT | O_TRUNC, 0600);
    int error =
        posix_spawn(&child->pid, "/proc/self/exe", &actions, NULL, arguments.argv, variables);
    (void)posix_spawn_file_actions_destroy(&actions);
    child->pid = error ? 0 : child->pid;
    return error;
}

/* "darkmatter serves ... on http://127.0.0.1:PORT, database ..." */
static bool read_port(int fd, int *port)
{
    char said[LINE];
    size_t n = 0;
    double until = clock_seconds() + START_SECONDS;
    while (n + 1 < sizeof said) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        double left = until - clock_seconds();
        if (left <= 0 || poll(&p, 1, (int)(left * 1e3)) <= 0) {
            return false;
        }
        ssize_t got = read(fd, said + n, sizeof said - 1 - n);
        if (got <= 0) {
            return false;
        }
        n += (size_t)got;
        said[n] = '\0';
        static const char before[] = " on http://127.0.0.1:";
        const char *at = strstr(said, before);
        if (at && strchr(at, '\n')) {
            *port = (int)strtol(at + sizeof before - 1, NULL, 10);
            return true;
        }
    }
    return false;
}

static int failed(const char *messages, struct status *st)
{
    char line[600] = "", last[600] = "it said nothing";
    FILE *f = fopen(messages, "re");
    while (f && fgets(line, sizeof line, f)) {
        (void)snprintf(last, sizeof last, "%.*s", (int)strcspn(line, "\n"), line);
    }
    if (f) {
        (void)fclose(f);
    }
    return status_set(st, STATUS_IO, "the server that was to be measured did not start: %s", last);
}

int bench_child_start(struct bench_child *child, const struct options *options,
                      enum precision precision, const char *folder, struct status *st)
{
    struct line line;
    char messages[128];
    int pipes[2];
    *child = (struct bench_child){0};
    (void)snprintf(messages, sizeof messages, "%s/server.log", folder);
    write_line(&line, options, precision, folder);
    if (pipe2(pipes, O_CLOEXEC) != 0) {
        return status_set(st, STATUS_IO, "pipe: %s", strerror(errno));
    }
    double start = clock_seconds();
    int error = spawn(child, &line, messages, pipes[1]);
    (void)close(pipes[1]);
    int code = STATUS_OK;
    if (error) {
        code = status_set(st, STATUS_IO, "a server cannot be started: %s", strerror(error));
    } else if (!read_port(pipes[0], &child->port)) {
        code = failed(messages, st);
        bench_child_stop(child);
    }
    child->seconds = clock_seconds() - start;
    (void)close(pipes[0]);
    return code;
}

double bench_child_memory(const struct bench_child *child)
{
    char path[64], line[256];
    double kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%d/status", (int)child->pid);
    FILE *f = fopen(path, "re");
    while (f && fgets(line, sizeof line, f)) {
        if (strncmp(line, "RssAnon:", 8) == 0) {
            kib = strtod(line + 8, NULL);
        }
    }
    if (f) {
        (void)fclose(f);
    }
    return kib * 1024;
}

void bench_child_stop(struct bench_child *child)
{
    if (child->pid > 0) {
        (void)kill(child->pid, SIGTERM);
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR) {
        }
    }
    child->pid = 0;
}
