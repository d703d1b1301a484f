#include "core/base/memory.h"
#include "core/base/text.h"
#include "core/sae/catalogue_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The transcoders that have the bare name on Neuronpedia and in SAELens (pretrained_saes.yaml,
 * gemma-scope-2b-pt-transcoders), by layer. */
static const int transcoder_l0[] = {76, 65, 49, 54, 88, 87, 95, 70, 52, 72, 88, 5,  6,
                                    8,  8,  8,  10, 12, 13, 12, 11, 13, 15, 25, 37, 41};

static bool same_group(const struct catalogue_entry *a, const struct catalogue_entry *b)
{
    return a->source.format == b->source.format && a->source.layer == b->source.layer &&
           strcmp(a->place.site, b->place.site) == 0 && strcmp(a->place.width, b->place.width) == 0;
}

/* Gemma Scope 2 has some transcoders with and without a skip connection. */
static bool lacks_skip_of_twin(const struct catalogue_builder *builder,
                               const struct catalogue_entry *e)
{
    if (!e->source.is_transcoder || e->has_skip) {
        return false;
    }
    for (size_t i = 0; i < builder->n_entries; i++) {
        const struct catalogue_entry *other = &builder->entries[i];
        if (other->has_skip && same_group(e, other) && e->place.in_all == other->place.in_all &&
            strcmp(e->place.l0, other->place.l0) == 0) {
            return true;
        }
    }
    return false;
}

/* How far an entry is from having its group's bare name: the least has it, below 0 never.
 * Scope 1: the published choice is the L0 nearest 100, a tie going to the higher (for transcoders a
 * list); a folder canonical/ says so itself. Scope 2: medium; what lies in a *_all folder has the
 * bare name only if no sweep's medium is there. */
static int bare_rank(const struct catalogue_builder *builder, const struct catalogue_entry *e)
{
    if (e->source.format == SAE_FORMAT_SCOPE) {
        if (e->place.l0[0] == '\0') {
            return 0;
        }
        bool listed = e->source.is_transcoder &&
                      e->source.layer < (int)(sizeof transcoder_l0 / sizeof *transcoder_l0);
        long target = listed ? transcoder_l0[e->source.layer] : 100;
        long l0 = strtol(e->place.l0, NULL, 10);
        long away = l0 < target ? target - l0 : l0 - target;
        return away > 1000000 ? 3000000 : (int)(2 * away + (l0 < target)) + 1;
    }
    bool medium = strcmp(e->place.l0, "medium") == 0;
    if (lacks_skip_of_twin(builder, e)) {
        return -1;
    }
    if (!e->place.in_all) {
        bool sweep = strcmp(e->place.l0, "small") == 0 || strcmp(e->place.l0, "big") == 0;
        return medium ? 0 : sweep ? -1 : 1;
    }
    return medium ? 2 : strcmp(e->place.l0, "small") == 0 ? 3 : 4;
}

static bool has_bare_name(const struct catalogue_builder *builder, size_t i)
{
    int rank = bare_rank(builder, &builder->entries[i]);
    for (size_t k = 0; k < builder->n_entries && rank >= 0; k++) {
        if (k != i && same_group(&builder->entries[i], &builder->entries[k])) {
            int other = bare_rank(builder, &builder->entries[k]);
            if (other >= 0 && (other < rank || (other == rank && k < i))) {
                return false;
            }
        }
    }
    return rank >= 0;
}

static int name_scope(const struct catalogue_builder *builder, size_t i, struct text *name,
                      struct text *set)
{
    const struct catalogue_entry *e = &builder->entries[i];
    const char *family = e->source.format == SAE_FORMAT_SCOPE ? "gemmascope" : "gemmascope-2";
    text_printf(set, "%s-%s-%s", family, e->place.site, e->place.width);
    text_printf(name, "%d-%s", e->source.layer, set->data ? set->data : "");
    if (!has_bare_name(builder, i)) {
        text_printf(name, "__%sl0-%s%s", e->place.in_all ? "all-" : "",
                    e->place.l0[0] ? e->place.l0 : "unknown",
                    lacks_skip_of_twin(builder, e) ? "-no-skip" : "");
    }
    return name->failed || set->failed;
}

static int name_saelens(const struct catalogue_entry *e, struct text *name, struct text *set)
{
    const char *rest = e->saelens_name + strspn(e->saelens_name, "0123456789");
    bool layered = rest > e->saelens_name && *rest == '-' && rest[1];
    text_string(name, e->saelens_name);
    text_string(set, layered ? rest + 1 : e->saelens_name);
    return name->failed || set->failed;
}

/* Takes entry i out, `reason` (now freed) being why. */
static int drop(struct catalogue_builder *builder, size_t i, struct text *reason, struct status *st)
{
    int code = reason->failed ? status_no_memory(st, 256)
                              : catalogue_refuse(builder, builder->entries[i].source.path,
                                                 STATUS_UNSUPPORTED, reason->data, st);
    text_free(reason);
    if (!code) {
        catalogue_entry_free(&builder->entries[i]);
        builder->n_entries--;
        memmove(builder->entries + i, builder->entries + i + 1,
                (builder->n_entries - i) * sizeof *builder->entries);
    }
    return code;
}

/* Two copies of one repository: the first that was found is kept. */
static int drop_copies(struct catalogue_builder *builder, struct status *st)
{
    for (size_t i = 0; i < builder->n_entries; i++) {
        struct catalogue_entry *e = &builder->entries[i];
        for (size_t k = 0; k < i; k++) {
            const struct catalogue_entry *other = &builder->entries[k];
            if (e->source.format != SAE_FORMAT_SAELENS && same_group(e, other) &&
                strcmp(e->place.l0, other->place.l0) == 0 &&
                e->place.in_all == other->place.in_all && e->has_skip == other->has_skip) {
                struct text reason = {0};
                text_printf(&reason, "the same layer, width and L0 as %s, which is used",
                            other->source.path);
                if (drop(builder, i--, &reason, st)) {
                    return (int)st->code;
                }
                break;
            }
        }
    }
    return STATUS_OK;
}

static int drop_clashes(struct catalogue_builder *builder, struct status *st)
{
    for (size_t i = 0; i < builder->n_entries; i++) {
        for (size_t k = 0; k < i; k++) {
            const struct sae_source *e = &builder->entries[i].source;
            const struct sae_source *other = &builder->entries[k].source;
            if (strcmp(e->name, other->name) == 0) {
                struct text reason = {0};
                text_printf(&reason, "its name %s is taken by %s; rename the folder", e->name,
                            other->path);
                if (drop(builder, i--, &reason, st)) {
                    return (int)st->code;
                }
                break;
            }
        }
    }
    return STATUS_OK;
}

int catalogue_name_all(struct catalogue_builder *builder, struct status *st)
{
    if (drop_copies(builder, st)) {
        return (int)st->code;
    }
    for (size_t i = 0; i < builder->n_entries; i++) {
        struct catalogue_entry *e = &builder->entries[i];
        struct text name = {0}, set = {0};
        int failed = e->source.format == SAE_FORMAT_SAELENS ? name_saelens(e, &name, &set)
                                                            : name_scope(builder, i, &name, &set);
        e->source.name = text_take(&name, NULL);
        e->source.source_set = text_take(&set, NULL);
        if (failed || !e->source.name || !e->source.source_set) {
            return status_no_memory(st, 256);
        }
    }
    return drop_clashes(builder, st);
}
