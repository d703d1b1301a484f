/* The handlers of Neuronpedia's web API (/api) and of darkmatter's own addresses outside /v1, for
 * the route table (server/routes.c). */
#ifndef DM_API_ROUTES_H
#define DM_API_ROUTES_H

#include "server/http/exchange.h"

enum http_next api_health(struct exchange *x);       /* GET /health */
enum http_next api_metrics(struct exchange *x);      /* GET /metrics */
enum http_next api_openapi(struct exchange *x);      /* GET /openapi.json */
enum http_next api_index_start(struct exchange *x);  /* POST /api/index */
enum http_next api_index_list(struct exchange *x);   /* GET /api/index */
enum http_next api_index_cancel(struct exchange *x); /* POST /api/index/cancel */

enum http_next api_feature(struct exchange *x);  /* GET /api/feature/{model}/{source}/{index} */
enum http_next api_features(struct exchange *x); /* POST /api/features */
enum http_next api_features_offset(struct exchange *x); /* POST /api/features-offset */
enum http_next api_random(struct exchange *x);          /* GET /api/random/{model}/{source} */

enum http_next api_activation_get(struct exchange *x);    /* POST /api/activation/get */
enum http_next api_activation_new(struct exchange *x);    /* .../new */
enum http_next api_activation_source(struct exchange *x); /* .../source */
enum http_next api_search_all(struct exchange *x);        /* POST /api/search-all */
enum http_next api_search_topk(struct exchange *x);       /* POST /api/search-topk-by-token */
enum http_next api_search_token(struct exchange *x);      /* POST /api/search-token */

enum http_next api_explanation_search(struct exchange *x);       /* POST /api/explanation/search */
enum http_next api_explanation_search_model(struct exchange *x); /* .../search-model */
enum http_next api_explanation_search_all(struct exchange *x);   /* .../search-all */
enum http_next api_explanation_new(struct exchange *x);          /* POST /api/explanation/new */
enum http_next api_explanation_edit(struct exchange *x);         /* .../edit */
enum http_next api_explanation_delete(struct exchange *x);       /* .../delete */

enum http_next api_cossim(struct exchange *x);            /* POST /api/cossim */
enum http_next api_tokenize(struct exchange *x);          /* POST /api/tokenize */
enum http_next api_vector_get(struct exchange *x);        /* POST /api/vector/get */
enum http_next api_model_list(struct exchange *x);        /* POST /api/model/list */
enum http_next api_source_set(struct exchange *x);        /* GET /api/source-set/{model}/{name} */
enum http_next api_source(struct exchange *x);            /* GET /api/source/{model}/{source} */
enum http_next api_source_summary(struct exchange *x);    /* GET .../summary */
enum http_next api_source_evaluation(struct exchange *x); /* GET .../evaluation */
enum http_next api_source_features(struct exchange *x);   /* POST /api/source/features */

enum http_next api_steer(struct exchange *x);      /* POST /api/steer */
enum http_next api_steer_chat(struct exchange *x); /* POST /api/steer-chat */

#endif
