/* The handlers of /v1, for the route table (server/routes.c). */
#ifndef DM_V1_ROUTES_H
#define DM_V1_ROUTES_H

#include "server/http/exchange.h"

enum http_next tokenize(struct exchange *x);                /* POST /v1/tokenize */
enum http_next activation_single(struct exchange *x);       /* POST /v1/activation/single */
enum http_next activation_single_batch(struct exchange *x); /* .../single-batch */
enum http_next activation_all(struct exchange *x);          /* .../all */
enum http_next activation_all_batch(struct exchange *x);    /* .../all-batch */
enum http_next activation_topk(struct exchange *x);         /* .../topk-by-token */
enum http_next activation_topk_batch(struct exchange *x);   /* .../topk-by-token-batch */
enum http_next activation_source(struct exchange *x);       /* .../source */
enum http_next activation_raw(struct exchange *x);          /* .../raw */
enum http_next activation_attention(struct exchange *x);    /* .../attention */
enum http_next util_sae_vector(struct exchange *x);         /* POST /v1/util/sae-vector */
enum http_next util_topk_cossim(struct exchange *x);        /* .../sae-topk-by-decoder-cossim */
enum http_next trace(struct exchange *x);                   /* POST /v1/trace */
enum http_next dark_matter(struct exchange *x);             /* POST /v1/dark-matter */
enum http_next lens_prompt(struct exchange *x);             /* POST /v1/lens/prompt */
enum http_next attribution(struct exchange *x);             /* POST /v1/attribution */
enum http_next steer_completion(struct exchange *x);        /* POST /v1/steer/completion */
enum http_next steer_completion_chat(struct exchange *x);   /* .../completion-chat */
enum http_next apply_chat_template(struct exchange *x);     /* POST /v1/apply-chat-template */
enum http_next capabilities(struct exchange *x);            /* GET /v1/capabilities */

#endif
