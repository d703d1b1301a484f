#include "core/sae/catalogue.h"

#include "core/base/json.h"
#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "tests/test.h"

#include <ftw.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORACLE "tests/fixtures/oracle/"
#define NANO2 ORACLE "gemma2-nano-bf16"
#define NANO2_TWO ORACLE "gemma2-nano-f32-sharded"
#define NANO3 ORACLE "gemma3-nano-bf16"
#define RES "/saes/gemma-scope-nano-pt-res/layer_2/width_160/average_l0_12/params.npz"
#define RES_1 "/saes/gemma-scope-nano-pt-res/layer_1/width_96/average_l0_9/params.npz"
#define ATT "/saes/gemma-scope-nano-pt-att/layer_2/width_160/average_l0_14/params.npz"
#define SCOPE2 "/saes/gemma-scope-2-nano-pt/"

static struct gemma_config model_of(const char *folder)
{
    struct gemma_config config = {0};
    struct status st = {0};
    char path[512];
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (config_open(&config, path, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return config;
}

/* --- a tree of folders under /tmp --- */

static char tree[64];

static void tree_start(void)
{
    snprintf(tree, sizeof tree, "/tmp/dm_catalogue_XXXXXX");
    CHECK(mkdtemp(tree) != NULL);
}

static int remove_one(const char *path, const struct stat *s, int kind, struct FTW *at)
{
    (void)s, (void)kind, (void)at;
    return remove(path);
}

static void tree_end(void)
{
    nftw(tree, remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

static const char *in_tree(const char *path)
{
    static char buffers[4][512];
    static int next;
    char *buffer = buffers[next++ % 4];
    snprintf(buffer, sizeof buffers[0], "%s/%s", tree, path);
    return buffer;
}

static void make_parents(const char *path)
{
    char buffer[512];
    snprintf(buffer, sizeof buffer, "%s", in_tree(path));
    for (char *p = buffer + strlen(tree) + 1; (p = strchr(p, '/')) != NULL; *p++ = '/') {
        *p = '\0';
        mkdir(buffer, 0777);
    }
}

static void put_bytes(const char *path, const void *bytes, size_t n)
{
    make_parents(path);
    FILE *f = fopen(in_tree(path), "wb");
    CHECK(f != NULL);
    if (f) {
        CHECK(fwrite(bytes, 1, n, f) == n);
        fclose(f);
    }
}

static void put(const char *path, const char *content)
{
    put_bytes(path, content, strlen(content));
}

/* The first `part` of a file (1: all of it). */
static void copy_part(const char *from, const char *path, double part)
{
    struct mapped_file file;
    struct status st = {0};
    CHECK(mapped_file_open(&file, from, &st) == 0);
    put_bytes(path, file.data, (size_t)((double)file.size * part));
    mapped_file_close(&file);
}

static void copy(const char *from, const char *path)
{
    copy_part(from, path, 1.0);
}

static void link_to(const char *target, const char *path)
{
    make_parents(path);
    CHECK(symlink(target, in_tree(path)) == 0);
}

/* Scans the tree and gives "name name ... | reason | reason" to compare. */
static int scan_tree(struct catalogue *c, const char *model)
{
    struct gemma_config config = model_of(model);
    const char *folders[] = {tree};
    struct status st = {0};
    int code = catalogue_scan(c, folders, 1, &config, &st);
    if (code) {
        printf("    %s\n", st.message);
    }
    return code;
}

static const char *names_of(const struct catalogue *c)
{
    static char buffer[2048];
    buffer[0] = '\0';
    for (size_t i = 0; i < c->n_sources; i++) {
        size_t n = strlen(buffer);
        snprintf(buffer + n, sizeof buffer - n, "%s%s", i ? " " : "", c->sources[i].name);
    }
    return buffer;
}

#define CHECK_TREE(model, names)                       \
    do {                                               \
        struct catalogue c_;                           \
        CHECK(scan_tree(&c_, (model)) == 0);           \
        CHECK_STRING(names_of(&c_), (names));          \
        CHECK(c_.n_refusals == 0);                     \
        for (size_t i = 0; i < c_.n_refusals; i++)     \
            printf("    %s\n", c_.refusals[i].reason); \
        catalogue_free(&c_);                           \
    } while (0)

/* The tree holds one thing that is refused, for a reason with these words. */
#define CHECK_REFUSED(model, words, why)                                     \
    do {                                                                     \
        struct catalogue c_;                                                 \
        CHECK(scan_tree(&c_, (model)) == 0);                                 \
        CHECK_STRING(names_of(&c_), "");                                     \
        CHECK(c_.n_refusals == 1);                                           \
        CHECK_CONTAINS(c_.n_refusals ? c_.refusals[0].reason : NULL, words); \
        CHECK_CONTAINS(c_.n_refusals ? c_.refusals[0].path : NULL, tree);    \
        CHECK(c_.n_refusals &&c_.refusals[0].code == STATUS_##why);          \
        catalogue_free(&c_);                                                 \
    } while (0)

/* --- the fixtures' own list --- */

static const char *text_of(const cJSON *object, const char *key)
{
    const char *s = cJSON_GetStringValue(json_get(object, key));
    return s ? s : "";
}

static size_t number_of(const cJSON *object, const char *key)
{
    long long n = -1;
    json_integer(json_get(object, key), 0, 1 << 30, &n);
    return (size_t)n;
}

static void check_source(const struct sae_source *s, const cJSON *want, int family)
{
    const char *site = text_of(want, "site");
    bool transcoder = strcmp(site, "transcoder") == 0;
    char l0[24] = "";
    if (cJSON_IsNumber(json_get(want, "l0"))) {
        snprintf(l0, sizeof l0, "%zu", number_of(want, "l0"));
    } else {
        snprintf(l0, sizeof l0, "%s", text_of(want, "l0"));
    }
    enum point tc_in = family == 2 ? POINT_MLP_IN_PREGAIN : POINT_MLP_IN;
    CHECK(s->is_transcoder == transcoder);
    CHECK_STRING(point_name(s->input), transcoder ? point_name(tc_in) : site);
    CHECK_STRING(point_name(s->output), transcoder ? "mlp_out" : site);
    CHECK(s->layer == (int)number_of(want, "layer"));
    CHECK(s->d_in == number_of(want, "d_in"));
    CHECK(s->d_out == number_of(want, "d_out"));
    CHECK(s->d_sae == number_of(want, "d_sae"));
    CHECK_STRING(sae_architecture_name(s->architecture), text_of(want, "architecture"));
    CHECK_STRING(s->l0, l0);
    CHECK(text_ends_with(s->path, text_of(want, "path")));
    CHECK(s->bytes > 0);
}

static void check_fixture(const char *folder)
{
    char path[512];
    struct status st = {0};
    cJSON *root;
    struct catalogue c;
    struct gemma_config config = model_of(folder);
    const char *folders[] = {path};
    snprintf(path, sizeof path, "%s/cases-lenses.json", folder);
    REQUIRE_OK(json_parse_file(&root, path, 1 << 24, &st), st);
    snprintf(path, sizeof path, "%s/saes", folder);
    REQUIRE_OK(catalogue_scan(&c, folders, 1, &config, &st), st);
    const cJSON *want, *list = json_get(root, "sources");
    CHECK(c.n_sources == (size_t)cJSON_GetArraySize(list));
    cJSON_ArrayForEach(want, list)
    {
        const struct sae_source *s = catalogue_find(&c, text_of(want, "name"));
        CHECK_STRING(s ? s->name : NULL, text_of(want, "name"));
        if (s) {
            check_source(s, want, config.family);
        }
    }
    CHECK(c.n_refusals == 0);
    catalogue_free(&c);
    cJSON_Delete(root);
}

static void names_every_source_of_the_fixtures(void)
{
    check_fixture(NANO2);
    check_fixture(NANO2_TWO);
    check_fixture(NANO3);
    check_fixture(ORACLE "gemma3-nano-4b-style");
}

static void names_the_four_sources_of_the_demo(void)
{
    struct gemma_config config = model_of("demo");
    const char *folders[] = {"demo/saes"};
    struct catalogue c;
    struct status st = {0};
    REQUIRE_OK(catalogue_scan(&c, folders, 1, &config, &st), st);
    CHECK_STRING(names_of(&c), "2-gemmascope-att-2k 2-gemmascope-mlp-2k 2-gemmascope-res-2k "
                               "3-gemmascope-res-2k");
    const struct sae_source *s = catalogue_find(&c, "3-gemmascope-res-2k");
    REQUIRE(s != NULL);
    CHECK_STRING(s->source_set, "gemmascope-res-2k");
    CHECK_STRING(s->hook_name, "blocks.3.hook_resid_post");
    CHECK_STRING(s->l0, "25");
    CHECK(s->bytes == 4u * (2u * 256 * 2048 + 2 * 2048 + 256));
    catalogue_free(&c);
}

static void the_source_set_has_neither_layer_nor_suffix(void)
{
    struct gemma_config config = model_of(NANO2_TWO);
    const char *folders[] = {NANO2_TWO "/saes"};
    struct catalogue c;
    struct status st = {0};
    REQUIRE_OK(catalogue_scan(&c, folders, 1, &config, &st), st);
    const struct sae_source *s = catalogue_find(&c, "0-gemmascope-res-96__l0-2");
    CHECK_STRING(s ? s->source_set : NULL, "gemmascope-res-96");
    s = catalogue_find(&c, "1-saelens-res-160");
    CHECK_STRING(s ? s->source_set : NULL, "saelens-res-160");
    catalogue_free(&c);
}

/* --- where things lie --- */

static void follows_the_links_of_a_hub_cache(void)
{
    tree_start();
    copy(NANO2 RES, "hub/models--google--gemma-scope-2b-pt-res/blobs/abc");
    link_to("../../../../../blobs/abc", "hub/models--google--gemma-scope-2b-pt-res/snapshots/f00/"
                                        "layer_2/width_160/average_l0_12/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-res-160");
    tree_end();
}

static void takes_the_revision_that_refs_main_names(void)
{
    const char *other = "models--g--x-res/snapshots/a0/layer_2/width_160/average_l0_12/params.npz";
    const char *main_one =
        "models--g--x-res/snapshots/b1/layer_2/width_160/average_l0_12/params.npz";
    tree_start();
    copy(NANO2 RES, other);
    copy(NANO2 RES, main_one);
    put("models--g--x-res/refs/main", "b1\n");
    struct catalogue c;
    CHECK(scan_tree(&c, NANO2) == 0);
    CHECK(c.n_sources == 1 && c.n_refusals == 0);
    CHECK_CONTAINS(c.n_sources ? c.sources[0].path : NULL, "/snapshots/b1/");
    catalogue_free(&c);
    tree_end();
}

static void cuts_loops_of_links(void)
{
    tree_start();
    copy(NANO2 RES, "a-res/layer_2/width_160/average_l0_12/params.npz");
    link_to("..", "a-res/up");
    link_to(".", "a-res/self");
    link_to("b", "a");
    link_to("a", "b");
    CHECK_TREE(NANO2, "2-gemmascope-res-160");
    tree_end();
}

static void lists_a_file_once_that_is_found_twice(void)
{
    tree_start();
    copy(NANO2 RES, "a-res/layer_2/width_160/average_l0_12/params.npz");
    link_to("../average_l0_12/params.npz", "a-res/layer_2/width_160/canonical/params.npz");
    link_to("a-res", "z-res");
    struct gemma_config config = model_of(NANO2);
    const char *folders[] = {tree, in_tree("a-res"), in_tree("z-res/layer_2")};
    struct catalogue c;
    struct status st = {0};
    CHECK(catalogue_scan(&c, folders, 3, &config, &st) == 0);
    CHECK_STRING(names_of(&c), "2-gemmascope-res-160");
    CHECK(c.n_refusals == 0);
    catalogue_free(&c);
    tree_end();
}

static void refuses_the_second_copy_of_a_repository(void)
{
    tree_start();
    copy(NANO2 RES, "a-res/layer_2/width_160/average_l0_12/params.npz");
    copy(NANO2 RES, "b-res/layer_2/width_160/average_l0_12/params.npz");
    struct catalogue c;
    CHECK(scan_tree(&c, NANO2) == 0);
    CHECK_STRING(names_of(&c), "2-gemmascope-res-160");
    CHECK(c.n_refusals == 1);
    CHECK_CONTAINS(c.n_refusals ? c.refusals[0].reason : NULL, "a-res/layer_2");
    catalogue_free(&c);
    tree_end();
}

static void reads_a_folder_given_from_its_inside(void)
{
    char here[512];
    struct gemma_config config = model_of(NANO2);
    REQUIRE(getcwd(here, sizeof here) != NULL);
    tree_start();
    copy(NANO2 RES, "a-res/layer_2/width_160/average_l0_12/params.npz");
    const char *folders[] = {"./"};
    struct catalogue c;
    struct status st = {0};
    CHECK(chdir(in_tree("a-res/layer_2")) == 0);
    CHECK(catalogue_scan(&c, folders, 1, &config, &st) == 0);
    CHECK(chdir(here) == 0);
    CHECK_STRING(names_of(&c), "2-gemmascope-res-160");
    catalogue_free(&c);
    tree_end();
}

static void a_link_may_hide_the_repository(void)
{
    tree_start();
    copy(NANO2 RES, "real/x-res/layer_2/width_160/average_l0_12/params.npz");
    link_to("real/x-res/layer_2/width_160/average_l0_12", "an-sae");
    CHECK_TREE(NANO2, "2-gemmascope-res-160");
    tree_end();
}

static void a_folder_that_is_not_there_is_an_error(void)
{
    struct gemma_config config = model_of(NANO2);
    struct catalogue c;
    struct status st = {0};
    const char *folders[] = {NANO2 "/saes", "tests/no-such-folder"};
    CHECK(catalogue_scan(&c, folders, 2, &config, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "tests/no-such-folder");
    CHECK(c.n_sources == 0);
    const char *files[] = {NANO2 "/config.json"};
    CHECK(catalogue_scan(&c, files, 1, &config, &st) == STATUS_IO);
    CHECK_CONTAINS(st.message, "expected a folder");
}

static void an_empty_folder_is_no_error(void)
{
    tree_start();
    CHECK_TREE(NANO2, "");
    tree_end();
}

/* --- who has the bare name --- */

static void gives_the_bare_name_to_the_l0_nearest_100(void)
{
    tree_start();
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_22/params.npz");
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_71/params.npz");
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_139/params.npz");
    copy(NANO2 RES, "x-res/layer_2/width_65k/average_l0_294/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-res-16k 2-gemmascope-res-16k__l0-139 "
                      "2-gemmascope-res-16k__l0-22 2-gemmascope-res-65k");
    tree_end();
}

static void a_tie_goes_to_the_higher_l0(void)
{
    tree_start();
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_90/params.npz");
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_110/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-res-16k 2-gemmascope-res-16k__l0-90");
    tree_end();
}

static void a_transcoder_has_the_published_choice(void)
{
    tree_start(); /* layer 2's is 49 */
    copy(NANO2 RES, "x-transcoders/layer_2/width_16k/average_l0_44/params.npz");
    copy(NANO2 RES, "x-transcoders/layer_2/width_16k/average_l0_100/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-transcoder-16k 2-gemmascope-transcoder-16k__l0-100");
    tree_end();
}

static void a_canonical_folder_has_the_bare_name(void)
{
    tree_start();
    copy(NANO2 RES, "x-res/layer_2/width_16k/canonical/params.npz");
    copy(NANO2 RES, "x-res/layer_2/width_16k/average_l0_100/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-res-16k 2-gemmascope-res-16k__l0-100");
    tree_end();
}

static void put_scope2(const char *folder)
{
    char path[256];
    snprintf(path, sizeof path, "%s/params.safetensors", folder);
    copy(NANO3 SCOPE2 "resid_post_all/layer_3_width_96_l0_small/params.safetensors", path);
}

static void names_scope_2_by_its_bands(void)
{
    tree_start();
    put_scope2("resid_post/layer_3_width_16k_l0_small");
    put_scope2("resid_post/layer_3_width_16k_l0_medium");
    put_scope2("resid_post/layer_3_width_16k_l0_big");
    put_scope2("resid_post_all/layer_3_width_16k_l0_big");
    put_scope2("mlp_out_all/layer_3_width_16k_l0_small");
    put_scope2("mlp_out_all/layer_3_width_16k_l0_big");
    CHECK_TREE(NANO3, "3-gemmascope-2-mlp-16k 3-gemmascope-2-mlp-16k__all-l0-big "
                      "3-gemmascope-2-res-16k 3-gemmascope-2-res-16k__all-l0-big "
                      "3-gemmascope-2-res-16k__l0-big 3-gemmascope-2-res-16k__l0-small");
    tree_end();
}

static void tells_transcoders_with_and_without_a_skip_apart(void)
{
    tree_start();
    copy(NANO3 SCOPE2 "transcoder/layer_4_width_112_l0_medium_affine/params.safetensors",
         "transcoder/layer_4_width_112_l0_medium_affine/params.safetensors");
    put_scope2("transcoder/layer_4_width_112_l0_medium");
    CHECK_TREE(NANO3, "4-gemmascope-2-transcoder-112 "
                      "4-gemmascope-2-transcoder-112__l0-medium-no-skip");
    tree_end();
}

static void reads_scope_2_from_config_json_where_the_path_says_nothing(void)
{
    tree_start();
    copy(NANO3 SCOPE2 "resid_post/layer_4_width_160_l0_medium/params.safetensors",
         "mine/params.safetensors");
    copy(NANO3 SCOPE2 "resid_post/layer_4_width_160_l0_medium/config.json", "mine/config.json");
    CHECK_TREE(NANO3, "4-gemmascope-2-res-160");
    tree_end();
}

/* --- what is refused, and why --- */

static void takes_the_site_from_the_width_only_where_that_is_sure(void)
{
    tree_start();
    copy(NANO2 ATT, "x/layer_2/width_160/average_l0_14/params.npz");
    CHECK_TREE(NANO2, "2-gemmascope-att-160");
    tree_end();
    tree_start();
    copy(NANO2 RES, "x/layer_2/width_160/average_l0_14/params.npz");
    CHECK_REFUSED(NANO2, "keep the repository's name", UNSUPPORTED);
    tree_end();
}

static void refuses_what_does_not_fit_the_model(void)
{
    tree_start();
    copy(NANO2 RES, "x-res/layer_4/width_160/average_l0_14/params.npz");
    CHECK_REFUSED(NANO2, "it is for layer 4, the model has layers 0 to 3", INVALID);
    tree_end();
    tree_start();
    copy(NANO2 RES, "x-res/layer_2/width_160/average_l0_14/params.npz");
    CHECK_REFUSED(NANO3, "expected 40 values of blocks.2.hook_resid_post, this SAE reads 48",
                  INVALID);
    tree_end();
}

static void refuses_embedding_saes_and_unknown_layouts(void)
{
    tree_start();
    copy(NANO2 RES, "x-res/embedding/width_4k/average_l0_6/params.npz");
    CHECK_REFUSED(NANO2, "unscaled token embedding", UNSUPPORTED);
    tree_end();
    tree_start();
    copy(NANO2 RES, "x-res/somewhere/params.npz");
    CHECK_REFUSED(NANO2, "layer_N/width_W/average_l0_X", INVALID);
    tree_end();
}

static void refuses_crosscoders(void)
{
    tree_start();
    put("crosscoder/layer_1_2_3_4_width_65k_l0_medium/config.json", "{\"type\": \"crosscoder\"}");
    put("crosscoder/layer_1_2_3_4_width_65k_l0_medium/params_layer_0.safetensors", "");
    CHECK_REFUSED(NANO3, "crosscoder", UNSUPPORTED);
    tree_end();
}

static void refuses_broken_links_and_truncated_files(void)
{
    tree_start();
    link_to("../../blobs/gone", "x-res/layer_2/width_160/average_l0_1/params.npz");
    CHECK_REFUSED(NANO2, "a link to ../../blobs/gone, which is not there", NOT_FOUND);
    tree_end();
    tree_start();
    put_scope2("resid_post/layer_3_width_16k_l0_small");
    link_to("gone", "resid_post/layer_3_width_16k_l0_small/config.json");
    link_to("gone", "a-model/config.json");
    CHECK_REFUSED(NANO3, "a link to gone", NOT_FOUND);
    tree_end();
    for (int tenths = 0; tenths < 10; tenths++) {
        tree_start();
        copy_part(NANO2 RES, "x-res/layer_2/width_160/average_l0_1/params.npz", tenths / 10.0);
        CHECK_REFUSED(NANO2, "params.npz: ", CORRUPT);
        tree_end();
    }
}

static void one_bad_file_does_not_hide_the_others(void)
{
    tree_start();
    copy_part(NANO2 RES, "x-res/layer_2/width_160/average_l0_1/params.npz", 0.5);
    copy(NANO2 RES_1, "x-res/layer_1/width_96/average_l0_9/params.npz");
    struct catalogue c;
    CHECK(scan_tree(&c, NANO2) == 0);
    CHECK_STRING(names_of(&c), "1-gemmascope-res-96");
    CHECK(c.n_refusals == 1);
    catalogue_free(&c);
    tree_end();
}

static void put_saelens(const char *folder, const char *cfg)
{
    char path[256];
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", folder);
    copy(NANO2 "/saes/saelens/nano-standard/sae_weights.safetensors", path);
    snprintf(path, sizeof path, "%s/cfg.json", folder);
    put(path, cfg);
}

static void names_saelens_folders(void)
{
    tree_start();
    put_saelens("my sae", "{\"hook_name\": \"blocks.3.hook_resid_pre\"}");
    put_saelens("models--me--gemma-sae/snapshots/f00",
                "{\"hook_point\": \"blocks.0.hook_resid_mid\"}");
    put_saelens("other", "{\"hook_name\": \"hook_embed\", \"metadata\": {\"neuronpedia_id\": "
                         "\"gemma-2-2b/0-embed-64\"}}");
    CHECK_TREE(NANO2, "0-embed-64 0-gemma-sae 3-my-sae");
    tree_end();
}

static void refuses_a_name_that_is_taken(void)
{
    tree_start();
    put_saelens("a/same", "{\"hook_name\": \"blocks.3.hook_resid_pre\"}");
    put_saelens("b/same", "{\"hook_name\": \"blocks.3.hook_resid_post\"}");
    struct catalogue c;
    CHECK(scan_tree(&c, NANO2) == 0);
    CHECK_STRING(names_of(&c), "3-same");
    CHECK(c.n_refusals == 1);
    CHECK_CONTAINS(c.n_refusals ? c.refusals[0].reason : NULL, "rename the folder");
    catalogue_free(&c);
    tree_end();
}

static void refuses_saelens_files_that_contradict_each_other(void)
{
    tree_start();
    put_saelens("x", "{\"hook_name\": \"blocks.3.hook_resid_pre\", \"d_sae\": 65}");
    CHECK_REFUSED(NANO2, "expected d_sae 65 as its configuration says, found 64", CORRUPT);
    tree_end();
    tree_start();
    put_saelens("x",
                "{\"hook_name\": \"blocks.3.hook_resid_pre\", \"architecture\": \"jumprelu\"}");
    CHECK_REFUSED(NANO2, "threshold", CORRUPT);
    tree_end();
    tree_start();
    put_saelens("x", "{\"hook_name\": \"blocks.3.hook_resid_pre\", \"architecture\": \"topk\", "
                     "\"k\": 65}");
    CHECK_REFUSED(NANO2, "expected k of at most d_sae 64, found 65", CORRUPT);
    tree_end();
    tree_start();
    put_saelens("x", "{\"hook_name\": \"blocks.3.hook_resid_pre\", \"architecture\": "
                     "\"batchtopk\"}");
    CHECK_REFUSED(NANO2, "training checkpoint", UNSUPPORTED);
    tree_end();
    tree_start();
    put("x/cfg.json", "{}");
    CHECK_REFUSED(NANO2, "without the sae_weights.safetensors", NOT_FOUND);
    tree_end();
}

static void survives_every_failed_allocation(void)
{
    struct gemma_config config = model_of(NANO2);
    const char *folders[] = {NANO2 "/saes/gemma-scope-nano-pt-res",
                             NANO2 "/saes/saelens/nano-topk"};
    long n = 0;
    int code = STATUS_MEMORY;
    while (code && n < 100000) {
        struct catalogue c;
        struct status st = {0};
        memory_fail_after(++n);
        code = catalogue_scan(&c, folders, 2, &config, &st);
        memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        if (code == 0) {
            CHECK(c.n_sources == 3);
        }
        catalogue_free(&c);
    }
    CHECK(n > 50 && n < 100000);
}

static const struct test tests[] = {
    TEST(names_every_source_of_the_fixtures),
    TEST(names_the_four_sources_of_the_demo),
    TEST(the_source_set_has_neither_layer_nor_suffix),
    TEST(follows_the_links_of_a_hub_cache),
    TEST(takes_the_revision_that_refs_main_names),
    TEST(cuts_loops_of_links),
    TEST(lists_a_file_once_that_is_found_twice),
    TEST(refuses_the_second_copy_of_a_repository),
    TEST(reads_a_folder_given_from_its_inside),
    TEST(a_link_may_hide_the_repository),
    TEST(a_folder_that_is_not_there_is_an_error),
    TEST(an_empty_folder_is_no_error),
    TEST(gives_the_bare_name_to_the_l0_nearest_100),
    TEST(a_tie_goes_to_the_higher_l0),
    TEST(a_transcoder_has_the_published_choice),
    TEST(a_canonical_folder_has_the_bare_name),
    TEST(names_scope_2_by_its_bands),
    TEST(tells_transcoders_with_and_without_a_skip_apart),
    TEST(reads_scope_2_from_config_json_where_the_path_says_nothing),
    TEST(takes_the_site_from_the_width_only_where_that_is_sure),
    TEST(refuses_what_does_not_fit_the_model),
    TEST(refuses_embedding_saes_and_unknown_layouts),
    TEST(refuses_crosscoders),
    TEST(refuses_broken_links_and_truncated_files),
    TEST(one_bad_file_does_not_hide_the_others),
    TEST(names_saelens_folders),
    TEST(refuses_a_name_that_is_taken),
    TEST(refuses_saelens_files_that_contradict_each_other),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
