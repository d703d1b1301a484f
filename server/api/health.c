/* GET /health: Neuronpedia's {"status":"healthy"}, 503 once the server is stopping or its
 * weights are gone. */
#include "server/api/routes.h"
#include "server/app.h"

enum http_next api_health(struct exchange *x)
{
    const struct app *app = x->app;
    if (atomic_load(&app->stopping)) {
        return exchange_error(x, 503, "the server is stopping");
    }
    struct status st = {0};
    if (engine_check_weights(app->engine, &st)) {
        return exchange_error(x, 503, "%s", st.message);
    }
    text_string(&x->response.body, "{\"status\":\"healthy\"}");
    return HTTP_DONE;
}
