#include "core/formats/hub_cache.h"

#include "core/base/memory.h"
#include "scratch.h"
#include "test.h"

#include <fcntl.h>

/* The snapshot of s/c must be the one of that name; "" for none. */
static void check_snapshot(struct scratch *s, const char *name)
{
    struct status st = {0};
    char *snapshot;
    char want[128];
    (void)snprintf(want, sizeof want, "c/snapshots/%s", name);
    int code = hub_cache_snapshot(scratch_path(s, "c"), &snapshot, &st);
    if (name[0]) {
        CHECK(code == 0);
        CHECK_STRING(snapshot, scratch_path(s, want));
    } else {
        CHECK(code == STATUS_NOT_FOUND && snapshot == NULL);
        CHECK_CONTAINS(st.message, "/c/snapshots: expected a snapshot");
    }
    memory_free(snapshot);
}

static void set_time(struct scratch *s, const char *name, time_t seconds)
{
    const struct timespec times[2] = {{seconds, 0}, {seconds, 0}};
    CHECK(utimensat(AT_FDCWD, scratch_path(s, name), times, 0) == 0);
}

static void takes_the_snapshot_that_main_names_else_the_newest(void)
{
    struct scratch s;
    scratch_open(&s);
    scratch_text(&s, "c/snapshots/.DS_Store", "");
    check_snapshot(&s, "");
    scratch_text(&s, "c/snapshots/old/x", "");
    check_snapshot(&s, "old");
    scratch_text(&s, "c/snapshots/young/x", "");
    scratch_text(&s, "c/snapshots/middle/x", "");
    set_time(&s, "c/snapshots/old", 1000);
    set_time(&s, "c/snapshots/middle", 2000);
    set_time(&s, "c/snapshots/young", 3000);
    check_snapshot(&s, "young");
    scratch_text(&s, "c/refs/main", "middle\n");
    check_snapshot(&s, "middle");
    scratch_text(&s, "c/refs/main", "gone");
    check_snapshot(&s, "young");
    scratch_text(&s, "c/refs/main", "../../outside");
    check_snapshot(&s, "young");
    scratch_text(&s, "c/refs/main", "");
    check_snapshot(&s, "young");
    scratch_close(&s);
}

static void a_folder_without_snapshots_is_no_cache(void)
{
    struct status st = {0};
    struct scratch s;
    char *snapshot;
    scratch_open(&s);
    CHECK(hub_cache_snapshot(s.root, &snapshot, &st) == 0);
    CHECK(snapshot == NULL);
    scratch_close(&s);
}

static void check_name(const char *path, const char *expected)
{
    struct status st = {0};
    char *name;
    CHECK(hub_cache_name(path, &name, &st) == 0);
    if (expected) {
        CHECK_STRING(name, expected);
    } else {
        CHECK(name == NULL);
    }
    memory_free(name);
}

static void reads_the_name_from_the_path(void)
{
    check_name("hub/models--google--gemma-2-2b", "gemma-2-2b");
    check_name("models--google--gemma-2-2b/snapshots/0a1b/", "gemma-2-2b");
    check_name("models--google--gemma-2-2b//snapshots//0a1b", "gemma-2-2b");
    check_name("models--gpt2", "gpt2");
    check_name("models--google--gemma-2-2b/other/0a1b", NULL);
    check_name("snapshots/0a1b", NULL);
    check_name("core/formats", NULL);
    check_name("", NULL);
}

static void tells_absent_from_broken(void)
{
    struct scratch s;
    scratch_open(&s);
    scratch_text(&s, "file", "");
    scratch_link(&s, "good", "file");
    scratch_link(&s, "broken", "gone");
    scratch_link(&s, "circle", "circle");
    CHECK(hub_cache_presence(scratch_path(&s, "file")) == HUB_THERE);
    CHECK(hub_cache_presence(scratch_path(&s, "good")) == HUB_THERE);
    CHECK(hub_cache_presence(scratch_path(&s, "broken")) == HUB_BROKEN);
    CHECK(hub_cache_presence(scratch_path(&s, "circle")) == HUB_BROKEN);
    CHECK(hub_cache_presence(scratch_path(&s, "gone")) == HUB_ABSENT);
    scratch_close(&s);
}

static void finds_unfinished_downloads(void)
{
    struct status st = {0};
    struct scratch s;
    scratch_open(&s);
    scratch_text(&s, "c/snapshots/h/x", "");
    scratch_text(&s, "c/blobs/1234", "");
    CHECK(hub_cache_incomplete(scratch_path(&s, "c/snapshots/h")) == NULL);
    scratch_text(&s, "c/blobs/5678.incomplete", "");
    char *from_snapshot = hub_cache_incomplete(scratch_path(&s, "c/snapshots/h"));
    char *from_cache = hub_cache_incomplete(scratch_path(&s, "c"));
    CHECK_CONTAINS(from_snapshot, "blobs/5678.incomplete");
    CHECK_CONTAINS(from_cache, "c/blobs/5678.incomplete");
    CHECK(hub_cache_missing(scratch_path(&s, "c"), "x.json", "none", &st) == STATUS_NOT_FOUND);
    CHECK_CONTAINS(st.message, "c: expected x.json, found none and an unfinished download (");
    memory_free(from_snapshot);
    memory_free(from_cache);
    scratch_close(&s);
}

static const struct test tests[] = {
    TEST(takes_the_snapshot_that_main_names_else_the_newest),
    TEST(a_folder_without_snapshots_is_no_cache),
    TEST(reads_the_name_from_the_path),
    TEST(tells_absent_from_broken),
    TEST(finds_unfinished_downloads),
};

int main(int argc, char **argv)
{
    return test_main(tests, TEST_COUNT(tests), argc, argv);
}
