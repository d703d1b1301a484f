/* One line of Neuronpedia's export files: what it is, checked and taken apart. */
#ifndef DM_WORK_IMPORT_RECORD_H
#define DM_WORK_IMPORT_RECORD_H

#include "core/base/json.h"
#include "server/store/explanations.h"

#include <stddef.h>

enum import_kind {
    IMPORT_OTHER, /* a model, a source set, a source, a blank line */
    IMPORT_EMPTY, /* an explanation without a description */
    IMPORT_EXPLANATION,
    IMPORT_FEATURE,
    IMPORT_ACTIVATION
};

struct import_record {
    enum import_kind kind;
    struct store_explanation explanation; /* of an explanation */
    struct store_imported line;           /* of the other two */
    cJSON *root;                          /* owns the strings above ... */
    char *owned;                          /* ... and so does this */
    char id[48];                          /* where the line has none: made from its content */
};

/* Reads n bytes. `name` ("FILE:LINE") begins every message. On an error there is nothing to free.
 */
int import_record_read(struct import_record *record, const char *bytes, size_t n, const char *name,
                       struct status *st);
void import_record_free(struct import_record *record);

#endif
