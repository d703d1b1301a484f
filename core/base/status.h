/* Errors: a code and one sentence.
 *
 * Every function that can fail takes a `struct status *` as its last argument and returns
 * 0 (STATUS_OK) or the code it also stored there. The sentence names what was read (file, tensor,
 * field), what was expected, what was found and, where there is one, what to do about it. Nothing
 * in core/ prints, exits or aborts. */
#ifndef DM_BASE_STATUS_H
#define DM_BASE_STATUS_H

enum status_code {
    STATUS_OK = 0,
    STATUS_INVALID,       /* the caller's value cannot be used (HTTP 400) */
    STATUS_NOT_FOUND,     /* no such model, source, feature, file (404) */
    STATUS_TOO_LARGE,     /* over a documented limit of bytes (413) */
    STATUS_UNPROCESSABLE, /* right shape, wrong type or missing field (422) */
    STATUS_UNSUPPORTED,   /* understood, not implemented or not in this file (501) */
    STATUS_BUSY,          /* the queue is full or the server is stopping (503) */
    STATUS_CANCELLED,     /* the caller went away */
    STATUS_MEMORY,        /* an allocation failed */
    STATUS_IO,            /* the operating system said no; errno's text is in the message */
    STATUS_CORRUPT,       /* a file contradicts itself or its format */
    STATUS_INTERNAL       /* a bug of ours */
};

struct status {
    enum status_code code;
    char message[768];
};

/* status_set(st, code, format, ...) stores code and the formatted sentence (cut at the buffer's
 * end) and returns the code. A macro, so that compilers and clang-tidy see that the code returned
 * is the one given and do not follow an error return as if it were success. */
#define status_set(st, code, ...) status_code_(status_set_((st), (code), __VA_ARGS__), (code))
int status_set_(struct status *st, enum status_code code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
static inline int status_code_(int stored, enum status_code code)
{
    (void)stored;
    return (int)code;
}

/* Puts "prefix: " in front of the message that is there; returns the code that is there. */
int status_prefix(struct status *st, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* STATUS_MEMORY with the number of bytes that could not be had. */
static inline int status_no_memory(struct status *st, unsigned long long bytes)
{
    return status_set(st, STATUS_MEMORY, "out of memory: %llu bytes could not be allocated", bytes);
}

/* Forgets an earlier error. */
void status_clear(struct status *st);

#endif
