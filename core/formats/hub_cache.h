/* The Hugging Face hub's cache (huggingface_hub, "Understand caching"): models--ORG--NAME with
 * refs/main (a commit's hash), snapshots/HASH (symbolic links into blobs) and blobs, where
 * unfinished downloads end in ".incomplete". */
#ifndef DM_FORMATS_HUB_CACHE_H
#define DM_FORMATS_HUB_CACHE_H

#include "core/base/status.h"

#include <stdbool.h>

enum hub_presence { HUB_ABSENT, HUB_BROKEN, HUB_THERE };

/* Whether something is at path; HUB_BROKEN is a symbolic link that leads nowhere or in a circle. */
enum hub_presence hub_cache_presence(const char *path);

/* "folder/name", the caller's (memory_free), or NULL. */
char *hub_cache_join(const char *folder, const char *name);

/* *snapshot: the snapshot of the cache at path that refs/main names, else its only or newest one,
 * or NULL where path has no snapshots folder. A cache without any snapshot is STATUS_NOT_FOUND. */
int hub_cache_snapshot(const char *path, char **snapshot, struct status *st);

/* *name: NAME where path is models--ORG--NAME or a snapshot in it, by its own name or by the one
 * that its links lead to, else NULL. */
int hub_cache_name(const char *path, char **name, struct status *st);

/* An unfinished download next to the snapshot, cache or folder at path, or NULL where there is none
 * or no memory to say so: it only makes an error message clearer. */
char *hub_cache_incomplete(const char *path);

/* STATUS_NOT_FOUND: what was expected in the folder, what was found there, and the download that
 * did not finish, if there is one. */
int hub_cache_missing(const char *folder, const char *expected, const char *found,
                      struct status *st);

#endif
