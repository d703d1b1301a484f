#include "core/base/memory.h"
#include "core/formats/safetensors.h"
#include "test.h"

#include <stdint.h>

static const struct safetensors_entry entries[] = {
    {"w", {.dtype = DTYPE_F32, .n_dims = 2, .shape = {1, 2, 1, 1}}},
    {"quote \" back \\ tab \t", {.dtype = DTYPE_I32, .n_dims = 1, .shape = {3, 1, 1, 1}}},
    {"scalar", {.dtype = DTYPE_BF16, .n_dims = 0, .shape = {1, 1, 1, 1}}},
};

static void is_read_back_by_the_reader(void)
{
    struct status st = {0};
    struct text out = {0};
    const char *const metadata[] = {"format", "pt", "say", "\"hi\"", NULL};
    text_string(&out, "odd"); /* the header is padded for itself, wherever it is appended */
    REQUIRE_OK(safetensors_header(&out, entries, 3, metadata, &st), st);
    CHECK((out.length - 3) % 8 == 0);
    const float w[] = {1.5f, -2.5f};
    const int32_t q[] = {7, 8, 9};
    text_append(&out, (const char *)w, sizeof w);
    text_append(&out, (const char *)q, sizeof q);
    text_append(&out, "\x80\x3f", 2);
    struct safetensors *f;
    REQUIRE_OK(safetensors_open_bytes(&f, out.data + 3, out.length - 3, "x", &st), st);
    REQUIRE(safetensors_count(f) == 3);
    for (size_t i = 0; i < 3; i++) {
        CHECK_STRING(safetensors_name(f, i), entries[i].name);
        CHECK(safetensors_at(f, i)->dtype == entries[i].tensor.dtype);
        CHECK(safetensors_at(f, i)->n_dims == entries[i].tensor.n_dims);
    }
    CHECK(tensor_get(safetensors_at(f, 0), 1) == -2.5f);
    CHECK(tensor_get(safetensors_at(f, 2), 0) == 1.0f);
    safetensors_close(f);
    text_free(&out);
}

static void an_empty_list_is_a_file_of_its_own(void)
{
    struct status st = {0};
    struct text out = {0};
    struct safetensors *f;
    REQUIRE_OK(safetensors_header(&out, NULL, 0, NULL, &st), st);
    REQUIRE_OK(safetensors_open_bytes(&f, out.data, out.length, "x", &st), st);
    CHECK(safetensors_count(f) == 0);
    CHECK(out.length == 16);
    safetensors_close(f);
    text_free(&out);
}

static void refuses_what_no_reader_would_take(void)
{
    struct status st = {0};
    struct text out = {0};
    struct safetensors_entry bad = {"x",
                                    {.dtype = DTYPE_OTHER, .n_dims = 1, .shape = {1, 1, 1, 1}}};
    CHECK(safetensors_header(&out, &bad, 1, NULL, &st) == STATUS_INVALID);
    bad.tensor.dtype = DTYPE_F64;
    bad.tensor.shape[0] = SIZE_MAX / 4;
    CHECK(safetensors_header(&out, &bad, 1, NULL, &st) == STATUS_INVALID);
    bad.tensor.shape[0] = 1;
    bad.name = "__metadata__";
    CHECK(safetensors_header(&out, &bad, 1, NULL, &st) == STATUS_INVALID);
    bad.name = "\xff";
    CHECK(safetensors_header(&out, &bad, 1, NULL, &st) == STATUS_INVALID);
    text_free(&out);
}

static void reports_a_failed_allocation(void)
{
    struct status st = {0};
    int code = STATUS_MEMORY;
    for (long nth = 1; nth < 20 && code; nth++) {
        struct text out = {0};
        (void)memory_fail_after(nth);
        code = safetensors_header(&out, entries, 3, NULL, &st);
        (void)memory_fail_after(0);
        CHECK(code == 0 || code == STATUS_MEMORY);
        text_free(&out);
    }
    CHECK(code == 0);
}

static const struct test tests[] = {
    TEST(is_read_back_by_the_reader),
    TEST(an_empty_list_is_a_file_of_its_own),
    TEST(refuses_what_no_reader_would_take),
    TEST(reports_a_failed_allocation),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
