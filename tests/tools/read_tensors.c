/* read_tensors FILE: what core/formats reads from an .npz or .safetensors file. For each tensor a
 * line "NAME DTYPE BYTES SHAPE..." and then its bytes, row-major; exit code 1 and one line on
 * stderr if the file is refused. For tests/cli/formats.py, which writes files with numpy. */
#include "core/formats/npz.h"
#include "core/formats/safetensors.h"

#include <stdio.h>
#include <string.h>

static void print_tensor(const char *name, const struct tensor *t)
{
    (void)printf("%s %s %zu", name, dtype_name(t->dtype), tensor_bytes(t));
    for (int i = 0; i < t->n_dims; i++) {
        (void)printf(" %zu", t->shape[i]);
    }
    (void)putchar('\n');
    (void)fwrite(t->data, 1, tensor_bytes(t), stdout);
}

static int read_npz(const char *path, struct status *st)
{
    struct npz *file;
    int code = npz_open(&file, path, st);
    for (size_t i = 0; !code && i < npz_count(file); i++) {
        struct tensor t;
        struct tensor peeked;
        const char *name = npz_name(file, i);
        (void)((code = npz_peek(file, name, &peeked, st)) || (code = npz_find(file, name, &t, st)));
        if (!code && (peeked.dtype != t.dtype || peeked.n_dims != t.n_dims ||
                      memcmp(peeked.shape, t.shape, sizeof t.shape) != 0)) {
            code = status_set(st, STATUS_INTERNAL, "%s: npz_peek and npz_find differ", name);
        }
        if (!code) {
            print_tensor(name, &t);
        }
    }
    npz_close(file);
    return code;
}

static int read_safetensors(const char *path, struct status *st)
{
    struct safetensors *file;
    int code = safetensors_open(&file, path, st);
    for (size_t i = 0; !code && i < safetensors_count(file); i++) {
        print_tensor(safetensors_name(file, i), safetensors_at(file, i));
    }
    safetensors_close(file);
    return code;
}

int main(int argc, char **argv)
{
    struct status st = {0};
    if (argc != 2) {
        (void)fputs("usage: read_tensors FILE\n", stderr);
        return 2;
    }
    int code =
        text_ends_with(argv[1], ".npz") ? read_npz(argv[1], &st) : read_safetensors(argv[1], &st);
    if (code) {
        (void)fprintf(stderr, "%s\n", st.message);
    }
    return code ? 1 : 0;
}
