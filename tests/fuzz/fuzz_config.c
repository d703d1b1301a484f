/* config.json of any content: parsed or refused. */
#include "core/gemma/config.h"

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gemma_config config;
    struct status st = {0};
    (void)config_parse(&config, (const char *)data, size, "config.json", &st);
    return 0;
}
