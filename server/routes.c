#include "server/routes.h"

#include "server/api/routes.h"
#include "server/v1/routes.h"

#define PROMPT "\"prompt\":\"In the beginning God created the heaven and the earth.\""
#define SOURCE "\"source\":\"2-gemmascope-res-2k\""
#define MODEL "\"modelId\":\"gemma-2-demo\""
#define FEATURE MODEL "," SOURCE ",\"index\":\"140\""

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
    {"POST", "/v1/dark-matter", dark_matter,
     "What an SAE leaves unexplained of a prompt, and what the model says without it",
     "{" PROMPT "," SOURCE ",\"runs\":[\"splice\",\"zero\"],\"top\":2}"},
    {"POST", "/v1/lens/prompt", lens_prompt,
     "What every layer would say next: the logit lens, a line of JSON a token",
     "{\"prompt\":\"In the beginning God created\",\"type\":[\"LOGIT_LENS\"],\"top_n\":3,"
     "\"filter_non_word_tokens\":false,\"stream\":false}"},
    {"POST", "/v1/attribution", attribution,
     "Which parts of the residual stream make the logits of chosen tokens",
     "{\"prompt\":\"In the beginning\",\"targets\":[\" of\",\" God\"],"
     "\"sources\":[\"2-gemmascope-res-2k\"],\"neuron_layer\":2,\"top\":2}"},
    {"POST", "/v1/steer/completion", steer_completion,
     "A text continued, steered by features and as it would be",
     "{\"prompt\":\"In the beginning God created\",\"types\":[\"STEERED\",\"DEFAULT\"],"
     "\"features\":[{" SOURCE ",\"index\":251,\"strength\":12}],\"n_completion_tokens\":7,"
     "\"freq_penalty\":1}"},
    {"POST", "/v1/steer/completion-chat", steer_completion_chat,
     "A conversation continued likewise (models with a chat template)",
     "{\"prompt\":[{\"role\":\"user\",\"content\":\"Hello\"}],\"types\":[\"DEFAULT\"],"
     "\"n_completion_tokens\":8,\"steer_special_tokens\":false}"},
    {"POST", "/v1/apply-chat-template", apply_chat_template,
     "What the model reads of a conversation",
     "{\"messages\":[{\"role\":\"user\",\"content\":\"Hello\"}]}"},
    {"GET", "/v1/capabilities", capabilities, "The model, its sources, the limits, what is served",
     NULL},
    {"POST", "/api/index", api_index_start,
     "Run sources over the demo's corpus or over texts, in the background",
     "{\"corpus\":\"demo\",\"limit_tokens\":1000}"},
    {"GET", "/api/index", api_index_list, "The index jobs and how far they are", NULL},
    {"POST", "/api/index/cancel", api_index_cancel, "Stop an index job at its next batch",
     "{\"id\":1}"},
    {"GET", "/api/feature/{model}/{source}/{index}", api_feature,
     "A feature with all that is known of it", NULL},
    {"POST", "/api/features", api_features, "Several features, in the order asked for",
     "[{" MODEL ",\"layer\":\"2-gemmascope-res-2k\",\"index\":140,\"maxActsToReturn\":3}]"},
    {"POST", "/api/features-offset", api_features_offset, "25 features from an offset",
     "{" MODEL ",\"layer\":\"2-gemmascope-res-2k\",\"offset\":125}"},
    {"GET", "/api/random/{model}/{source}", api_random, "Some feature that fired", NULL},
    {"POST", "/api/activation/get", api_activation_get, "The texts on which a feature fires",
     "{" FEATURE "}"},
    {"POST", "/api/activation/new", api_activation_new, "A feature's values on a text",
     "{\"feature\":{" FEATURE "},\"customText\":\"And there was light.\"}"},
    {"POST", "/api/activation/source", api_activation_source, "Every active feature of a text",
     "{" MODEL "," SOURCE ",\"customText\":\"And there was light.\"}"},
    {"POST", "/api/search-all", api_search_all, "Which features of a set fire on a text",
     "{" MODEL ",\"sourceSet\":\"gemmascope-res-2k\",\"text\":\"And there was light.\","
     "\"selectedLayers\":[],\"sortIndexes\":[],\"ignoreBos\":true,\"numResults\":5}"},
    {"POST", "/api/search-topk-by-token", api_search_topk, "Every token's strongest features",
     "{" MODEL "," SOURCE ",\"text\":\"And there was light.\",\"numResults\":3}"},
    {"POST", "/api/search-token", api_search_token, "Features that fire on a token, or promote it",
     "{" MODEL "," SOURCE ",\"token\":\" light\",\"mode\":\"promotes\",\"limit\":5}"},
    {"POST", "/api/explanation/search", api_explanation_search,
     "Features of some sources by words of their explanations and labels",
     "{" MODEL ",\"layers\":[\"2-gemmascope-res-2k\"],\"query\":\"light\"}"},
    {"POST", "/api/explanation/search-model", api_explanation_search_model,
     "The same in all sources of a model", "{" MODEL ",\"query\":\"light\"}"},
    {"POST", "/api/explanation/search-all", api_explanation_search_all,
     "The same in all that the database has", "{\"query\":\"light\"}"},
    {"POST", "/api/explanation/new", api_explanation_new, "Keep an explanation of one's own",
     "{" FEATURE ",\"description\":\"the word there\",\"id\":\"an-example\"}"},
    {"POST", "/api/explanation/edit", api_explanation_edit, "Change one of one's own",
     "{\"id\":\"an-example\",\"description\":\"the word there, and you\"}"},
    {"POST", "/api/explanation/delete", api_explanation_delete, "Remove one of one's own",
     "{\"id\":\"an-example\"}"},
    {"POST", "/api/cossim", api_cossim, "The features whose decoder rows are most alike",
     "{" MODEL "," SOURCE ",\"index\":140,\"targetModelId\":\"gemma-2-demo\","
     "\"targetSourceId\":\"3-gemmascope-res-2k\"}"},
    {"POST", "/api/tokenize", api_tokenize, "Token ids of a text",
     "{" MODEL ",\"prompt\":\"In the beginning\"}"},
    {"POST", "/api/vector/get", api_vector_get, "A feature's encoder vector", "{" FEATURE "}"},
    {"POST", "/api/model/list", api_model_list, "The model that is served", "{}"},
    {"GET", "/api/source-set/{model}/{name}", api_source_set, "A set and its sources", NULL},
    {"GET", "/api/source/{model}/{source}", api_source, "A source and what was counted of it",
     NULL},
    {"GET", "/api/source/{model}/{source}/summary", api_source_summary,
     "Counts and maxima of all its features, as bytes", NULL},
    {"GET", "/api/source/{model}/{source}/evaluation", api_source_evaluation,
     "What the source leaves unexplained of the corpora it was evaluated on", NULL},
    {"POST", "/api/source/features", api_source_features,
     "A page of a source's features, sorted and filtered",
     "{" MODEL "," SOURCE ",\"sort\":\"max\",\"order\":\"desc\",\"limit\":5}"},

    {"POST", "/api/steer", api_steer, "Steered and default text side by side",
     "{\"modelId\":\"gemma-2-demo\",\"prompt\":\"In the beginning God created\","
     "\"features\":[{\"modelId\":\"gemma-2-demo\",\"layer\":\"2-gemmascope-res-2k\",\"index\":251,"
     "\"strength\":6}],\"temperature\":0,\"n_tokens\":2,\"freq_penalty\":1,\"seed\":16,"
     "\"strength_multiplier\":2,\"steer_method\":\"SIMPLE_ADDITIVE\"}"},
    {"POST", "/api/steer-chat", api_steer_chat, "Steered and default conversations side by side",
     "{\"modelId\":\"gemma-2-demo\",\"defaultChatMessages\":[{\"role\":\"user\",\"content\":"
     "\"Hello\"}],\"steeredChatMessages\":[{\"role\":\"user\",\"content\":\"Hello\"}],"
     "\"features\":[{\"modelId\":\"gemma-2-demo\",\"layer\":\"2-gemmascope-res-2k\",\"index\":251,"
     "\"strength\":10}],\"temperature\":0,\"n_tokens\":8,\"freq_penalty\":0,\"seed\":16,"
     "\"strength_multiplier\":4,\"steer_special_tokens\":false}"},
    {"GET", "/health", api_health, "Whether the server answers", NULL},
    {"GET", "/metrics", api_metrics, "Counters in Prometheus's text format", NULL},
    {"GET", "/openapi.json", api_openapi, "This table as an OpenAPI document", NULL},
};

const struct route *routes_table(size_t *n)
{
    *n = sizeof routes / sizeof routes[0];
    return routes;
}
