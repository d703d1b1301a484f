/* Brings a database up to date: migrations/NNNN_name.sql, numbered from 0001 without gaps. The
 * header of the file says whose it is (application_id) and the last migration that it has
 * (user_version). Private to server/store. */
#ifndef DM_STORE_MIGRATE_H
#define DM_STORE_MIGRATE_H

#include "core/base/status.h"
#include "server/store/connection.h"

#include <dirent.h>

#define MIGRATE_APPLICATION_ID 0x646B6D72 /* "dkmr" */

struct migrations {
    const char *folder; /* borrowed */
    struct dirent **files;
    int n; /* files[i] is migration i + 1 */
};

/* Lists the folder and checks the numbers. */
int migrate_list(struct migrations *m, const char *folder, struct status *st);
void migrate_free(struct migrations *m); /* safe on a zeroed struct */

/* Reads what the file is and refuses another program's database and one of a newer darkmatter.
 * Writes nothing. */
int migrate_check(struct connection *c, const struct migrations *m, struct status *st);

/* Applies what is missing, each migration in one transaction with its number. Two processes may do
 * this at once. */
int migrate_apply(struct connection *c, const struct migrations *m, struct status *st);

#endif
