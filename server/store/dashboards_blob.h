/* The blobs of the feature table (docs/database.md). Numbers are little endian.
 *     histogram: uint32 n_bins; float32 low, high; n_bins uint32
 *     statistic: a histogram
 *     logits:    empty, or 10 int32 ids, 10 float32 (largest first), 10 int32 ids, 10 float32 (most
 *                negative first), a histogram */
#ifndef DM_STORE_DASHBOARDS_BLOB_H
#define DM_STORE_DASHBOARDS_BLOB_H

#include "core/base/text.h"
#include "server/store/dashboards.h"

#include <stdbool.h>
#include <stddef.h>

/* Append; out->failed when memory ran out. n_bins above DASHBOARD_BINS counts as that many. */
void dashboards_blob_statistic(struct text *out, const struct store_feature *feature);
void dashboards_blob_logits(struct text *out, const struct store_feature *feature);

/* Fill the feature's part; false if the bytes are not such a blob, to the end. */
bool dashboards_blob_read_statistic(const void *bytes, size_t n, struct store_feature *feature);
bool dashboards_blob_read_logits(const void *bytes, size_t n, struct store_feature *feature);

#endif
