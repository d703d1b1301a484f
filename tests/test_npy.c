#include "core/formats/npy.h"

#include "test.h"

/* Parses a version 1 header of that text, for a member with `data` bytes behind it. */
static int parse(const char *dict, size_t data, struct npy *npy, struct status *st)
{
    uint8_t bytes[512] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    size_t n = strlen(dict);
    bytes[8] = (uint8_t)n;
    memcpy(bytes + 10, dict, n);
    return npy_parse(npy, bytes, 10 + n, 10 + n + data, "file", "w", st);
}

static void reads_the_dictionary_in_any_order_and_spacing(void)
{
    static const char *const dicts[] = {
        "{'descr': '<f4', 'fortran_order': True, 'shape': (3, 2), }   \n",
        "{\"shape\":(3,2),\"fortran_order\":True,\"descr\":\"<f4\"}",
        " { 'fortran_order' : True , 'shape' : ( 3L , 2L , ) , 'descr' : '<f4' } \n",
    };
    for (size_t i = 0; i < sizeof dicts / sizeof dicts[0]; i++) {
        struct status st = {0};
        struct npy npy;
        REQUIRE_OK(parse(dicts[i], 24, &npy, &st), st);
        CHECK(npy.fortran && npy.tensor.dtype == DTYPE_F32 && npy.tensor.n_dims == 2);
        CHECK(npy.tensor.shape[0] == 3 && npy.tensor.shape[1] == 2 && npy.tensor.shape[2] == 1);
        CHECK(npy.data_offset == 10 + strlen(dicts[i]) && npy.data_bytes == 24);
    }
}

static void refuses_every_cut_of_a_header(void)
{
    static const char dict[] = "{'descr': '<f4', 'fortran_order': False, 'shape': (2,), }";
    struct status st = {0};
    struct npy npy;
    CHECK(parse(dict, 8, &npy, &st) == 0);
    for (size_t n = 0; n < sizeof dict - 1; n++) {
        char part[sizeof dict] = {0};
        memcpy(part, dict, n);
        CHECK(parse(part, 8, &npy, &st) == STATUS_CORRUPT);
        CHECK_CONTAINS(st.message, "file: member \"w\": expected \"descr\"");
    }
}

static void refuses_other_bytes_and_lengths_beyond_the_member(void)
{
    struct status st = {0};
    struct npy npy;
    uint8_t bytes[20] = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0, 11, 0};
    CHECK(npy_parse(&npy, bytes, 20, 20, "file", "w", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "a .npy header of 11 bytes, found 10");
    bytes[6] = 2;
    bytes[8] = 0;
    bytes[11] = 0x80;
    CHECK(npy_parse(&npy, bytes, 20, 20, "file", "w", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "a .npy header of 2147483648 bytes, found 8");
    CHECK(npy_parse(&npy, bytes, 11, 11, "file", "w", &st) == STATUS_CORRUPT);
    bytes[0] = 'P';
    CHECK(npy_parse(&npy, bytes, 20, 20, "file", "w", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "expected a .npy array, found other bytes");
    CHECK(npy_parse(&npy, bytes, 0, 0, "file", "w", &st) == STATUS_CORRUPT);
}

static const struct test tests[] = {
    TEST(reads_the_dictionary_in_any_order_and_spacing),
    TEST(refuses_every_cut_of_a_header),
    TEST(refuses_other_bytes_and_lengths_beyond_the_member),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
