/* The site: every file below static/, read into memory when the server starts, so that no path from
 * a request ever reaches the file system. */
#ifndef DM_HTTP_STATIC_FILES_H
#define DM_HTTP_STATIC_FILES_H

#include "server/http/exchange.h"

struct static_files;

int static_files_load(struct static_files **files, const char *folder, struct status *st);

/* Answers a GET for path ("/" is index.html) with content type, ETag and Cache-Control; 304 when
 * If-None-Match says so. False if there is no such file. */
bool static_files_serve(const struct static_files *files, const char *path, struct exchange *x);

bool static_files_has(const struct static_files *files, const char *path);

void static_files_free(struct static_files *files);

#endif
