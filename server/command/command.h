/* The commands of the program. Each prints what the user needs and returns an exit code: 0 ok,
 * 1 failed, 2 usage. */
#ifndef DM_COMMAND_COMMAND_H
#define DM_COMMAND_COMMAND_H

#include "server/command/options.h"

/* Open files that serve asks the system for, where its hard limit allows so many. */
#define COMMAND_DESCRIPTORS 16384

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_serve(const struct options *options);
int command_index(const struct options *options);
int command_evaluate(const struct options *options);
int command_collect(const struct options *options);
int command_tokenize(const struct options *options);
int command_import(const struct options *options);
int command_export(const struct options *options);
int command_pack(const struct options *options);
int command_bench(const struct options *options);
int command_verify(const struct options *options);
int command_doctor(const struct options *options);
int command_health(const struct options *options);

/* "darkmatter: message" on stderr; returns EXIT_FAILED. */
int command_failed(const struct status *st);

/* STATUS_INVALID for a --host beyond this machine without a secret or --no-secret: nobody on the
 * network should use this machine's model by accident. */
int command_check_access(const struct options *options, struct status *st);

/* Whether a server answers GET /health with 200 on --host and --port. */
bool command_is_answered(const struct options *options);

/* Prints a line of the engine ("note: ...") on stderr. */
void command_notice(void *user, const char *line);

#endif
