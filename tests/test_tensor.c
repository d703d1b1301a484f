#include "core/formats/tensor.h"

#include "test.h"

#include <stdint.h>
#include <stdlib.h>

/* binary16 by its definition (IEEE 754-2008, 3.6), in double. */
static double half(unsigned bits)
{
    unsigned exponent = (bits >> 10) & 31;
    double fraction = (double)(bits & 1023) / 1024.0;
    double sign = bits & 0x8000 ? -1.0 : 1.0;
    if (exponent == 0) {
        return sign * ldexp(fraction, -14);
    }
    if (exponent == 31) {
        return fraction > 0 ? (double)NAN : sign * (double)INFINITY;
    }
    return sign * ldexp(1.0 + fraction, (int)exponent - 15);
}

static void widens_every_f16_exactly(void)
{
    uint16_t *halves = malloc(65536 * sizeof *halves);
    float *wide = malloc(65536 * sizeof *wide);
    REQUIRE(halves && wide);
    for (unsigned i = 0; i < 65536; i++) {
        halves[i] = (uint16_t)i;
    }
    struct tensor t = {.data = halves, .dtype = DTYPE_F16, .n_dims = 1, .shape = {65536, 1, 1, 1}};
    tensor_widen(&t, 0, 65536, wide);
    int wrong = 0;
    for (unsigned i = 0; i < 65536; i++) {
        double want = half(i);
        float one = tensor_get(&t, i);
        bool same = isnan(want) ? isnan(wide[i]) && isnan(one)
                                : (double)wide[i] == want && (double)one == want &&
                                      !signbit(wide[i]) == !signbit(want);
        wrong += !same;
    }
    CHECK(wrong == 0);
    free(halves);
    free(wide);
}

static void widens_bf16_by_its_upper_half(void)
{
    uint16_t bits[40];
    float wide[40];
    for (unsigned i = 0; i < 40; i++) {
        bits[i] = (uint16_t)(i * 1637u);
    }
    struct tensor t = {.data = bits, .dtype = DTYPE_BF16, .n_dims = 1, .shape = {40, 1, 1, 1}};
    tensor_widen(&t, 0, 40, wide);
    for (unsigned i = 0; i < 40; i++) {
        uint32_t found;
        memcpy(&found, &wide[i], sizeof found);
        CHECK(found == (uint32_t)bits[i] << 16);
    }
    const uint16_t known[] = {0x3f80, 0xc049, 0x7f80};
    t.data = known;
    CHECK(tensor_get(&t, 0) == 1.0f);
    CHECK(tensor_get(&t, 1) == -3.140625f);
    CHECK(isinf(tensor_get(&t, 2)));
}

static void reads_data_at_any_address(void)
{
    static const size_t lengths[] = {0, 1, 15, 16, 17, 33};
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16, DTYPE_F64};
    unsigned char buffer[8 + 40 * 8];
    for (size_t k = 0; k < 4; k++) {
        for (size_t shift = 0; shift < 8; shift++) {
            for (size_t i = 0; i < 40; i++) { /* 1.5, as each of the types */
                const float f = 1.5f;
                const double d = 1.5;
                const uint16_t h = 0x3e00;
                const uint16_t b = 0x3fc0;
                const void *value = k == 0   ? (const void *)&f
                                    : k == 1 ? &h
                                    : k == 2 ? &b
                                             : (const void *)&d;
                size_t size = dtype_size(types[k]);
                memcpy(buffer + shift + i * size, value, size);
            }
            struct tensor t = {
                .data = buffer + shift, .dtype = types[k], .n_dims = 1, .shape = {40, 1, 1, 1}};
            for (size_t l = 0; l < 6; l++) {
                float out[41];
                out[lengths[l]] = -7.0f;
                tensor_widen(&t, 3, lengths[l], out);
                for (size_t i = 0; i < lengths[l]; i++) {
                    CHECK(out[i] == 1.5f);
                }
                CHECK(out[lengths[l]] == -7.0f);
            }
        }
    }
}

static void narrows_f64(void)
{
    const double values[] = {0.1, -1e300, 1.0 + 0x1p-52};
    struct tensor t = {.data = values, .dtype = DTYPE_F64, .n_dims = 1, .shape = {3, 1, 1, 1}};
    CHECK(tensor_get(&t, 0) == 0.1f);
    CHECK(isinf(tensor_get(&t, 1)) && tensor_get(&t, 1) < 0);
    CHECK(tensor_get(&t, 2) == 1.0f);
}

static void gives_nan_for_types_that_are_not_floating(void)
{
    const int32_t values[] = {1, 2};
    float out[2] = {0, 0};
    struct tensor t = {.data = values, .dtype = DTYPE_I32, .n_dims = 1, .shape = {2, 1, 1, 1}};
    tensor_widen(&t, 0, 2, out);
    CHECK(isnan(out[0]) && isnan(out[1]) && isnan(tensor_get(&t, 0)));
}

static void counts_elements_and_bytes(void)
{
    struct tensor t = {.dtype = DTYPE_BF16, .n_dims = 3, .shape = {2, 3, 5, 1}};
    CHECK(tensor_elements(&t) == 30);
    CHECK(tensor_bytes(&t) == 60);
    t.n_dims = 0;
    CHECK(tensor_elements(&t) == 1);
    t.dtype = DTYPE_OTHER;
    CHECK(tensor_bytes(&t) == 0);
    CHECK(dtype_size(DTYPE_F64) == 8 && dtype_size(DTYPE_U8) == 1 && dtype_size(DTYPE_I64) == 8);
    CHECK_STRING(dtype_name(DTYPE_BF16), "BF16");
}

static void writes_shapes_as_text(void)
{
    char buffer[64];
    struct tensor t = {.n_dims = 2, .shape = {256, 1024, 1, 1}};
    CHECK_STRING(tensor_shape_text(&t, buffer, sizeof buffer), "[256, 1024]");
    t.n_dims = 0;
    CHECK_STRING(tensor_shape_text(&t, buffer, sizeof buffer), "[]");
    t.n_dims = 1;
    CHECK_STRING(tensor_shape_text(&t, buffer, sizeof buffer), "[256]");
    t.n_dims = 2;
    CHECK_STRING(tensor_shape_text(&t, buffer, 6), "[256,");
}

static void expects_dimensions_and_a_floating_type(void)
{
    struct status st = {0};
    const size_t shape[] = {4, 6};
    struct tensor t = {.dtype = DTYPE_F32, .n_dims = 2, .shape = {4, 6, 1, 1}};
    CHECK(tensor_expect(&t, "file", "w", 2, shape, &st) == 0);
    t.shape[1] = 5;
    CHECK(tensor_expect(&t, "file", "w", 2, shape, &st) == STATUS_CORRUPT);
    CHECK_STRING(st.message, "file: tensor \"w\": expected shape [4, 6], found [4, 5]");
    t.shape[1] = 6;
    CHECK(tensor_expect(&t, "file", "w", 1, shape, &st) == STATUS_CORRUPT);
    t.dtype = DTYPE_I32;
    CHECK(tensor_expect(&t, "file", "w", 2, shape, &st) == STATUS_CORRUPT);
    CHECK_STRING(st.message, "file: tensor \"w\": expected F32, F16 or BF16, found I32");
    CHECK(tensor_expect(NULL, "file", "w", 2, shape, &st) == STATUS_CORRUPT);
    CHECK_STRING(st.message, "file: tensor \"w\": expected [4, 6], found no such tensor");
}

static uint64_t hash_of(const struct tensor *t)
{
    struct hash h = hash_start();
    tensor_hash(t, &h);
    return h.low;
}

static void the_hash_tells_types_shapes_and_contents_apart(void)
{
    static float values[1000];
    struct tensor t = {.data = values, .dtype = DTYPE_F32, .n_dims = 2, .shape = {10, 100, 1, 1}};
    uint64_t before = hash_of(&t);
    CHECK(hash_of(&t) == before);
    values[0] = 1; /* the first and the last of the samples */
    uint64_t first = hash_of(&t);
    values[980] = 1;
    uint64_t last = hash_of(&t);
    CHECK(first != before && last != first);
    t.dtype = DTYPE_I32;
    CHECK(hash_of(&t) != last);
    t.dtype = DTYPE_F32;
    t.shape[0] = 100;
    t.shape[1] = 10;
    CHECK(hash_of(&t) != last);
    t = (struct tensor){.data = values, .dtype = DTYPE_F32, .n_dims = 1, .shape = {1, 1, 1, 1}};
    before = hash_of(&t);
    values[0] = 2;
    CHECK(hash_of(&t) != before);
}

static void checks_the_bytes_of_a_shape_for_overflow(void)
{
    size_t bytes;
    struct tensor t = {.dtype = DTYPE_F64, .n_dims = 2, .shape = {SIZE_MAX / 8, 2, 1, 1}};
    CHECK(!tensor_checked_bytes(&t, &bytes));
    t.shape[1] = 1;
    CHECK(tensor_checked_bytes(&t, &bytes) && bytes == SIZE_MAX / 8 * 8);
    t.shape[1] = 0;
    t.shape[0] = SIZE_MAX;
    CHECK(tensor_checked_bytes(&t, &bytes) && bytes == 0);
    t.dtype = DTYPE_OTHER;
    t.shape[1] = 2;
    CHECK(!tensor_checked_bytes(&t, &bytes));
}

static const struct test tests[] = {
    TEST(the_hash_tells_types_shapes_and_contents_apart),
    TEST(checks_the_bytes_of_a_shape_for_overflow),
    TEST(widens_every_f16_exactly),
    TEST(widens_bf16_by_its_upper_half),
    TEST(reads_data_at_any_address),
    TEST(narrows_f64),
    TEST(gives_nan_for_types_that_are_not_floating),
    TEST(counts_elements_and_bytes),
    TEST(writes_shapes_as_text),
    TEST(expects_dimensions_and_a_floating_type),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
