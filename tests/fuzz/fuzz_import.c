/* Neuronpedia's export files of any content, compressed or not: every line is imported, left out or
 * counted as wrong. */
#include "server/work/import_lines.h"
#include "tests/fuzz/file.h"
#include "tests/store_fixture.h"

#define ROUND 2000 /* inputs that one database takes */

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct fixture f;
    static int n;
    struct import_figures figures = {0};
    const struct import_options options = {0};
    struct status st = {0};
    if (n++ % ROUND == 0) {
        if (n > 1) {
            fixture_close(&f);
        }
        if (!fixture_open(&f)) {
            abort();
        }
    }
    int code = import_lines(f.store, fuzz_file(data, size), &options, &figures, &st);
    if (code == STATUS_INTERNAL || code == STATUS_IO || figures.wrong < 0 ||
        figures.explanations < 0 || (code && !st.message[0])) {
        abort();
    }
    return 0;
}
