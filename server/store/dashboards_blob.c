#include "server/store/dashboards_blob.h"

#include "core/base/bytes.h"

#include <stdint.h>
#include <string.h>

static void put_histogram(struct text *out, const struct store_histogram *h)
{
    uint32_t n = h->n_bins < DASHBOARD_BINS ? h->n_bins : DASHBOARD_BINS;
    bytes_put(out, &n, sizeof n);
    bytes_put(out, &h->low, sizeof h->low);
    bytes_put(out, &h->high, sizeof h->high);
    bytes_put(out, h->count, n * sizeof *h->count);
}

void dashboards_blob_statistic(struct text *out, const struct store_feature *feature)
{
    put_histogram(out, &feature->activations);
}

void dashboards_blob_logits(struct text *out, const struct store_feature *feature)
{
    if (feature->has_logits) {
        bytes_put(out, feature->positive_ids, sizeof feature->positive_ids);
        bytes_put(out, feature->positive, sizeof feature->positive);
        bytes_put(out, feature->negative_ids, sizeof feature->negative_ids);
        bytes_put(out, feature->negative, sizeof feature->negative);
        put_histogram(out, &feature->logits);
    }
}

static bool get_histogram(struct bytes *r, struct store_histogram *h)
{
    *h = (struct store_histogram){0};
    return bytes_get(r, &h->n_bins, sizeof h->n_bins) && bytes_get(r, &h->low, sizeof h->low) &&
           bytes_get(r, &h->high, sizeof h->high) && h->n_bins <= DASHBOARD_BINS &&
           bytes_get(r, h->count, h->n_bins * sizeof *h->count) && r->left == 0;
}

bool dashboards_blob_read_statistic(const void *bytes, size_t n, struct store_feature *feature)
{
    if (n == 0) {
        return false;
    }
    struct bytes r = {bytes, n};
    return get_histogram(&r, &feature->activations);
}

bool dashboards_blob_read_logits(const void *bytes, size_t n, struct store_feature *feature)
{
    feature->has_logits = n > 0;
    if (n == 0) {
        return true;
    }
    struct bytes r = {bytes, n};
    return bytes_get(&r, feature->positive_ids, sizeof feature->positive_ids) &&
           bytes_get(&r, feature->positive, sizeof feature->positive) &&
           bytes_get(&r, feature->negative_ids, sizeof feature->negative_ids) &&
           bytes_get(&r, feature->negative, sizeof feature->negative) &&
           get_histogram(&r, &feature->logits);
}
