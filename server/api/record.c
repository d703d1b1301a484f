#include "server/api/record.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

void record_value(struct emitter *w, const cJSON *value)
{
    if (!value) {
        emit_null(w);
        return;
    }
    char *json = cJSON_PrintUnformatted(value);
    if (json) {
        emit_raw(w, json, strlen(json));
    } else {
        w->out->failed = true;
    }
    free(json); /* cJSON's own allocation */
}

void record_index(struct emitter *w, long long index)
{
    char text[32];
    (void)snprintf(text, sizeof text, "%lld", index);
    emit_string(w, text);
}

void record_write(struct emitter *w, const struct record_key *keys, size_t n, const void *record,
                  const cJSON *line)
{
    for (size_t i = 0; i < n; i++) {
        const cJSON *imported = line ? json_get(line, keys[i].name) : NULL;
        emit_key(w, keys[i].name);
        if (keys[i].write && (keys[i].is_ours || !line)) {
            keys[i].write(w, record);
        } else if (imported) {
            record_value(w, imported);
        } else {
            emit_raw(w, keys[i].blank, strlen(keys[i].blank));
        }
    }
}

const char *record_now(char now[RECORD_TIME])
{
    struct timespec time;
    struct tm parts;
    (void)clock_gettime(CLOCK_REALTIME, &time);
    (void)gmtime_r(&time.tv_sec, &parts);
    size_t n = strftime(now, RECORD_TIME, "%Y-%m-%dT%H:%M:%S", &parts);
    (void)snprintf(now + n, RECORD_TIME - n, ".%03dZ", (int)(time.tv_nsec / 1000000));
    return now;
}

void record_blank(struct emitter *w, const char *const *keys, const char *json)
{
    for (; *keys; keys++) {
        emit_key(w, *keys);
        emit_raw(w, json, strlen(json));
    }
}
