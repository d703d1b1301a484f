#include "core/base/mapped_file.h"

#include "core/base/mapped_guard.h"
#include "core/base/memory.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int fail(struct status *st, const char *path, const char *what)
{
    int error = errno;
    struct stat link;
    if (error == ENOENT && lstat(path, &link) == 0 && S_ISLNK(link.st_mode)) {
        return status_set(st, STATUS_NOT_FOUND,
                          "%s: a symbolic link to a file that is not there (an interrupted "
                          "download?); download it again",
                          path);
    }
    return status_set(st, error == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "%s: %s: %s", path, what,
                      strerror(error));
}

static int64_t nanoseconds(struct timespec t)
{
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

/* Maps all of fd; both belong to file afterwards. */
static int map(struct mapped_file *file, int fd, const struct stat *info, const char *path,
               struct status *st)
{
    void *data = mmap(NULL, (size_t)info->st_size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) {
        (void)close(fd);
        return fail(st, path, "cannot be mapped into memory");
    }
    file->data = data;
    file->size = (size_t)info->st_size;
    file->fd = fd;
    atomic_store(&file->written_ns, nanoseconds(info->st_mtim));
    file->guard = mapped_guard_add(data, file->size);
    if (file->guard < 0) {
        return status_set(st, STATUS_IO, "%s: more than %d files are open", path, MAPPED_GUARDS);
    }
    return STATUS_OK;
}

int mapped_file_open(struct mapped_file *file, const char *path, struct status *st)
{
    *file = (struct mapped_file){.fd = -1, .guard = -1};
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a named pipe must not hang us */
    if (fd < 0) {
        return fail(st, path, "cannot be opened");
    }
    struct stat info;
    int code = STATUS_OK;
    if (fstat(fd, &info) != 0) {
        code = fail(st, path, "cannot be read");
    } else if (!S_ISREG(info.st_mode)) {
        code = status_set(st, STATUS_IO, "%s: expected a file, found something else (a folder?)",
                          path);
    } else if (info.st_size > 0) {
        code = map(file, fd, &info, path, st);
        fd = -1;
    }
    if (fd >= 0) {
        (void)close(fd);
    }
    if (code == STATUS_OK && !(file->path = memory_string(path))) {
        code = status_no_memory(st, strlen(path) + 1);
    }
    if (code) {
        mapped_file_close(file);
    }
    return code;
}

enum mapped_state mapped_file_state(const struct mapped_file *file)
{
    struct stat info;
    if (!file->data) {
        return MAPPED_SAME;
    }
    if (fstat(file->fd, &info) != 0 || info.st_size < 0 || (size_t)info.st_size != file->size ||
        mapped_guard_broken(file->guard)) {
        return MAPPED_BROKEN;
    }
    return nanoseconds(info.st_mtim) == atomic_load(&file->written_ns) ? MAPPED_SAME
                                                                       : MAPPED_TOUCHED;
}

int mapped_file_check(const struct mapped_file *file, struct status *st)
{
    enum mapped_state state = mapped_file_state(file);
    if (state == MAPPED_SAME) {
        return STATUS_OK;
    }
    return status_set(st, STATUS_CORRUPT,
                      "%s: %s while it was in use; put it back as it was and try again", file->path,
                      state == MAPPED_TOUCHED ? "was written to"
                                              : "was cut short, or could not be read");
}

void mapped_file_accept(struct mapped_file *file)
{
    struct stat info;
    if (file->data && fstat(file->fd, &info) == 0) {
        atomic_store(&file->written_ns, nanoseconds(info.st_mtim));
    }
}

void mapped_file_release_pages(const struct mapped_file *file)
{
    if (file->data) {
        (void)madvise((void *)(uintptr_t)file->data, file->size, MADV_DONTNEED);
    }
}

bool mapped_file_read_ahead(const void *data, size_t n)
{
    const uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)data / page * page;
    size_t length = (uintptr_t)data + n - first;
    int code = -1;
    errno = EINVAL;
#ifdef MADV_POPULATE_READ /* Linux 5.14; a page that cannot be read is an error, no SIGBUS */
    code = madvise((void *)first, length, MADV_POPULATE_READ);
#endif
    if (code && errno == EINVAL) {
        code = madvise((void *)first, length, MADV_WILLNEED);
    }
    return code == 0;
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->data) {
        mapped_guard_remove(file->guard);
        (void)munmap((void *)(uintptr_t)file->data, file->size);
        (void)close(file->fd);
    }
    memory_free(file->path);
    *file = (struct mapped_file){.fd = -1, .guard = -1};
}
