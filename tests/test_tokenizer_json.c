#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/gemma/tokenizer.h"
#include "tests/test.h"
#include "tests/tokenizer_check.h"

#define DECODER                                                                            \
    "\"decoder\":{\"type\":\"Sequence\",\"decoders\":[{\"type\":\"Replace\",\"pattern\":{" \
    "\"String\":"                                                                          \
    "\"\xE2\x96\x81\"},\"content\":\" \"},{\"type\":\"ByteFallback\"},{\"type\":\"Fuse\"}]}"
#define NORMALIZER \
    "\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"String\":\" \"},\"content\":\"\\u2581\"}"
#define VOCAB                                                                                  \
    "\"vocab\":{\"<unk>\":0,\"a\":1,\"b\":2,\"ab\":3,\"\xE2\x96\x81\":4,\"\\ud83d\\ude42\":5," \
    "\"aba\":6,\"ba\":7}"
#define MERGES "\"merges\":[\"a b\",[\"b\",\"a\"],\"ab a\",[\"a\",\"ba\"]]"
#define MODEL(options) "\"model\":{\"type\":\"BPE\"," options VOCAB "," MERGES "}"
#define DOCUMENT(added, options)                \
    "{\"added_tokens\":[" added "]," NORMALIZER \
    ",\"pre_tokenizer\":null," MODEL(options) "," DECODER "}"

static struct tokenizer *parse(const char *json)
{
    struct status st = {0};
    struct tokenizer *t = NULL;
    if (tokenizer_parse_json(&t, json, strlen(json), "t.json", &st)) {
        printf("    %s\n", st.message);
    }
    return t;
}

static void reads_both_spellings_of_merges_and_options_of_unk(void)
{
    struct tokenizer *t = parse(DOCUMENT("", "\"unk_token\":\"<unk>\",\"fuse_unk\":true,"));
    REQUIRE(t != NULL);
    CHECK_IDS(t, "aba", "6");
    CHECK_IDS(t, "a \xF0\x9F\x99\x82", "1 4 5");
    CHECK_IDS(t, "axyb", "1 0 2");
    CHECK_IDS(t, "x x", "0 4 0");
    tokenizer_close(t);

    t = parse(DOCUMENT("", "\"unk_token\":\"<unk>\",\"dropout\":null,"));
    REQUIRE(t != NULL);
    CHECK_IDS(t, "axyb", "1 0 0 2");
    tokenizer_close(t);

    t = parse(DOCUMENT("", "\"unk_token\":null,\"byte_fallback\":true,"));
    REQUIRE(t != NULL);
    CHECK_IDS(t, "axb", "3"); /* neither piece, bytes nor unk: left out before merging */
    tokenizer_close(t);

    t = parse("{" MODEL("\"ignore_merges\":true,") "," DECODER "}");
    REQUIRE(t != NULL);
    CHECK_IDS(t, "<unk>", "0");
    CHECK_IDS(t, "<unk>a", "1");
    CHECK_IDS(t, "a b", "3"); /* no normalizer: a space has no piece here */
    tokenizer_close(t);

    t = parse("{\"model\":{" MERGES "," VOCAB ",\"type\":\"BPE\"}," DECODER
              ",\"extra\":[1.5e3,{}]}");
    REQUIRE(t != NULL);
    CHECK_IDS(t, "aba", "6"); /* merges before the vocabulary */
    tokenizer_close(t);
}

#define ADDED(id, content, options) "{\"id\":" id ",\"content\":\"" content "\"" options "}"

static void matches_added_tokens_leftmost_longest(void)
{
    struct tokenizer *t = parse(DOCUMENT(
        ADDED("8", "<a>", ",\"special\":true,\"normalized\":false") "," ADDED("9", "<a><", "") "," ADDED(
            "10", "<l>",
            ",\"lstrip\":true") "," ADDED("11", "<r>",
                                          ",\"rstrip\":true") "," ADDED("20", "b a",
                                                                        ",\"normalized\":"
                                                                        "true") "," ADDED("2", "b",
                                                                                          ""),
        ""));
    REQUIRE(t != NULL);
    CHECK(tokenizer_size(t) == 21);
    CHECK_IDS(t, "<a>", "8");
    CHECK_IDS(t, "<a><a>", "9 1"); /* the longest, and no second look inside it */
    CHECK_IDS(t, "a<a>a", "1 8 1");
    CHECK_IDS(t, "a  <l> a", "1 10 4 1");
    CHECK_IDS(t, "a\xC2\xA0\t<l>", "1 10");
    CHECK_IDS(t, " <r>\n \xE3\x80\x80 a", "4 11 1");
    CHECK_IDS(t, "aba", "1 2 1"); /* b is an added token now: no merge reaches over it */
    CHECK(tokenizer_is_special(t, 8) && !tokenizer_is_special(t, 9));
    CHECK(tokenizer_find(t, "<a><") == 9 && tokenizer_find(t, "<a>") == 8);
    struct text out = {0};
    tokenizer_token(t, 15, &out);
    CHECK_STRING(out.data, "<id:15>"); /* no piece has this id */
    text_free(&out);
    tokenizer_close(t);

    t = parse(DOCUMENT(ADDED("20", "b a", ",\"normalized\":true"), ""));
    REQUIRE(t != NULL);
    CHECK_IDS(t, "ab aa", "1 20 1");
    CHECK_IDS(t,
              "b\xE2\x96\x81"
              "a",
              "20"); /* matched after spaces became U+2581 */
    CHECK_IDS(t, "b  a", "2 4 4 1");
    tokenizer_close(t);
}

static void names_what_it_does_not_accept_in_json(void)
{
    static const struct {
        const char *json, *message;
        enum status_code code;
    } bad[] = {
        {"", "an object, found the end", STATUS_CORRUPT},
        {"[]", "expected an object, found '['", STATUS_CORRUPT},
        {"{}", "\"model\"", STATUS_CORRUPT},
        {"{} x", "the end of the file, found 'x'", STATUS_CORRUPT},
        {"{\"model\":{\"type\":\"Unigram\"}}", "\"Unigram\" is not supported", STATUS_UNSUPPORTED},
        {"{\"model\":{\"type\":\"BPE\"}}", "found no model.vocab", STATUS_CORRUPT},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{}}}", "found no model.merges", STATUS_CORRUPT},
        {"{\"model\":{\"type\":\"BPE\",\"vocab\":{},\"merges\":[]}}", "decoder",
         STATUS_UNSUPPORTED},
        {"{\"model\":{\"vocab\":{\"a\":1,\"b\":1}}}", "id 1 is given to two", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1,\"a\":2}}}", "the same piece \"a\"", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":-1}}}", "a whole number, found '-'", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1.5}}}", "a whole number", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":01}}}", "a whole number", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":99999999}}}", "found 99999999", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":9999999999999999}}}", "a whole number", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"\xFF\":1}}}", "valid UTF-8", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"\\ud800\":1}}}", "surrogate", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"\\u12x4\":1}}}", "hexadecimal", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"\\x\":1}}}", "an escape of JSON", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\nb\":1}}}", "the rest of a string, found 0x0A",
         STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"ab\"]}}", "one space", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"a a a\"]}}", "one space", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"a a\"]}}", "gives \"aa\"", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[\"a b\"]}}", "names \"b\"", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1},\"merges\":[[\"a\"]]}}", "a string", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{\"a\":1,\"aa\":2},\"merges\":[[\"a\",\"a\",\"a\"]]}}",
         "two pieces", STATUS_CORRUPT},
        {"{\"model\":{\"vocab\":{},\"vocab\":{}}}", "twice", STATUS_CORRUPT},
        {"{\"model\":{\"merges\":[],\"merges\":[]}}", "twice", STATUS_CORRUPT},
        {"{\"normalizer\":{\"type\":\"NFKC\"}}", "the normalizer \"NFKC\"", STATUS_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\"}]}}",
         "the normalizer \"Prepend\"", STATUS_UNSUPPORTED},
        {"{\"normalizer\":{\"type\":\"Replace\",\"pattern\":{\"Regex\":\" \"},\"content\":\"_\"}}",
         "Replace", STATUS_UNSUPPORTED},
        {"{\"pre_tokenizer\":{\"type\":\"ByteLevel\"}}", "the pre_tokenizer \"ByteLevel\"",
         STATUS_UNSUPPORTED},
        {"{\"decoder\":{\"type\":\"Strip\"}}", "the decoder \"Strip\"", STATUS_UNSUPPORTED},
        {"{\"model\":{\"dropout\":0.1}}", "model.dropout \"0.1\"", STATUS_UNSUPPORTED},
        {"{\"model\":{\"end_of_word_suffix\":\"</w>\"}}", "end_of_word_suffix", STATUS_UNSUPPORTED},
        {"{\"model\":{\"fuse_unk\":1}}", "true or false", STATUS_CORRUPT},
        {"{\"x\":tru}", "a value", STATUS_CORRUPT},
        {"{\"x\":1.}", "a value", STATUS_CORRUPT},
        {"{\"x\" 1}", "':'", STATUS_CORRUPT},
        {"{\"x\":1 \"y\":2}", "',' or '}'", STATUS_CORRUPT},
        {"{\"x\":[1,]}", "a value, found ']'", STATUS_CORRUPT},
        {"{" MODEL("\"unk_token\":\"?!\",") "}", "unk_token \"?!\"", STATUS_CORRUPT},
        {"{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{\"String\":\" \"}}," MODEL(
             "") "," DECODER "}",
         "splits on spaces", STATUS_UNSUPPORTED},
        {DOCUMENT(ADDED("8", "<a>", ",\"single_word\":true"), ""), "single_word",
         STATUS_UNSUPPORTED},
        {DOCUMENT(ADDED("8", "<a>", ",\"normalized\":true,\"lstrip\":true"), ""), "lstrip",
         STATUS_UNSUPPORTED},
        {DOCUMENT(ADDED("8", "b", ""), ""), "has id 2 in the vocabulary and 8", STATUS_CORRUPT},
        {DOCUMENT(ADDED("2", "<a>", ""), ""), "id 2 is given to two", STATUS_CORRUPT},
        {DOCUMENT("{\"id\":9}", ""), "an id and a content", STATUS_CORRUPT},
        {DOCUMENT("{\"content\":\"x\"}", ""), "an id and a content", STATUS_CORRUPT},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct status st = {0};
        struct tokenizer *t = NULL;
        enum status_code code = (enum status_code)tokenizer_parse_json(
            &t, bad[i].json, strlen(bad[i].json), "t.json", &st);
        CHECK(t == NULL);
        CHECK_CONTAINS(st.message, bad[i].message);
        CHECK_CONTAINS(st.message, "t.json");
        if (code != bad[i].code) {
            printf("    %s\n", bad[i].json);
        }
        CHECK(code == bad[i].code);
        tokenizer_close(t);
    }
    struct text deep = {0};
    struct status st = {0};
    struct tokenizer *t = NULL;
    text_string(&deep, "{\"x\":");
    for (int i = 0; i < 100000; i++) {
        text_char(&deep, '[');
    }
    CHECK(tokenizer_parse_json(&t, deep.data, deep.length, "t.json", &st) == STATUS_CORRUPT);
    CHECK_CONTAINS(st.message, "nested deeper than 64");
    text_free(&deep);
}

static int parse_json(struct tokenizer **t, const char *bytes, size_t n, struct status *st)
{
    return tokenizer_parse_json(t, bytes, n, "t.json", st);
}

static void survives_every_cut_and_changed_byte_of_a_json(void)
{
    struct text json = {0};
    text_string(&json, DOCUMENT(ADDED("8", "<a>", ",\"special\":true") "," ADDED(
                                    "9", "b a", ",\"normalized\":true"),
                                "\"unk_token\":\"<unk>\","));
    damage(parse_json, &json, true);
    text_free(&json);
}

static const struct test tests[] = {
    TEST(reads_both_spellings_of_merges_and_options_of_unk),
    TEST(matches_added_tokens_leftmost_longest),
    TEST(names_what_it_does_not_accept_in_json),
    TEST(survives_every_cut_and_changed_byte_of_a_json),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
