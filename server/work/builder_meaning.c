/* What a dashboard says of a feature besides where it fires, an SAE's or a neuron: logits, label.
 */
#include "core/base/memory.h"
#include "core/dashboard/label.h"
#include "server/store/dashboards.h"
#include "server/work/builder_private.h"

#include <string.h>

struct store_histogram builder_histogram(const struct histogram *h)
{
    struct store_histogram s = {.n_bins = h->n_bins, .low = h->low, .high = h->high};
    _Static_assert(sizeof s.count == sizeof h->count, "both have 50 bins");
    memcpy(s.count, h->count, sizeof s.count);
    return s;
}

static void copy_logits(struct store_feature *to, uint32_t index, const struct engine_logits *from)
{
    _Static_assert(sizeof from->top_ids == sizeof to->positive_ids, "both have 10");
    to->index = index;
    to->has_logits = true;
    memcpy(to->positive_ids, from->top_ids, sizeof from->top_ids);
    memcpy(to->negative_ids, from->bottom_ids, sizeof from->bottom_ids);
    memcpy(to->positive, from->top, sizeof from->top);
    memcpy(to->negative, from->bottom, sizeof from->bottom);
    to->logits = builder_histogram(&from->histogram);
}

int builder_logits(const struct builder *b, const struct sae_source *source, int64_t row,
                   size_t first, size_t n, struct store_feature *kept, bool *known,
                   struct status *st)
{
    int code = store_read_logits(b->store, row, (uint32_t)first, n, kept, known, st);
    if (code || *known) {
        return code;
    }
    struct engine_logits *computed = memory_zalloc(n, sizeof *computed);
    if (!computed) {
        return status_no_memory(st, n * sizeof *computed);
    }
    code =
        engine_feature_logits(b->engine, source->name, first, n, computed, known, b->abandon, st);
    for (size_t i = 0; i < n && *known; i++) {
        copy_logits(&kept[i], (uint32_t)(first + i), &computed[i]);
    }
    memory_free(computed);
    return code || !*known ? code : store_write_logits(b->store, row, kept, n, st);
}

static void token_text(void *user, int32_t id, struct text *out)
{
    engine_token_text(user, id, out);
}

int builder_label(const struct builder *b, const int32_t *fired, size_t n_fired,
                  const struct store_feature *logits, struct text *label, struct status *st)
{
    text_clear(label);
    label_write(label, fired, n_fired, logits ? logits->positive_ids : NULL,
                logits ? DASHBOARD_LOGITS : 0, token_text, b->engine);
    return label->failed ? status_no_memory(st, 256) : STATUS_OK;
}
