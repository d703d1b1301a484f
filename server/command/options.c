#include "server/command/options.h"

#include "core/base/memory.h"
#include "core/base/text.h"
#include "server/command/share.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* CHOICE: one of the words of `value`, kept as its place among them. */
enum kind { TEXT, LIST, NUMBER, COUNT, BYTES, FLAG, CHOICE };

enum command {
    SERVE = 1,
    TOKENIZE = 2,
    HEALTH = 4,
    INDEX = 8,
    IMPORT = 16,
    EXPORT = 32,
    VERIFY = 64,
    PACK = 128,
    EVALUATE = 256,
    COLLECT = 512,
    DOCTOR = 1024,
    BENCH = 2048
};

static const struct {
    const char *name;
    enum command bit;
    const char *summary;
} commands[] = {
    {"serve", SERVE, "answer over HTTP and serve the site"},
    {"index", INDEX, "run SAEs over a corpus and keep a dashboard of every feature"},
    {"evaluate", EVALUATE, "measure what SAEs leave unexplained of a corpus"},
    {"collect", COLLECT, "write activations over a corpus as safetensors: FOLDER"},
    {"tokenize", TOKENIZE,
     "JSON lines {\"text\": ...} in, {\"ids\": [...], \"tokens\": [...]} out"},
    {"import", IMPORT, "read Neuronpedia's export files: FILE, FOLDER or - (stdin) ..."},
    {"export", EXPORT, "write a source's dashboards and explanations in that layout: FOLDER"},
    {"verify", VERIFY, "hold the model and its SAEs against published numbers"},
    {"doctor", DOCTOR, "say what is wrong with model, SAEs, database or machine; serve's flags"},
    {"pack", PACK, "write a BF16 copy of a model, half the size of F32: FOLDER"},
    {"bench", BENCH, "measure how fast a model runs here, beside what the machine can do"},
    {"health", HEALTH, "exit 0 if a server answers on --host and --port"},
};
#define N_COMMANDS (sizeof commands / sizeof commands[0])

/* Every flag, the commands that take it, and its line of the help. */
static const struct flag {
    const char *name, *value, *help;
    int commands;
    enum kind kind;
    size_t offset;
    long long low, high;
} flags[] = {
    {"--model", "FOLDER", "a Hugging Face model folder or hub cache (the bundled demo)",
     SERVE | TOKENIZE | INDEX | EVALUATE | COLLECT | EXPORT | VERIFY | PACK | BENCH, TEXT,
     offsetof(struct options, model), 0, 0},
    {"--model-id", "ID", "the model's name in addresses (from the folder)",
     SERVE | TOKENIZE | INDEX | EVALUATE | COLLECT | EXPORT | VERIFY | BENCH, TEXT,
     offsetof(struct options, model_id), 0, 0},
    {"--tuned-lens", "FILE", "a tuned lens for /v1/lens/prompt (safetensors); may be repeated",
     SERVE, LIST, offsetof(struct options, tuned_lenses), 0, 0},
    {"--saes", "FOLDER", "searched for SAEs; may be repeated (the demo's, without --model)",
     SERVE | INDEX | EVALUATE | VERIFY | BENCH, LIST, offsetof(struct options, saes), 0, 0},
    {"--db", "FILE", "the database (darkmatter.db in the current folder)",
     SERVE | INDEX | EVALUATE | IMPORT | EXPORT, TEXT, offsetof(struct options, db), 0, 0},
    {"--host", "ADDRESS", "where to listen (127.0.0.1)", SERVE | HEALTH, TEXT,
     offsetof(struct options, host), 0, 0},
    {"--port", "N", "0 takes any free one (5002)", SERVE | HEALTH, NUMBER,
     offsetof(struct options, port), 0, 65535},
    {"--allow-host", "NAME", "a name that browsers may use for this server; may be repeated", SERVE,
     LIST, offsetof(struct options, allow_hosts), 0, 0},
    {"--no-secret", NULL, "listen beyond this machine without DARKMATTER_SECRET", SERVE, FLAG,
     offsetof(struct options, no_secret), 0, 0},
    {"--token-limit", "N", "tokens of one prompt (1024, never over the model's positions)", SERVE,
     NUMBER, offsetof(struct options, token_limit), 1, 1048576},
    {"--reply-limit", "BYTES", "largest trace reply (256M)", SERVE, BYTES,
     offsetof(struct options, reply_limit), 1, LLONG_MAX},
    {"--sae-memory", "BYTES", "budget for open SAEs, e.g. 4G (a quarter of the memory)",
     SERVE | INDEX | EVALUATE | VERIFY | BENCH, BYTES, offsetof(struct options, sae_memory), 1,
     LLONG_MAX},
    {"--prefix-memory", "BYTES", "what texts that were continued leave for the next turn (128M)",
     SERVE, BYTES, offsetof(struct options, prefix_memory), 0, LLONG_MAX},
    {"--threads", "N", "compute threads (all processors)",
     SERVE | INDEX | EVALUATE | COLLECT | VERIFY | BENCH, NUMBER, offsetof(struct options, threads),
     1, 256},
    {"--precision", "exact|bf16", "bf16: rows are rounded before products, faster (exact)",
     SERVE | INDEX | EVALUATE | COLLECT | VERIFY, CHOICE, offsetof(struct options, precision), 0,
     0},
    {"--embed-scale", "auto|bf16|f32", "rounding of sqrt(hidden size) (auto)",
     SERVE | INDEX | EVALUATE | COLLECT | VERIFY | BENCH, CHOICE,
     offsetof(struct options, embed_scale), 0, 0},
    {"--precision", "both|exact|bf16", "which of them is measured (both)", BENCH, CHOICE,
     offsetof(struct options, bench_precision), 0, 0},
    {"--rounds", "N", "each figure is measured so often; its median counts (5)", BENCH, NUMBER,
     offsetof(struct options, rounds), 1, 99},
    {"--log", "quiet|text|json", "quiet: only failed and slow requests get a line (quiet)", SERVE,
     CHOICE, offsetof(struct options, log), 0, 0},
    {"--slow-ms", "N", "a request that takes as long is slow; 0: none is (10000)", SERVE, NUMBER,
     offsetof(struct options, slow_ms), 0, INT_MAX},
    {"--no-auto-index", NULL, "do not index the demo's corpus on first start", SERVE, FLAG,
     offsetof(struct options, no_auto_index), 0, 0},
    {"--corpus", "PATH", "JSONL or text file, folder, or - (stdin); may be repeated (the demo's)",
     INDEX | EVALUATE | COLLECT, LIST, offsetof(struct options, corpora), 0, 0},
    {"--source", "NAME", "an SAE to run, may be repeated (all); export: the one to write",
     INDEX | EVALUATE | EXPORT, LIST, offsetof(struct options, sources), 0, 0},
    {"--source", "NAME", "the SAE to measure (the first of a residual stream)", BENCH, LIST,
     offsetof(struct options, sources), 0, 0},
    {"--name", "NAME", "the corpus's name (the file's)", INDEX | EVALUATE, TEXT,
     offsetof(struct options, name), 0, 0},
    {"--context", "N", "tokens of a context, <bos> among them (128)", INDEX | EVALUATE | COLLECT,
     NUMBER, offsetof(struct options, context), 2, 1048576},
    {"--limit-tokens", "N", "stop after so many tokens of each corpus (all)",
     INDEX | EVALUATE | COLLECT, COUNT, offsetof(struct options, limit_tokens), 1, LLONG_MAX},
    {"--no-pack", NULL, "cut each document on its own", INDEX | EVALUATE | COLLECT, FLAG,
     offsetof(struct options, no_pack), 0, 0},
    {"--keep-duplicates", NULL, "take repeated documents again", INDEX | EVALUATE | COLLECT, FLAG,
     offsetof(struct options, keep_duplicates), 0, 0},
    {"--seed", "N", "of the sampled examples (0)", INDEX, NUMBER, offsetof(struct options, seed), 0,
     INT_MAX},
    {"--no-special", NULL, "leave <bos> out", TOKENIZE, FLAG, offsetof(struct options, no_special),
     0, 0},
    {"--share", "FOLDER", "holds static/, migrations/, golden/ and demo/ (found from the program)",
     SERVE | TOKENIZE | INDEX | EVALUATE | COLLECT | IMPORT | EXPORT | VERIFY | PACK | BENCH, TEXT,
     offsetof(struct options, share), 0, 0},
    {"--golden", "FILE",
     "published numbers to hold against; may be repeated (those that come along)", VERIFY, LIST,
     offsetof(struct options, goldens), 0, 0},
    {"--read", "POINT", "what to collect, e.g. resid_post.20 or mlp_out.*; may be repeated",
     COLLECT, LIST, offsetof(struct options, reads), 0, 0},
    {"--dtype", "f32|bf16|f16", "of the collected rows (f32)", COLLECT, CHOICE,
     offsetof(struct options, dtype), 0, 0},
    {"--shard-size", "BYTES", "of each file, and of memory for it (256M)", COLLECT, BYTES,
     offsetof(struct options, shard_size), 1, 1LL << 44},
    {"--json", NULL, "the result as JSON: one object; evaluate: a list of reports",
     VERIFY | DOCTOR | PACK | EVALUATE | BENCH, FLAG, offsetof(struct options, json), 0, 0},
};
#define N_FLAGS (sizeof flags / sizeof flags[0])

static int command_bit(const char *name)
{
    for (size_t i = 0; name && i < N_COMMANDS; i++) {
        if (strcmp(commands[i].name, name) == 0) {
            return (int)commands[i].bit;
        }
    }
    return 0;
}

/* doctor is asked with the command line that serve will be started with. */
static bool takes(int bit, const struct flag *f)
{
    return (f->commands & (bit == DOCTOR ? DOCTOR | SERVE : bit)) != 0;
}

void options_usage(const char *command, struct text *out)
{
    int bit = command_bit(command);
    if (!bit) {
        text_string(out, "usage: darkmatter COMMAND [FLAGS]\n\ncommands:\n");
        for (size_t i = 0; i < N_COMMANDS; i++) {
            text_printf(out, "  %-10s %s\n", commands[i].name, commands[i].summary);
        }
        text_string(out, "\ndarkmatter COMMAND --help lists a command's flags.\n");
        return;
    }
    text_printf(out, "usage: darkmatter %s [FLAGS]%s\n\nflags (and what holds without them):\n",
                command,
                bit == IMPORT                     ? " FILE|FOLDER|-..."
                : bit == BENCH                    ? " [FIGURE...]"
                : bit & (EXPORT | PACK | COLLECT) ? " FOLDER"
                                                  : "");
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (takes(bit, &flags[i])) {
            char left[48];
            (void)snprintf(left, sizeof left, "%s %s", flags[i].name,
                           flags[i].value ? flags[i].value : "");
            text_printf(out, "  %-27s %s\n", left, flags[i].help);
        }
    }
}

/* --- values ----------------------------------------------------------------------------------- */

/* "1024", "4G", "512M", "16k" */
static bool parse_number(const char *s, bool units, long long *out)
{
    char *end;
    errno = 0;
    long long n = strtoll(s, &end, 10);
    if (*s < '0' || *s > '9' || errno) { /* strtoll would also take spaces and signs */
        return false;
    }
    static const char letters[] = "kMGT";
    const char *unit = units && *end ? strchr(letters, *end) : NULL;
    if (unit) {
        end++;
        if (*end == 'B' || *end == 'i') {
            end += *end == 'i' && end[1] == 'B' ? 2 : 1;
        }
        for (long i = 0; i <= unit - letters; i++) {
            if (n > LLONG_MAX / 1024) {
                return false;
            }
            n *= 1024;
        }
    }
    *out = n;
    return *end == '\0';
}

static int store_number(struct options *o, const struct flag *f, const char *value,
                        struct status *st)
{
    long long n;
    if (!parse_number(value, f->kind == BYTES, &n) || n < f->low || n > f->high) {
        if (f->kind == BYTES) {
            return status_set(st, STATUS_INVALID,
                              "%s: expected bytes such as 512M or 4G, found \"%s\"", f->name,
                              value);
        }
        return status_set(st, STATUS_INVALID,
                          "%s: expected a whole number in %lld..%lld, found \"%s\"", f->name,
                          f->low, f->high, value);
    }
    char *field = (char *)o + f->offset;
    if (f->kind == BYTES || f->kind == COUNT) {
        *(uint64_t *)(void *)field = (uint64_t)n;
    } else if (f->offset == offsetof(struct options, token_limit)) {
        o->token_limit = (size_t)n;
    } else {
        *(int *)(void *)field = (int)n;
    }
    return STATUS_OK;
}

static int store_list(struct options *o, const struct flag *f, const char *value, struct status *st)
{
    const struct {
        size_t offset, *n;
        const char **items;
    } lists[] = {{offsetof(struct options, saes), &o->n_saes, o->saes},
                 {offsetof(struct options, tuned_lenses), &o->n_tuned_lenses, o->tuned_lenses},
                 {offsetof(struct options, allow_hosts), &o->n_allow_hosts, o->allow_hosts},
                 {offsetof(struct options, corpora), &o->n_corpora, o->corpora},
                 {offsetof(struct options, sources), &o->n_sources, o->sources},
                 {offsetof(struct options, goldens), &o->n_goldens, o->goldens},
                 {offsetof(struct options, reads), &o->n_reads, o->reads}};
    size_t i = 0;
    while (lists[i].offset != f->offset) {
        i++;
    }
    if (*lists[i].n == OPTIONS_LIST) {
        return status_set(st, STATUS_INVALID, "%s: given more than %d times", f->name,
                          OPTIONS_LIST);
    }
    lists[i].items[(*lists[i].n)++] = value;
    return STATUS_OK;
}

static int store_value(struct options *o, const struct flag *f, const char *value,
                       struct status *st)
{
    char *field = (char *)o + f->offset;
    switch (f->kind) {
    case TEXT:
        *(const char **)(void *)field = value;
        return STATUS_OK;
    case LIST:
        return store_list(o, f, value, st);
    case NUMBER:
    case COUNT:
    case BYTES:
        return store_number(o, f, value, st);
    case FLAG:
        *(bool *)(void *)field = true;
        return STATUS_OK;
    case CHOICE:
        break;
    }
    int place = 0;
    size_t length = strlen(value);
    for (const char *word = f->value; word; place++) {
        size_t n = strcspn(word, "|");
        if (n == length && memcmp(word, value, n) == 0) {
            *(int *)(void *)field = place;
            return STATUS_OK;
        }
        word = word[n] ? word + n + 1 : NULL;
    }
    return status_set(st, STATUS_INVALID, "%s: expected %s, found \"%s\"", f->name, f->value,
                      value);
}

/* --- parsing
 * ---------------------------------------------------------------------------------------- */

static const struct flag *find_flag(const char *argument, int bit, const char **value)
{
    size_t length = strcspn(argument, "=");
    *value = argument[length] == '=' ? argument + length + 1 : NULL;
    for (size_t i = 0; i < N_FLAGS; i++) {
        if (takes(bit, &flags[i]) && strlen(flags[i].name) == length &&
            memcmp(flags[i].name, argument, length) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static int parse_flags(struct options *o, int bit, int argc, char **argv, struct status *st)
{
    if (bit & (IMPORT | EXPORT | PACK | COLLECT | BENCH)) {
        o->paths = memory_zalloc((size_t)argc, sizeof *o->paths);
        if (!o->paths) {
            return status_no_memory(st, (size_t)argc * sizeof *o->paths);
        }
    }
    for (int i = 2; i < argc; i++) {
        const char *value;
        if (o->paths && (argv[i][0] != '-' || argv[i][1] == '\0')) {
            o->paths[o->n_paths++] = argv[i];
            continue;
        }
        const struct flag *f = find_flag(argv[i], bit, &value);
        if (!f) {
            return status_set(st, STATUS_INVALID, "%s: darkmatter %s has no such flag", argv[i],
                              o->command);
        }
        if (f->kind == FLAG && value) {
            return status_set(st, STATUS_INVALID, "%s takes no value", f->name);
        }
        if (f->kind != FLAG && !value) {
            value = i + 1 < argc ? argv[++i] : NULL;
            if (!value) {
                return status_set(st, STATUS_INVALID, "%s: expected a value (%s) behind it",
                                  f->name, f->value);
            }
        }
        int code = store_value(o, f, value, st);
        if (code) {
            return code;
        }
    }
    return STATUS_OK;
}

/* What a command cannot do without. */
static int check_needed(const struct options *o, int bit, struct status *st)
{
    if (bit == IMPORT && o->n_paths == 0) {
        return status_set(st, STATUS_INVALID,
                          "import: expected files, folders or - (the standard input) to read");
    }
    if (bit == EXPORT && (o->n_paths != 1 || o->n_sources != 1)) {
        return status_set(st, STATUS_INVALID, "export: expected %s",
                          o->n_sources == 1 ? "one folder to write" : "one --source NAME");
    }
    if (bit == PACK && (!o->model || o->n_paths != 1)) {
        return status_set(st, STATUS_INVALID, "pack: expected %s",
                          o->model ? "one folder to write" : "--model FOLDER");
    }
    if (bit == BENCH && o->n_sources > 1) {
        return status_set(st, STATUS_INVALID, "bench: expected one --source NAME");
    }
    if (bit == COLLECT && (o->n_paths != 1 || o->n_reads == 0)) {
        return status_set(st, STATUS_INVALID, "collect: expected %s",
                          o->n_reads ? "one folder to write" : "--read POINT, e.g. resid_post.20");
    }
    return STATUS_OK;
}

int options_parse(struct options *o, int argc, char **argv, struct status *st)
{
    *o = (struct options){.command = argc > 1 ? argv[1] : NULL,
                          .host = "127.0.0.1",
                          .port = 5002,
                          .db = "darkmatter.db",
                          .slow_ms = 10000,
                          .token_limit = 1024,
                          .context = 128,
                          .rounds = 5,
                          .reply_limit = 256ull * 1024 * 1024};
    int bit = command_bit(o->command);
    o->prefix_memory = bit == SERVE ? 128ull * 1024 * 1024 : 0; /* nobody else goes on with texts */
    if (!bit) {
        return status_set(st, STATUS_INVALID, "%s%s", o->command ? o->command : "",
                          o->command ? ": no such command" : "a command is needed");
    }
    const char *secret = getenv("DARKMATTER_SECRET");
    o->secret = secret && *secret ? secret : NULL;
    int code = parse_flags(o, bit, argc, argv, st);
    code = code ? code : check_needed(o, bit, st);
    if (code == STATUS_OK && bit != HEALTH) {
        code = share_find(o, st);
        if (code && (bit & (TOKENIZE | PACK | DOCTOR)) && o->model) { /* can do without */
            code = STATUS_OK;
        }
        if (bit != IMPORT && (bit != EXPORT || o->model || !o->model_id)) {
            code = code ? code : share_use_demo(o, st);
        }
    }
    if (code == STATUS_OK && (bit & (INDEX | EVALUATE | COLLECT))) {
        code = share_use_demo_corpus(o, st);
    }
    if (code) {
        options_free(o);
    }
    return code;
}

void options_free(struct options *o)
{
    memory_free(o->paths);
    o->paths = NULL;
    o->n_paths = 0;
    for (size_t i = 0; i < sizeof o->owned / sizeof o->owned[0]; i++) {
        memory_free(o->owned[i]);
        o->owned[i] = NULL;
    }
}

struct engine_options options_engine(const struct options *o)
{
    return (struct engine_options){.model = o->model,
                                   .model_id = o->model_id,
                                   .sae_folders = o->saes,
                                   .n_sae_folders = o->n_saes,
                                   .tuned_lenses = o->tuned_lenses,
                                   .n_tuned_lenses = o->n_tuned_lenses,
                                   .threads = o->threads,
                                   .sae_memory = o->sae_memory,
                                   .prefix_memory = o->prefix_memory,
                                   .precision = o->precision,
                                   .embed_scale = o->embed_scale};
}
