/*
 * Mounts that come and go while we are mounted: those below the source are shown as
 * they are, and those that somebody made in our mount survive all of it.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

enum { PATIENCE = 20, MANY = 100 };

static int prepare(const char *source, void *data)
{
	char name[32];

	(void)data;
	for (int i = 0; i < MANY; i++) {
		snprintf(name, sizeof(name), "many/f%d", i);
		tree_write(in(source, name), "", -1);
	}
	tree_write(in(source, "d/below/file"), "covered", -1);
	tree_write(in(source, "d/above/file"), "covered", -1);
	tree_write(in(source, "d/file"), "plain", -1);
	return 0;
}

static int setup_with(void **state, const char *options, bool in_place)
{
	*state = fixture_create(&(struct fixture_options){
		.prepare = prepare, .options = options, .in_place = in_place,
	});
	return 0;
}

static int setup(void **state)
{
	return setup_with(state, NULL, false);
}

static int setup_timeout(void **state)
{
	return setup_with(state, "timeout=1", false);
}

static int setup_in_place(void **state)
{
	return setup_with(state, NULL, true);
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

static bool exists(void *path)
{
	return access(path, F_OK) == 0;
}

struct listing {
	const char *path, *names;
};

static bool lists(void *data)
{
	const struct listing *listing = data;
	char *names = tree_list(listing->path);
	bool same = strcmp(names, listing->names) == 0;

	free(names);
	return same;
}

static void expect_list(const char *path, const char *names)
{
	struct listing listing = { path, names };

	if (!eventually(PATIENCE, lists, &listing))
		fail_msg("'%s' does not come to hold '%s'", path, names);
}

static void expect_content(const char *path, const char *wanted)
{
	char *content = tree_read(path, NULL);

	assert_string_equal(content, wanted);
	free(content);
}

/* A path of the source, on which a mount then lies. */
static void cover(const char *place, const char *name)
{
	assert_int_equal(mount("x", place, "tmpfs", 0, NULL), 0);
	tree_write(in(place, name), "inside", -1);
}

static void look_at_all(const struct fixture *f)
{
	free(tree_describe(f->mountpoint, false));
}

static void a_mount_below_the_source_is_shown_while_it_is_there(void **state)
{
	const struct fixture *f = *state;
	char behind[320], shown[320];

	snprintf(behind, sizeof(behind), "%s/d/below", f->source);
	snprintf(shown, sizeof(shown), "%s/d/below", f->mountpoint);
	for (int i = 0; i < 3; i++) {
		look_at_all(f);
		expect_list(shown, "file");
		cover(behind, "new");
		expect_list(shown, "new");
		expect_content(in(shown, "new"), "inside");
		/* Heard of as everywhere. */
		tree_write(in(behind, "newer"), "x", -1);
		expect_list(shown, "new newer");
		assert_int_equal(umount2(behind, MNT_DETACH), 0);
		expect_list(shown, "file");
		expect_content(in(shown, "file"), "covered");
	}
}

/* The same directory by another mount, on which others lie. */
static void a_directory_mounted_on_itself_shows_what_is_mounted_in_it(void **state)
{
	const struct fixture *f = *state;
	char behind[320], below[320], shown[320];

	snprintf(behind, sizeof(behind), "%s/d", f->source);
	snprintf(below, sizeof(below), "%s/d/below", f->source);
	snprintf(shown, sizeof(shown), "%s/d/below", f->mountpoint);
	look_at_all(f);
	assert_int_equal(mount(behind, behind, NULL, MS_BIND, NULL), 0);
	cover(below, "new");
	expect_list(shown, "new");
	assert_int_equal(umount2(behind, MNT_DETACH), 0);
	expect_list(shown, "file");
}

static void mounts_in_ours_survive_mounts_below(void **state)
{
	const struct fixture *f = *state;
	char behind[320], above[320], file[320];

	snprintf(behind, sizeof(behind), "%s/d/below", f->source);
	snprintf(above, sizeof(above), "%s/d/above", f->mountpoint);
	snprintf(file, sizeof(file), "%s/d/file", f->mountpoint);
	look_at_all(f);
	cover(above, "mine");
	assert_int_equal(mount(in(f->mountpoint, "d/above/mine"), file, NULL, MS_BIND,
			       NULL), 0);
	cover(behind, "new");
	expect_list(in(f->mountpoint, "d/below"), "new");
	expect_list(above, "mine");
	expect_content(file, "inside");
	assert_int_equal(umount2(behind, MNT_DETACH), 0);
	expect_list(in(f->mountpoint, "d/below"), "file");
	expect_list(above, "mine");
	expect_content(file, "inside");
	assert_int_equal(umount(file), 0);
	assert_int_equal(umount(above), 0);
	expect_list(above, "file");
}

/* Words to the kernel, as `status` counts them. */
static long count_words(const struct fixture *f)
{
	json_t *status = fixture_status(f->mountpoint);
	json_t *words = json_object_get(status, "invalidations");
	long count = (long)json_integer_value(words);

	assert_non_null(words);
	json_decref(status);
	return count;
}

struct counted {
	const struct fixture *f;
	long before;
};

static bool has_words(void *data)
{
	const struct counted *counted = data;

	return count_words(counted->f) > counted->before;
}

/* It has a path like one below the source, but lies on our mount. */
static void a_mount_in_ours_makes_nothing_be_asked_for_again(void **state)
{
	const struct fixture *f = *state;
	char above[320], shown[320];
	struct counted counted;
	long before;
	int fd;

	snprintf(above, sizeof(above), "%s/d/above", f->mountpoint);
	snprintf(shown, sizeof(shown), "%s/d/new", f->mountpoint);
	look_at_all(f);
	before = count_words(f);
	for (int i = 0; i < 20; i++) {
		cover(above, "mine");
		expect_list(above, "mine");
		assert_int_equal(umount(above), 0);
		expect_list(above, "file");
	}
	cover(above, "mine");
	/* When this is seen, the mount before it has been heard of. */
	fd = openat(f->source_fd, "d/new", O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
	close(fd);
	assert_true(eventually(PATIENCE, exists, shown));
	/* A word is counted when the kernel has heard it. */
	counted = (struct counted){ f, before };
	assert_true(eventually(PATIENCE, has_words, &counted));
	assert_in_range(count_words(f) - before, 1, MANY / 2);
	assert_int_equal(umount(above), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(
			a_mount_below_the_source_is_shown_while_it_is_there,
			setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_mount_below_the_source_is_shown_while_it_is_there,
			setup_timeout, teardown),
		cmocka_unit_test_setup_teardown(
			a_directory_mounted_on_itself_shows_what_is_mounted_in_it,
			setup, teardown),
		cmocka_unit_test_setup_teardown(mounts_in_ours_survive_mounts_below,
						setup, teardown),
		cmocka_unit_test_setup_teardown(
			a_mount_in_ours_makes_nothing_be_asked_for_again,
			setup_in_place, teardown),
	};
	int status = fixture_possible();

	if (!status && geteuid() != 0) {
		fprintf(stderr, "needs root to mount below the source\n");
		status = getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
	}
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
