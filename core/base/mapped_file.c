#include "core/base/mapped_file.h"

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

int mapped_file_open(struct mapped_file *file, const char *path, struct status *st)
{
    *file = (struct mapped_file){0};
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
        void *data = mmap(NULL, (size_t)info.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (data == MAP_FAILED) {
            code = fail(st, path, "cannot be mapped into memory");
        } else {
            file->data = data;
            file->size = (size_t)info.st_size;
        }
    }
    (void)close(fd);
    if (code == STATUS_OK && !(file->path = memory_string(path))) {
        mapped_file_close(file);
        code = status_no_memory(st, strlen(path) + 1);
    }
    return code;
}

void mapped_file_release_pages(const struct mapped_file *file)
{
    if (file->data) {
        (void)madvise((void *)(uintptr_t)file->data, file->size, MADV_DONTNEED);
    }
}

void mapped_file_close(struct mapped_file *file)
{
    if (file->data) {
        (void)munmap((void *)(uintptr_t)file->data, file->size);
    }
    memory_free(file->path);
    *file = (struct mapped_file){0};
}
