/* A source as Neuronpedia's files, and back. */
#include "server/work/export_lines.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "server/store/dashboards.h"
#include "server/store/documents.h"
#include "server/store/explanations.h"
#include "server/work/import_lines.h"
#include "tests/scratch.h"
#include "tests/store_fixture.h"

#include <zlib.h>

#define SOURCE "20-gemmascope-res-16k"

enum { LENGTH = 6, FEATURES = 1500 };

/* A whole file, unpacked; "" if it is not there. */
static const char *read_gz(struct scratch *s, const char *name)
{
    static char text[1 << 22];
    gzFile gz = gzopen(scratch_path(s, name), "rb");
    int n = gz ? gzread(gz, text, sizeof text - 1) : 0;
    text[n > 0 ? n : 0] = '\0';
    if (gz) {
        (void)gzclose(gz);
    }
    return text;
}

static size_t count_lines(const char *text)
{
    size_t n = 0;
    for (; (text = strchr(text, '\n')) != NULL; text++) {
        n++;
    }
    return n;
}

/* A dashboard of 1500 features, the first of them with two examples, and two explanations. */
static bool fill(struct fixture *f)
{
    static uint32_t counts[D_SAE];
    static float maxima[D_SAE];
    const int32_t ids[LENGTH] = {2, 17, 0, 19, 20, 21};
    const float along[LENGTH] = {9, 0, 5, 1.2345678f, 0, 0.25f};
    const struct store_document document = {ids, LENGTH, 1};
    const struct store_explanation explanations[] = {
        {.id = "e1",
         .model = "gemma-2-2b",
         .source = SOURCE,
         .index = 3,
         .description = "dogs \"and\" \u732b",
         .type_name = "t",
         .origin = "imported",
         .other = "{\"umap_x\":1.5}"},
        {.id = "e2",
         .model = "gemma-2-2b",
         .source = SOURCE,
         .index = 1,
         .description = "cats",
         .origin = "imported",
         .created_at = "2024",
         .notes = "n",
         .explainer = "x",
         .author = "a"},
        {.id = "e3", .model = "gemma-2-2b", .source = "other", .index = 1, .description = "not"},
    };
    struct store_dashboard d = {.documents = 1,
                                .tokens = 4,
                                .context = LENGTH,
                                .corpora = "[\"pile\"]",
                                .counts = counts,
                                .maxima = maxima,
                                .d_sae = D_SAE};
    struct store_dashboard_writer *w;
    int64_t corpus;
    if (store_corpus(f->store, f->model, "pile", "{}", &corpus, &f->st) != 0 ||
        store_write_documents(f->store, f->model, corpus, 0, &document, 1, NULL, 0, 0, &f->st) !=
            0 ||
        store_put_explanations(f->store, explanations, 3, &f->st) != 0 ||
        store_dashboard_begin(f->store, f->source, &d, &w, &f->st) != 0) {
        return false;
    }
    int code = 0;
    for (uint32_t i = 0; i < FEATURES && code == 0; i++) {
        struct store_feature feature = {.index = i,
                                        .count = 1,
                                        .maximum = 1.2345678f,
                                        .activations = {DASHBOARD_BINS, 0, 10, {7}},
                                        .has_logits = i == 0,
                                        .positive_ids = {5},
                                        .positive = {0.1234567f},
                                        .logits = {i == 0 ? DASHBOARD_BINS : 0, -1, 1, {1}}};
        const struct store_example examples[] = {{.part = 0,
                                                  .place = 0,
                                                  .text = 1,
                                                  .corpus = corpus,
                                                  .position = 3,
                                                  .value = 1.2345678f,
                                                  .bin_min = -1,
                                                  .bin_max = 1.2345678f,
                                                  .bin_contains = -1,
                                                  .along = along,
                                                  .n_tokens = LENGTH},
                                                 {.part = 5,
                                                  .place = 0,
                                                  .text = 1,
                                                  .corpus = corpus,
                                                  .position = 5,
                                                  .value = 0.25f,
                                                  .bin_min = 0,
                                                  .bin_max = 0.246914f,
                                                  .bin_contains = 0.75,
                                                  .along = along,
                                                  .n_tokens = LENGTH}};
        code = store_dashboard_put(w, &feature, examples, i == 0 ? 2 : 0, &f->st);
    }
    return code == 0 && store_dashboard_end(w, &f->st) == 0;
}

static int export_to(struct fixture *f, struct scratch *s, const char *folder,
                     struct export_figures *figures)
{
    return export_lines(f->store, NULL, "gemma-2-2b", SOURCE, scratch_path(s, folder), figures,
                        &f->st);
}

static void check_number(const cJSON *root, const char *key, double expected)
{
    const cJSON *value = json_get(root, key);
    if (!cJSON_IsNumber(value) || value->valuedouble != expected) {
        printf("    %s: expected %.17g, found %.17g\n", key, expected,
               value ? value->valuedouble : 0);
        test_failures_++;
    }
}

static void check_json(const cJSON *root, const char *key, const char *expected)
{
    char *found = cJSON_PrintUnformatted(cJSON_GetObjectItemCaseSensitive(root, key));
    CHECK_STRING(found, expected);
    cJSON_free(found);
}

static void writes_the_columns_in_batches_with_the_rounding_of_the_original(void)
{
    struct fixture f;
    struct scratch s;
    struct export_figures n;
    cJSON *root;
    REQUIRE(fixture_open(&f));
    scratch_open(&s);
    REQUIRE(fill(&f));
    REQUIRE_OK(export_to(&f, &s, "out", &n), f.st);
    CHECK(n.features == FEATURES && n.activations == 2 && n.explanations == 2 && !n.is_imported);
    CHECK(count_lines(read_gz(&s, "out/features/batch-0.jsonl.gz")) == 1024);
    CHECK(count_lines(read_gz(&s, "out/features/batch-1.jsonl.gz")) == FEATURES - 1024);
    const char *text = read_gz(&s, "out/features/batch-0.jsonl.gz");
    REQUIRE_OK(json_parse(&root, text, strcspn(text, "\n"), "feature", &f.st), f.st);
    check_json(root, "modelId", "\"gemma-2-2b\"");
    check_json(root, "layer", "\"" SOURCE "\"");
    check_json(root, "index", "\"0\"");
    check_json(root, "sourceSetName", "\"gemmascope-res-16k\"");
    check_json(root, "vector", "[]");
    check_number(root, "maxActApprox", 1.23457);
    check_number(root, "frac_nonzero", 0.25);
    CHECK_STRING(cJSON_GetStringValue(json_get(root, "pos_str")->child), "<id:5>");
    CHECK(json_get(root, "pos_values")->child->valuedouble == 0.12346);
    CHECK(json_get(root, "freq_hist_data_bar_values")->child->valuedouble == 0.1);
    CHECK(json_get(root, "freq_hist_data_bar_heights")->child->valuedouble == 7);
    CHECK(json_get(root, "logits_hist_data_bar_values")->child->valuedouble == -0.98);
    cJSON_Delete(root);
    text = read_gz(&s, "out/activations/batch-0.jsonl.gz");
    REQUIRE_OK(json_parse(&root, text, strcspn(text, "\n"), "activation", &f.st), f.st);
    check_json(root, "tokens", "[\"<id:17>\",\"<id:0>\",\"<id:19>\",\"<id:20>\",\"<id:21>\"]");
    check_json(root, "values", "[0,0,1.23457,0,0.25]"); /* <bos> left out, <pad> not counted */
    check_json(root, "dataSource", "\"pile\"");
    check_json(root, "dfaTargetIndex", "null");
    check_number(root, "maxValue", 1.23457);
    check_number(root, "maxValueTokenIndex", 2);
    check_number(root, "qualifyingTokenIndex", 2);
    check_number(root, "binMin", -1);
    check_number(root, "binContains", -1);
    cJSON_Delete(root);
    text = read_gz(&s, "out/explanations/batch-0.jsonl.gz");
    CHECK_STRING(text,
                 "{\"id\":\"e2\",\"modelId\":\"gemma-2-2b\",\"layer\":\"" SOURCE
                 "\",\"index\":\"1\",\"description\":\"cats\",\"authorId\":\"a\",\"typeName\":null,"
                 "\"explanationModelName\":\"x\",\"notes\":\"n\",\"createdAt\":\"2024\"}\n"
                 "{\"id\":\"e1\",\"modelId\":\"gemma-2-2b\",\"layer\":\"" SOURCE
                 "\",\"index\":\"3\",\"description\":\"dogs \\\"and\\\" \u732b\",\"authorId\":null,"
                 "\"typeName\":\"t\",\"explanationModelName\":null,\"notes\":null,"
                 "\"createdAt\":null,\"umap_x\":1.5}\n");
    CHECK_CONTAINS(read_gz(&s, "out/source.jsonl"), "\"setName\":\"gemmascope-res-16k\"");
    scratch_close(&s);
    fixture_close(&f);
}

/* Prints every row of the tables that an import fills. */
static void dump(struct fixture *f, char *out, size_t size)
{
    sqlite3 *db = NULL;
    sqlite3_stmt *q = NULL;
    size_t used = 0;
    REQUIRE(sqlite3_open(f->path, &db) == SQLITE_OK);
    REQUIRE(sqlite3_prepare_v2(
                db,
                "SELECT 'e', id, model, source, number, description || author || type_name ||"
                " explainer || notes || origin || created_at || other FROM explanation"
                " WHERE source <> 'other' UNION ALL"
                " SELECT 'f', '', model, source, number, line FROM imported_feature UNION ALL"
                " SELECT 'a', id, model, source, number, line FROM imported_example"
                " ORDER BY 1, 5, 2",
                -1, &q, NULL) == SQLITE_OK);
    while (sqlite3_step(q) == SQLITE_ROW && used < size) {
        for (int i = 0; i < 6 && used < size; i++) {
            used += (size_t)snprintf(out + used, size - used, "%s|",
                                     (const char *)sqlite3_column_text(q, i));
        }
    }
    CHECK(used > 100 && used < size);
    (void)sqlite3_finalize(q);
    (void)sqlite3_close(db);
}

static int import_from(struct fixture *f, struct scratch *s, const char *name)
{
    const struct import_options quiet = {0};
    struct import_figures figures = {0};
    int code = import_lines(f->store, scratch_path(s, name), &quiet, &figures, &f->st);
    CHECK(figures.wrong == 0);
    return code;
}

static bool same_bytes(struct scratch *s, const char *a, const char *b)
{
    static char left[1 << 20], right[1 << 20];
    FILE *f = fopen(scratch_path(s, a), "rb");
    size_t n = f ? fread(left, 1, sizeof left, f) : 0;
    if (f) {
        (void)fclose(f);
    }
    f = fopen(scratch_path(s, b), "rb");
    size_t m = f ? fread(right, 1, sizeof right, f) : 1;
    if (f) {
        (void)fclose(f);
    }
    return n > 0 && n == m && memcmp(left, right, n) == 0;
}

/* A dashboard exported, imported into an empty database, exported from there, and so on. */
static void comes_back_from_an_empty_database_as_it_was(void)
{
    static char first[1 << 22], second[1 << 22];
    struct fixture a, b, c;
    struct scratch s;
    struct export_figures n;
    scratch_open(&s);
    REQUIRE(fixture_open(&a));
    REQUIRE(fill(&a));
    REQUIRE_OK(export_to(&a, &s, "one", &n), a.st);
    REQUIRE_OK(export_to(&a, &s, "again", &n), a.st);
    REQUIRE(fixture_open(&b));
    REQUIRE_OK(import_from(&b, &s, "one"), b.st);
    REQUIRE_OK(export_to(&b, &s, "two", &n), b.st);
    CHECK(n.is_imported && n.features == FEATURES && n.activations == 2 && n.explanations == 2);
    REQUIRE(fixture_open(&c));
    REQUIRE_OK(import_from(&c, &s, "two"), c.st);
    dump(&b, first, sizeof first);
    dump(&c, second, sizeof second);
    CHECK(strcmp(first, second) == 0);
    char e[2][256];
    fixture_ask(&a,
                "SELECT group_concat(id || number || description || author || type_name ||"
                " explainer || notes || created_at || other) FROM (SELECT * FROM explanation"
                " WHERE source <> 'other' ORDER BY id)",
                e[0]);
    fixture_ask(&c,
                "SELECT group_concat(id || number || description || author || type_name ||"
                " explainer || notes || created_at || other) FROM (SELECT * FROM explanation"
                " ORDER BY id)",
                e[1]);
    CHECK_STRING(e[1], e[0]);
    static const char *const files[] = {"features/batch-0.jsonl.gz", "features/batch-1.jsonl.gz",
                                        "activations/batch-0.jsonl.gz",
                                        "explanations/batch-0.jsonl.gz"};
    for (int i = 0; i < 4; i++) {
        char one[64], again[64], two[64];
        (void)snprintf(one, sizeof one, "one/%s", files[i]);
        (void)snprintf(again, sizeof again, "again/%s", files[i]);
        (void)snprintf(two, sizeof two, "two/%s", files[i]);
        CHECK(same_bytes(&s, one, again));
        CHECK(same_bytes(&s, one, two));
    }
    scratch_close(&s);
    fixture_close(&a);
    fixture_close(&b);
    fixture_close(&c);
}

static void refuses_a_folder_with_something_in_it_and_a_source_without_anything(void)
{
    struct fixture f;
    struct scratch s;
    struct export_figures n;
    REQUIRE(fixture_open(&f));
    scratch_open(&s);
    CHECK(export_to(&f, &s, "empty", &n) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(f.st.message, SOURCE);
    REQUIRE(fill(&f));
    scratch_text(&s, "full/features", "x");
    CHECK(export_to(&f, &s, "full", &n) == STATUS_INVALID);
    CHECK_CONTAINS(f.st.message, "found features in it");
    scratch_text(&s, "file", "x");
    CHECK(export_to(&f, &s, "file", &n) == STATUS_IO);
    CHECK(export_to(&f, &s, "no/such/parent", &n) == STATUS_IO);
    scratch_close(&s);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(writes_the_columns_in_batches_with_the_rounding_of_the_original),
    TEST(comes_back_from_an_empty_database_as_it_was),
    TEST(refuses_a_folder_with_something_in_it_and_a_source_without_anything),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
