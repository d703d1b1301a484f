#include "core/dashboard/label.h"

struct writer {
    struct text *out;
    void (*token_text)(void *user, int32_t id, struct text *out);
    void *user;
};

static void write_quoted(struct writer *w, int32_t id)
{
    struct text token = {0};
    w->token_text(w->user, id, &token);
    text_char(w->out, '"');
    for (size_t i = 0; i < token.length; i++) {
        char c = token.data[i];
        if (c == '"' || c == '\\') {
            text_printf(w->out, "\\%c", c);
        } else if (c == '\n' || c == '\t' || c == '\r') {
            text_printf(w->out, "\\%c", c == '\n' ? 'n' : c == '\t' ? 't' : 'r');
        } else if ((unsigned char)c < 0x20 || c == 0x7F) {
            text_printf(w->out, "\\x%02x", (unsigned)(unsigned char)c);
        } else {
            text_char(w->out, c);
        }
    }
    text_char(w->out, '"');
    w->out->failed = w->out->failed || token.failed;
    text_free(&token);
}

static void write_list(struct writer *w, const int32_t *ids, size_t n)
{
    for (size_t i = 0; i < n && i < LABEL_TOKENS; i++) {
        if (i) {
            text_string(w->out, ", ");
        }
        write_quoted(w, ids[i]);
    }
}

/* The different ids with how often each occurs, most frequent first; among equals the order of
 * first occurrence, which is that of the values. Returns how many. */
static size_t rank(const int32_t *ids, size_t n, int32_t ranked[LABEL_FIRED])
{
    size_t times[LABEL_FIRED];
    size_t different = 0;
    for (size_t i = 0; i < n; i++) {
        size_t at = 0;
        while (at < different && ranked[at] != ids[i]) {
            at++;
        }
        times[at] = at < different ? times[at] + 1 : 1;
        ranked[at] = ids[i];
        different += at == different;
    }
    for (size_t i = 1; i < different; i++) { /* by insertion, which leaves equals in order */
        size_t seen = times[i];
        int32_t id = ranked[i];
        size_t at = i;
        for (; at > 0 && times[at - 1] < seen; at--) {
            times[at] = times[at - 1];
            ranked[at] = ranked[at - 1];
        }
        times[at] = seen;
        ranked[at] = id;
    }
    return different;
}

void label_write(struct text *out, const int32_t *fired, size_t n_fired, const int32_t *promoted,
                 size_t n_promoted, void (*token_text)(void *user, int32_t id, struct text *out),
                 void *user)
{
    int32_t ranked[LABEL_FIRED];
    struct writer w = {out, token_text, user};
    if (n_fired == 0) {
        return;
    }
    size_t n = n_fired < LABEL_FIRED ? n_fired : LABEL_FIRED;
    write_list(&w, ranked, rank(fired, n, ranked));
    if (n_promoted) {
        text_string(out, " -> ");
        write_list(&w, promoted, n_promoted);
    }
}
