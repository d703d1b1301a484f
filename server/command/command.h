/* The commands of the program. Each prints what the user needs and returns an exit code: 0 ok,
 * 1 failed, 2 usage. */
#ifndef DM_COMMAND_COMMAND_H
#define DM_COMMAND_COMMAND_H

#include "server/command/options.h"

enum { EXIT_OK = 0, EXIT_FAILED = 1, EXIT_USAGE = 2 };

int command_serve(const struct options *options);
int command_index(const struct options *options);
int command_evaluate(const struct options *options);
int command_collect(const struct options *options);
int command_tokenize(const struct options *options);
int command_import(const struct options *options);
int command_export(const struct options *options);
int command_pack(const struct options *options);
int command_verify(const struct options *options);
int command_health(const struct options *options);

/* "darkmatter: message" on stderr; returns EXIT_FAILED. */
int command_failed(const struct status *st);

/* Prints a line of the engine ("note: ...") on stderr. */
void command_notice(void *user, const char *line);

#endif
