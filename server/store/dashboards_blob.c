#include "server/store/dashboards_blob.h"

#include <stdint.h>
#include <string.h>

static void put(struct text *out, const void *bytes, size_t n)
{
    text_append(out, (const char *)bytes, n);
}

static void put_histogram(struct text *out, const struct store_histogram *h)
{
    uint32_t n = h->n_bins < DASHBOARD_BINS ? h->n_bins : DASHBOARD_BINS;
    put(out, &n, sizeof n);
    put(out, &h->low, sizeof h->low);
    put(out, &h->high, sizeof h->high);
    put(out, h->count, n * sizeof *h->count);
}

void dashboards_blob_statistic(struct text *out, const struct store_feature *feature)
{
    put_histogram(out, &feature->activations);
}

void dashboards_blob_logits(struct text *out, const struct store_feature *feature)
{
    if (feature->has_logits) {
        put(out, feature->positive_ids, sizeof feature->positive_ids);
        put(out, feature->positive, sizeof feature->positive);
        put(out, feature->negative_ids, sizeof feature->negative_ids);
        put(out, feature->negative, sizeof feature->negative);
        put_histogram(out, &feature->logits);
    }
}

struct reader {
    const uint8_t *at, *end;
};

static bool get(struct reader *r, void *to, size_t n)
{
    if ((size_t)(r->end - r->at) < n) {
        return false;
    }
    memcpy(to, r->at, n);
    r->at += n;
    return true;
}

static bool get_histogram(struct reader *r, struct store_histogram *h)
{
    *h = (struct store_histogram){0};
    return get(r, &h->n_bins, sizeof h->n_bins) && get(r, &h->low, sizeof h->low) &&
           get(r, &h->high, sizeof h->high) && h->n_bins <= DASHBOARD_BINS &&
           get(r, h->count, h->n_bins * sizeof *h->count) && r->at == r->end;
}

bool dashboards_blob_read_statistic(const void *bytes, size_t n, struct store_feature *feature)
{
    if (n == 0) {
        return false;
    }
    struct reader r = {bytes, (const uint8_t *)bytes + n};
    return get_histogram(&r, &feature->activations);
}

bool dashboards_blob_read_logits(const void *bytes, size_t n, struct store_feature *feature)
{
    feature->has_logits = n > 0;
    if (n == 0) {
        return true;
    }
    struct reader r = {bytes, (const uint8_t *)bytes + n};
    return get(&r, feature->positive_ids, sizeof feature->positive_ids) &&
           get(&r, feature->positive, sizeof feature->positive) &&
           get(&r, feature->negative_ids, sizeof feature->negative_ids) &&
           get(&r, feature->negative, sizeof feature->negative) &&
           get_histogram(&r, &feature->logits);
}
