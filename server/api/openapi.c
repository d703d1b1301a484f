/* GET /openapi.json: the route table as an OpenAPI 3.1 document, so that it cannot say anything
 * that the server does not do. Bodies are shown as examples; docs/api.md explains every field. */
#include "server/api/routes.h"
#include "server/app.h"
#include "server/http/emit.h"
#include "server/http/router.h"

#include <ctype.h>
#include <string.h>

static void write_parameters(struct emitter *w, const char *pattern)
{
    emit_key(w, "parameters");
    emit_array(w);
    for (const char *open = strchr(pattern, '{'); open; open = strchr(open + 1, '{')) {
        emit_object(w);
        emit_key(w, "name");
        emit_string_n(w, open + 1, strcspn(open + 1, "}"));
        emit_key(w, "in");
        emit_string(w, "path");
        emit_key(w, "required");
        emit_bool(w, true);
        emit_key(w, "schema");
        emit_raw(w, "{\"type\":\"string\"}", 17);
        emit_end_object(w);
    }
    emit_end_array(w);
}

static void write_operation(struct emitter *w, const struct route *route)
{
    char method[16];
    size_t n = 0;
    for (; route->method[n] && n + 1 < sizeof method; n++) {
        method[n] = (char)tolower((unsigned char)route->method[n]);
    }
    method[n] = '\0';
    emit_key(w, method);
    emit_object(w);
    emit_key(w, "summary");
    emit_string(w, route->summary);
    write_parameters(w, route->pattern);
    if (route->example) {
        emit_key(w, "requestBody");
        emit_object(w);
        emit_key(w, "required");
        emit_bool(w, true);
        emit_key(w, "content");
        emit_object(w);
        emit_key(w, "application/json");
        emit_object(w);
        emit_key(w, "schema");
        emit_raw(w, "{\"type\":\"object\"}", 17);
        emit_key(w, "example");
        emit_raw(w, route->example, strlen(route->example));
        emit_end_object(w);
        emit_end_object(w);
        emit_end_object(w);
    }
    static const char responses[] = "{\"200\":{\"description\":\"OK\"},"
                                    "\"default\":{\"description\":\"{\\\"error\\\": \\\"what is "
                                    "wrong, naming the field\\\"}\"}}";
    emit_key(w, "responses");
    emit_raw(w, responses, sizeof responses - 1);
    emit_end_object(w);
}

enum http_next api_openapi(struct exchange *x)
{
    const struct app *app = x->app;
    struct emitter w = {.out = &x->response.body};
    emit_object(&w);
    emit_key(&w, "openapi");
    emit_string(&w, "3.1.0");
    emit_key(&w, "info");
    emit_object(&w);
    emit_key(&w, "title");
    emit_string(&w, "darkmatter");
    emit_key(&w, "version");
    emit_string(&w, APP_VERSION);
    emit_end_object(&w);
    emit_key(&w, "paths");
    emit_object(&w);
    for (size_t i = 0; i < app->n_routes; i++) {
        const char *pattern = app->routes[i].pattern;
        bool seen = false;
        for (size_t j = 0; j < i; j++) {
            seen = seen || strcmp(app->routes[j].pattern, pattern) == 0;
        }
        if (seen) {
            continue; /* written with the first route of this path */
        }
        emit_key(&w, pattern);
        emit_object(&w);
        for (size_t j = i; j < app->n_routes; j++) {
            if (strcmp(app->routes[j].pattern, pattern) == 0) {
                write_operation(&w, &app->routes[j]);
            }
        }
        emit_end_object(&w);
    }
    emit_end_object(&w);
    emit_end_object(&w);
    return HTTP_DONE;
}
