/*
 * What is open outlasts its name, and the permission to open it again, however few
 * descriptors the daemon has.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

/* Of the daemon's descriptors the table gets three quarters, and of those what has
 * no name three quarters at most. */
enum { DESCRIPTORS = 160, MOST_PINS = DESCRIPTORS * 9 / 16, FILES = 300 };

static const char *path_of(const char *dir, int i)
{
	char name[16];

	snprintf(name, sizeof(name), "f%d", i);
	return in(dir, name);
}

static int make_files(const char *source, void *data)
{
	char content[16];

	(void)data;
	for (int i = 0; i < FILES; i++) {
		snprintf(content, sizeof(content), "%d", i);
		tree_write(path_of(source, i), content, -1);
	}
	return 0;
}

static struct fixture *create(void **state, uid_t uid)
{
	*state = fixture_create(&(struct fixture_options){
		.descriptors = DESCRIPTORS, .prepare = make_files,
		.uid = uid, .gid = uid });
	return *state;
}

static int teardown(void **state)
{
	fixture_destroy(*state);
	return 0;
}

static bool holds(int fd, int i)
{
	char is[16] = "", should[16];

	snprintf(should, sizeof(should), "%d", i);
	return pread(fd, is, sizeof(is) - 1, 0) >= 0 && strcmp(is, should) == 0;
}

/* Reads every file from @first on, so that all descriptors are dropped that need
 * not stay.  Returns how many were not what they should be. */
static int read_files(const char *dir, int first)
{
	int failures = 0;

	for (int i = first; i < FILES; i++) {
		int fd = open(path_of(dir, i), O_RDONLY);

		failures += fd < 0 || !holds(fd, i);
		close(fd);
	}
	return failures;
}

static bool can_unlink(void *data)
{
	return unlink(data) == 0;
}

static void no_more_names_go_than_descriptors_can_be_kept(void **state)
{
	const struct fixture *f = create(state, 0);
	const char *dir = f->mountpoint;
	int held[FILES], count = 0, fd;
	char path[400];
	struct stat st;

	do {
		held[count] = open(path_of(dir, count), O_RDONLY);
		assert_true(held[count] >= 0);
	} while (unlink(path_of(dir, count)) == 0 && ++count < FILES);
	assert_int_equal(errno, EMFILE);
	assert_in_range(count, MOST_PINS / 2, MOST_PINS);
	/* It has not gone, and neither can be what replaces it. */
	assert_true(holds(held[count], count));
	assert_int_equal(stat(path_of(f->source, count), &st), 0);
	assert_int_equal(rename(path_of(dir, FILES - 1), path_of(dir, count)), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(stat(path_of(f->source, FILES - 1), &st), 0);
	/* All else goes on. */
	assert_int_equal(read_files(dir, count), 0);
	assert_int_equal(mkdir(in(dir, "d"), 0755), 0);
	fd = open(in(dir, "d/new"), O_RDWR | O_CREAT | O_EXCL, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "7", 1), 1);
	assert_true(holds(fd, 7));
	close(fd);
	assert_int_equal(rename(in(dir, "d/new"), in(dir, "d/newer")), 0);
	for (int i = 0; i < count; i++)
		assert_true(holds(held[i], i));
	for (int i = 0; i <= count; i++)
		close(held[i]);
	/* The kernel's word that it forgets them takes a moment. */
	snprintf(path, sizeof(path), "%s", path_of(dir, count));
	assert_true(eventually(10, can_unlink, path));
}

static void a_copy_made_of_links_is_removed_again(void **state)
{
	const struct fixture *f = create(state, 0);
	const char *dir = f->mountpoint;
	char copy[400];
	char *names;

	snprintf(copy, sizeof(copy), "%s/copy", dir);
	assert_int_equal(mkdir(copy, 0755), 0);
	for (int i = 0; i < FILES; i++)
		assert_int_equal(link(path_of(dir, i), path_of(copy, i)), 0);
	assert_int_equal(read_files(copy, 0), 0);
	for (int i = 0; i < FILES; i++)
		assert_int_equal(unlink(path_of(copy, i)), 0);
	names = tree_list(copy);
	assert_string_equal(names, "");
	free(names);
	assert_int_equal(rmdir(copy), 0);
	assert_int_equal(read_files(dir, 0), 0);
}

/* The one that was seen last goes behind the mount. */
static void a_file_is_found_by_any_name_that_it_has_left(void **state)
{
	const struct fixture *f = create(state, 0);
	const char *dir = f->mountpoint;
	int fd = open(path_of(dir, 0), O_RDONLY);
	struct stat st;

	assert_int_equal(link(path_of(dir, 0), in(dir, "second")), 0);
	assert_int_equal(link(path_of(dir, 0), in(dir, "third")), 0);
	assert_int_equal(stat(in(dir, "third"), &st), 0);
	assert_int_equal(unlink(in(f->source, "second")), 0);
	assert_int_equal(unlink(in(f->source, "third")), 0);
	assert_int_equal(read_files(dir, 1), 0);
	assert_true(holds(fd, 0));
	assert_int_equal(read_files(dir, 1), 0);
	assert_int_equal(unlink(path_of(dir, 0)), 0);
	assert_int_equal(read_files(dir, 1), 0);
	assert_int_equal(fsync(fd), 0);
	close(fd);
}

static void a_removed_directory_still_answers(void **state)
{
	const struct fixture *f = create(state, 0);
	const char *dir = f->mountpoint;
	struct stat st;
	int fd;

	assert_int_equal(mkdir(in(dir, "d"), 0755), 0);
	fd = open(in(dir, "d"), O_RDONLY | O_DIRECTORY);
	assert_true(fd >= 0);
	assert_int_equal(rmdir(in(dir, "d")), 0);
	assert_int_equal(read_files(dir, 0), 0);
	assert_int_equal(fsync(fd), 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(openat(fd, "x", O_WRONLY | O_CREAT, 0644), -1);
	assert_int_equal(errno, ENOENT);
	close(fd);
}

/* Makes so many files that the daemon can't keep all of them open for writing. */
static int make_others(const char *dir)
{
	int failures = 0;

	for (int i = 0; i < FILES; i++) {
		const char *path = path_of(dir, FILES + i);
		int fd = open(path, O_WRONLY | O_CREAT, 0644);

		failures += write(fd, "x", 1) != 1;
		close(fd);
	}
	return failures;
}

/* Runs as the daemon's user; see as_user(). */
static int write_without_permission(void *data)
{
	const char *dir = data;
	int made = open(in(dir, "made"), O_WRONLY | O_CREAT | O_EXCL, 0444);
	int changed = open(in(dir, "changed"), O_WRONLY | O_CREAT | O_EXCL, 0644);
	int failures = made < 0 || write(made, "a", 1) != 1;

	failures += changed < 0 || fchmod(changed, 0444) != 0;
	failures += make_others(dir);
	failures += write(made, "b", 1) != 1;
	failures += write(changed, "a", 1) != 1;
	failures += read_files(dir, 0);
	failures += make_others(dir);
	failures += write(changed, "b", 1) != 1;
	close(made);
	close(changed);
	return failures < 255 ? failures : 255;
}

static void who_may_no_longer_open_may_go_on_writing(void **state)
{
	const struct fixture *f = create(state, NAMED_USER);
	char dir[300];

	snprintf(dir, sizeof(dir), "%s", f->mountpoint);
	assert_int_equal(as_user(NAMED_USER, NAMED_USER, NULL, 0, write_without_permission,
				 dir), 0);
	for (int i = 0; i < 2; i++) {
		char *is = tree_read(in(f->source, i ? "made" : "changed"), NULL);

		assert_string_equal(is, "ab");
		free(is);
	}
}

int main(void)
{
#define T(name) cmocka_unit_test_teardown(name, teardown)
	const struct CMUnitTest tests[] = {
		T(no_more_names_go_than_descriptors_can_be_kept),
		T(a_copy_made_of_links_is_removed_again),
		T(a_file_is_found_by_any_name_that_it_has_left),
		T(a_removed_directory_still_answers),
		T(who_may_no_longer_open_may_go_on_writing),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
