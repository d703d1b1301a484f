/* Allocation with overflow-checked sizes. Everything in core/ and server/ that is not a library's
 * own memory comes from here, so that tests can make the Nth allocation fail. */
#ifndef DM_BASE_MEMORY_H
#define DM_BASE_MEMORY_H

#include <stdbool.h>
#include <stddef.h>

/* *product = a * b; false (product untouched) if it does not fit. */
bool memory_multiply(size_t a, size_t b, size_t *product);

/* *sum = a + b; false (sum untouched) if it does not fit. */
bool memory_add(size_t a, size_t b, size_t *sum);

/* count * size bytes, or NULL. A count of 0 gives a pointer that memory_free takes. */
void *memory_alloc(size_t count, size_t size);

/* The same, zeroed. */
void *memory_zalloc(size_t count, size_t size);

/* The same, zeroed, aligned to 64 bytes (a cache line, an AVX-512 register). */
void *memory_aligned(size_t count, size_t size);

/* Zeroed pages straight from the system: large buffers that are touched only as far as they are
 * used. Freed with memory_free_pages and the same size. */
void *memory_pages(size_t bytes);
void memory_free_pages(void *pages, size_t bytes);

/* As realloc(old, count * size); on NULL the old block is still the caller's. */
void *memory_resize(void *old, size_t count, size_t size);

/* Copies of a string / of n bytes with a NUL behind them, or NULL. */
char *memory_string(const char *s);
char *memory_string_n(const char *s, size_t n);

/* Frees what any of the above gave; NULL is fine. */
void memory_free(void *block);

/* Gives memory that was freed back to the system: what large requests leave is full of holes, and
 * the C library would keep it for later. Takes some milliseconds. */
void memory_give_back(void);

/* Fault injection for tests: the nth allocation from now on fails (1 = the next one); 0 turns it
 * off. Returns how many allocations were asked for since the last call. */
long memory_fail_after(long nth);

#endif
