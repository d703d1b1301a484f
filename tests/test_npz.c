#include "core/formats/npz.h"

#include "core/base/mapped_file.h"
#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "npz_builder.h"
#include "test.h"

#define ORACLE "tests/fixtures/oracle/"
#define ATT                                                                          \
    ORACLE "gemma2-nano-f32-sharded/saes/gemma-scope-nano-pt-att/layer_1/width_160/" \
           "average_l0_13/params.npz"

static const float six[] = {1, 2, 3, 4, 5, 6};

/* Opens the archive (a block of its own, so that asan sees its end) and finds the member "w". */
static int open_and_find(const struct text *zip, struct npz **f, struct tensor *t, char **block,
                         struct status *st)
{
    *f = NULL;
    *block = malloc(zip->length ? zip->length : 1);
    if (!*block) {
        return status_no_memory(st, zip->length);
    }
    memcpy(*block, zip->data, zip->length);
    int code = npz_open_bytes(f, *block, zip->length, "x.npz", st);
    return code ? code : npz_find(*f, "w", t, st);
}

/* The 2 x 3 matrix 1..6 comes out of the archive, widened. */
static void gives_one_to_six(const struct npz_member *m, bool zip64, const char *comment, bool heap)
{
    struct status st = {0};
    struct text zip = npz_build(m, 1, zip64, comment);
    struct npz *f;
    struct tensor t = {0};
    char *block;
    int code = open_and_find(&zip, &f, &t, &block, &st);
    CHECK(code == 0);
    if (code == 0) {
        CHECK(t.n_dims == 2 && t.shape[0] == 2 && t.shape[1] == 3 && t.shape[2] == 1);
        for (size_t i = 0; i < 6; i++) {
            CHECK(tensor_get(&t, i) == six[i]);
        }
        CHECK((npz_heap_bytes(f) > 0) == heap);
    } else {
        printf("    %s\n", st.message);
    }
    npz_close(f);
    free(block);
    text_free(&zip);
}

static int code_of(const struct npz_member *m, struct status *st)
{
    struct text zip = npz_build(m, 1, false, NULL);
    struct npz *f;
    struct tensor t = {0};
    char *block;
    int code = open_and_find(&zip, &f, &t, &block, st);
    npz_close(f);
    free(block);
    text_free(&zip);
    return code;
}

static void reads_members_in_place_whatever_their_alignment(void)
{
    for (size_t padding = 0; padding < 8; padding++) {
        struct npz_member m = {"w.npy", "<f4", "(2, 3)", six, sizeof six, .padding = padding};
        gives_one_to_six(&m, false, NULL, false);
    }
}

static void reads_the_local_headers_that_numpy_writes(void)
{
    struct npz_member m = {"w.npy", "<f4", "(2, 3)", six, sizeof six, .numpy_local = true};
    gives_one_to_six(&m, false, NULL, false);
}

static void reads_zip64_directories(void)
{
    struct npz_member m = {"w.npy",      "<f4", "(2, 3)", six, sizeof six, .numpy_local = true,
                           .zip64 = true};
    gives_one_to_six(&m, true, NULL, false);
    gives_one_to_six(&m, false, NULL, false);
    m.zip64 = false;
    gives_one_to_six(&m, true, "a comment", false);
}

static void reads_archives_with_a_comment_or_bytes_behind_them(void)
{
    struct npz_member m = {"w.npy", "<f4", "(2, 3)", six, .bytes = sizeof six};
    gives_one_to_six(&m, false, "PK\x05\x06 is how an end record begins, and this is none", false);
    struct text zip = npz_build(&m, 1, false, NULL);
    text_string(&zip, "\n\n");
    struct status st = {0};
    struct npz *f;
    struct tensor t;
    char *block;
    CHECK(open_and_find(&zip, &f, &t, &block, &st) == 0);
    npz_close(f);
    free(block);
    text_free(&zip);
}

static void inflates_members(void)
{
    struct npz_member m = {"w.npy", "<f4", "(2, 3)", six, sizeof six, .deflate = true};
    gives_one_to_six(&m, false, NULL, true);
    m.descriptor = true;
    gives_one_to_six(&m, false, NULL, true);
    m.zip64 = true;
    m.version = 2;
    gives_one_to_six(&m, true, NULL, true);
}

static void inflates_many_megabytes(void)
{
    size_t n = (size_t)3 << 20;
    float *values = malloc(n * sizeof *values);
    REQUIRE(values != NULL);
    for (size_t i = 0; i < n; i++) {
        values[i] = (float)(i % 1000);
    }
    struct npz_member m = {"w.npy",        "<f4", "(3145728,)", values, n * sizeof *values,
                           .deflate = true};
    struct status st = {0};
    struct text zip = npz_build(&m, 1, false, NULL);
    struct npz *f;
    struct tensor t = {0};
    char *block;
    REQUIRE_OK(open_and_find(&zip, &f, &t, &block, &st), st);
    CHECK(t.n_dims == 1 && t.shape[0] == n);
    CHECK(memcmp(t.data, values, n * sizeof *values) == 0);
    npz_close(f);
    free(block);
    free(values);
    text_free(&zip);
}

static void reads_every_header_version_and_type(void)
{
    const double doubles[] = {1, 2, 3, 4, 5, 6};
    const uint16_t halves[] = {0x3c00, 0x4000, 0x4200, 0x4400, 0x4500, 0x4600};
    for (int version = 1; version <= 3; version++) {
        struct npz_member m = {"w.npy", "<f4", "(2, 3)", six, sizeof six, .version = version};
        gives_one_to_six(&m, false, NULL, false);
        m.shape = "(2L, 3L)";
        gives_one_to_six(&m, false, NULL, false);
        m = (struct npz_member){"w.npy", "<f2", "(2,3)", halves, sizeof halves, .version = version};
        gives_one_to_six(&m, false, NULL, false);
        m = (struct npz_member){"w.npy", "<f8",          "(2, 3,)",
                                doubles, sizeof doubles, .version = version};
        gives_one_to_six(&m, false, NULL, true);
        m.deflate = true;
        gives_one_to_six(&m, false, NULL, true);
    }
}

static void transposes_fortran_order(void)
{
    const float turned[] = {1, 4, 2, 5, 3, 6};
    const double doubles[] = {1, 4, 2, 5, 3, 6};
    const uint16_t halves[] = {0x3c00, 0x4400, 0x4000, 0x4500, 0x4200, 0x4600};
    struct npz_member m = {"w.npy", "<f4", "(2, 3)", turned, sizeof turned, .fortran = true};
    gives_one_to_six(&m, false, NULL, true);
    m.deflate = true;
    gives_one_to_six(&m, false, NULL, true);
    m = (struct npz_member){"w.npy", "<f8", "(2, 3)", doubles, sizeof doubles, .fortran = true};
    gives_one_to_six(&m, false, NULL, true);
    m = (struct npz_member){"w.npy", "<f2", "(2, 3)", halves, sizeof halves, .fortran = true};
    gives_one_to_six(&m, false, NULL, true);
}

static void transposes_shapes_beyond_one_tile(void)
{
    enum { ROWS = 70, COLUMNS = 45 };
    float turned[COLUMNS][ROWS];
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            turned[c][r] = (float)(r * 1000 + c);
        }
    }
    struct npz_member m = {"w.npy", "<f4", "(70, 45)", turned, sizeof turned, .fortran = true};
    struct status st = {0};
    struct text zip = npz_build(&m, 1, false, NULL);
    struct npz *f;
    struct tensor t = {0};
    char *block;
    REQUIRE_OK(open_and_find(&zip, &f, &t, &block, &st), st);
    int wrong = 0;
    for (size_t r = 0; r < ROWS; r++) {
        for (size_t c = 0; c < COLUMNS; c++) {
            wrong += tensor_get(&t, r * COLUMNS + c) != (float)(r * 1000 + c);
        }
    }
    CHECK(wrong == 0);
    CHECK(npz_heap_bytes(f) == sizeof turned);
    npz_close(f);
    free(block);
    text_free(&zip);
}

static void leaves_fortran_vectors_and_scalars_where_they_are(void)
{
    struct status st = {0};
    struct npz_member m = {"w.npy", "<f4", "(6,)", six, sizeof six, .fortran = true};
    CHECK(code_of(&m, &st) == 0);
    m.shape = "()";
    m.bytes = 4;
    CHECK(code_of(&m, &st) == 0);
    m.shape = "(1, 2, 3)";
    m.bytes = sizeof six;
    CHECK(code_of(&m, &st) == STATUS_UNSUPPORTED);
    m.fortran = false;
    CHECK(code_of(&m, &st) == 0);
    m.shape = "(0, 4)";
    m.bytes = 0;
    m.fortran = m.deflate = true;
    CHECK(code_of(&m, &st) == 0);
}

static void finds_names_without_case_and_lists_only_arrays(void)
{
    const struct npz_member members[] = {
        {"W_enc.npy", "<f4", "(2, 3)", six, .bytes = sizeof six},
        {"readme.txt", "<f4", "(6,)", six, .bytes = sizeof six},
        {"b.npy", "<f4", "(6,)", six, .bytes = sizeof six},
        {"B.npy", "<f4", "(3, 2)", six, .bytes = sizeof six},
    };
    struct status st = {0};
    struct text zip = npz_build(members, 4, false, NULL);
    struct npz *f;
    struct tensor t;
    REQUIRE_OK(npz_open_bytes(&f, zip.data, zip.length, "x.npz", &st), st);
    CHECK(npz_count(f) == 3);
    CHECK_STRING(npz_name(f, 0), "W_enc");
    CHECK_STRING(npz_path(f), "x.npz");
    CHECK(npz_find(f, "w_enc", &t, &st) == 0 && t.n_dims == 2);
    CHECK(npz_find(f, "B", &t, &st) == 0 && t.n_dims == 2);
    CHECK(npz_find(f, "b", &t, &st) == 0 && t.n_dims == 1);
    CHECK(npz_find(f, "readme", &t, &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "x.npz: expected a member \"readme.npy\", found none");
    npz_close(f);
    text_free(&zip);
}

static void peeks_without_reading_the_data(void)
{
    const double doubles[] = {1, 2, 3, 4, 5, 6};
    const struct npz_member members[] = {
        {"stored.npy", "<f4", "(2, 3)", six, .bytes = sizeof six},
        {"packed.npy", "<f4", "(3, 2)", six, sizeof six, .deflate = true},
        {"turned.npy", "<f4", "(6, 1)", six, sizeof six, .fortran = true},
        {"wide.npy", "<f8", "(6,)", doubles, .bytes = sizeof doubles},
    };
    struct status st = {0};
    struct text zip = npz_build(members, 4, false, NULL);
    struct npz *f;
    struct tensor t;
    REQUIRE_OK(npz_open_bytes(&f, zip.data, zip.length, "x.npz", &st), st);
    CHECK(npz_peek(f, "stored", &t, &st) == 0 && tensor_get(&t, 5) == 6.0f);
    CHECK(npz_peek(f, "packed", &t, &st) == 0 && t.data == NULL && t.shape[0] == 3);
    CHECK(npz_peek(f, "turned", &t, &st) == 0 && t.data == NULL && t.shape[0] == 6);
    CHECK(npz_peek(f, "wide", &t, &st) == 0 && t.data == NULL && t.dtype == DTYPE_F32);
    CHECK(npz_heap_bytes(f) == 0);
    CHECK(npz_find(f, "packed", &t, &st) == 0 && t.data != NULL);
    const void *first = t.data;
    CHECK(npz_peek(f, "packed", &t, &st) == 0 && t.data == first);
    CHECK(npz_find(f, "packed", &t, &st) == 0 && t.data == first);
    npz_close(f);
    text_free(&zip);
}

static void refuses_types_and_sizes_that_it_cannot_read(void)
{
    struct status st = {0};
    struct npz_member m = {"w.npy", ">f4", "(2, 3)", six, .bytes = sizeof six};
    CHECK(code_of(&m, &st) == STATUS_UNSUPPORTED);
    CHECK_STRING(st.message, "x.npz: member \"w\": expected type <f4, <f2 or <f8, found >f4");
    m.descr = "<f4";
    m.shape = "(2, 4)";
    CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    CHECK_STRING(st.message,
                 "x.npz: member \"w\": expected the data of <f4 [2, 4], found 24 bytes");
    m.shape = "(4611686018427387904, 4)";
    CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    m.shape = "(99999999999999999999999, )";
    CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    m.shape = "(1, 1, 1, 1, 6)";
    CHECK(code_of(&m, &st) == STATUS_UNSUPPORTED);
    static const char *const shapes[] = {"(2 3)",  "(2, 3",  "2, 3",   "(,)",
                                         "(2,,3)", "[2, 3]", "(-2, 3)"};
    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        m.shape = shapes[i];
        CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    }
    m.shape = "(2, 3), 'shape': (2, 3)";
    CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    m.shape = "(2, 3), 'more': 1";
    CHECK(code_of(&m, &st) == STATUS_CORRUPT);
    m.shape = "(2, 3)";
    m.version = 9;
    CHECK(code_of(&m, &st) == STATUS_UNSUPPORTED);
}

static void says_that_a_cut_file_is_truncated(void)
{
    struct status st = {0};
    struct mapped_file whole;
    REQUIRE_OK(mapped_file_open(&whole, ATT, &st), st);
    struct npz *f;
    CHECK(npz_open_bytes(&f, whole.data, whole.size / 2, "params.npz", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "params.npz: ");
    CHECK_CONTAINS(st.message, "looks truncated, download it again");
    CHECK(f == NULL);
    CHECK(npz_open_bytes(&f, whole.data, 0, "params.npz", &st) == STATUS_CORRUPT);
    CHECK(npz_open(&f, "tests/no-such.npz", &st) == STATUS_NOT_FOUND);
    mapped_file_close(&whole);
}

/* Opens, then reads every byte of every member that can be read. */
static void read_everything(const char *bytes, size_t n)
{
    struct status st = {0};
    struct npz *f;
    if (npz_open_bytes(&f, bytes, n, "x", &st) != 0) {
        CHECK(f == NULL && st.message[0] != '\0');
        return;
    }
    for (size_t i = 0; i < npz_count(f); i++) {
        struct tensor t;
        if (npz_find(f, npz_name(f, i), &t, &st) == 0) {
            float sum = 0;
            for (size_t k = 0; k < tensor_elements(&t); k++) {
                sum += tensor_get(&t, k);
            }
            (void)sum;
        }
    }
    npz_close(f);
}

static void survives_every_truncation_and_every_flipped_bit(void)
{
    const struct npz_member members[] = {
        {"w.npy", "<f4", "(2, 3)", six, sizeof six, .numpy_local = true, .zip64 = true},
        {"d.npy", "<f4", "(2, 3)", six, sizeof six, .deflate = true, .fortran = true},
    };
    for (int zip64 = 0; zip64 < 2; zip64++) {
        struct text zip = npz_build(members, 2, zip64 == 1, "end");
        for (size_t cut = 0; cut < zip.length; cut++) {
            char *part = malloc(cut ? cut : 1);
            REQUIRE(part != NULL);
            memcpy(part, zip.data, cut);
            struct status st = {0};
            struct npz *f;
            CHECK(npz_open_bytes(&f, part, cut, "x", &st) == STATUS_CORRUPT);
            free(part);
        }
        char *copy = malloc(zip.length);
        REQUIRE(copy != NULL);
        memcpy(copy, zip.data, zip.length);
        for (size_t i = 0; i < zip.length; i++) {
            for (int bit = 0; bit < 8; bit++) {
                copy[i] = (char)(copy[i] ^ (1 << bit));
                read_everything(copy, zip.length);
                copy[i] = (char)(copy[i] ^ (1 << bit));
            }
        }
        free(copy);
        text_free(&zip);
    }
}

static void reports_every_failed_allocation(void)
{
    const struct npz_member m = {"w.npy",    "<f4",           "(2, 3)",       six,
                                 sizeof six, .deflate = true, .fortran = true};
    struct status st = {0};
    struct text zip = npz_build(&m, 1, false, NULL);
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 50 && code; nth++) {
        struct npz *f;
        struct tensor t;
        (void)memory_fail_after(nth);
        code = npz_open_bytes(&f, zip.data, zip.length, "x", &st);
        code = code ? code : npz_find(f, "w", &t, &st);
        (void)memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        npz_close(f);
    }
    CHECK(code == 0);
    text_free(&zip);
}

/* The file's W_enc is stored with fortran_order True: its bytes are the transposed matrix. They are
 * found here without the reader, by the text of the .npy header. */
static void transposes_the_fortran_ordered_fixture(void)
{
    struct status st = {0};
    struct mapped_file raw;
    REQUIRE_OK(mapped_file_open(&raw, ATT, &st), st);
    static const char dict[] = "{'descr': '<f4', 'fortran_order': True, 'shape': (64, 160), }";
    const uint8_t *header = memmem(raw.data, raw.size, dict, sizeof dict - 1);
    REQUIRE(header != NULL);
    const uint8_t *data = (const uint8_t *)memchr(header, '\n', 128) + 1;
    struct npz *f;
    struct tensor t;
    REQUIRE_OK(npz_open(&f, ATT, &st), st);
    CHECK(npz_count(f) == 5);
    REQUIRE_OK(npz_find(f, "W_enc", &t, &st), st);
    CHECK(t.dtype == DTYPE_F32 && t.n_dims == 2 && t.shape[0] == 64 && t.shape[1] == 160);
    int wrong = 0;
    for (size_t i = 0; i < 64; i++) {
        for (size_t j = 0; j < 160; j++) {
            float want;
            memcpy(&want, data + (j * 64 + i) * sizeof want, sizeof want);
            wrong += tensor_get(&t, i * 160 + j) != want;
        }
    }
    CHECK(wrong == 0);
    CHECK(npz_heap_bytes(f) == 64 * 160 * 4);
    npz_release_pages(f);
    REQUIRE_OK(npz_find(f, "W_dec", &t, &st), st);
    CHECK(t.shape[0] == 160 && t.shape[1] == 64);
    npz_close(f);
    mapped_file_close(&raw);
}

/* nano-res holds the same numbers as res, in the other format (fixtures' README). */
static void agrees_with_the_same_sae_as_safetensors(void)
{
    static const char *const names[] = {"W_enc", "W_dec", "b_enc", "b_dec", "threshold"};
    struct status st = {0};
    struct npz *f;
    struct safetensors *s;
    REQUIRE_OK(npz_open(&f,
                        ORACLE "gemma2-nano-bf16/saes/gemma-scope-nano-pt-res/layer_2/width_160/"
                               "average_l0_12/params.npz",
                        &st),
               st);
    REQUIRE_OK(
        safetensors_open(
            &s, ORACLE "gemma2-nano-bf16/saes/saelens/nano-res/sae_weights.safetensors", &st),
        st);
    for (size_t k = 0; k < 5; k++) {
        struct tensor a;
        REQUIRE_OK(npz_find(f, names[k], &a, &st), st);
        const struct tensor *b = safetensors_find(s, names[k]);
        REQUIRE(b != NULL);
        CHECK(tensor_expect(&a, "npz", names[k], b->n_dims, b->shape, &st) == 0);
        CHECK(memcmp(a.data, b->data, tensor_bytes(b)) == 0);
    }
    CHECK(npz_heap_bytes(f) == 0);
    safetensors_close(s);
    npz_close(f);
}

static const struct test tests[] = {
    TEST(reads_members_in_place_whatever_their_alignment),
    TEST(reads_the_local_headers_that_numpy_writes),
    TEST(reads_zip64_directories),
    TEST(reads_archives_with_a_comment_or_bytes_behind_them),
    TEST(inflates_members),
    TEST(inflates_many_megabytes),
    TEST(reads_every_header_version_and_type),
    TEST(transposes_fortran_order),
    TEST(transposes_shapes_beyond_one_tile),
    TEST(leaves_fortran_vectors_and_scalars_where_they_are),
    TEST(finds_names_without_case_and_lists_only_arrays),
    TEST(peeks_without_reading_the_data),
    TEST(refuses_types_and_sizes_that_it_cannot_read),
    TEST(says_that_a_cut_file_is_truncated),
    TEST(survives_every_truncation_and_every_flipped_bit),
    TEST(reports_every_failed_allocation),
    TEST(transposes_the_fortran_ordered_fixture),
    TEST(agrees_with_the_same_sae_as_safetensors),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
