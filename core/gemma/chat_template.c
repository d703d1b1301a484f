#include "core/gemma/chat_template.h"

#include <string.h>

/* What Jinja's trim takes away at either end. */
static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static void trim(const char **s, size_t *n)
{
    while (*n > 0 && is_blank(**s)) {
        (*s)++;
        (*n)--;
    }
    while (*n > 0 && is_blank((*s)[*n - 1])) {
        (*n)--;
    }
}

static bool is_system(const char *role)
{
    return strcmp(role, "system") == 0 || strcmp(role, "developer") == 0;
}

/* "user" or "model"; NULL for another role. */
static const char *role_of(const char *role)
{
    if (strcmp(role, "assistant") == 0 || strcmp(role, "model") == 0) {
        return "model";
    }
    return strcmp(role, "user") == 0 ? "user" : NULL;
}

static int check(int family, const struct chat_message *messages, size_t n, struct status *st)
{
    if (n == 0) {
        return status_set(st, STATUS_INVALID, "messages: expected at least one message");
    }
    size_t first = 0;
    if (is_system(messages[0].role)) {
        if (family == 2) {
            return status_set(st, STATUS_INVALID,
                              "messages[0].role: System role not supported by Gemma 2; put the "
                              "instructions into the first user message");
        }
        first = 1;
    }
    for (size_t i = first; i < n; i++) {
        const char *role = role_of(messages[i].role);
        const char *expected = (i - first) % 2 == 0 ? "user" : "model";
        if (!role && !is_system(messages[i].role)) {
            return status_set(st, STATUS_INVALID,
                              "messages[%zu].role: expected user, assistant%s, found \"%.40s\"", i,
                              family == 2 ? "" : " or system", messages[i].role);
        }
        if (!role || strcmp(role, expected) != 0) {
            return status_set(st, STATUS_INVALID,
                              "messages[%zu].role: Conversation roles must alternate "
                              "user/assistant/user/assistant/...: expected %s, found %.40s",
                              i, strcmp(expected, "model") == 0 ? "assistant" : expected,
                              messages[i].role);
        }
    }
    if (first == n) {
        return status_set(st, STATUS_INVALID,
                          "messages[1]: expected a user message behind the system message");
    }
    return STATUS_OK;
}

struct writer {
    struct text *out;
    size_t start; /* of the text, in out */
    struct chat_span *spans;
    size_t n_spans;
};

/* What was appended since the last span. */
static void close_span(struct writer *w, size_t message, enum chat_section section)
{
    size_t end = w->out->length - w->start;
    size_t begin = w->n_spans && w->spans ? w->spans[w->n_spans - 1].end : 0;
    if (w->spans && end > begin) {
        w->spans[w->n_spans++] =
            (struct chat_span){.begin = begin, .end = end, .message = message, .section = section};
    }
}

static void write_content(struct writer *w, const char *content, size_t message)
{
    size_t n = strlen(content);
    trim(&content, &n);
    text_append(w->out, content, n);
    close_span(w, message, CHAT_CONTENT);
}

int chat_template_render(int family, const struct chat_message *messages, size_t n,
                         bool add_generation_prompt, struct text *out, struct chat_span *spans,
                         size_t *n_spans, struct status *st)
{
    int code = check(family, messages, n, st);
    if (code) {
        return code;
    }
    struct writer w = {.out = out, .start = out->length, .spans = spans};
    text_string(out, "<bos>");
    close_span(&w, n, CHAT_BOS);
    size_t first = is_system(messages[0].role) ? 1 : 0;
    for (size_t i = first; i < n; i++) {
        text_printf(out, "<start_of_turn>%s\n", role_of(messages[i].role));
        close_span(&w, i, CHAT_HEADER);
        if (i == 1 && first == 1) {
            write_content(&w, messages[0].content, 0);
            text_string(out, "\n\n");
            close_span(&w, 0, CHAT_CONTENT);
        }
        write_content(&w, messages[i].content, i);
        text_string(out, "<end_of_turn>\n");
        close_span(&w, i, CHAT_END);
    }
    if (add_generation_prompt) {
        text_string(out, "<start_of_turn>model\n");
        close_span(&w, n, CHAT_PROMPT);
    }
    if (n_spans) {
        *n_spans = w.n_spans;
    }
    return out->failed ? status_no_memory(st, out->length) : STATUS_OK;
}

const char *chat_template_section(enum chat_section section)
{
    static const char *const names[] = {"bos", "header", "content", "end", "generation_prompt"};
    return names[section];
}

size_t chat_template_reply(const char *text, size_t n, size_t *begin)
{
    static const char *const marks[] = {"<end_of_turn>", "<start_of_turn>", "<eos>"};
    size_t end = n;
    for (size_t i = 0; i < sizeof marks / sizeof marks[0]; i++) {
        const char *mark = memmem(text, end, marks[i], strlen(marks[i]));
        end = mark ? (size_t)(mark - text) : end;
    }
    const char *s = text;
    trim(&s, &end);
    *begin = (size_t)(s - text);
    return end;
}
