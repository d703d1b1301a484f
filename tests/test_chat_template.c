#include "core/gemma/chat_template.h"
#include "tests/test.h"

static void renders(int family, const struct chat_message *messages, size_t n, bool prompt,
                    const char *expected)
{
    struct text out = {0};
    struct chat_span spans[CHAT_SPANS(8)];
    size_t n_spans = 0;
    struct status st = {0};
    REQUIRE_OK(chat_template_render(family, messages, n, prompt, &out, spans, &n_spans, &st), st);
    CHECK_STRING(out.data, expected);
    size_t at = 0;
    for (size_t i = 0; i < n_spans; i++) {
        CHECK(spans[i].begin == at && spans[i].end > at);
        at = spans[i].end;
    }
    CHECK(at == out.length);
    CHECK(spans[0].section == CHAT_BOS && spans[0].message == n);
    text_free(&out);
}

static void refuses(int family, const struct chat_message *messages, size_t n, const char *part)
{
    struct text out = {0};
    struct status st = {0};
    CHECK(chat_template_render(family, messages, n, true, &out, NULL, NULL, &st) == STATUS_INVALID);
    CHECK_CONTAINS(st.message, part);
    CHECK(out.length == 0);
    text_free(&out);
}

static void both_families_write_turns(void)
{
    const struct chat_message messages[] = {
        {"user", "  Who wrote Genesis?\n"}, {"assistant", "Moses."}, {"user", "Sure?"}};
    for (int family = 2; family <= 3; family++) {
        renders(family, messages, 3, true,
                "<bos><start_of_turn>user\nWho wrote Genesis?<end_of_turn>\n"
                "<start_of_turn>model\nMoses.<end_of_turn>\n"
                "<start_of_turn>user\nSure?<end_of_turn>\n<start_of_turn>model\n");
        renders(family, messages, 2, false,
                "<bos><start_of_turn>user\nWho wrote Genesis?<end_of_turn>\n"
                "<start_of_turn>model\nMoses.<end_of_turn>\n");
    }
    renders(2, (const struct chat_message[]){{"user", " \n\t"}, {"model", ""}}, 2, false,
            "<bos><start_of_turn>user\n<end_of_turn>\n<start_of_turn>model\n<end_of_turn>\n");
}

static void gemma_3_puts_the_system_message_into_the_first_turn(void)
{
    const struct chat_message messages[] = {
        {"system", " Be short. "}, {"user", " Hi "}, {"model", "Hello"}};
    renders(3, messages, 3, false,
            "<bos><start_of_turn>user\nBe short.\n\nHi<end_of_turn>\n"
            "<start_of_turn>model\nHello<end_of_turn>\n");
    struct text out = {0};
    struct chat_span spans[CHAT_SPANS(3)];
    size_t n = 0;
    struct status st;
    REQUIRE_OK(chat_template_render(3, messages, 2, true, &out, spans, &n, &st), st);
    static const struct chat_span expected[] = {
        {0, 5, 2, CHAT_BOS},       {5, 25, 1, CHAT_HEADER},   {25, 34, 0, CHAT_CONTENT},
        {34, 36, 0, CHAT_CONTENT}, {36, 38, 1, CHAT_CONTENT}, {38, 52, 1, CHAT_END},
        {52, 73, 2, CHAT_PROMPT}};
    REQUIRE(n == TEST_COUNT(expected));
    for (size_t i = 0; i < n; i++) {
        CHECK(spans[i].begin == expected[i].begin && spans[i].end == expected[i].end);
        CHECK(spans[i].message == expected[i].message && spans[i].section == expected[i].section);
    }
    text_free(&out);
    CHECK_STRING(chat_template_section(CHAT_PROMPT), "generation_prompt");
    CHECK_STRING(chat_template_section(CHAT_BOS), "bos");
}

static void gemma_2_refuses_a_system_message(void)
{
    const struct chat_message messages[] = {{"system", "Be short."}, {"user", "Hi"}};
    refuses(2, messages, 2, "messages[0].role: System role not supported");
    const struct chat_message developer[] = {{"developer", "Be short."}, {"user", "Hi"}};
    refuses(2, developer, 2, "System role not supported");
}

static void roles_must_be_known_and_alternate(void)
{
    for (int family = 2; family <= 3; family++) {
        refuses(family, NULL, 0, "messages: expected at least one");
        refuses(family, (const struct chat_message[]){{"model", "Hi"}}, 1,
                "messages[0].role: Conversation roles must alternate");
        refuses(family, (const struct chat_message[]){{"user", "a"}, {"user", "b"}}, 2,
                "messages[1].role");
        refuses(family, (const struct chat_message[]){{"user", "a"}, {"tool", "b"}}, 2,
                "found \"tool\"");
        refuses(family, (const struct chat_message[]){{"user", "a"}, {"system", "b"}}, 2,
                "messages[1].role");
    }
    refuses(3, (const struct chat_message[]){{"system", "a"}}, 1, "messages[1]");
    refuses(3, (const struct chat_message[]){{"system", "a"}, {"model", "b"}}, 2,
            "messages[1].role: Conversation roles must alternate");
}

static void the_reply_ends_at_the_first_mark(void)
{
    static const struct {
        const char *text, *reply;
    } cases[] = {{" Hello. \n<end_of_turn>\nmore", "Hello."},
                 {"Hello", "Hello"},
                 {"", ""},
                 {"<end_of_turn>", ""},
                 {"a<start_of_turn>b<end_of_turn>", "a"},
                 {"a b<eos>", "a b"}};
    for (size_t i = 0; i < TEST_COUNT(cases); i++) {
        size_t begin;
        size_t n = chat_template_reply(cases[i].text, strlen(cases[i].text), &begin);
        CHECK(n == strlen(cases[i].reply));
        CHECK(memcmp(cases[i].text + begin, cases[i].reply, n) == 0);
    }
}

static const struct test tests[] = {
    TEST(both_families_write_turns),
    TEST(gemma_3_puts_the_system_message_into_the_first_turn),
    TEST(gemma_2_refuses_a_system_message),
    TEST(roles_must_be_known_and_alternate),
    TEST(the_reply_ends_at_the_first_mark),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
