#include "server/command/corpus_flags.h"

#include "server/command/command.h"

struct corpus_options corpus_flags_options(const struct options *o, const char *path)
{
    return (struct corpus_options){.path = path,
                                   .context = (size_t)o->context,
                                   .whole_documents = o->no_pack,
                                   .keep_duplicates = o->keep_duplicates,
                                   .limit_tokens = (int64_t)o->limit_tokens,
                                   .notice = command_notice};
}

void corpus_flags_name(const struct options *o, const char *path, struct text *out)
{
    if (o->name) {
        text_string(out, o->name);
    } else {
        corpus_name(path, out);
    }
}
