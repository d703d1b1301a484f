/* doctor: the database and its disk. */
#include "core/base/memory.h"
#include "server/command/doctor.h"
#include "server/store/inspect.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define DISK_LEAST ((uint64_t)100 << 20) /* less: what is computed cannot be kept for long */
#define DISK_SPARE ((uint64_t)1 << 30)
#define LONG_READ (1000 * 1000 * 1000) /* a larger file takes a while to be checked */

static void say_models(struct doctor *d, const struct inspect_report *r)
{
    bool same = false;
    uint8_t identity[HASH_BYTES];
    hash_bytes(d->identity, identity);
    bool other = false;
    for (size_t i = 0; i < r->n_models; i++) {
        const struct inspect_model *m = &r->models[i];
        doctor_say(d, FINDING_OK, "it holds values of %s: %lld sources, %lld texts", m->name,
                   (long long)m->sources, (long long)m->texts);
        bool named = d->has_model && strcmp(m->name, d->folder.id) == 0;
        bool equal = named && memcmp(m->identity, identity, sizeof identity) == 0;
        same = same || equal;
        other = other || (named && !equal);
    }
    if (other && !same) {
        doctor_say(d, FINDING_NOTE,
                   "what it holds of %s was computed with other weights, another precision or an "
                   "older darkmatter: it will be computed again, into rows of its own",
                   d->folder.id);
    }
}

/* Locks of SQLite do not hold on network shares, and a database that two write at once is lost. */
static void say_share(struct doctor *d, const char *folder)
{
    static const struct {
        unsigned long type; /* statfs(2) */
        const char *name;
    } shares[] = {{0x6969, "NFS"},       {0xFF534D42, "CIFS"},   {0xFE534D42, "SMB"},
                  {0x517B, "SMB"},       {0x01021997, "9P"},     {0x5346414F, "AFS"},
                  {0x00C36400, "Ceph"},  {0x0BD00BD0, "Lustre"}, {0x47504653, "GPFS"},
                  {0x19830326, "BeeGFS"}};
    struct statfs system;
    for (size_t i = 0; statfs(folder, &system) == 0 && i < sizeof shares / sizeof *shares; i++) {
        if ((unsigned long)system.f_type == shares[i].type) {
            doctor_say(d, FINDING_WRONG,
                       "%s lies on a network share (%s), where SQLite's locks do not hold; put the "
                       "database on a local disk with --db",
                       folder, shares[i].name);
            return;
        }
    }
}

static void say_disk(struct doctor *d, const char *folder, uint64_t bytes)
{
    uint64_t free_bytes;
    say_share(d, folder);
    if (!doctor_disk(folder, &free_bytes)) {
        return;
    }
    if (free_bytes < DISK_LEAST) {
        doctor_say(d, FINDING_WRONG,
                   "the disk of %s has %s left: what is computed cannot be kept; free some "
                   "space, or name a file on another disk with --db",
                   folder, doctor_size(free_bytes).text);
    } else if (free_bytes < DISK_SPARE || free_bytes < bytes / 4) {
        doctor_say(d, FINDING_NOTE,
                   "the disk of %s has %s left, which an index may fill, and a backup on it "
                   "as well",
                   folder, doctor_size(free_bytes).text);
    } else {
        doctor_say(d, FINDING_OK, "the disk of %s has %s left", folder,
                   doctor_size(free_bytes).text);
    }
}

static void say_report(struct doctor *d, const char *path, const struct inspect_report *r)
{
    if (r->damage[0]) {
        doctor_say(d, FINDING_WRONG,
                   "%s: the database is damaged (%s); restore a copy, or save what can be read "
                   "with `sqlite3 %s .recover`",
                   path, r->damage, path);
        return;
    }
    doctor_say(d, FINDING_OK, "%s: whole, schema %lld of %d, %s, %lld texts, %lld explanations",
               path, (long long)r->schema, r->known, doctor_size((uint64_t)r->bytes).text,
               (long long)r->texts, (long long)r->explanations);
    if (r->writing.code) {
        doctor_say(d, FINDING_WRONG, "%s", r->writing.message);
    }
    if (r->schema > 0 && r->schema < r->known) {
        doctor_say(d, FINDING_NOTE,
                   "%s is of an older darkmatter and will be migrated at the next start; make a "
                   "backup before, for the older one cannot read it afterwards",
                   path);
    }
    if (r->free_bytes > r->bytes / 2 && r->bytes > LONG_READ / 10) {
        doctor_say(d, FINDING_NOTE,
                   "%s of its %s are unused; `sqlite3 %s VACUUM`, with darkmatter stopped, "
                   "gives them back",
                   doctor_size((uint64_t)r->free_bytes).text, doctor_size((uint64_t)r->bytes).text,
                   path);
    }
    say_models(d, r);
}

static void look_inside(struct doctor *d, const char *path, const char *folder)
{
    struct inspect_report *r = memory_zalloc(1, sizeof *r);
    struct text migrations = {0};
    struct status st = {0};
    struct stat file;
    text_printf(&migrations, "%s/migrations", d->options->share);
    if (stat(path, &file) == 0 && file.st_size > LONG_READ) {
        (void)fprintf(stderr, "reading all of %s (%s) ...\n", path,
                      doctor_size((uint64_t)file.st_size).text);
    }
    if (!r || migrations.failed) {
        doctor_say(d, FINDING_WRONG, "out of memory");
    } else if (inspect_database(r, path, migrations.data, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
    } else {
        say_report(d, path, r);
        say_disk(d, folder, (uint64_t)r->bytes);
    }
    text_free(&migrations);
    memory_free(r);
}

void doctor_database(struct doctor *d)
{
    const char *path = d->options->db;
    const char *slash = strrchr(path, '/');
    struct text folder = {0};
    d->area = "database";
    if (slash == path) {
        text_string(&folder, "/");
    } else {
        text_append(&folder, slash ? path : ".", slash ? (size_t)(slash - path) : 1);
    }
    if (folder.failed) {
        doctor_say(d, FINDING_WRONG, "out of memory");
    } else if (access(folder.data, W_OK) != 0) {
        doctor_say(d, FINDING_WRONG,
                   "the folder %s cannot be written (%s); make it, or make it writable for this "
                   "user, or name a file elsewhere with --db",
                   folder.data, strerror(errno));
    } else if (access(path, F_OK) != 0) {
        doctor_say(d, FINDING_OK, "%s is not there yet: it is made at the first start", path);
        say_disk(d, folder.data, 0);
    } else if (d->options->share) {
        look_inside(d, path, folder.data);
    }
    text_free(&folder);
}
