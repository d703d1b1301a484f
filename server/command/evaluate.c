/* darkmatter evaluate: what SAEs leave unexplained of corpora, as a table or as JSON; the reports
 * stay in the database for the site. Ctrl-C stops at the next batch; the same command goes on. */
#include "core/base/json.h"
#include "server/command/command.h"
#include "server/command/corpus_flags.h"
#include "server/command/progress.h"
#include "server/command/workshop.h"
#include "server/store/evaluations.h"
#include "server/work/evaluator.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct column;

static atomic_bool stopping;

static void on_signal(int number)
{
    (void)number;
    if (atomic_exchange(&stopping, true)) {
        _Exit(EXIT_FAILED); /* the second one does not wait; what was kept last stays */
    }
}

struct evaluating {
    struct workshop shop;
    struct progress progress;
    bool json, first;             /* first: nothing was printed yet */
    const struct column *columns; /* of the table that is printed */
};

static void show_progress(void *user, const struct evaluator_progress *p)
{
    struct evaluating *x = user;
    char line[256], left[32], reading[64];
    progress_time(left, p->seconds_left);
    progress_reading(&x->progress, reading, p->reading, p->readings,
                     "the sums of these sources are over 1 GB together");
    (void)snprintf(line, sizeof line, "%s%lld of about %lld tokens, %.0f tokens/s, %s left",
                   reading, (long long)p->tokens, (long long)p->total_tokens, p->tokens_per_second,
                   left);
    progress_show(&x->progress, p->total_tokens ? (double)p->tokens / (double)p->total_tokens : 0.0,
                  line);
}

/* --- what is printed -------------------------------------------------------------------------- */

static void print_cell(const cJSON *of, const char *key, const char *head)
{
    const cJSON *value = json_get(of, key);
    char cell[32] = "-";
    if (cJSON_IsNumber(value)) {
        (void)snprintf(cell, sizeof cell, "%.*f", strcmp(head, "L0") == 0 ? 2 : 4,
                       value->valuedouble);
    }
    (void)printf(" %9s", cell);
}

/* One of the two tables: what is in a column, and where a report has it. */
struct column {
    const char *head, *part, *key;
};

static const struct column errors[] = {
    {"L0", "figures", "l0"},
    {"MSE", "figures", "mse"},
    {"FVU", "figures", "fvu"},
    {"cosine", "figures", "cosine"},
    {"rel err", "figures", "relErr"},
    {"L2 ratio", "figures", "l2Ratio"},
    {"bias", "figures", "relativeReconstructionBias"},
    {"linear", "linear", "r2"},
    {"norm", "linear", "normR2"},
};

static const struct column predictions[] = {
    {"CE", "figures", "ceClean"},
    {"splice", "figures", "ceSplice"},
    {"zero", "figures", "ceZero"},
    {"mean", "figures", "ceMean"},
    {"KL splice", "figures", "klSplice"},
    {"KL zero", "figures", "klZero"},
    {"KL mean", "figures", "klMean"},
    {"recovered", "figures", "lossRecovered"},
    {"of mean", "figures", "lossRecoveredMean"},
};
enum { COLUMNS = sizeof errors / sizeof errors[0] };
_Static_assert(sizeof errors == sizeof predictions, "both tables are equally wide");

static void print_row(const char *report, const struct column *columns)
{
    cJSON *tree = cJSON_Parse(report);
    (void)printf("%-30s", cJSON_GetStringValue(json_get(tree, "source")));
    for (size_t i = 0; i < COLUMNS; i++) {
        print_cell(json_get(tree, columns[i].part), columns[i].key, columns[i].head);
    }
    (void)printf("\n");
    cJSON_Delete(tree);
}

static int print_report(void *user, const struct store_evaluation *row)
{
    struct evaluating *x = user;
    if (x->json) {
        (void)printf("%s%s", x->first ? "[" : ",\n ", row->report);
    } else {
        print_row(row->report, x->columns);
    }
    x->first = false;
    return 0;
}

static void print_head(const struct column *columns, const char *of)
{
    (void)printf("%-30s", of);
    for (size_t i = 0; i < COLUMNS; i++) {
        (void)printf(" %9s", columns[i].head);
    }
    (void)printf("\n");
}

static int take_tokens(void *user, const struct store_evaluation *row)
{
    *(int64_t *)user = row->tokens;
    return 0;
}

static int print_reports(struct evaluating *x, int64_t corpus, struct status *st)
{
    int code = STATUS_OK;
    for (size_t i = 0; i < x->shop.n_names && !code; i++) {
        int64_t row;
        code = sources_row(x->shop.sources, x->shop.names[i], &row, st);
        code = code ? code : store_evaluation(x->shop.store, row, corpus, print_report, x, st);
    }
    return code;
}

static int print_corpus(struct evaluating *x, const char *name, int64_t corpus, struct status *st)
{
    int64_t row, tokens = 0;
    if (x->json) {
        return print_reports(x, corpus, st);
    }
    int code = sources_row(x->shop.sources, x->shop.names[0], &row, st);
    code = code ? code : store_evaluation(x->shop.store, row, corpus, take_tokens, &tokens, st);
    (void)printf("%s, %lld tokens\n", name, (long long)tokens);
    for (int table = 0; table < 2 && !code; table++) {
        x->columns = table ? predictions : errors;
        print_head(x->columns, table ? "predictions (nats)" : "errors");
        code = print_reports(x, corpus, st);
    }
    return code;
}

/* --- the run ---------------------------------------------------------------------------------- */

static int evaluate_corpus(struct evaluating *x, const struct options *o, const char *path,
                           struct status *st)
{
    const struct evaluator ev = {.engine = x->shop.engine,
                                 .store = x->shop.store,
                                 .sources = x->shop.sources,
                                 .queue = x->shop.queue,
                                 .names = x->shop.names,
                                 .n_names = x->shop.n_names,
                                 .cancel = &stopping,
                                 .progress = show_progress,
                                 .user = x};
    const struct corpus_options options = corpus_flags_options(o, path);
    struct text name = {0};
    int64_t corpus;
    corpus_flags_name(o, path, &name);
    int code = name.failed ? status_no_memory(st, 64)
                           : evaluator_run(&ev, &options, name.data, &corpus, st);
    progress_end(&x->progress);
    code = code ? code : print_corpus(x, name.data, corpus, st);
    text_free(&name);
    return code;
}

static int refuse_neurons(const struct workshop *shop, struct status *st)
{
    for (size_t i = 0; i < shop->n_names; i++) {
        if (catalogue_find(engine_catalogue(shop->engine), shop->names[i])->is_neurons) {
            return status_set(st, STATUS_UNSUPPORTED,
                              "--source %s: these are the model's own neurons, which leave nothing "
                              "unexplained; expected an SAE",
                              shop->names[i]);
        }
    }
    return STATUS_OK;
}

int command_evaluate(const struct options *o)
{
    struct evaluating x = {.progress = progress_start(), .json = o->json, .first = true};
    struct status st = {0};
    struct sigaction action = {.sa_handler = on_signal};
    (void)sigaction(SIGINT, &action, NULL);
    (void)sigaction(SIGTERM, &action, NULL);
    int code = workshop_open(&x.shop, o, &st);
    code = code ? code : refuse_neurons(&x.shop, &st);
    for (size_t i = 0; i < o->n_corpora && !code; i++) {
        code = evaluate_corpus(&x, o, o->corpora[i], &st);
    }
    if (!code && x.json) {
        (void)printf("%s]\n", x.first ? "[" : "");
    }
    workshop_close(&x.shop);
    if (code == STATUS_CANCELLED) {
        (void)fprintf(stderr, "stopped; what was computed is kept: the same command goes on\n");
        return EXIT_FAILED;
    }
    return code ? command_failed(&st) : EXIT_OK;
}
