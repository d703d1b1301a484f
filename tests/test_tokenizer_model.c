#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/tokenizer.h"
#include "tests/test.h"
#include "tests/tokenizer_check.h"

enum { NORMAL = 1, UNKNOWN, CONTROL, USER_DEFINED, UNUSED, BYTE };

static void proto_piece(struct text *out, const char *bytes, float score, int type)
{
    size_t n = strlen(bytes);
    uint8_t bits[4];
    memcpy(bits, &score, 4);
    text_printf(out, "\n%c\n%c%s\x15", (int)(n + 9), (int)n, bytes);
    text_append(out, (const char *)bits, 4);
    text_printf(out, "\x18%c", type);
}

/* TrainerSpec{model_type, byte_fallback}, NormalizerSpec{"identity", add_dummy_prefix}. */
static void proto_specs(struct text *out, char model_type, char dummy_prefix)
{
    const char specs[] = {0x12, 5,   0x18, model_type, (char)0x98, 2,    1,
                          0x1A, 12,  '\n', 8,          'i',        'd',  'e',
                          'n',  't', 'i',  't',        'y',        0x18, dummy_prefix};
    text_append(out, specs, sizeof specs);
}

/* ids of this model */
enum {
    PAD,
    EOS,
    BOS,
    UNK,
    TURN,
    LINES,
    BREAK,
    BYTES,
    SPACE = BYTES + 256,
    A,
    B,
    C,
    Z,
    AB,
    BC,
    ABC,
    AA,
    ZZ,
    SPACE_A,
    THREE_LINES,
    LINE,
    A_SPACE,
    N_HAND
};

static void hand_made(struct text *out)
{
    proto_piece(out, "<pad>", 0.0F, CONTROL);
    proto_piece(out, "<eos>", 0.0F, CONTROL);
    proto_piece(out, "<bos>", 0.0F, CONTROL);
    proto_piece(out, "<unk>", 0.0F, UNKNOWN);
    proto_piece(out, "<start_of_turn>", 0.0F, USER_DEFINED);
    proto_piece(out, "\n\n", 0.0F, USER_DEFINED);
    proto_piece(out, "<br>", 0.0F, USER_DEFINED);
    for (int b = 0; b < 256; b++) {
        char name[8];
        (void)snprintf(name, sizeof name, "<0x%02X>", (unsigned)b);
        proto_piece(out, name, 0.0F, BYTE);
    }
    proto_piece(out, "\xE2\x96\x81", -20.0F, NORMAL);
    proto_piece(out, "a", -21.0F, NORMAL);
    proto_piece(out, "b", -22.0F, NORMAL);
    proto_piece(out, "c", -23.0F, NORMAL);
    proto_piece(out, "z", -24.0F, NORMAL);
    proto_piece(out, "ab", -5.0F, NORMAL);
    proto_piece(out, "bc", -5.0F, NORMAL);
    proto_piece(out, "abc", -9.0F, NORMAL);
    proto_piece(out, "aa", -3.0F, NORMAL);
    proto_piece(out, "zz", -1.0F, UNUSED);
    proto_piece(out,
                "\xE2\x96\x81"
                "a",
                -4.0F, NORMAL);
    proto_piece(out, "\n\n\n", -1.0F, NORMAL);
    proto_piece(out, "\n", -2.0F, NORMAL);
    proto_piece(out, "a\xE2\x96\x81", -2.0F, NORMAL);
}

static struct tokenizer *open_hand_made(void)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    struct text model = {0};
    hand_made(&model);
    proto_specs(&model, 2, 0);
    if (tokenizer_parse_model(&t, model.data, model.length, "hand.model", &st)) {
        printf("    %s\n", st.message);
    }
    text_free(&model);
    return t;
}

static void merges_by_score_then_by_position_and_leaves_added_pieces_alone(void)
{
    struct tokenizer *t = open_hand_made();
    REQUIRE(t != NULL);
    CHECK(tokenizer_size(t) == N_HAND && A == 264 && SPACE_A == 273);
    CHECK_IDS(t, "", "");
    CHECK_IDS(t, "abc", "270"); /* ab before bc: equal scores, the lower id */
    CHECK_IDS(t, "bc", "269");
    CHECK_IDS(t, "aaa", "271 264"); /* the leftmost of two equal candidates */
    CHECK_IDS(t, "aab", "271 265");
    CHECK_IDS(t, "zz", "272"); /* unused pieces are pieces to Hugging Face */
    CHECK_IDS(t, " a", "273");
    CHECK_IDS(t,
              "\xE2\x96\x81"
              "a",
              "273");
    CHECK_IDS(t, "a a", "276 264"); /* a merge across a space: no cut there */
    CHECK_IDS(t, "b a", "265 273");
    CHECK_IDS(t, "  a", "263 273");
    CHECK_IDS(t, "\n\n\n", "5 275"); /* the longer piece is never formed over an added one */
    CHECK_IDS(t, "\n", "275");
    CHECK_IDS(t, "<bos>a<unk>", "2 264 3");
    CHECK_IDS(t, "<start_of_turn><br>", "4 6");
    CHECK_IDS(t, "<b", "67 265"); /* '<' has no piece: its byte */
    CHECK_IDS(t, "\xC3\xA9", "202 176");
    CHECK_IDS(t, "\t", "16");
    CHECK(tokenizer_bos(t) == BOS && tokenizer_eos(t) == EOS && tokenizer_pad(t) == PAD &&
          tokenizer_unk(t) == UNK);
    CHECK(tokenizer_is_special(t, BOS) && tokenizer_is_special(t, UNK) &&
          tokenizer_is_special(t, TURN));
    CHECK(!tokenizer_is_special(t, LINES) && !tokenizer_is_special(t, BREAK));
    CHECK(!tokenizer_is_special(t, A) && !tokenizer_is_special(t, -1) &&
          !tokenizer_is_special(t, N_HAND));
    CHECK(tokenizer_find(t, "abc") == ABC && tokenizer_find(t, "nothing") == -1);
    CHECK(tokenizer_find(t, "") == -1 && tokenizer_find(t, "<br>") == BREAK);
    tokenizer_close(t);
}

static void refuses_text_that_is_not_utf8(void)
{
    struct tokenizer *t = open_hand_made();
    REQUIRE(t != NULL);
    static const char *const bad[] = {"ab\xFF", "ab\xC3", "ab\xED\xA0\x80", "ab\xC0\x80",
                                      "ab\xF4\x90\x80\x80"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct status st = {0};
        int32_t *ids = NULL;
        size_t n = 0;
        CHECK(tokenizer_encode(t, bad[i], strlen(bad[i]), &ids, &n, &st) == STATUS_INVALID);
        CHECK(ids == NULL && n == 0);
        CHECK_CONTAINS(st.message, "byte 2");
    }
    tokenizer_close(t);
}

static void shows_tokens_and_decodes_runs_of_bytes(void)
{
    struct tokenizer *t = open_hand_made();
    REQUIRE(t != NULL);
    static const struct {
        int32_t id;
        const char *shown;
    } shown[] = {
        {BOS, "<bos>"},  {SPACE_A, " a"},      {BYTES + '\n', "\n"}, {BYTES + 0xC3, "\xEF\xBF\xBD"},
        {LINES, "\n\n"}, {N_HAND, "<id:277>"}, {-1, "<id:-1>"},      {BYTES + '\t', "\t"}};
    CHECK(N_HAND == 277);
    for (size_t i = 0; i < sizeof shown / sizeof shown[0]; i++) {
        struct text out = {0};
        tokenizer_token(t, shown[i].id, &out);
        CHECK_STRING(out.data, shown[i].shown);
        text_free(&out);
    }
    const int32_t ids[] = {BOS, SPACE_A,      BYTES + 0xC3, BYTES + 0xA9, BYTES + 0xC3,
                           A,   BYTES + 0xFF, TURN,         N_HAND,       BREAK};
    for (int skip = 0; skip < 2; skip++) {
        struct status st = {0};
        struct text out = {0};
        REQUIRE_OK(tokenizer_decode(t, ids, sizeof ids / sizeof ids[0], skip, &out, &st), st);
        CHECK_STRING(out.data, skip ? " a\xC3\xA9\xEF\xBF\xBD"
                                      "a\xEF\xBF\xBD<br>"
                                    : "<bos> a\xC3\xA9\xEF\xBF\xBD"
                                      "a\xEF\xBF\xBD<start_of_turn><br>");
        text_free(&out);
    }
    tokenizer_close(t);
}

static void refuses_models_it_would_read_differently(void)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    struct text model = {0};
    hand_made(&model);
    size_t pieces = model.length;
    CHECK(tokenizer_parse_model(&t, model.data, model.length, "m", &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "model_type"); /* the default is Unigram */
    proto_specs(&model, 2, 1);
    CHECK(tokenizer_parse_model(&t, model.data, model.length, "m", &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "add_dummy_prefix");
    model.length = pieces;
    proto_specs(&model, 1, 0);
    CHECK(tokenizer_parse_model(&t, model.data, model.length, "m", &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "model_type");
    model.length = pieces;
    proto_specs(&model, 2, 0);
    text_append(&model, "\x1A\x03\x12\x01x", 5);
    CHECK(tokenizer_parse_model(&t, model.data, model.length, "m", &st) == STATUS_UNSUPPORTED);
    CHECK_CONTAINS(st.message, "precompiled_charsmap");
    CHECK(t == NULL);

    static const struct {
        const char *piece;
        int type;
        const char *message;
    } bad[] = {{"abc", NORMAL, "the same piece"},
               {"", NORMAL, "1 to 1024 bytes"},
               {"\xFF", NORMAL, "of UTF-8"},
               {"q", 7, "a type from 1 to 6"},
               {"<u>", UNKNOWN, "found 3 and 277"}};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        model.length = pieces;
        proto_piece(&model, bad[i].piece, -1.0F, bad[i].type);
        proto_specs(&model, 2, 0);
        CHECK(tokenizer_parse_model(&t, model.data, model.length, "m", &st) == STATUS_CORRUPT);
        CHECK_CONTAINS(st.message, bad[i].message);
        CHECK(t == NULL);
    }
    text_free(&model);
}

static int parse_model(struct tokenizer **t, const char *bytes, size_t n, struct status *st)
{
    return tokenizer_parse_model(t, bytes, n, "t.model", st);
}

static void survives_every_cut_and_changed_byte_of_a_model(void)
{
    struct text model = {0};
    static const char *const normal[] = {"a",
                                         "b",
                                         "ab",
                                         "aba",
                                         "\xE2\x96\x81",
                                         ("\xE2\x96\x81"
                                          "a")};
    proto_specs(&model, 2, 0);
    proto_piece(&model, "<unk>", 0.0F, UNKNOWN);
    proto_piece(&model, "<a>", 0.0F, USER_DEFINED);
    proto_piece(&model, "<0xC3>", 0.0F, BYTE);
    for (size_t i = 0; i < sizeof normal / sizeof normal[0]; i++) {
        proto_piece(&model, normal[i], -(float)i, NORMAL);
    }
    damage(parse_model, &model, false); /* a model may end behind any piece */
    text_free(&model);
}

static const struct test tests[] = {
    TEST(merges_by_score_then_by_position_and_leaves_added_pieces_alone),
    TEST(refuses_text_that_is_not_utf8),
    TEST(shows_tokens_and_decodes_runs_of_bytes),
    TEST(refuses_models_it_would_read_differently),
    TEST(survives_every_cut_and_changed_byte_of_a_model),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
