#include "core/base/memory.h"
#include "server/command/options.h"
#include "tests/scratch.h"
#include "tests/test.h"

enum { ARGUMENTS = 160 };

/* "serve --port 80" as main gets it; the words live as long as the struct. */
struct line {
    char text[4096];
    char *argv[ARGUMENTS];
    int argc;
};

static int parse(struct options *o, struct line *line, const char *words, struct status *st)
{
    snprintf(line->text, sizeof line->text, "darkmatter %s", words);
    line->argc = 0;
    for (char *word = strtok(line->text, " "); word; word = strtok(NULL, " ")) {
        line->argv[line->argc++] = word;
    }
    line->argv[line->argc] = NULL;
    status_clear(st);
    return options_parse(o, line->argc, line->argv, st);
}

static void serves_the_demo_on_this_machine_when_nothing_is_said(void)
{
    struct options o;
    struct line line;
    struct status st;
    unsetenv("DARKMATTER_SECRET");
    REQUIRE_OK(parse(&o, &line, "serve --share .", &st), st);
    CHECK_STRING(o.command, "serve");
    CHECK_STRING(o.host, "127.0.0.1");
    CHECK_STRING(o.db, "darkmatter.db");
    CHECK(o.port == 5002 && o.token_limit == 1024 && o.reply_limit == 256u << 20);
    CHECK(o.prefix_memory == 128u << 20);
    CHECK(o.threads == 0 && o.sae_memory == 0 && o.embed_scale == EMBED_SCALE_AUTO);
    CHECK(o.precision == PRECISION_EXACT);
    CHECK(o.log == 0 && o.slow_ms == 10000);
    CHECK(!o.secret && !o.no_secret && !o.model_id && o.n_allow_hosts == 0);
    CHECK_STRING(o.model, "./demo");
    CHECK(o.n_saes == 1);
    CHECK_STRING(o.saes[0], "./demo/saes");
    CHECK(access(o.model, R_OK) == 0 && access(o.saes[0], R_OK) == 0);
    options_free(&o);
    options_free(&o); /* twice is fine */
}

static void takes_every_flag_of_serve(void)
{
    struct options o;
    struct line line;
    struct status st;
    REQUIRE_OK(
        parse(&o, &line,
              "serve --model m --model-id id --saes a --saes=b --db d.db --host 0.0.0.0 "
              "--port 0 --allow-host x.org --allow-host=y.org --no-secret --token-limit 7 "
              "--reply-limit 2k --sae-memory 4G --prefix-memory 0 --threads 3 --precision bf16 "
              "--embed-scale bf16 --log json --slow-ms 250 --share .",
              &st),
        st);
    CHECK(o.log == 2 && o.slow_ms == 250);
    CHECK_STRING(o.model, "m");
    CHECK_STRING(o.model_id, "id");
    CHECK(o.n_saes == 2 && o.n_allow_hosts == 2);
    CHECK_STRING(o.saes[0], "a");
    CHECK_STRING(o.saes[1], "b");
    CHECK_STRING(o.allow_hosts[0], "x.org");
    CHECK_STRING(o.allow_hosts[1], "y.org");
    CHECK_STRING(o.db, "d.db");
    CHECK_STRING(o.host, "0.0.0.0");
    CHECK_STRING(o.share, ".");
    CHECK(o.port == 0 && o.no_secret && o.token_limit == 7 && o.reply_limit == 2048);
    CHECK(o.sae_memory == 4ull << 30 && o.threads == 3 && o.embed_scale == EMBED_SCALE_BF16);
    struct engine_options e = options_engine(&o);
    CHECK(o.prefix_memory == 0 && e.prefix_memory == 0);
    CHECK_STRING(e.model, "m");
    CHECK_STRING(e.model_id, "id");
    CHECK(e.n_sae_folders == 2 && e.threads == 3 && e.sae_memory == 4ull << 30);
    CHECK(e.embed_scale == EMBED_SCALE_BF16 && e.precision == PRECISION_BF16);
    CHECK(!e.tokenizer_only);
    CHECK_STRING(e.sae_folders[1], "b");
    options_free(&o);
}

static void takes_the_flags_of_the_other_commands(void)
{
    struct options o;
    struct line line;
    struct status st;
    REQUIRE_OK(parse(&o, &line, "tokenize --no-special --model-id=x --share .", &st), st);
    CHECK(o.no_special && o.model); /* the demo's */
    CHECK_STRING(o.model_id, "x");
    options_free(&o);
    REQUIRE_OK(parse(&o, &line, "tokenize --model m --share no/such/folder", &st), st);
    CHECK_STRING(o.model, "m"); /* needs nothing of the share folder */
    options_free(&o);
    REQUIRE_OK(parse(&o, &line, "health --host ::1 --port=65535", &st), st);
    CHECK_STRING(o.host, "::1");
    CHECK(o.port == 65535 && !o.model);
    options_free(&o);
    REQUIRE_OK(parse(&o, &line, "verify --golden a.json --golden=b.json --json --share .", &st),
               st);
    CHECK(o.json && o.n_goldens == 2 && o.is_demo);
    CHECK_STRING(o.goldens[1], "b.json");
    options_free(&o);
    REQUIRE_OK(parse(&o, &line, "pack --model m out --share no/such", &st), st);
    CHECK(o.n_paths == 1 && !o.json);
    CHECK_STRING(o.paths[0], "out");
    options_free(&o);
    CHECK(parse(&o, &line, "pack --model m", &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "one folder to write");
}

static void a_model_alone_serves_no_saes(void)
{
    struct options o;
    struct line line;
    struct status st;
    REQUIRE_OK(parse(&o, &line, "serve --model m --share .", &st), st);
    CHECK_STRING(o.model, "m");
    CHECK(o.n_saes == 0 && options_engine(&o).n_sae_folders == 0);
    options_free(&o);
    CHECK(parse(&o, &line, "serve --saes s --share .", &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "--model");
}

/* This program lies deeper in the checkout than darkmatter does: there is nothing beside it. */
static void says_where_it_looked_for_the_site(void)
{
    struct options o;
    struct line line;
    struct status st;
    CHECK(parse(&o, &line, "serve --model m", &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "/tests");
    CHECK_CONTAINS(st.message, "--share");
    REQUIRE_OK(parse(&o, &line, "tokenize --model m", &st), st); /* needs nothing of it */
    options_free(&o);
}

static void reads_sizes_with_and_without_units(void)
{
    static const struct {
        const char *text;
        unsigned long long bytes;
    } sizes[] = {{"1", 1},
                 {"1023", 1023},
                 {"1k", 1024},
                 {"3kB", 3072},
                 {"2KiB", 0},
                 {"2kiB", 2048},
                 {"512M", 512ull << 20},
                 {"512MB", 512ull << 20},
                 {"4GiB", 4ull << 30},
                 {"2T", 2ull << 40}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct options o;
        struct line line;
        struct status st;
        char words[96];
        snprintf(words, sizeof words, "serve --share . --sae-memory %s", sizes[i].text);
        int code = parse(&o, &line, words, &st);
        CHECK((code == 0) == (sizes[i].bytes != 0));
        CHECK(code || o.sae_memory == sizes[i].bytes);
        options_free(&o);
    }
}

static void refuses_what_it_cannot_use(void)
{
    static const struct {
        const char *words, *part;
    } bad[] = {
        {"", "command"},
        {"sevre", "sevre"},
        {"serve --prot 5", "--prot"},
        {"serve extra", "extra"},
        {"serve --no-special", "--no-special"},
        {"health --model m", "--model"},
        {"tokenize --port 5", "--port"},
        {"serve --port", "--port"},
        {"serve --port x", "\"x\""},
        {"serve --port 65536", "0..65535"},
        {"serve --port -1", "0..65535"},
        {"serve --port +5", "\"+5\""},
        {"serve --port 5k", "\"5k\""},
        {"serve --port=", "\"\""},
        {"serve --threads 0", "1..256"},
        {"serve --threads 257", "1..256"},
        {"serve --threads 99999999999999999999", "1..256"},
        {"serve --token-limit 0", "--token-limit"},
        {"serve --reply-limit 0", "512M or 4G"},
        {"serve --reply-limit 4X", "\"4X\""},
        {"serve --reply-limit 4GX", "\"4GX\""},
        {"serve --reply-limit 99999999T", "99999999T"},
        {"serve --sae-memory G", "\"G\""},
        {"serve --no-secret=1", "takes no value"},
        {"serve --precision fp8", "--precision: expected exact|bf16, found \"fp8\""},
        {"serve --embed-scale f16", "auto|bf16|f32"},
        {"serve --share no/such/folder", "no/such/folder"},
        {"serve --share demo", "static/"},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct options o;
        struct line line;
        struct status st;
        if (parse(&o, &line, bad[i].words, &st) == 0) {
            printf("    taken: %s\n", bad[i].words);
            test_failures_++;
            options_free(&o);
        } else {
            CHECK_CONTAINS(st.message, bad[i].part);
        }
    }
}

static void takes_a_list_of_64_and_no_more(void)
{
    struct options o;
    struct line line;
    struct status st;
    struct text words = {0};
    text_string(&words, "serve --model m --share .");
    for (int i = 0; i < OPTIONS_LIST; i++) {
        text_printf(&words, " --saes=s%d", i);
    }
    REQUIRE_OK(parse(&o, &line, words.data, &st), st);
    CHECK(o.n_saes == OPTIONS_LIST);
    CHECK_STRING(o.saes[OPTIONS_LIST - 1], "s63");
    options_free(&o);
    text_string(&words, " --saes=more");
    CHECK(parse(&o, &line, words.data, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "--saes");
    text_free(&words);
}

static void takes_the_secret_from_the_environment_only(void)
{
    struct options o;
    struct line line;
    struct status st;
    setenv("DARKMATTER_SECRET", "s3", 1);
    REQUIRE_OK(parse(&o, &line, "serve --share .", &st), st);
    CHECK_STRING(o.secret, "s3");
    options_free(&o);
    setenv("DARKMATTER_SECRET", "", 1);
    REQUIRE_OK(parse(&o, &line, "serve --share .", &st), st);
    CHECK(!o.secret); /* empty is none */
    options_free(&o);
    unsetenv("DARKMATTER_SECRET");
    CHECK(parse(&o, &line, "serve --secret s3", &st) == STATUS_INVALID);
}

static void shows_each_command_its_own_flags(void)
{
    struct text text = {0};
    options_usage(NULL, &text);
    CHECK_CONTAINS(text.data, "serve");
    CHECK_CONTAINS(text.data, "tokenize");
    CHECK_CONTAINS(text.data, "health");
    text_clear(&text);
    options_usage("serve", &text);
    static const char *const all[] = {
        "--model ",  "--model-id",   "--saes",        "--db",          "--host",
        "--port",    "--no-secret",  "--allow-host",  "--token-limit", "--reply-limit",
        "--threads", "--sae-memory", "--embed-scale", "--precision",   "--log",
        "--slow-ms", "--share"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        CHECK_CONTAINS(text.data, all[i]);
    }
    CHECK(!strstr(text.data, "--no-special"));
    text_clear(&text);
    options_usage("tokenize", &text);
    CHECK(strstr(text.data, "--no-special") && !strstr(text.data, "--port"));
    text_clear(&text);
    options_usage("health", &text);
    CHECK(strstr(text.data, "--port") && !strstr(text.data, "--model"));
    text_free(&text);
}

/* The folder beside the program may be anywhere; memory may run out on the way. */
static void runs_out_of_memory_cleanly(void)
{
    struct options o;
    struct line line;
    struct status st;
    memory_fail_after(0);
    REQUIRE_OK(parse(&o, &line, "serve --share .", &st), st);
    options_free(&o);
    long n = memory_fail_after(0);
    CHECK(n >= 4);
    for (long i = 1; i <= n; i++) {
        memory_fail_after(i);
        int code = parse(&o, &line, "serve --share .", &st);
        memory_fail_after(0);
        CHECK(code != 0 && st.message[0]);
        options_free(&o);
    }
}

static void bench_takes_figures_and_one_source(void)
{
    struct options o;
    struct line line;
    struct status st;
    REQUIRE_OK(parse(&o, &line, "bench prefill decode --share .", &st), st);
    CHECK(o.rounds == 5 && o.bench_precision == 0 && o.is_demo && o.n_paths == 2);
    CHECK_STRING(o.paths[1], "decode");
    options_free(&o);
    REQUIRE_OK(parse(&o, &line,
                     "bench --rounds 3 --precision bf16 --source s --threads 1 --json --share .",
                     &st),
               st);
    CHECK(o.rounds == 3 && o.bench_precision == 2 && o.threads == 1 && o.json);
    CHECK_STRING(o.sources[0], "s");
    options_free(&o);
    CHECK(parse(&o, &line, "bench --source a --source b", &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "one --source");
    CHECK(parse(&o, &line, "bench --rounds 100", &st) == STATUS_INVALID);
}

static const struct test tests[] = {
    TEST(bench_takes_figures_and_one_source),
    TEST(serves_the_demo_on_this_machine_when_nothing_is_said),
    TEST(takes_every_flag_of_serve),
    TEST(takes_the_flags_of_the_other_commands),
    TEST(a_model_alone_serves_no_saes),
    TEST(says_where_it_looked_for_the_site),
    TEST(reads_sizes_with_and_without_units),
    TEST(refuses_what_it_cannot_use),
    TEST(takes_a_list_of_64_and_no_more),
    TEST(takes_the_secret_from_the_environment_only),
    TEST(shows_each_command_its_own_flags),
    TEST(runs_out_of_memory_cleanly),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
