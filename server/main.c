/* darkmatter: picks the command. */
#include "server/command/command.h"

#include <stdio.h>
#include <string.h>

static void print_usage(FILE *to, const char *command)
{
    struct text help = {0};
    options_usage(command, &help);
    (void)fputs(help.data ? help.data : "", to);
    text_free(&help);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++) {
        if (strcmp(argv[i], "--help") == 0 || strcmp(argv[i], "-h") == 0) {
            print_usage(stdout, argv[1]);
            return EXIT_OK;
        }
    }
    struct options options;
    struct status st = {0};
    if (options_parse(&options, argc, argv, &st)) {
        (void)fprintf(stderr, "darkmatter: %s\n\n", st.message);
        print_usage(stderr, argc > 1 ? argv[1] : NULL);
        return EXIT_USAGE;
    }
    static const struct {
        const char *name;
        int (*run)(const struct options *);
    } commands[] = {{"serve", command_serve},       {"index", command_index},
                    {"evaluate", command_evaluate}, {"collect", command_collect},
                    {"tokenize", command_tokenize}, {"import", command_import},
                    {"export", command_export},     {"verify", command_verify},
                    {"doctor", command_doctor},     {"pack", command_pack},
                    {"bench", command_bench},       {"health", command_health}};
    int code = EXIT_USAGE;
    for (size_t i = 0; i < sizeof commands / sizeof commands[0]; i++) {
        if (strcmp(options.command, commands[i].name) == 0) {
            code = commands[i].run(&options);
        }
    }
    options_free(&options);
    return code;
}
