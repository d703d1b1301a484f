#include "core/base/memory.h"

#include <malloc.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static atomic_long allocations;
static atomic_long failing;

bool memory_multiply(size_t a, size_t b, size_t *product)
{
    return !__builtin_mul_overflow(a, b, product);
}

bool memory_add(size_t a, size_t b, size_t *sum)
{
    return !__builtin_add_overflow(a, b, sum);
}

static bool may_allocate(void)
{
    long n = atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed) + 1;
    long nth = atomic_load_explicit(&failing, memory_order_relaxed);
    return nth == 0 || n != nth;
}

long memory_fail_after(long nth)
{
    atomic_store(&failing, nth);
    return atomic_exchange(&allocations, 0);
}

static bool bytes_of(size_t count, size_t size, size_t *bytes)
{
    if (!memory_multiply(count, size, bytes) || !may_allocate()) {
        return false;
    }
    if (*bytes == 0) {
        *bytes = 1;
    }
    return true;
}

void *memory_alloc(size_t count, size_t size)
{
    size_t bytes;
    return bytes_of(count, size, &bytes) ? malloc(bytes) : NULL;
}

void *memory_zalloc(size_t count, size_t size)
{
    size_t bytes;
    return bytes_of(count, size, &bytes) ? calloc(1, bytes) : NULL;
}

void *memory_aligned(size_t count, size_t size)
{
    size_t bytes;
    if (!bytes_of(count, size, &bytes) || bytes > (size_t)-1 - 64) {
        return NULL;
    }
    void *block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    return block ? memset(block, 0, bytes) : NULL;
}

void *memory_pages(size_t bytes)
{
    if (bytes == 0 || !may_allocate()) {
        return NULL;
    }
    void *pages = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    return pages == MAP_FAILED ? NULL : pages;
}

void memory_free_pages(void *pages, size_t bytes)
{
    if (pages) {
        (void)munmap(pages, bytes);
    }
}

void *memory_resize(void *old, size_t count, size_t size)
{
    size_t bytes;
    return bytes_of(count, size, &bytes) ? realloc(old, bytes) : NULL;
}

char *memory_string_n(const char *s, size_t n)
{
    size_t size;
    if (!memory_add(n, 1, &size)) {
        return NULL;
    }
    char *copy = memory_alloc(size, 1);
    if (copy) {
        memcpy(copy, s, n);
        copy[n] = '\0';
    }
    return copy;
}

char *memory_string(const char *s)
{
    return memory_string_n(s, strlen(s));
}

void memory_free(void *block)
{
    free(block);
}

void memory_give_back(void)
{
#ifdef __GLIBC__
    (void)malloc_trim(0);
#endif
}
