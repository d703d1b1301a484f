/* What the parts of `darkmatter doctor` share: doctor.c (the command), doctor_model.c (model and
 * SAEs), doctor_database.c, doctor_machine.c. */
#ifndef DM_COMMAND_DOCTOR_H
#define DM_COMMAND_DOCTOR_H

#include "core/base/hash.h"
#include "core/formats/model_folder.h"
#include "core/gemma/config.h"
#include "server/command/options.h"
#include "server/http/emit.h"

enum finding {
    FINDING_OK,
    FINDING_NOTE, /* works, but should be known */
    FINDING_WRONG /* does not work, or not rightly */
};

struct doctor {
    const struct options *options;
    const char *area; /* "model", "saes", "database", "machine" */
    struct emitter w; /* --json */
    bool colour;
    size_t n[3]; /* of each finding */
    uint64_t memory;
    /* Of the model, as far as it could be opened: */
    struct model_folder folder;
    struct gemma_config config;
    bool has_model;
    struct hash identity;
};

/* One finding: where and what is, and after "; " what to do about it where that is not plain. */
void doctor_say(struct doctor *d, enum finding finding, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

void doctor_model(struct doctor *d); /* and the SAEs, which must fit it */
void doctor_database(struct doctor *d);
void doctor_machine(struct doctor *d);

/* "5.23 GB", "12.4 MB", "300 bytes". */
struct doctor_size {
    char text[24];
};
struct doctor_size doctor_size(uint64_t bytes);

/* Bytes that may still be written on the disk of a folder; false: unknown. */
bool doctor_disk(const char *folder, uint64_t *available);

#endif
