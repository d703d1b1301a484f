/* doctor: the model and its SAEs. */
#include "core/base/memory.h"
#include "core/formats/hub_cache.h"
#include "core/sae/sae.h"
#include "server/command/doctor.h"

#include <string.h>

#define BESIDE ((uint64_t)500 << 20) /* scratch and caches beside the weights */

/* --- the model -------------------------------------------------------------------------------- */

/* "F32", or "F32 and BF16"; returns the bytes of F32 tensors. */
static uint64_t dtypes(const struct model_folder *folder, struct text *out)
{
    uint64_t bytes[DTYPE_OTHER + 1] = {0};
    for (size_t i = 0; i < folder->n_shards; i++) {
        for (size_t k = 0; k < safetensors_count(folder->shards[i]); k++) {
            const struct tensor *t = safetensors_at(folder->shards[i], k);
            bytes[t->dtype] += tensor_bytes(t);
        }
    }
    for (int i = 0; i <= DTYPE_OTHER; i++) {
        if (bytes[i]) {
            text_printf(out, "%s%s", out->length ? " and " : "", dtype_name((enum dtype)i));
        }
    }
    return bytes[DTYPE_F32];
}

static void say_memory(struct doctor *d, uint64_t wide)
{
    const struct model_folder *folder = &d->folder;
    uint64_t needed = folder->weight_bytes + BESIDE;
    bool mostly_wide = wide > folder->weight_bytes / 2;
    if (d->memory && needed > d->memory) {
        doctor_say(d, FINDING_WRONG,
                   "%s wants %s of memory and there are %s: every token would read it "
                   "from the disk; %s",
                   folder->path, doctor_size(needed).text, doctor_size(d->memory).text,
                   mostly_wide ? "write a BF16 copy of half the size with `darkmatter pack`"
                               : "take a smaller model, or a machine with more memory");
    } else if (d->memory) {
        doctor_say(d, FINDING_OK, "it wants %s of the %s of memory", doctor_size(needed).text,
                   doctor_size(d->memory).text);
    }
    if (mostly_wide && (!d->memory || needed <= d->memory)) {
        doctor_say(d, FINDING_NOTE,
                   "its weights are F32; `darkmatter pack --model %s FOLDER` writes a BF16 copy "
                   "that is half as large and faster to read",
                   folder->path);
    }
}

static void say_files(struct doctor *d)
{
    const struct model_folder *folder = &d->folder;
    char *unfinished = hub_cache_incomplete(folder->path);
    if (unfinished) {
        doctor_say(d, FINDING_NOTE,
                   "%s: an unfinished download; if a file is missing, run `hf download` again, "
                   "else delete it",
                   unfinished);
    }
    memory_free(unfinished);
    if (folder->tokenizer_json || folder->tokenizer_model) {
        doctor_say(d, FINDING_OK, "tokenizer: %s",
                   folder->tokenizer_json ? folder->tokenizer_json : folder->tokenizer_model);
    } else {
        doctor_say(d, FINDING_WRONG,
                   "%s has no tokenizer.json and no tokenizer.model: only ids are taken, no text; "
                   "copy either file there",
                   folder->path);
    }
}

/* Everything that serve would do with the model, short of computing. */
static void open_engine(struct doctor *d)
{
    struct engine_options options = options_engine(d->options);
    struct engine *e = NULL;
    struct status st = {0};
    options.n_sae_folders = 0;
    options.threads = 1;
    if (engine_open(&e, &options, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
        return;
    }
    d->has_model = true;
    d->identity = engine_model_identity(e);
    doctor_say(d, FINDING_OK, "every tensor is there in its shape");
    engine_close(e);
}

static bool look_at_model(struct doctor *d)
{
    struct text types = {0};
    struct status st = {0};
    const struct model_folder *folder = &d->folder;
    const struct gemma_config *c = &d->config;
    d->area = "model";
    if (model_folder_open(&d->folder, d->options->model, d->options->model_id, &st) ||
        config_open(&d->config, folder->config, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
        return false;
    }
    uint64_t wide = dtypes(folder, &types);
    doctor_say(d, FINDING_OK,
               "%s: %s, Gemma %d, %zu layers, hidden size %zu, vocabulary %zu, %s of %s in "
               "%zu file%s",
               folder->path, folder->id, (int)c->family, c->n_layers, c->hidden_size, c->vocab_size,
               doctor_size(folder->weight_bytes).text, types.data ? types.data : "?",
               folder->n_shards, folder->n_shards == 1 ? "" : "s");
    text_free(&types);
    if (c->note[0]) {
        doctor_say(d, FINDING_NOTE, "%s: %s", folder->config, c->note);
    }
    open_engine(d);
    say_files(d);
    say_memory(d, wide);
    return true;
}

/* --- SAEs ------------------------------------------------------------------------------------- */

static void say_source(struct doctor *d, const struct sae_source *s)
{
    struct sae *sae = NULL;
    struct status st = {0};
    if (sae_open(&sae, s, &st)) {
        doctor_say(d, FINDING_WRONG, "%s: %s", s->name, st.message);
        return;
    }
    doctor_say(d, FINDING_OK, "%s%s%s: %zu features of %s.%d, %s, %s", s->name,
               s->l0[0] ? ", L0 " : "", s->l0, s->d_sae, point_name(s->output), s->layer,
               sae_architecture_name(s->architecture), doctor_size(s->bytes).text);
    sae_close(sae);
}

static void say_budget(struct doctor *d, const struct catalogue *all)
{
    uint64_t budget = d->options->sae_memory ? d->options->sae_memory : d->memory / 4;
    uint64_t largest = 0;
    uint64_t total = 0;
    for (size_t i = 0; i < all->n_sources; i++) {
        largest = all->sources[i].bytes > largest ? all->sources[i].bytes : largest;
        total += all->sources[i].bytes;
    }
    if (largest > budget) {
        doctor_say(d, FINDING_NOTE,
                   "the largest is %s, more than --sae-memory (%s): it is streamed from "
                   "the disk at each use",
                   doctor_size(largest).text, doctor_size(budget).text);
    } else if (total > budget) {
        doctor_say(d, FINDING_NOTE,
                   "together they are %s, more than --sae-memory (%s): the least recently "
                   "used are closed and opened again",
                   doctor_size(total).text, doctor_size(budget).text);
    }
}

static void look_at_saes(struct doctor *d)
{
    const struct options *o = d->options;
    struct catalogue all = {0};
    struct status st = {0};
    d->area = "saes";
    if (o->n_saes == 0) {
        doctor_say(d, FINDING_NOTE, "no --saes were named: the model and its neurons are served");
        return;
    }
    if (catalogue_scan(&all, o->saes, o->n_saes, &d->config, &st)) {
        doctor_say(d, FINDING_WRONG, "%s", st.message);
        return;
    }
    for (size_t i = 0; i < all.n_sources; i++) {
        say_source(d, &all.sources[i]);
    }
    for (size_t i = 0; i < all.n_refusals; i++) {
        const struct sae_refusal *r = &all.refusals[i];
        doctor_say(d, r->code == STATUS_UNSUPPORTED ? FINDING_NOTE : FINDING_WRONG,
                   "left out: %s: %s", r->path, r->reason);
    }
    if (all.n_sources == 0 && all.n_refusals == 0) {
        doctor_say(d, FINDING_WRONG,
                   "no SAE lies under %s%s; expected params.npz, params.safetensors or "
                   "sae_weights.safetensors, however deep",
                   o->saes[0], o->n_saes > 1 ? " and the others" : "");
    }
    say_budget(d, &all);
    catalogue_free(&all);
}

void doctor_model(struct doctor *d)
{
    if (look_at_model(d)) {
        look_at_saes(d);
    }
}
