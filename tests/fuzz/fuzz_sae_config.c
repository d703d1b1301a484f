/* cfg.json of SAELens and config.json of Gemma Scope 2, whatever bytes they are made of. */
#include "core/sae/sae_config.h"

#include <stdint.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct sae_config *config, int code)
{
    char hook[80];
    enum point point;
    int layer;
    if (code == 0 &&
        (!sae_config_find_hook(sae_config_hook(config->input, config->layer, hook, sizeof hook),
                               &point, &layer) ||
         point != config->input || layer != config->layer ||
         (config->architecture == SAE_TOPK) != (config->k > 0))) {
        abort();
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct sae_config config;
    struct status st = {0};
    const char *json = (const char *)data;
    check(&config, sae_config_saelens(&config, json, size, "cfg.json", &st));
    check(&config, sae_config_scope2(&config, json, size, "config.json", &st));
    return 0;
}
