#include "core/base/status.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

int status_set_(struct status *st, enum status_code code, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    st->code = code;
    (void)vsnprintf(st->message, sizeof st->message, format, args);
    va_end(args);
    return (int)code;
}

int status_prefix(struct status *st, const char *format, ...)
{
    char old[sizeof st->message];
    memcpy(old, st->message, sizeof old);
    va_list args;
    va_start(args, format);
    int n = vsnprintf(st->message, sizeof st->message, format, args);
    va_end(args);
    const char *parts[] = {": ", old};
    for (size_t i = 0; n >= 0 && i < 2; i++) {
        size_t used = strlen(st->message);
        size_t room = sizeof st->message - 1 - used;
        size_t length = strnlen(parts[i], sizeof old);
        length = length < room ? length : room;
        memcpy(st->message + used, parts[i], length);
        st->message[used + length] = '\0';
    }
    return (int)st->code;
}

void status_clear(struct status *st)
{
    st->code = STATUS_OK;
    st->message[0] = '\0';
}
