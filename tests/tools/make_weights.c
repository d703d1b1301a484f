/* make_weights model FOLDER [size=N ...]: a Gemma 2 folder with random weights, laid out as the hub
 * has it (config.json, shards and their index). make_weights sae FILE [size=N ...]: a Gemma Scope
 * params.npz as numpy.savez writes it. Without sizes: gemma-2-2b and a 16k SAE. The same seed gives
 * the same bytes. Tests of real sizes need gigabytes of weights that nobody has to download. */
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <zlib.h>

#include <math.h>

#define CHUNK ((size_t)1 << 18) /* numbers made at a time */
#define TENSORS_MAX 4096

static struct sizes {
    uint64_t hidden, ff, layers, heads, kv, head_dim, vocab, bf16, shards, d_in, d_sae, threshold;
    uint64_t seed;
} sizes = {.hidden = 2304,
           .ff = 9216,
           .layers = 26,
           .heads = 8,
           .kv = 4,
           .head_dim = 256,
           .vocab = 256000,
           .bf16 = 0,
           .shards = 3,
           .d_in = 2304,
           .d_sae = 16384,
           .threshold = 17,
           .seed = 1};

static _Noreturn void die(const char *format, ...) __attribute__((format(printf, 1, 2)));
static _Noreturn void die(const char *format, ...)
{
    va_list args;
    va_start(args, format);
    (void)fputs("make_weights: ", stderr);
    (void)vfprintf(stderr, format, args);
    (void)fputc('\n', stderr);
    va_end(args);
    exit(1);
}

static FILE *create(const char *path)
{
    FILE *f = fopen(path, "wb");
    if (!f) {
        die("%s: cannot be written", path);
    }
    return f;
}

static void finish(FILE *f, const char *path)
{
    if (ferror(f) || fclose(f) != 0) {
        die("%s: cannot be written to the end", path);
    }
}

/* --- numbers -------------------------------------------------------------------------------- */

static uint64_t state;

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next(void)
{
    uint64_t z = state += 0x9e3779b97f4a7c15u;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* About normal with deviation 1: four uniform numbers, their mean and deviation taken out. */
static void normals(float *out, size_t n, float deviation)
{
    const float scale = deviation * 1.7320508f / 65536.0f;
    for (size_t i = 0; i < n; i++) {
        uint64_t r = next();
        int32_t sum = (int32_t)((r & 0xffff) + (r >> 16 & 0xffff) + (r >> 32 & 0xffff) + (r >> 48));
        out[i] = (float)(sum - 131070) * scale;
    }
}

static size_t to_bf16(uint16_t *out, const float *in, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        uint32_t bits;
        memcpy(&bits, &in[i], sizeof bits);
        out[i] = (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
    }
    return n * sizeof *out;
}

/* --- a model -------------------------------------------------------------------------------- */

static struct tensor {
    char name[80];
    uint64_t rows, columns; /* columns 0: a vector */
    uint64_t shard;
} tensors[TENSORS_MAX];
static size_t n_tensors;

static uint64_t count(const struct tensor *t)
{
    return t->rows * (t->columns ? t->columns : 1);
}

static uint64_t bytes_of(const struct tensor *t)
{
    return count(t) * (sizes.bf16 ? 2 : 4);
}

static void add(const char *name, long layer, uint64_t rows, uint64_t columns)
{
    if (n_tensors == TENSORS_MAX) {
        die("more than %d tensors", TENSORS_MAX);
    }
    struct tensor *t = &tensors[n_tensors++];
    if (layer < 0) {
        (void)snprintf(t->name, sizeof t->name, "model.%s.weight", name);
    } else {
        (void)snprintf(t->name, sizeof t->name, "model.layers.%ld.%s.weight", layer, name);
    }
    t->rows = rows;
    t->columns = columns;
}

static uint64_t list_tensors(void)
{
    uint64_t d = sizes.hidden;
    uint64_t q = sizes.heads * sizes.head_dim;
    uint64_t kv = sizes.kv * sizes.head_dim;
    add("embed_tokens", -1, sizes.vocab, d);
    for (long i = 0; i < (long)sizes.layers; i++) {
        add("input_layernorm", i, d, 0);
        add("mlp.down_proj", i, d, sizes.ff);
        add("mlp.gate_proj", i, sizes.ff, d);
        add("mlp.up_proj", i, sizes.ff, d);
        add("post_attention_layernorm", i, d, 0);
        add("post_feedforward_layernorm", i, d, 0);
        add("pre_feedforward_layernorm", i, d, 0);
        add("self_attn.k_proj", i, kv, d);
        add("self_attn.o_proj", i, d, q);
        add("self_attn.q_proj", i, q, d);
        add("self_attn.v_proj", i, kv, d);
    }
    add("norm", -1, d, 0);

    uint64_t total = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        total += bytes_of(&tensors[i]);
    }
    /* A new shard where the last has its part, or where only one tensor is left for each. */
    uint64_t filled = 0;
    uint64_t shard = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        uint64_t left = sizes.shards - 1 - shard;
        if (left && i && (filled >= total / sizes.shards || n_tensors - i <= left)) {
            shard++;
            filled = 0;
        }
        tensors[i].shard = shard;
        filled += bytes_of(&tensors[i]);
    }
    return total;
}

static void write_tensor(FILE *f, const struct tensor *t)
{
    static float numbers[CHUNK];
    static uint16_t halves[CHUNK];
    uint64_t left = count(t);
    while (left) {
        size_t n = left < CHUNK ? (size_t)left : CHUNK;
        if (t->columns) {
            normals(numbers, n, 0.02f);
        } else { /* a norm's gain is 1 + w */
            memset(numbers, 0, n * sizeof *numbers);
        }
        if (sizes.bf16) {
            (void)fwrite(halves, 1, to_bf16(halves, numbers, n), f);
        } else {
            (void)fwrite(numbers, sizeof *numbers, n, f);
        }
        left -= n;
    }
}

static void shard_name(char name[64], uint64_t shard)
{
    if (sizes.shards == 1) {
        (void)snprintf(name, 64, "model.safetensors");
    } else {
        (void)snprintf(name, 64, "model-%05llu-of-%05llu.safetensors",
                       (unsigned long long)shard + 1, (unsigned long long)sizes.shards);
    }
}

static void write_shard(const char *folder, uint64_t shard)
{
    char name[64];
    char path[4096];
    shard_name(name, shard);
    (void)snprintf(path, sizeof path, "%s/%s", folder, name);
    FILE *f = create(path);
    char *header = NULL;
    size_t length = 0;
    FILE *h = open_memstream(&header, &length);
    if (!h) {
        die("no memory");
    }
    (void)fputs("{\"__metadata__\":{\"format\":\"pt\"}", h);
    uint64_t offset = 0;
    for (size_t i = 0; i < n_tensors; i++) {
        const struct tensor *t = &tensors[i];
        if (t->shard != shard) {
            continue;
        }
        (void)fprintf(h, ",\"%s\":{\"dtype\":\"%s\",\"shape\":[%llu", t->name,
                      sizes.bf16 ? "BF16" : "F32", (unsigned long long)t->rows);
        if (t->columns) {
            (void)fprintf(h, ",%llu", (unsigned long long)t->columns);
        }
        uint64_t end = offset + bytes_of(t);
        (void)fprintf(h, "],\"data_offsets\":[%llu,%llu]}", (unsigned long long)offset,
                      (unsigned long long)end);
        offset = end;
    }
    (void)fputc('}', h);
    (void)fflush(h);
    while (length % 8) {
        (void)fputc(' ', h);
        (void)fflush(h);
    }
    (void)fclose(h);
    uint64_t n = length;
    (void)fwrite(&n, sizeof n, 1, f);
    (void)fwrite(header, 1, length, f);
    free(header);
    for (size_t i = 0; i < n_tensors; i++) {
        if (tensors[i].shard == shard) {
            write_tensor(f, &tensors[i]);
        }
    }
    finish(f, path);
}

static void write_index(const char *folder, uint64_t total)
{
    char path[4096];
    char name[64];
    (void)snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    FILE *f = create(path);
    (void)fprintf(f, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
                  (unsigned long long)total);
    for (size_t i = 0; i < n_tensors; i++) {
        shard_name(name, tensors[i].shard);
        (void)fprintf(f, "%s\n    \"%s\": \"%s\"", i ? "," : "", tensors[i].name, name);
    }
    (void)fputs("\n  }\n}\n", f);
    finish(f, path);
}

/* The fields and their order are those of the hub's gemma-2-2b. */
static void write_config(const char *folder)
{
    char path[4096];
    (void)snprintf(path, sizeof path, "%s/config.json", folder);
    FILE *f = create(path);
    (void)fprintf(
        f,
        "{\n  \"architectures\": [\n    \"Gemma2ForCausalLM\"\n  ],\n"
        "  \"attention_bias\": false,\n  \"attention_dropout\": 0.0,\n"
        "  \"attn_logit_softcapping\": 50.0,\n  \"bos_token_id\": 2,\n"
        "  \"cache_implementation\": \"hybrid\",\n  \"eos_token_id\": 1,\n"
        "  \"final_logit_softcapping\": 30.0,\n  \"head_dim\": %llu,\n"
        "  \"hidden_act\": \"gelu_pytorch_tanh\",\n"
        "  \"hidden_activation\": \"gelu_pytorch_tanh\",\n  \"hidden_size\": %llu,\n"
        "  \"initializer_range\": 0.02,\n  \"intermediate_size\": %llu,\n"
        "  \"max_position_embeddings\": 8192,\n  \"model_type\": \"gemma2\",\n"
        "  \"num_attention_heads\": %llu,\n  \"num_hidden_layers\": %llu,\n"
        "  \"num_key_value_heads\": %llu,\n  \"pad_token_id\": 0,\n"
        "  \"query_pre_attn_scalar\": %llu,\n  \"rms_norm_eps\": 1e-06,\n"
        "  \"rope_theta\": 10000.0,\n  \"sliding_window\": 4096,\n  \"torch_dtype\": \"%s\",\n"
        "  \"transformers_version\": \"4.42.4\",\n  \"use_cache\": true,\n"
        "  \"vocab_size\": %llu\n}\n",
        (unsigned long long)sizes.head_dim, (unsigned long long)sizes.hidden,
        (unsigned long long)sizes.ff, (unsigned long long)sizes.heads,
        (unsigned long long)sizes.layers, (unsigned long long)sizes.kv,
        (unsigned long long)sizes.head_dim, sizes.bf16 ? "bfloat16" : "float32",
        (unsigned long long)sizes.vocab);
    finish(f, path);
}

static void make_model(const char *folder)
{
    (void)mkdir(folder, 0777);
    uint64_t total = list_tensors();
    write_config(folder);
    for (uint64_t s = 0; s < sizes.shards; s++) {
        write_shard(folder, s);
    }
    if (sizes.shards > 1) {
        write_index(folder, total);
    }
}

/* --- an SAE --------------------------------------------------------------------------------- */

static void u16(FILE *f, uint64_t v)
{
    (void)fputc((int)(v & 0xff), f);
    (void)fputc((int)(v >> 8 & 0xff), f);
}

static void u32(FILE *f, uint64_t v)
{
    u16(f, v & 0xffff);
    u16(f, v >> 16 & 0xffff);
}

struct member {
    const char *name;
    uint64_t rows, columns; /* columns 0: a vector */
    uint64_t offset, size;
    unsigned long crc;
};

/* numpy writes every member with force_zip64: the sizes stand in the local header's extra field. */
static void local_header(FILE *f, const struct member *m)
{
    u32(f, 0x04034b50);
    u16(f, 45); /* version needed */
    u16(f, 0);  /* flags */
    u16(f, 0);  /* stored */
    u16(f, 0);  /* time */
    u16(f, 33); /* date: 1980-01-01 */
    u32(f, m->crc);
    u32(f, 0xffffffff);
    u32(f, 0xffffffff);
    u16(f, strlen(m->name));
    u16(f, 20);
    (void)fputs(m->name, f);
    u16(f, 1);
    u16(f, 16);
    (void)fwrite(&m->size, sizeof m->size, 1, f);
    (void)fwrite(&m->size, sizeof m->size, 1, f);
}

static void member_bytes(FILE *f, struct member *m, const void *bytes, size_t n)
{
    (void)fwrite(bytes, 1, n, f);
    m->crc = crc32_z(m->crc, bytes, n);
    m->size += n;
}

static void npy_header(FILE *f, struct member *m)
{
    char header[128];
    char shape[48];
    if (m->columns) {
        (void)snprintf(shape, sizeof shape, "(%llu, %llu)", (unsigned long long)m->rows,
                       (unsigned long long)m->columns);
    } else {
        (void)snprintf(shape, sizeof shape, "(%llu,)", (unsigned long long)m->rows);
    }
    memset(header, ' ', sizeof header);
    memcpy(header, "\x93NUMPY\x01\x00\x76\x00", 10); /* version 1.0, 118 bytes of dict */
    int n = snprintf(header + 10, sizeof header - 10,
                     "{'descr': '<f4', 'fortran_order': False, 'shape': %s, }", shape);
    header[10 + n] = ' ';
    header[sizeof header - 1] = '\n';
    member_bytes(f, m, header, sizeof header);
}

static void unit_length(float *row, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++) {
        sum += (double)row[i] * (double)row[i];
    }
    for (size_t i = 0; i < n; i++) {
        row[i] = (float)((double)row[i] / sqrt(sum));
    }
}

static void write_member(FILE *f, struct member *m)
{
    size_t width = (size_t)(m->columns ? m->columns : m->rows);
    float *row = calloc(width, sizeof *row);
    if (!row) {
        die("no memory");
    }
    m->crc = crc32_z(0, NULL, 0);
    m->offset = (uint64_t)ftell(f);
    local_header(f, m);
    npy_header(f, m);
    for (uint64_t r = 0; r < (m->columns ? m->rows : 1); r++) {
        if (m->columns) { /* |x| of about sqrt(d_in) gives values of about 1 */
            normals(row, width, (float)(1 / sqrt((double)sizes.d_in)));
            if (strcmp(m->name, "W_dec.npy") == 0) {
                unit_length(row, width);
            }
        } else if (strcmp(m->name, "threshold.npy") == 0) {
            for (size_t i = 0; i < width; i++) {
                row[i] = (float)sizes.threshold;
            }
        }
        member_bytes(f, m, row, width * sizeof *row);
    }
    free(row);
    (void)fseek(f, (long)m->offset, SEEK_SET);
    local_header(f, m);
    (void)fseek(f, 0, SEEK_END);
}

static void make_sae(const char *path)
{
    struct member members[] = {{.name = "W_enc.npy", .rows = sizes.d_in, .columns = sizes.d_sae},
                               {.name = "W_dec.npy", .rows = sizes.d_sae, .columns = sizes.d_in},
                               {.name = "b_enc.npy", .rows = sizes.d_sae},
                               {.name = "b_dec.npy", .rows = sizes.d_in},
                               {.name = "threshold.npy", .rows = sizes.d_sae}};
    const size_t n = sizeof members / sizeof members[0];
    if (sizes.d_in * sizes.d_sae >= (uint64_t)1 << 28) {
        die("%s: two gigabytes and more are not written", path); /* the offsets below are 32 bits */
    }
    FILE *f = create(path);
    for (size_t i = 0; i < n; i++) {
        write_member(f, &members[i]);
    }
    long directory = ftell(f);
    for (size_t i = 0; i < n; i++) {
        const struct member *m = &members[i];
        u32(f, 0x02014b50);
        u16(f, 45 | 3 << 8); /* made by version 4.5, Unix */
        u16(f, 45);
        u32(f, 0); /* flags, stored */
        u16(f, 0);
        u16(f, 33);
        u32(f, m->crc);
        u32(f, m->size);
        u32(f, m->size);
        u16(f, strlen(m->name));
        u32(f, 0);           /* extra, comment */
        u32(f, 0);           /* disk, internal attributes */
        u32(f, 0600u << 16); /* external attributes: the mode */
        u32(f, m->offset);
        (void)fputs(m->name, f);
    }
    long end = ftell(f);
    u32(f, 0x06054b50);
    u32(f, 0); /* disks */
    u16(f, n);
    u16(f, n);
    u32(f, (uint64_t)(end - directory));
    u32(f, (uint64_t)directory);
    u16(f, 0);
    finish(f, path);
}

/* --- the command line ----------------------------------------------------------------------- */

static void set_size(const char *argument)
{
    static const struct {
        const char *name;
        uint64_t *value;
    } names[] = {
        {"hidden", &sizes.hidden}, {"ff", &sizes.ff},       {"layers", &sizes.layers},
        {"heads", &sizes.heads},   {"kv", &sizes.kv},       {"head_dim", &sizes.head_dim},
        {"vocab", &sizes.vocab},   {"bf16", &sizes.bf16},   {"shards", &sizes.shards},
        {"d_in", &sizes.d_in},     {"d_sae", &sizes.d_sae}, {"threshold", &sizes.threshold},
        {"seed", &sizes.seed}};
    size_t n = strcspn(argument, "=");
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if (argument[n] == '=' && strlen(names[i].name) == n &&
            memcmp(names[i].name, argument, n) == 0) {
            char *end;
            *names[i].value = strtoull(argument + n + 1, &end, 10);
            if (argument[n + 1] && !*end) {
                return;
            }
        }
    }
    die("\"%s\": expected hidden, ff, layers, heads, kv, head_dim, vocab, bf16, shards, d_in, "
        "d_sae, threshold or seed = a whole number",
        argument);
}

int main(int argc, char **argv)
{
    for (int i = 3; i < argc; i++) {
        set_size(argv[i]);
    }
    state = sizes.seed;
    if (argc > 2 && strcmp(argv[1], "model") == 0) {
        make_model(argv[2]);
    } else if (argc > 2 && strcmp(argv[1], "sae") == 0) {
        make_sae(argv[2]);
    } else {
        die("usage: make_weights model FOLDER|sae FILE [SIZE=N ...]");
    }
    return 0;
}
