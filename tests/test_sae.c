#include "core/sae/sae.h"

#include "core/base/json.h"
#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/formats/npz.h"
#include "core/formats/safetensors.h"
#include "tests/test.h"

#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#define ORACLE "tests/fixtures/oracle/"
#define NEAR(want) (1e-3 + 1e-4 * fabs((double)(want)))

static const char *const fixtures[] = {ORACLE "gemma2-nano-bf16", ORACLE "gemma2-nano-f32-sharded",
                                       ORACLE "gemma3-nano-bf16", ORACLE "gemma3-nano-4b-style"};

static struct threads *threads;

/* One fixture: its catalogue and its files of expected values. */
struct fixture {
    struct catalogue catalogue;
    struct safetensors *expected, *internals, *lenses; /* internals: NULL where there are none */
    cJSON *cases;
    int layer; /* of res, att, mlp and tc */
};

static void fixture_close(struct fixture *f)
{
    catalogue_free(&f->catalogue);
    safetensors_close(f->expected);
    safetensors_close(f->internals);
    safetensors_close(f->lenses);
    cJSON_Delete(f->cases);
}

static const struct sae_source *named(const struct fixture *f, const char *word)
{
    const char *name = cJSON_GetStringValue(json_get(json_get(f->cases, "names"), word));
    return name ? catalogue_find(&f->catalogue, name) : NULL;
}

static int fixture_open(struct fixture *f, const char *folder, struct status *st)
{
    char path[512];
    struct gemma_config config;
    const char *folders[] = {path};
    *f = (struct fixture){0};
    snprintf(path, sizeof path, "%s/config.json", folder);
    if (config_open(&config, path, st)) {
        return (int)st->code;
    }
    snprintf(path, sizeof path, "%s/saes", folder);
    if (catalogue_scan(&f->catalogue, folders, 1, &config, st)) {
        return (int)st->code;
    }
    snprintf(path, sizeof path, "%s/expected-internals.safetensors", folder);
    if (access(path, F_OK) == 0 && safetensors_open(&f->internals, path, st)) {
        return (int)st->code;
    }
    snprintf(path, sizeof path, "%s/expected.safetensors", folder);
    if (safetensors_open(&f->expected, path, st)) {
        return (int)st->code;
    }
    snprintf(path, sizeof path, "%s/expected-lenses.safetensors", folder);
    if (safetensors_open(&f->lenses, path, st)) {
        return (int)st->code;
    }
    snprintf(path, sizeof path, "%s/cases-lenses.json", folder);
    int code = json_parse_file(&f->cases, path, 1 << 24, st);
    f->layer = code ? 0 : named(f, "res")->layer;
    return code;
}

/* Tensor `name` widened (malloc), layer `layer` of it where layer >= 0; NULL if it is not there. */
static float *array(const struct safetensors *file, const char *name, int layer, size_t *rows)
{
    const struct tensor *t = file ? safetensors_find(file, name) : NULL;
    if (!t) {
        return NULL;
    }
    size_t n = tensor_elements(t), first = 0;
    *rows = t->shape[0];
    if (layer >= 0) {
        n /= t->shape[0];
        first = n * (size_t)layer;
        *rows = t->shape[1];
    }
    float *out = malloc((n + 1) * sizeof *out);
    if (out) {
        tensor_widen(t, first, n, out);
    }
    return out;
}

/* Largest difference over its tolerance, and where; 0..1 is good. */
static void check_array(const float *found, const float *want, size_t n, const char *what)
{
    size_t worst = 0;
    double most = -1.0;
    for (size_t i = 0; i < n; i++) {
        double off = fabs((double)found[i] - (double)want[i]) / NEAR(want[i]);
        if (!(off <= most)) {
            most = off;
            worst = i;
        }
    }
    if (!(most <= 1.0)) {
        printf("    %s: element %zu: expected %.7g, found %.7g\n", what, worst, (double)want[worst],
               (double)found[worst]);
        test_failures_++;
    }
}

static float *dense_of(const struct sparse *s, size_t width)
{
    float *out = calloc(s->rows * width + 1, sizeof *out);
    for (size_t r = 0; out && r < s->rows; r++) {
        for (size_t i = s->start[r]; i < s->start[r + 1]; i++) {
            CHECK(i == s->start[r] || s->index[i - 1] < s->index[i]);
            out[r * width + s->index[i]] = s->value[i];
        }
    }
    return out;
}

/* Encodes and decodes x with the source; acts and recon must be those of `file`. */
static void check_sae(const struct sae_source *source, const float *x, size_t rows,
                      const struct safetensors *file, const char *prefix)
{
    char name[128];
    struct status st = {0};
    struct sae *sae = NULL;
    struct sparse features = {0};
    size_t n;
    REQUIRE(source != NULL && x != NULL);
    REQUIRE_OK(sae_open(&sae, source, &st), st);
    CHECK(sae_source(sae) == source);
    CHECK(sae_memory_bytes(sae) >= source->bytes);
    snprintf(name, sizeof name, "%s.acts", prefix);
    float *acts = array(file, name, -1, &n);
    snprintf(name, sizeof name, "%s.recon", prefix);
    float *recon = array(file, name, -1, &n);
    float *out = malloc(rows * source->d_out * sizeof *out);
    REQUIRE(acts && recon && out && n == rows);
    REQUIRE_OK(sae_encode(sae, threads, x, rows, &features, &st), st);
    CHECK(features.rows == rows);
    float *dense = dense_of(&features, source->d_sae);
    check_array(dense, acts, rows * source->d_sae, prefix);
    for (size_t i = 0; i < rows * source->d_sae; i++) {
        CHECK((dense[i] > 0.0f) == (acts[i] > 0.0f));
    }
    REQUIRE_OK(sae_decode(sae, threads, &features, x, out, &st), st);
    check_array(out, recon, rows * source->d_out, name);
    sparse_free(&features);
    sae_close(sae);
    free(acts);
    free(recon);
    free(out);
    free(dense);
}

/* Input of res, att or mlp on `window`; NULL where the fixture has none. */
static float *window_input(const struct fixture *f, const char *word, size_t *rows)
{
    return strcmp(word, "res") == 0   ? array(f->expected, "window.resid_post", f->layer, rows)
           : strcmp(word, "att") == 0 ? array(f->internals, "window.z", f->layer, rows)
                                      : array(f->internals, "window.mlp_out", f->layer, rows);
}

static const char *const sites[] = {"res", "att", "mlp"};

static void encodes_and_decodes_what_the_oracle_does(void)
{
    int checked = 0;
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        struct status st = {0};
        REQUIRE_OK(fixture_open(&f, fixtures[i], &st), st);
        for (size_t k = 0; k < 3; k++) {
            char prefix[64];
            size_t rows = 0;
            float *x = window_input(&f, sites[k], &rows);
            snprintf(prefix, sizeof prefix, "window.sae_%s", sites[k]);
            if (x) {
                check_sae(named(&f, sites[k]), x, rows, f.expected, prefix);
                checked++;
            }
            free(x);
        }
        fixture_close(&f);
    }
    CHECK(checked == 10); /* the fourth fixture has resid_post alone */
}

static void counts_and_errors_are_the_oracles(void)
{
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        struct status st = {0};
        struct sae *sae;
        struct sparse features = {0};
        size_t rows, n;
        REQUIRE_OK(fixture_open(&f, fixtures[i], &st), st);
        const struct sae_source *s = named(&f, "res");
        float *x = window_input(&f, "res", &rows);
        float *norms = array(f.expected, "window.sae_res.err_norm", -1, &n);
        float *shares = array(f.expected, "window.sae_res.rel_err", -1, &n);
        const struct tensor *l0 = safetensors_find(f.expected, "window.sae_res.l0");
        float *recon = malloc(rows * s->d_out * sizeof *recon);
        REQUIRE_OK(sae_open(&sae, s, &st), st);
        REQUIRE_OK(sae_encode(sae, threads, x, rows, &features, &st), st);
        REQUIRE_OK(sae_decode(sae, threads, &features, x, recon, &st), st);
        for (size_t r = 0; r < rows; r++) {
            int32_t want;
            double error = 0.0, all = 0.0;
            memcpy(&want, (const char *)l0->data + 4 * r, 4);
            CHECK(features.start[r + 1] - features.start[r] == (size_t)want);
            for (size_t d = 0; d < s->d_in; d++) {
                double v = (double)x[r * s->d_in + d], e = v - (double)recon[r * s->d_in + d];
                error += e * e;
                all += v * v;
            }
            CHECK_NEAR(sqrt(error), norms[r], NEAR(norms[r]));
            CHECK_NEAR(sqrt(error / all), shares[r], 2e-4);
        }
        sparse_free(&features);
        sae_close(sae);
        free(x);
        free(norms);
        free(shares);
        free(recon);
        fixture_close(&f);
    }
}

static void transcoders_write_what_the_oracle_does(void)
{
    static const char *const prompts[] = {"window", "seven"};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        struct status st = {0};
        REQUIRE_OK(fixture_open(&f, fixtures[i], &st), st);
        for (size_t k = 0; k < 2; k++) {
            char name[64];
            size_t rows = 0;
            snprintf(name, sizeof name, "%s.tc.input", prompts[k]);
            float *x = array(f.lenses, name, -1, &rows);
            snprintf(name, sizeof name, "%s.tc", prompts[k]);
            check_sae(named(&f, "tc"), x, rows, f.lenses, name);
            free(x);
        }
        fixture_close(&f);
    }
}

static void every_kind_of_saelens_is_the_oracles(void)
{
    struct fixture f;
    struct status st = {0};
    const cJSON *one;
    int n = 0;
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    cJSON_ArrayForEach(one, json_get(f.cases, "saelens"))
    {
        const struct sae_source *s = catalogue_find(&f.catalogue, one->string);
        size_t rows = 0;
        float *x = window_input(&f, s && s->input == POINT_Z ? "att" : "res", &rows);
        check_sae(s, x, rows, f.lenses, cJSON_GetStringValue(json_get(one, "array")));
        free(x);
        n++;
    }
    CHECK(n == 7);
    fixture_close(&f);
}

/* With norms around the SAE and rows that are rescaled, too. */
static void the_parts_of_its_features_make_the_reconstruction(void)
{
    struct fixture f;
    struct status st = {0};
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    int kinds = 0;
    for (size_t i = 0; i < f.catalogue.n_sources; i++) {
        const struct sae_source *s = &f.catalogue.sources[i];
        struct sae *sae;
        struct sparse features = {0}, none = {0};
        static const uint32_t index[] = {0, 3, 7};
        static const float value[] = {1.5f, 0.25f, 2.0f};
        float x[128], whole[128], rest[128], part[128];
        REQUIRE_OK(sae_open(&sae, s, &st), st);
        for (size_t d = 0; d < s->d_in; d++) {
            x[d] = 4.0f * sinf((float)(7 * d + 3)) + 0.3f;
        }
        sparse_append(&none, NULL, NULL, 0);
        sparse_append(&features, index, value, 3);
        REQUIRE_OK(sae_decode(sae, threads, &features, x, whole, &st), st);
        REQUIRE_OK(sae_decode(sae, threads, &none, x, rest, &st), st);
        for (size_t k = 0; k < features.start[1]; k++) {
            REQUIRE_OK(sae_feature_part(sae, x, features.index[k], features.value[k], part, &st),
                       st);
            for (size_t d = 0; d < s->d_out; d++) {
                rest[d] += part[d];
            }
        }
        for (size_t d = 0; d < s->d_out; d++) {
            CHECK_NEAR(rest[d], whole[d], 1e-4);
        }
        kinds++;
        sparse_free(&features);
        sparse_free(&none);
        sae_close(sae);
    }
    CHECK(kinds == 13);
    fixture_close(&f);
}

static void a_saelens_copy_of_a_gemma_scope_sae_gives_the_same(void)
{
    struct fixture f;
    struct status st = {0};
    size_t rows = 0;
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    float *x = window_input(&f, "res", &rows);
    check_sae(catalogue_find(&f.catalogue, "2-saelens-res-160"), x, rows, f.expected,
              "window.sae_res");
    free(x);
    fixture_close(&f);
}

static void pre_activations_are_the_oracles_and_encode_only_picks(void)
{
    for (size_t i = 0; i < 3; i++) {
        struct fixture f;
        struct status st = {0};
        struct sae *sae;
        struct sparse features = {0};
        struct npz *npz = NULL;
        struct tensor threshold;
        size_t rows, n;
        char path[512];
        REQUIRE_OK(fixture_open(&f, fixtures[i], &st), st);
        const struct sae_source *s = named(&f, "res");
        float *x = window_input(&f, "res", &rows);
        float *want = array(f.internals, "window.sae_res.pre", -1, &n);
        float *pre = malloc(rows * s->d_sae * sizeof *pre);
        snprintf(path, sizeof path, "%s/params.safetensors", s->path);
        struct safetensors *safetensors = NULL;
        if (s->format == SAE_FORMAT_SCOPE) {
            snprintf(path, sizeof path, "%s/params.npz", s->path);
            REQUIRE_OK(npz_open(&npz, path, &st), st);
            REQUIRE_OK(npz_find(npz, "threshold", &threshold, &st), st);
        } else {
            REQUIRE_OK(safetensors_open(&safetensors, path, &st), st);
            threshold = *safetensors_find(safetensors, "threshold");
        }
        REQUIRE_OK(sae_open(&sae, s, &st), st);
        REQUIRE_OK(sae_pre(sae, threads, x, rows, pre, &st), st);
        REQUIRE_OK(sae_encode(sae, threads, x, rows, &features, &st), st);
        check_array(pre, want, rows * s->d_sae, "window.sae_res.pre");
        for (size_t r = 0; r < rows; r++) {
            for (size_t j = 0; j < s->d_sae; j++) {
                float p = pre[r * s->d_sae + j];
                bool active = p > tensor_get(&threshold, j) && p > 0.0f && j + 3 < s->d_sae;
                CHECK(sparse_get(&features, r, (uint32_t)j) == (active ? p : 0.0f));
            }
        }
        sparse_free(&features);
        sae_close(sae);
        npz_close(npz);
        safetensors_close(safetensors);
        free(x);
        free(want);
        free(pre);
        fixture_close(&f);
    }
}

static void neighbours_are_the_oracles(void)
{
    static const char *const others[] = {"res", "res2", "mlp"};
    for (size_t i = 0; i < 4; i++) {
        struct fixture f;
        struct status st = {0};
        struct sae *res, *other;
        size_t n;
        REQUIRE_OK(fixture_open(&f, fixtures[i], &st), st);
        float *row = malloc(named(&f, "res")->d_out * sizeof *row);
        REQUIRE_OK(sae_open(&res, named(&f, "res"), &st), st);
        for (size_t k = 0; k < 3; k++) {
            char name[64];
            REQUIRE_OK(sae_open(&other, named(&f, others[k]), &st), st);
            snprintf(name, sizeof name, "neighbours.res_%s.ids", others[k]);
            const struct tensor *ids = safetensors_find(f.lenses, name);
            snprintf(name, sizeof name, "neighbours.res_%s.values", others[k]);
            float *values = array(f.lenses, name, -1, &n);
            for (int q = 0; q < 5; q++) {
                uint32_t index[10], want;
                float cosine[10];
                size_t found;
                int feature =
                    cJSON_GetArrayItem(json_get(f.cases, "neighbour_features"), q)->valueint;
                REQUIRE_OK(sae_decoder_row(res, (size_t)feature, row, &st), st);
                REQUIRE_OK(sae_nearest(other, threads, row, 10, index, cosine, &found, &st), st);
                CHECK(found == 10);
                for (size_t j = 0; j < found; j++) {
                    memcpy(&want, (const char *)ids->data + 4 * (10 * (size_t)q + j), 4);
                    CHECK(index[j] == want);
                    CHECK_NEAR(cosine[j], values[10 * (size_t)q + j], 2e-4);
                }
            }
            free(values);
            sae_close(other);
        }
        free(row);
        sae_close(res);
        fixture_close(&f);
    }
}

static void columns_and_rows_are_the_files(void)
{
    struct fixture f;
    struct status st = {0};
    struct sae *sae;
    struct npz *npz;
    struct tensor enc, dec;
    char path[512];
    float column[64], row[64];
    /* The att file of this fixture stores W_enc in fortran order. */
    REQUIRE_OK(fixture_open(&f, fixtures[1], &st), st);
    const struct sae_source *s = named(&f, "att");
    snprintf(path, sizeof path, "%s/params.npz", s->path);
    REQUIRE_OK(npz_open(&npz, path, &st), st);
    REQUIRE_OK(npz_find(npz, "W_enc", &enc, &st), st);
    REQUIRE_OK(npz_find(npz, "W_dec", &dec, &st), st);
    REQUIRE_OK(sae_open(&sae, s, &st), st);
    for (size_t j = 0; j < s->d_sae; j += 53) {
        REQUIRE_OK(sae_encoder_column(sae, j, column, &st), st);
        REQUIRE_OK(sae_decoder_row(sae, j, row, &st), st);
        for (size_t d = 0; d < 64; d++) {
            CHECK(column[d] == tensor_get(&enc, d * s->d_sae + j));
            CHECK(row[d] == tensor_get(&dec, j * 64 + d));
        }
    }
    CHECK(sae_encoder_column(sae, 160, column, &st) == STATUS_NOT_FOUND);
    CHECK(sae_decoder_row(sae, 160, row, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "features 0 to 159, no feature 160");
    sae_close(sae);
    npz_close(npz);
    fixture_close(&f);
}

/* --- SAEs made for a test --- */

struct made {
    char folder[64];
    struct sae_source source;
};

struct vector {
    const char *name;
    size_t shape[2]; /* [n, 0]: one dimension */
    const float *data;
};

/* A SAELens folder with that cfg.json and these tensors; d_in x d_sae x d_out. */
static void make(struct made *m, const char *cfg, const struct vector *vectors, size_t n)
{
    struct safetensors_entry entries[8];
    struct status st = {0};
    struct text header = {0};
    char path[128];
    for (size_t i = 0; i < n; i++) {
        size_t columns = vectors[i].shape[1];
        entries[i] = (struct safetensors_entry){
            vectors[i].name,
            {NULL, DTYPE_F32, columns ? 2 : 1, {vectors[i].shape[0], columns ? columns : 1, 1, 1}}};
    }
    snprintf(m->folder, sizeof m->folder, "/tmp/dm_sae_XXXXXX");
    CHECK(mkdtemp(m->folder) != NULL);
    CHECK(safetensors_header(&header, entries, n, NULL, &st) == 0);
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", m->folder);
    FILE *f = fopen(path, "wb");
    CHECK(f && fwrite(header.data, 1, header.length, f) == header.length);
    for (size_t i = 0; f && i < n; i++) {
        fwrite(vectors[i].data, 1, tensor_bytes(&entries[i].tensor), f);
    }
    if (f) {
        fclose(f);
    }
    text_free(&header);
    snprintf(path, sizeof path, "%s/cfg.json", m->folder);
    f = fopen(path, "wb");
    if (f) {
        fputs(cfg, f);
        fclose(f);
    }
    char *name = m->folder + 5;
    m->source = (struct sae_source){.name = name,
                                    .path = m->folder,
                                    .format = SAE_FORMAT_SAELENS,
                                    .input = POINT_RESID_POST,
                                    .output = POINT_RESID_POST};
}

static void unmake(struct made *m)
{
    char path[128];
    snprintf(path, sizeof path, "%s/sae_weights.safetensors", m->folder);
    unlink(path);
    snprintf(path, sizeof path, "%s/cfg.json", m->folder);
    unlink(path);
    rmdir(m->folder);
}

static float *random_floats(size_t n, unsigned seed)
{
    float *v = malloc(n * sizeof *v);
    for (size_t i = 0; v && i < n; i++) {
        seed = seed * 1664525u + 1013904223u;
        v[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
    }
    return v;
}

#define HOOK "\"hook_name\": \"blocks.0.hook_resid_post\""

/* A jumprelu of 65,536 features (16 panels) on 8 values. */
#define WIDE 65536
static void a_wide_sae_is_encoded_panel_by_panel(void)
{
    struct made m;
    struct status st = {0};
    struct sae *sae;
    struct sparse features = {0}, alone = {0};
    enum { D = 8, ROWS = 3 };
    float *enc = random_floats((size_t)D * WIDE, 1), *dec = random_floats((size_t)D * WIDE, 2);
    float *b = random_floats(WIDE, 3), *x = random_floats(ROWS * D, 4), b_dec[D] = {0};
    float *threshold = malloc(WIDE * sizeof *threshold);
    for (size_t j = 0; j < WIDE; j++) {
        threshold[j] = 2.5f;
    }
    const struct vector vectors[] = {{"W_enc", {D, WIDE}, enc},
                                     {"W_dec", {WIDE, D}, dec},
                                     {"b_enc", {WIDE, 0}, b},
                                     {"b_dec", {D, 0}, b_dec},
                                     {"threshold", {WIDE, 0}, threshold}};
    make(&m, "{\"architecture\": \"jumprelu\", " HOOK "}", vectors, 5);
    m.source.architecture = SAE_JUMPRELU;
    m.source.d_in = m.source.d_out = D;
    m.source.d_sae = WIDE;
    REQUIRE_OK(sae_open(&sae, &m.source, &st), st);
    REQUIRE_OK(sae_encode(sae, threads, x, ROWS, &features, &st), st);
    size_t active = 0, missed = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t j = 0; j < WIDE; j++) {
            double pre = (double)b[j];
            for (size_t d = 0; d < D; d++) {
                pre += (double)x[r * D + d] * (double)enc[d * WIDE + j];
            }
            double found = (double)sparse_get(&features, r, (uint32_t)j);
            bool sure = fabs(pre - 2.5) > 1e-5;
            missed += sure && fabs(found - (pre > 2.5 ? pre : 0.0)) > 1e-5;
            active += pre > 2.5;
        }
        REQUIRE_OK(sae_encode(sae, threads, x + r * D, 1, &alone, &st), st);
        CHECK(alone.start[r + 1] - alone.start[r] == features.start[r + 1] - features.start[r]);
    }
    CHECK(missed == 0);
    CHECK(active > 100);
    sparse_free(&features);
    sparse_free(&alone);
    sae_close(sae);
    unmake(&m);
    free(enc);
    free(dec);
    free(b);
    free(x);
    free(threshold);
}

static void the_number_of_threads_changes_no_bit(void)
{
    struct fixture f;
    struct status st = {0};
    struct threads *one, *five;
    struct sae *sae;
    struct sparse a = {0}, b = {0};
    enum { ROWS = 600, D = 48 };
    float *x = random_floats(ROWS * D, 9);
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    REQUIRE_OK(threads_create(&one, 1, &st), st);
    REQUIRE_OK(threads_create(&five, 5, &st), st);
    for (size_t i = 0; i < f.catalogue.n_sources; i++) {
        if (f.catalogue.sources[i].d_in != D) {
            continue;
        }
        REQUIRE_OK(sae_open(&sae, &f.catalogue.sources[i], &st), st);
        sparse_clear(&a);
        sparse_clear(&b);
        REQUIRE_OK(sae_encode(sae, one, x, ROWS, &a, &st), st);
        REQUIRE_OK(sae_encode(sae, five, x, ROWS, &b, &st), st);
        size_t n = a.start[ROWS];
        REQUIRE(b.start[ROWS] == n);
        CHECK(memcmp(a.index, b.index, n * sizeof *a.index) == 0);
        CHECK(memcmp(a.value, b.value, n * sizeof *a.value) == 0);
        sae_close(sae);
    }
    threads_destroy(one);
    threads_destroy(five);
    sparse_free(&a);
    sparse_free(&b);
    free(x);
    fixture_close(&f);
}

/* Two inputs, identity-like weights: what comes out can be read off. */
static const float pick_enc[2 * 6] = {1, 1, 0, 0, 1, 2, 0, 0, 1, 1, 0, 0};
static const float pick_dec[6 * 2] = {1, 0, 3, 4, 0, 0, 0, 1, 1, 1, 2, 0};
static const float zeros[6];
static const struct vector pick[] = {{"W_enc", {2, 6}, pick_enc},
                                     {"W_dec", {6, 2}, pick_dec},
                                     {"b_enc", {6, 0}, zeros},
                                     {"b_dec", {2, 0}, zeros}};

static struct sae *open_pick(struct made *m, const char *cfg, enum sae_architecture architecture,
                             const struct vector *more)
{
    struct vector vectors[5];
    struct sae *sae = NULL;
    struct status st = {0};
    memcpy(vectors, pick, sizeof pick);
    if (more) {
        vectors[4] = *more;
    }
    make(m, cfg, vectors, more ? 5 : 4);
    m->source.architecture = architecture;
    m->source.d_in = m->source.d_out = 2;
    m->source.d_sae = 6;
    if (strstr(cfg, "transcoder")) {
        m->source.is_transcoder = true;
        m->source.input = POINT_MLP_IN;
        m->source.output = POINT_MLP_OUT;
    }
    if (sae_open(&sae, &m->source, &st)) {
        printf("    %s\n", st.message);
        test_failures_++;
    }
    return sae;
}

/* Encodes one row of two values; the features as "index:value ...". */
static const char *features_of(const struct sae *sae, float x0, float x1)
{
    static char buffer[256];
    struct sparse features = {0};
    struct status st = {0};
    const float x[2] = {x0, x1};
    buffer[0] = '\0';
    CHECK(sae_encode(sae, threads, x, 1, &features, &st) == 0);
    for (size_t i = 0; i < features.start[1]; i++) {
        size_t n = strlen(buffer);
        snprintf(buffer + n, sizeof buffer - n, "%s%u:%g", i ? " " : "", features.index[i],
                 (double)features.value[i]);
    }
    sparse_free(&features);
    return buffer;
}

static void top_k_keeps_the_lower_of_equal_features(void)
{
    struct made m;
    struct sae *sae = open_pick(
        &m, "{\"activation_fn\": \"topk\", \"activation_fn_kwargs\": {\"k\": 3}, " HOOK "}",
        SAE_TOPK, NULL);
    REQUIRE(sae != NULL);
    CHECK_STRING(features_of(sae, 1, 1), "0:1 1:1 5:2");
    CHECK_STRING(features_of(sae, -1, 1), "2:1 3:1"); /* the third is 0 or less: relu */
    CHECK_STRING(features_of(sae, NAN, 1), "");
    sae_close(sae);
    unmake(&m);
}

static void nan_and_minus_zero_are_never_active(void)
{
    struct made m;
    struct sae *sae = open_pick(&m, "{" HOOK "}", SAE_STANDARD, NULL);
    REQUIRE(sae != NULL);
    CHECK_STRING(features_of(sae, -0.0f, -0.0f), "");
    CHECK_STRING(features_of(sae, NAN, NAN), "");
    CHECK_STRING(features_of(sae, 0, 2), "2:2 3:2");
    sae_close(sae);
    unmake(&m);
}

static void a_training_checkpoint_has_the_thresholds_logarithm(void)
{
    struct made m;
    const float logs[6] = {0, 0, 0, 0, 0, 1.0f}; /* thresholds 1 and e */
    const struct vector more = {"log_threshold", {6, 0}, logs};
    struct sae *sae =
        open_pick(&m, "{\"architecture\": \"jumprelu\", " HOOK "}", SAE_JUMPRELU, &more);
    REQUIRE(sae != NULL);
    CHECK_STRING(features_of(sae, 1.25f, 1), "0:1.25 1:1.25 4:1.25"); /* 2.5 < e; 1 is not > 1 */
    sae_close(sae);
    unmake(&m);
}

static void finetuning_scales_the_features(void)
{
    struct made m;
    const float scale[6] = {1, 2, 1, 1, 0, 1};
    const struct vector more = {"scaling_factor", {6, 0}, scale};
    struct sae *sae =
        open_pick(&m, "{\"finetuning_scaling_factor\": true, " HOOK "}", SAE_STANDARD, &more);
    REQUIRE(sae != NULL);
    CHECK_STRING(features_of(sae, 1, 0), "0:1 1:2 5:2");
    sae_close(sae);
    struct status st = {0};
    char path[128];
    snprintf(path, sizeof path, "%s/cfg.json", m.folder);
    FILE *f = fopen(path, "wb");
    REQUIRE(f != NULL);
    fputs("{" HOOK "}", f);
    fclose(f);
    CHECK(sae_open(&sae, &m.source, &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "expected all ones");
    CHECK(sae == NULL);
    unmake(&m);
}

static void constant_norm_is_undone_in_decode(void)
{
    struct made m;
    struct status st = {0};
    struct sparse features = {0};
    const float x[4] = {3, 4, 0, 0};
    float out[4];
    struct sae *sae = open_pick(
        &m, "{\"normalize_activations\": \"constant_norm_rescale\", " HOOK "}", SAE_STANDARD, NULL);
    REQUIRE(sae != NULL);
    REQUIRE_OK(sae_encode(sae, threads, x, 2, &features, &st), st);
    CHECK_NEAR(sparse_get(&features, 0, 0), 3 * sqrt(2) / 5, 1e-6);
    CHECK(features.start[2] == features.start[1]); /* a row of zeros */
    REQUIRE_OK(sae_decode(sae, threads, &features, x, out, &st), st);
    /* x0 (rows 0, 1, 4 and twice 5) = 3 (1+3+1+4), 3 (4+1); x1 (rows 2, 3) = 0, 4 */
    CHECK_NEAR(out[0], 27, 1e-5);
    CHECK_NEAR(out[1], 15 + 4, 1e-5);
    CHECK(out[2] == 0.0f && out[3] == 0.0f);
    sparse_free(&features);
    sae_close(sae);
    unmake(&m);
}

static void saelens_stores_its_skip_transposed(void)
{
    struct made m;
    struct status st = {0};
    struct sparse features = {0};
    const float skip[4] = {0, 10, 100, 0}; /* y0 += 10 x1, y1 += 100 x0 */
    const struct vector more = {"W_skip", {2, 2}, skip};
    const float x[2] = {-1, 2};
    float out[2];
    struct sae *sae = open_pick(&m,
                                "{\"architecture\": \"skip_transcoder\", \"hook_name\": "
                                "\"blocks.0.hook_mlp_in\", \"hook_name_out\": "
                                "\"blocks.0.hook_mlp_out\"}",
                                SAE_STANDARD, &more);
    REQUIRE(sae != NULL);
    REQUIRE_OK(sae_encode(sae, threads, x, 1, &features, &st), st);
    REQUIRE_OK(sae_decode(sae, threads, &features, x, out, &st), st);
    CHECK_NEAR(out[0], 20, 1e-5); /* features 2 and 3 alone are on */
    CHECK_NEAR(out[1], -100 + 2, 1e-5);
    sparse_free(&features);
    sae_close(sae);
    unmake(&m);
}

static void rows_of_zeros_have_no_neighbours(void)
{
    struct made m;
    struct status st = {0};
    uint32_t index[6];
    float cosine[6];
    size_t found;
    const float vector[2] = {2, 0}, nothing[2] = {0, 0};
    struct sae *sae = open_pick(&m, "{" HOOK "}", SAE_STANDARD, NULL);
    REQUIRE(sae != NULL);
    REQUIRE_OK(sae_nearest(sae, threads, vector, 6, index, cosine, &found, &st), st);
    CHECK(found == 5); /* row 2 is zero */
    CHECK(index[0] == 0 && index[1] == 5 && index[2] == 4 && index[3] == 1 && index[4] == 3);
    CHECK_NEAR(cosine[3], 0.6, 1e-6);
    REQUIRE_OK(sae_nearest(sae, threads, vector, 1, index, cosine, &found, &st), st);
    CHECK(found == 1 && index[0] == 0);
    REQUIRE_OK(sae_nearest(sae, threads, vector, 0, index, cosine, &found, &st), st);
    CHECK(found == 0);
    REQUIRE_OK(sae_nearest(sae, threads, nothing, 6, index, cosine, &found, &st), st);
    CHECK(found == 0);
    sae_close(sae);
    unmake(&m);
}

static void decode_refuses_features_that_it_does_not_have(void)
{
    struct made m;
    struct status st = {0};
    struct sparse features = {0};
    const uint32_t index[1] = {6};
    const float value[1] = {1}, x[2] = {0, 0};
    float out[2];
    struct sae *sae = open_pick(&m, "{" HOOK "}", SAE_STANDARD, NULL);
    REQUIRE(sae != NULL);
    REQUIRE_OK(sae_decode(sae, threads, &features, x, out, &st), st); /* no rows */
    REQUIRE_OK(sae_encode(sae, threads, x, 0, &features, &st), st);
    CHECK(features.rows == 0);
    sparse_append(&features, index, value, 1);
    CHECK(sae_decode(sae, threads, &features, x, out, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, "expected features below 6, found 6");
    sparse_free(&features);
    sae_close(sae);
    unmake(&m);
}

static void refuses_files_that_are_not_what_the_catalogue_saw(void)
{
    struct fixture f;
    struct status st = {0};
    struct sae *sae;
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    struct sae_source wrong = *named(&f, "res");
    wrong.d_sae = 161;
    CHECK(sae_open(&sae, &wrong, &st) == STATUS_CORRUPT);
    CHECK(sae == NULL);
    CHECK_CONTAINS(st.message, "params.npz");
    CHECK_CONTAINS(st.message, "161");
    wrong = *named(&f, "res");
    wrong.d_in = wrong.d_out = 40;
    CHECK(sae_open(&sae, &wrong, &st) == STATUS_CORRUPT);
    wrong = *catalogue_find(&f.catalogue, "2-nano-topk");
    wrong.architecture = SAE_STANDARD;
    CHECK(sae_open(&sae, &wrong, &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "cfg.json");
    wrong = *named(&f, "res");
    char gone[] = "tests/no-such-folder";
    wrong.path = gone;
    CHECK(sae_open(&sae, &wrong, &st) == STATUS_NOT_FOUND);
    fixture_close(&f);
}

static void the_identity_follows_contents_and_settings(void)
{
    struct made a, b, c;
    const float ones[6] = {1, 1, 1, 1, 1, 1}, other[6] = {1, 1, 1, 1, 1, 1.5f};
    const struct vector first = {"threshold", {6, 0}, ones}, second = {"threshold", {6, 0}, other};
    const char *cfg = "{\"architecture\": \"jumprelu\", " HOOK "}";
    struct sae *x = open_pick(&a, cfg, SAE_JUMPRELU, &first);
    struct sae *y = open_pick(&b, cfg, SAE_JUMPRELU, &second);
    struct sae *z =
        open_pick(&c, "{\"architecture\": \"jumprelu\", \"apply_b_dec_to_input\": false, " HOOK "}",
                  SAE_JUMPRELU, &first);
    struct sae *again = NULL;
    struct status st = {0};
    REQUIRE(x && y && z);
    REQUIRE_OK(sae_open(&again, &a.source, &st), st);
    struct hash one = sae_identity(x), two = sae_identity(y), three = sae_identity(z);
    struct hash four = sae_identity(again);
    CHECK(one.high == four.high && one.low == four.low);
    CHECK(one.high != two.high || one.low != two.low);
    CHECK(one.high != three.high || one.low != three.low);
    sae_release_pages(x);
    CHECK_STRING(features_of(x, 2, 0), "0:2 1:2 4:2 5:4");
    sae_close(x);
    sae_close(y);
    sae_close(z);
    sae_close(again);
    sae_close(NULL);
    unmake(&a);
    unmake(&b);
    unmake(&c);
}

static void survives_every_failed_allocation(void)
{
    static const char *const names[] = {"2-gemmascope-res-160", "2-nano-topk-rescaled",
                                        "2-nano-gated"};
    struct fixture f;
    struct status st = {0};
    float *x = random_floats(3 * 48, 5), *out = malloc(3 * 160 * sizeof *out);
    REQUIRE_OK(fixture_open(&f, fixtures[0], &st), st);
    for (size_t i = 0; i < 3; i++) {
        const struct sae_source *source = catalogue_find(&f.catalogue, names[i]);
        int code = STATUS_MEMORY;
        long n = 0;
        while (code && n < 10000) {
            struct sae *sae = NULL;
            struct sparse features = {0};
            uint32_t index[4];
            float cosine[4];
            size_t found;
            memory_fail_after(++n);
            code = sae_open(&sae, source, &st);
            code = code ? code : sae_pre(sae, threads, x, 3, out, &st);
            code = code ? code : sae_encode(sae, threads, x, 3, &features, &st);
            code = code ? code : sae_nearest(sae, threads, x, 4, index, cosine, &found, &st);
            memory_fail_after(0);
            CHECK(code == 0 || code == STATUS_MEMORY);
            sparse_free(&features);
            sae_close(sae);
        }
        CHECK(n > 10 && n < 10000);
    }
    free(x);
    free(out);
    fixture_close(&f);
}

static const struct test tests[] = {
    TEST(encodes_and_decodes_what_the_oracle_does),
    TEST(counts_and_errors_are_the_oracles),
    TEST(transcoders_write_what_the_oracle_does),
    TEST(every_kind_of_saelens_is_the_oracles),
    TEST(the_parts_of_its_features_make_the_reconstruction),
    TEST(a_saelens_copy_of_a_gemma_scope_sae_gives_the_same),
    TEST(pre_activations_are_the_oracles_and_encode_only_picks),
    TEST(neighbours_are_the_oracles),
    TEST(columns_and_rows_are_the_files),
    TEST(a_wide_sae_is_encoded_panel_by_panel),
    TEST(the_number_of_threads_changes_no_bit),
    TEST(top_k_keeps_the_lower_of_equal_features),
    TEST(nan_and_minus_zero_are_never_active),
    TEST(a_training_checkpoint_has_the_thresholds_logarithm),
    TEST(finetuning_scales_the_features),
    TEST(constant_norm_is_undone_in_decode),
    TEST(saelens_stores_its_skip_transposed),
    TEST(rows_of_zeros_have_no_neighbours),
    TEST(decode_refuses_features_that_it_does_not_have),
    TEST(refuses_files_that_are_not_what_the_catalogue_saw),
    TEST(the_identity_follows_contents_and_settings),
    TEST(survives_every_failed_allocation),
};

int main(int argc, char **argv)
{
    struct status st = {0};
    if (threads_create(&threads, 2, &st)) {
        printf("%s\n", st.message);
        return 1;
    }
    int code = test_main(tests, TEST_COUNT(tests), argc, argv);
    threads_destroy(threads);
    return code;
}
