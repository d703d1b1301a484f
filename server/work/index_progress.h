/* How far indexing has come, as JSON: for the job table and for GET /api/index. */
#ifndef DM_WORK_INDEX_PROGRESS_H
#define DM_WORK_INDEX_PROGRESS_H

#include "core/base/text.h"
#include "server/work/indexer.h"

/* Appends {"phase": ..., "documents": ..., "tokens": ..., "totalTokens": ..., "tokensPerSecond":
 * ..., "secondsLeft": ...}, and with phase "dashboards" also source, features, ofFeatures. Unknown
 * numbers are null. */
void index_progress_json(const struct indexer_progress *progress, struct text *out);

#endif
