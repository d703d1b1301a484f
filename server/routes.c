#include "server/routes.h"

#include "server/api/routes.h"
#include "server/v1/routes.h"

#define PROMPT "\"prompt\":\"In the beginning God created the heaven and the earth.\""
#define SOURCE "\"source\":\"2-gemmascope-res-2k\""

/* The examples work on the bundled demo; docs/api.md shows their answers. */
static const struct route routes[] = {
    {"POST", "/v1/tokenize", tokenize, "Token ids of a text, and each token's text",
     "{\"text\":\"In the beginning\"}"},
    {"POST", "/v1/activation/single", activation_single,
     "One feature's (or one vector's) value on every token",
     "{" PROMPT "," SOURCE ",\"index\":\"251\"}"},
    {"POST", "/v1/activation/single-batch", activation_single_batch, "The same for several prompts",
     "{\"prompts\":[\"In the beginning\",\"there was light\"]," SOURCE ",\"index\":\"251\"}"},
    {"POST", "/v1/activation/all", activation_all,
     "The strongest features of a prompt in a set of sources",
     "{" PROMPT ",\"source_set\":\"gemmascope-res-2k\",\"selected_sources\":[],"
     "\"sort_by_token_indexes\":[],\"ignore_bos\":true,\"num_results\":5}"},
    {"POST", "/v1/activation/all-batch", activation_all_batch, "The same for several prompts",
     "{\"prompts\":[\"In the beginning\",\"there was light\"],\"source_set\":\"gemmascope-res-2k\","
     "\"selected_sources\":[],\"sort_by_token_indexes\":[],\"ignore_bos\":true,\"num_results\":5}"},
    {"POST", "/v1/activation/topk-by-token", activation_topk, "Every token's strongest features",
     "{" PROMPT "," SOURCE ",\"top_k\":5,\"ignore_bos\":true}"},
    {"POST", "/v1/activation/topk-by-token-batch", activation_topk_batch,
     "The same for several prompts",
     "{\"prompts\":[\"In the beginning\",\"there was light\"]," SOURCE
     ",\"top_k\":5,\"ignore_bos\":true}"},
    {"POST", "/v1/activation/source", activation_source, "Every active feature of every token",
     "{\"prompts\":[\"In the beginning\"]," SOURCE "}"},
    {"POST", "/v1/activation/raw", activation_raw,
     "The residual stream at the last token, layer by layer",
     "{\"prompts\":[\"In the beginning\"],\"layers\":[2]}"},
    {"POST", "/v1/activation/attention", activation_attention, "Where one attention head looks",
     "{" PROMPT ",\"layer\":2,\"head\":0}"},
    {"POST", "/v1/util/sae-vector", util_sae_vector, "A feature's encoder vector",
     "{" SOURCE ",\"index\":251}"},
    {"POST", "/v1/util/sae-topk-by-decoder-cossim", util_topk_cossim,
     "The features whose decoder rows are most alike",
     "{\"feature\":{" SOURCE ",\"index\":251}," SOURCE ",\"num_results\":5}"},
    {"POST", "/v1/trace", trace, "Any activation of the model or an SAE, as JSON or safetensors",
     "{" PROMPT ",\"read\":[\"resid_post.2\",\"acts:2-gemmascope-res-2k\"],\"positions\":[-1]}"},
    {"GET", "/v1/capabilities", capabilities, "The model, its sources, the limits, what is served",
     NULL},
    {"POST", "/api/index", api_index_start,
     "Run sources over the demo's corpus or over texts, in the background",
     "{\"corpus\":\"demo\",\"limit_tokens\":1000}"},
    {"GET", "/api/index", api_index_list, "The index jobs and how far they are", NULL},
    {"POST", "/api/index/cancel", api_index_cancel, "Stop an index job at its next batch",
     "{\"id\":1}"},
    {"GET", "/health", api_health, "Whether the server answers", NULL},
    {"GET", "/metrics", api_metrics, "Counters in Prometheus's text format", NULL},
    {"GET", "/openapi.json", api_openapi, "This table as an OpenAPI document", NULL},
};

const struct route *routes_table(size_t *n)
{
    *n = sizeof routes / sizeof routes[0];
    return routes;
}
