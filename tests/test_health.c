/* GET /health: yes while the server runs, no from the moment it stops. */
#include "tests/v1.h"

static void is_healthy_until_the_server_stops(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    static const char *const bodies[] = {"{\"status\":\"healthy\"}", "stopping"};
    for (int stopping = 0; stopping < 2; stopping++) {
        atomic_store(&v.app.stopping, stopping != 0);
        struct exchange *x = exchange_run(&v.router, "GET", "/health", NULL, NULL, 0);
        REQUIRE(x);
        CHECK(x->response.status == (stopping ? 503 : 200));
        CHECK_STRING(x->response.content_type, HTTP_JSON);
        CHECK_CONTAINS(x->response.body.data, bodies[stopping]);
        exchange_close(x);
    }
    v1_close(&v);
}

static void takes_no_post(void)
{
    struct v1 v;
    REQUIRE(v1_open(&v, V1_ORACLE "/gemma2-nano-bf16"));
    struct v1_answer a = v1_post(&v, "/health", "{}");
    CHECK(a.status == 405);
    v1_free(&a);
    v1_close(&v);
}

static const struct test tests[] = {
    TEST(is_healthy_until_the_server_stops),
    TEST(takes_no_post),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
