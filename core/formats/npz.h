/* numpy's .npz: a ZIP of .npy members (PKWARE APPNOTE 6.3; numpy.lib.format).
 *
 * Stored members are used in place from the mapped file (their data are usually not aligned);
 * deflated ones are inflated and fortran-ordered ones transposed into memory of the npz, when they
 * are first asked for. ZIP64 throughout. Types: <f4, <f2, <f8 (<f8 is narrowed to F32 in memory).
 */
#ifndef DM_FORMATS_NPZ_H
#define DM_FORMATS_NPZ_H

#include "core/base/mapped_file.h"
#include "core/base/status.h"
#include "core/formats/tensor.h"

struct npz;

int npz_open(struct npz **file, const char *path, struct status *st);
int npz_open_bytes(struct npz **file, const void *bytes, size_t n, const char *name,
                   struct status *st);

size_t npz_count(const struct npz *file);
const char *npz_name(const struct npz *file, size_t i); /* member name without ".npy" */

/* *t is borrowed until npz_close. STATUS_NOT_FOUND if there is no such member (names compare
 * without case: some files say w_enc). */
int npz_find(struct npz *file, const char *name, struct tensor *t, struct status *st);

/* What npz_find would return, read from the member's header alone (data is NULL where the member
 * would have to be inflated, transposed or narrowed). For listing files without reading them. */
int npz_peek(struct npz *file, const char *name, struct tensor *t, struct status *st);

size_t npz_heap_bytes(const struct npz *file); /* memory held for inflated or transposed members */
const char *npz_path(const struct npz *file);
void npz_release_pages(const struct npz *file);

/* mapped_file.h, of the file; bytes of the caller's stay what they are. */
enum mapped_state npz_state(const struct npz *file);
int npz_check(const struct npz *file, struct status *st);
void npz_close(struct npz *file); /* NULL is fine */

#endif
