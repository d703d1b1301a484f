/* One check: what every kind has (prompt, edits, source), and what the kinds are made with. */
#include "core/base/memory.h"
#include "server/command/golden_private.h"
#include "server/v1/hooks.h"

#include <string.h>

int check_corrupt(const struct run *run, const struct check *c, const char *field,
                  const char *expected, struct status *st)
{
    return status_set(st, STATUS_CORRUPT, "%s: check \"%.100s\": %s: expected %s",
                      run->golden->path, c->name, field, expected);
}

void check_report(const struct run *run, const struct check *c, const char *part,
                  struct comparison *found)
{
    struct text what = {0};
    text_printf(&what, "%s%s%s", c->name, part ? ": " : "", part ? part : "");
    const char *none = "";
    const struct golden_line line = {.outcome = found->n_wrong ? GOLDEN_FAILED : GOLDEN_OK,
                                     .what = what.data ? what.data : c->name,
                                     .item = found->item.data ? found->item.data : none,
                                     .expected = found->expected.data ? found->expected.data : none,
                                     .found = found->found.data ? found->found.data : none,
                                     .tolerance =
                                         found->tolerance.data ? found->tolerance.data : none,
                                     .reason = none,
                                     .n = found->n,
                                     .n_wrong = found->n_wrong};
    run->report(run->user, &line);
    text_free(&what);
    comparison_free(found);
}

/* "tolerance": {"logit": [absolute, relative]} of the check, else of the file, else nothing off. */
struct tolerance check_tolerance(const struct run *run, const struct check *c, const char *of)
{
    const cJSON *own = json_get(json_get(c->json, "tolerance"), of);
    const cJSON *pair = own ? own : json_get(json_get(run->golden->root, "tolerance"), of);
    const cJSON *absolute = cJSON_GetArrayItem(pair, 0);
    const cJSON *relative = cJSON_GetArrayItem(pair, 1);
    return (struct tolerance){cJSON_IsNumber(absolute) ? absolute->valuedouble : 0.0,
                              cJSON_IsNumber(relative) ? relative->valuedouble : 0.0};
}

/* --- fields ----------------------------------------------------------------------------------- */

const cJSON *check_list(const struct run *run, const struct check *c, const cJSON *of,
                        const char *field, struct status *st)
{
    const cJSON *list = json_get(of, field);
    if (!cJSON_IsArray(list) || !list->child) {
        check_corrupt(run, c, field, "a list that is not empty", st);
        return NULL;
    }
    return list;
}

/* Lines of a name or an index and `low` to `high` numbers. */
int check_table(const struct run *run, const struct check *c, const cJSON *table, int low, int high,
                struct status *st)
{
    const cJSON *line;
    if (!cJSON_IsArray(table) || !table->child) {
        return check_corrupt(run, c, "top", "a list that is not empty", st);
    }
    cJSON_ArrayForEach(line, table)
    {
        int n = cJSON_GetArraySize(line) - 1;
        bool good =
            n >= low && n <= high && (cJSON_IsString(line->child) || cJSON_IsNumber(line->child));
        for (const cJSON *v = good ? line->child->next : NULL; v; v = v->next) {
            good = good && cJSON_IsNumber(v);
        }
        if (!good) {
            return check_corrupt(run, c, "top",
                                 high == 2 ? "lines [token, logit, probability] or [token, "
                                             "probability]"
                                           : "lines [token or index, value]",
                                 st);
        }
    }
    return STATUS_OK;
}

int check_position(const struct run *run, const struct check *c, const cJSON *of, int32_t *position,
                   struct status *st)
{
    const cJSON *value = json_get(of, "position");
    long long n = (long long)c->prompt.n_ids;
    long long at = -1;
    if (value && !json_integer(value, -n, n - 1, &at)) {
        return check_corrupt(run, c, "position", "a position of the prompt, -1 for its last", st);
    }
    *position = (int32_t)(at < 0 ? at + n : at);
    return STATUS_OK;
}

int check_point(const struct run *run, const struct check *c, const char *name, enum point *point,
                int *layer, struct status *st)
{
    int code = hooks_find(name ? name : "", engine_config(run->app.engine), point, layer, st);
    return code ? status_prefix(st, "%s: check \"%.100s\"", run->golden->path, c->name) : STATUS_OK;
}

/* One more read of one row; room for it was made by reads_make. */
int check_add_point(const struct run *run, struct check *c, const char *name, int32_t position,
                    struct status *st)
{
    struct engine_read *r = &c->reads[c->n_reads];
    int32_t *row = &c->rows[c->n_reads];
    int code = check_point(run, c, name, &r->point, &r->layer, st);
    if (code) {
        return code;
    }
    *row = position;
    r->kind = READ_POINT;
    r->positions = row;
    r->n_positions = 1;
    c->n_reads++;
    return STATUS_OK;
}

int check_make_reads(struct check *c, size_t n, struct status *st)
{
    c->reads = memory_zalloc(n, sizeof *c->reads);
    c->rows = memory_zalloc(n, sizeof *c->rows);
    return c->reads && c->rows ? STATUS_OK : status_no_memory(st, n * sizeof *c->reads);
}

/* --- opening ---------------------------------------------------------------------------------- */

static int read_prompt(struct check *c, const struct run *run, struct status *st)
{
    const cJSON *prompt = json_get(c->json, "prompt");
    const char *text = cJSON_GetStringValue(prompt);
    size_t V = engine_config(run->app.engine)->vocab_size;
    if (text && !engine_has_tokenizer(run->app.engine)) {
        text_string(&c->skipped, "the model's folder has no tokenizer.json and no tokenizer.model");
        return STATUS_OK;
    }
    if (text) {
        return prompts_tokenize(&run->app, text, true, c->name, &c->prompt.ids, &c->prompt.n_ids,
                                st);
    }
    size_t n = cJSON_IsArray(prompt) ? (size_t)cJSON_GetArraySize(prompt) : 0;
    c->prompt.ids = memory_alloc(n, sizeof *c->prompt.ids);
    if (!c->prompt.ids) {
        return status_no_memory(st, n * sizeof *c->prompt.ids);
    }
    const cJSON *item = n ? prompt->child : NULL;
    for (; item; item = item->next) {
        long long id;
        if (!json_integer(item, 0, (long long)V - 1, &id)) {
            break;
        }
        c->prompt.ids[c->prompt.n_ids++] = (int32_t)id;
    }
    return n == 0 || item ? check_corrupt(run, c, "prompt", "a text or a list of token ids", st)
                          : STATUS_OK;
}

/* The SAE of that name and, because a bare name goes to whatever L0 is on disk, of that L0. */
static const struct sae_source *find_source(const struct run *run, const char *name, const char *l0)
{
    const struct catalogue *all = engine_catalogue(run->app.engine);
    size_t n = strlen(name);
    for (size_t i = 0; i < all->n_sources; i++) {
        const struct sae_source *s = &all->sources[i];
        bool named = strncmp(s->name, name, n) == 0 &&
                     (s->name[n] == '\0' || strncmp(s->name + n, "__", 2) == 0);
        if (named && (!l0 || strcmp(s->l0, l0) == 0)) {
            return s;
        }
    }
    return NULL;
}

/* A file names one SAE a check; what is missing is said, with its download. */
static void read_source(struct check *c, const struct run *run)
{
    const char *name = cJSON_GetStringValue(json_get(c->json, "source"));
    const char *l0 = cJSON_GetStringValue(json_get(c->json, "l0"));
    if (!name) {
        return;
    }
    c->source = find_source(run, name, l0);
    const char *download =
        cJSON_GetStringValue(json_get(json_get(run->golden->root, "downloads"), name));
    if (!c->source) {
        const struct sae_source *other = find_source(run, name, NULL);
        text_printf(&c->skipped, "%s%s%s is not under --saes", name, l0 ? " of L0 " : "",
                    l0 ? l0 : "");
        if (other) {
            text_printf(&c->skipped, " (there is one of L0 %s)", other->l0);
        }
        if (download) {
            text_printf(&c->skipped, "; hf download %s", download);
        }
        return;
    }
    cJSON *edit; /* edits mean the same one */
    cJSON_ArrayForEach(edit, cJSON_GetObjectItemCaseSensitive(c->json, "edits"))
    {
        const char *of = cJSON_GetStringValue(json_get(edit, "source"));
        if (of && strcmp(of, name) == 0) {
            cJSON_ReplaceItemInObjectCaseSensitive(edit, "source",
                                                   cJSON_CreateString(c->source->name));
        }
    }
}

static int read_edits(struct check *c, const struct run *run, struct status *st)
{
    struct fields f = {.body = c->json};
    edit_list_read(&c->edits, &run->app, &f, &c->prompt, c->prompt.n_ids);
    if (f.st.code) {
        return status_set(st, STATUS_CORRUPT, "%s: check \"%.100s\": %s", run->golden->path,
                          c->name, f.st.message);
    }
    return STATUS_OK;
}

int check_open(struct check *c, const struct run *run, const cJSON *json, struct status *st)
{
    const char *name = cJSON_GetStringValue(json_get(json, "name"));
    const char *kind = cJSON_GetStringValue(json_get(json, "kind"));
    *c = (struct check){.name = name ? name : "without a name"};
    if (!name) {
        return check_corrupt(run, c, "name", "a string", st);
    }
    c->kind = golden_points_kind(kind ? kind : "");
    c->kind = c->kind ? c->kind : golden_features_kind(kind ? kind : "");
    if (!c->kind) {
        return check_corrupt(
            run, c, "kind", "tokens, next, lens, values, equal, features, feature or generate", st);
    }
    c->json = cJSON_Duplicate(json, true);
    if (!c->json) {
        return status_no_memory(st, 1024);
    }
    read_source(c, run);
    int code = c->skipped.length ? STATUS_OK : read_prompt(c, run, st);
    if (code || c->skipped.length) {
        return code;
    }
    (void)((code = check_position(run, c, c->json, &c->position, st)) ||
           (code = read_edits(c, run, st)) || (code = c->kind->open(c, run, st)));
    return code;
}

void check_skip(const struct run *run, const struct check *c)
{
    const struct golden_line line = {.outcome = GOLDEN_SKIPPED,
                                     .what = c->name,
                                     .item = "",
                                     .expected = "",
                                     .found = "",
                                     .tolerance = "",
                                     .reason = c->skipped.data};
    run->report(run->user, &line);
}

void check_close(struct check *c)
{
    for (size_t i = 0; i < c->n_reads; i++) {
        engine_read_free(&c->reads[i]);
    }
    memory_free(c->reads);
    memory_free(c->rows);
    memory_free(c->prompt.ids);
    edit_list_free(&c->edits);
    text_free(&c->skipped);
    cJSON_Delete(c->json);
}
