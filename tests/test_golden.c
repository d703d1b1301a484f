#include "server/command/golden.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "tests/engine_fixture.h"
#include "tests/scratch.h"

#include <stdlib.h>

#define DEMO_GOLDEN "golden/gemma-2-demo.json"

/* Lines of one run: "FAILED what | expected | found | reason". */
struct seen {
    size_t n[3];
    char text[16384];
};

static void keep(void *user, const struct golden_line *line)
{
    static const char *const words[] = {"ok", "FAILED", "skipped"};
    struct seen *seen = user;
    size_t used = strlen(seen->text);
    seen->n[line->outcome]++;
    snprintf(seen->text + used, sizeof seen->text - used, "%s %s | %s | %s | %s\n",
             words[line->outcome], line->what, line->expected, line->found, line->reason);
}

static struct engine *open_demo(bool with_saes)
{
    static const char *const saes[] = {"demo/saes"};
    struct engine *e = NULL;
    struct status st;
    struct engine_options o = {
        .model = "demo", .sae_folders = saes, .n_sae_folders = with_saes, .threads = 2};
    if (engine_open(&e, &o, &st)) {
        printf("    demo: %s\n", st.message);
    }
    return e;
}

static int run_file(struct engine *e, const char *path, struct seen *seen, struct status *st)
{
    struct golden *g;
    *seen = (struct seen){0};
    status_clear(st);
    int code = golden_open(&g, path, st);
    code = code ? code : golden_run(g, e, keep, seen, st);
    golden_close(g);
    return code;
}

static int run_tree(struct engine *e, const cJSON *root, struct seen *seen, struct status *st)
{
    struct scratch s;
    scratch_open(&s);
    char *bytes = cJSON_Print(root);
    scratch_text(&s, "golden.json", bytes);
    int code = run_file(e, scratch_path(&s, "golden.json"), seen, st);
    free(bytes);
    scratch_close(&s);
    return code;
}

static void the_demo_meets_all_its_numbers(void)
{
    struct engine *e = open_demo(true);
    struct seen seen;
    struct status st;
    REQUIRE(e);
    REQUIRE_OK(run_file(e, DEMO_GOLDEN, &seen, &st), st);
    CHECK(seen.n[GOLDEN_OK] == 24 && seen.n[GOLDEN_FAILED] == 0 && seen.n[GOLDEN_SKIPPED] == 0);
    if (seen.n[GOLDEN_FAILED]) {
        printf("%s", seen.text);
    }
    engine_close(e);
}

/* The first number below the node that is not a name: off by a tenth and a bit. */
static bool spoil_number(cJSON *node)
{
    if (cJSON_IsNumber(node)) {
        cJSON_SetNumberValue(node, node->valuedouble * 1.1 + 0.01);
        return true;
    }
    bool line = cJSON_IsArray(node) && node->child && node->child->next &&
                (cJSON_IsString(node->child) || cJSON_IsNumber(node->child->next));
    for (cJSON *item = line ? node->child->next : node->child; item; item = item->next) {
        bool place = item->string && strcmp(item->string, "position") == 0;
        if (!place && spoil_number(item)) {
            return true;
        }
    }
    return false;
}

/* Something that the check says, changed a little. */
static bool spoil(cJSON *check)
{
    static const char *const fields[] = {"top", "points", "rows", "values"};
    for (size_t i = 0; i < 4; i++) {
        cJSON *field = cJSON_GetObjectItemCaseSensitive(check, fields[i]);
        if (field && spoil_number(field)) {
            return true;
        }
    }
    cJSON *tokens = cJSON_GetObjectItemCaseSensitive(check, "tokens");
    cJSON *text = cJSON_GetObjectItemCaseSensitive(check, "text");
    cJSON *points = cJSON_GetObjectItemCaseSensitive(check, "points");
    if (tokens) {
        cJSON_ReplaceItemInArray(tokens, 3, cJSON_CreateString(" other"));
    } else if (text) {
        cJSON_ReplaceItemInObjectCaseSensitive(check, "text", cJSON_CreateString(" hell"));
    } else if (points) {
        cJSON_ReplaceItemInArray(points, 1, cJSON_CreateString("resid_post.0"));
    }
    return tokens || text || points;
}

static void every_check_fails_by_name_when_its_number_is_changed(void)
{
    struct engine *e = open_demo(true);
    cJSON *root = NULL;
    struct status st;
    REQUIRE(e);
    REQUIRE_OK(json_parse_file(&root, DEMO_GOLDEN, 1 << 20, &st), st);
    int n = cJSON_GetArraySize(json_get(root, "checks"));
    for (int i = 0; i < n; i++) {
        cJSON *copy = cJSON_Duplicate(root, true);
        cJSON *checks = cJSON_GetObjectItemCaseSensitive(copy, "checks");
        cJSON *check = cJSON_DetachItemFromArray(checks, i);
        cJSON_ReplaceItemInObjectCaseSensitive(copy, "checks", cJSON_CreateArray());
        cJSON_AddItemToArray(cJSON_GetObjectItemCaseSensitive(copy, "checks"), check);
        const char *name = json_get(check, "name")->valuestring;
        CHECK(spoil(check));
        struct seen seen;
        char wanted[160];
        snprintf(wanted, sizeof wanted, "FAILED %s", name);
        REQUIRE_OK(run_tree(e, copy, &seen, &st), st);
        CHECK(seen.n[GOLDEN_FAILED] == 1 && seen.n[GOLDEN_SKIPPED] == 0);
        CHECK_CONTAINS(seen.text, wanted);
        cJSON_Delete(copy);
    }
    cJSON_Delete(root);
    engine_close(e);
}

/* One check in a file of its own, written with single quotes. */
static int run_check(struct engine *e, const char *check, struct seen *seen, struct status *st)
{
    char bytes[4096];
    snprintf(bytes, sizeof bytes,
             "{'source': 's', 'model': 'gemma-2-demo', 'tolerance': {'activation': [0.01, 0]},"
             "'downloads': {'2-gemmascope-mlp-2k': 'demo/mlp'}, 'checks': [%s]}",
             check);
    for (char *p = bytes; *p; p++) {
        *p = (char)(*p == '\'' ? '"' : *p);
    }
    cJSON *root;
    int code = json_parse(&root, bytes, strlen(bytes), "test", st);
    if (!code) {
        code = run_tree(e, root, seen, st);
        cJSON_Delete(root);
    }
    return code;
}

static void what_is_missing_is_named_and_skipped(void)
{
    struct engine *e = open_demo(false);
    struct seen seen;
    struct status st;
    REQUIRE(e);
    REQUIRE_OK(run_file(e, DEMO_GOLDEN, &seen, &st), st);
    CHECK(seen.n[GOLDEN_OK] == 14 && seen.n[GOLDEN_FAILED] == 0 && seen.n[GOLDEN_SKIPPED] == 10);
    CHECK_CONTAINS(seen.text, "skipped features of 2-gemmascope-mlp-2k");
    CHECK_CONTAINS(seen.text, "2-gemmascope-mlp-2k of L0 18 is not under --saes");
    engine_close(e);
    e = open_demo(true);
    REQUIRE(e);
    REQUIRE_OK(run_check(e,
                         "{'name': 'x', 'kind': 'features', 'prompt': 'God', 'top': [[1, 2]],"
                         " 'source': '2-gemmascope-mlp-2k', 'l0': '109'}",
                         &seen, &st),
               st);
    CHECK(seen.n[GOLDEN_SKIPPED] == 1);
    CHECK_CONTAINS(seen.text, "of L0 109 is not under --saes (there is one of L0 18)");
    CHECK_CONTAINS(seen.text, "hf download demo/mlp");
    engine_close(e);
}

static void a_model_without_a_tokenizer_takes_ids_and_skips_texts(void)
{
    struct engine *e;
    struct seen seen;
    struct status st;
    REQUIRE_OK(open_engine(&e, NANO2, EMBED_SCALE_AUTO, 1, NULL, &st), st);
    REQUIRE_OK(run_check(e,
                         "{'name': 'a', 'kind': 'tokens', 'prompt': [2, 5], 'tokens': [2, 5]},"
                         "{'name': 'b', 'kind': 'tokens', 'prompt': 'hello', 'tokens': ['hello']},"
                         "{'name': 'c', 'kind': 'tokens', 'prompt': [2, 5], 'tokens': [2, 6]}",
                         &seen, &st),
               st);
    CHECK_CONTAINS(seen.text, "ok a");
    CHECK_CONTAINS(seen.text, "skipped b");
    CHECK_CONTAINS(seen.text, "no tokenizer.json");
    CHECK_CONTAINS(seen.text, "FAILED c | 6 | 5");
    engine_close(e);
}

/* A table must hold the best: something better that it leaves out is a failure as well. */
static void a_stronger_feature_that_the_table_leaves_out_fails(void)
{
    struct engine *e = open_demo(true);
    cJSON *root = NULL;
    struct status st;
    struct seen seen;
    REQUIRE(e);
    REQUIRE_OK(json_parse_file(&root, DEMO_GOLDEN, 1 << 20, &st), st);
    const cJSON *check;
    cJSON_ArrayForEach(check, json_get(root, "checks"))
    {
        cJSON *top = cJSON_GetObjectItemCaseSensitive(check, "top");
        if (top) {
            cJSON_DeleteItemFromArray(top, 0);
        }
    }
    REQUIRE_OK(run_tree(e, root, &seen, &st), st);
    CHECK_CONTAINS(seen.text, "FAILED next token | at most");
    CHECK_CONTAINS(seen.text, "FAILED features of 3-gemmascope-res-2k | at most");
    cJSON_Delete(root);
    engine_close(e);
}

static void a_file_that_is_none_is_refused_with_the_field(void)
{
    static const struct {
        const char *check, *says;
    } cases[] = {
        {"{'kind': 'next'}", "name: expected a string"},
        {"{'name': 'x', 'kind': 'other', 'prompt': 'a'}", "kind: expected tokens, next"},
        {"{'name': 'x', 'kind': 'next'}", "prompt: expected a text or a list"},
        {"{'name': 'x', 'kind': 'next', 'prompt': [99999]}", "prompt: expected"},
        {"{'name': 'x', 'kind': 'next', 'prompt': 'a'}", "top: expected a list"},
        {"{'name': 'x', 'kind': 'next', 'prompt': 'a', 'top': [['b']]}", "top: expected lines"},
        {"{'name': 'x', 'kind': 'next', 'prompt': 'a', 'top': [['b', 'c']]}", "top: expected"},
        {"{'name': 'x', 'kind': 'next', 'prompt': 'a', 'position': 9, 'top': [['b', 1]]}",
         "position: expected"},
        {"{'name': 'x', 'kind': 'lens', 'prompt': 'a', 'points': {}}", "points: expected"},
        {"{'name': 'x', 'kind': 'lens', 'prompt': 'a', 'points': {'neurons.0': [['b', 1]]}}",
         "points of the residual"},
        {"{'name': 'x', 'kind': 'lens', 'prompt': 'a', 'points': {'resid_post.9': [['b', 1]]}}",
         "resid_post.9"},
        {"{'name': 'x', 'kind': 'equal', 'prompt': 'a', 'points': ['embed']}", "x"},
        {"{'name': 'x', 'kind': 'values', 'prompt': 'a', 'point': 'embed'}", "rows: expected"},
        {"{'name': 'x', 'kind': 'features', 'prompt': 'a', 'top': [[1, 2]]}", "source: expected"},
        {"{'name': 'x', 'kind': 'feature', 'prompt': 'a', 'source': '2-gemmascope-mlp-2k',"
         " 'index': 2048}",
         "index: expected"},
        {"{'name': 'x', 'kind': 'generate', 'prompt': 'a'}", "n_tokens: expected"},
        {"{'name': 'x', 'kind': 'next', 'prompt': 'a', 'top': [['b', 1]], 'edits': [{}]}",
         "edits[0].type"},
    };
    struct engine *e = open_demo(true);
    REQUIRE(e);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct seen seen;
        struct status st = {0};
        CHECK(run_check(e, cases[i].check, &seen, &st) != STATUS_OK);
        CHECK_CONTAINS(st.message, cases[i].says);
    }
    engine_close(e);
}

static void a_file_without_checks_is_refused(void)
{
    static const char *const files[] = {"", "[]", "{\"model\": \"m\"}",
                                        "{\"model\": \"m\", \"source\": \"s\", \"checks\": []}"};
    struct scratch s;
    scratch_open(&s);
    for (size_t i = 0; i < 4; i++) {
        struct golden *g;
        struct status st;
        scratch_text(&s, "g.json", files[i]);
        CHECK(golden_open(&g, scratch_path(&s, "g.json"), &st) != STATUS_OK && !g);
        CHECK_CONTAINS(st.message, "g.json");
    }
    scratch_close(&s);
}

/* The published files say what this program can check: with a model of another shape nothing may
 * crash, whatever is found. */
static void the_published_files_are_in_the_format(void)
{
    static const char *const files[] = {"golden/welch-labs.json",
                                        "golden/neuronpedia-gemma-2-2b.json",
                                        "golden/neuronpedia-gemma-3-270m-it.json"};
    for (size_t i = 0; i < 3; i++) {
        struct golden *g;
        struct status st;
        REQUIRE_OK(golden_open(&g, files[i], &st), st);
        CHECK_CONTAINS(golden_model(g), "gemma-");
        CHECK(strlen(golden_source(g)) > 20);
        golden_close(g);
    }
}

int main(int argc, char **argv)
{
    static const struct test tests[] = {
        TEST(the_demo_meets_all_its_numbers),
        TEST(every_check_fails_by_name_when_its_number_is_changed),
        TEST(what_is_missing_is_named_and_skipped),
        TEST(a_model_without_a_tokenizer_takes_ids_and_skips_texts),
        TEST(a_stronger_feature_that_the_table_leaves_out_fails),
        TEST(a_file_that_is_none_is_refused_with_the_field),
        TEST(a_file_without_checks_is_refused),
        TEST(the_published_files_are_in_the_format),
    };
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
