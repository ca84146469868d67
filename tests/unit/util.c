/*
 * Small helpers: whole trees removed, directories opened, words compared.
 */
#include "unit.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>

static void words_are_compared_at_both_ends(void **state)
{
	static const struct {
		const char *text, *part;
		bool starts, ends;
	} cases[] = {
		{ "", "", true, true },
		{ "x", "", true, true },
		{ "", "x", false, false },
		{ "x.py", "x", true, false },
		{ "x.py", ".py", false, true },
		{ "x.py", "x.py", true, true },
		{ "x.py", "xx.py", false, false },
		{ "aa", "a", true, true },
		{ "abc", "b", false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		assert_int_equal(starts_with(cases[i].text, cases[i].part),
				 cases[i].starts);
		assert_int_equal(ends_with(cases[i].text, cases[i].part),
				 cases[i].ends);
	}
}

static void dots_are_the_two_names(void **state)
{
	(void)state;
	assert_true(is_dot("."));
	assert_true(is_dot(".."));
	assert_false(is_dot(""));
	assert_false(is_dot("..."));
	assert_false(is_dot(".x"));
	assert_false(is_dot("x."));
}

static void a_stolen_descriptor_is_no_longer_owned(void **state)
{
	int before = unit_descriptors();
	int fd = open("/", O_PATH | O_CLOEXEC), taken = -1;

	(void)state;
	{
		_cleanup_close_ int owned = fd;
		_cleanup_close_ int closed = open("/", O_PATH | O_CLOEXEC);

		assert_true(closed >= 0);
		taken = steal_fd(&owned);
		assert_int_equal(owned, -1);
	}
	assert_int_equal(taken, fd);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	close(fd);
	assert_int_equal(unit_descriptors(), before);
}

struct scratch {
	char *path;
	int fd;
	int before;
};

static int set_up(void **state)
{
	static struct scratch scratch;

	scratch.before = unit_descriptors();
	scratch.path = unit_scratch();
	scratch.fd = open(scratch.path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	*state = &scratch;
	return scratch.fd < 0;
}

static int tear_down(void **state)
{
	struct scratch *scratch = *state;

	close(scratch->fd);
	unit_remove(scratch->path);
	return unit_descriptors() != scratch->before;
}

static void only_a_directory_itself_is_opened(void **state)
{
	struct scratch *scratch = *state;
	DIR *dir = (DIR *)(uintptr_t)0x77;

	assert_int_equal(mkdirat(scratch->fd, "d", 0755), 0);
	tree_write(in(scratch->path, "f"), "", -1);
	assert_int_equal(symlinkat("d", scratch->fd, "to-d"), 0);
	assert_int_equal(open_dir_at(scratch->fd, "missing", &dir), -ENOENT);
	assert_int_equal(open_dir_at(scratch->fd, "f", &dir), -ENOTDIR);
	int err = open_dir_at(scratch->fd, "to-d", &dir);
	assert_true(err == -ENOTDIR || err == -ELOOP);
	assert_true(dir == (DIR *)(uintptr_t)0x77);
	assert_int_equal(open_dir_at(scratch->fd, "d", &dir), 0);
	assert_int_equal(fcntl(dirfd(dir), F_GETFD), FD_CLOEXEC);
	closedir(dir);
}

static void whatever_it_is_goes(void **state)
{
	struct scratch *scratch = *state;

	tree_write(in(scratch->path, "stays/file"), "x", -1);
	tree_write(in(scratch->path, "tree/a/b/c"), "x", -1);
	tree_write(in(scratch->path, "tree/a/d"), "x", -1);
	tree_write(in(scratch->path, "file"), "x", -1);
	assert_int_equal(mkdirat(scratch->fd, "empty", 0), 0);
	assert_int_equal(symlinkat("stays", scratch->fd, "link"), 0);
	assert_int_equal(symlinkat("../../stays", scratch->fd, "tree/a/link"), 0);
	assert_int_equal(mkfifoat(scratch->fd, "fifo", 0600), 0);
	static const char *const names[] = {
		"tree", "file", "empty", "link", "fifo", "missing",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		assert_int_equal(remove_tree_at(scratch->fd, names[i]), 0);
	/* What symlinks led to is not part of it. */
	char *left = tree_list(scratch->path);
	assert_string_equal(left, "stays");
	free(left);
	assert_int_equal(access(in(scratch->path, "stays/file"), F_OK), 0);
}

/* More names than one read of the directory brings. */
static void a_large_directory_goes(void **state)
{
	struct scratch *scratch = *state;
	char name[64];

	assert_int_equal(mkdirat(scratch->fd, "many", 0755), 0);
	for (int i = 0; i < 5000; i++) {
		snprintf(name, sizeof(name), "many/file-with-a-name-%d", i);
		assert_int_equal(mknodat(scratch->fd, name, S_IFREG | 0600, 0), 0);
	}
	assert_int_equal(remove_tree_at(scratch->fd, "many"), 0);
	assert_int_equal(faccessat(scratch->fd, "many", F_OK, 0), -1);
}

static void depth_is_bounded(void **state)
{
	struct scratch *scratch = *state;
	struct rlimit limit, few;

	assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
	unit_chain(scratch->fd, 100);
	assert_int_equal(remove_tree_at(scratch->fd, "d"), 0);
	assert_int_equal(faccessat(scratch->fd, "d", F_OK, 0), -1);

	unit_chain(scratch->fd, 101);
	assert_int_equal(remove_tree_at(scratch->fd, "d"), -ELOOP);
	/* Each level costs a descriptor; when they run out it is an error. */
	few = limit;
	few.rlim_cur = (rlim_t)unit_descriptors() + 50;
	assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
	int err = remove_tree_at(scratch->fd, "d");
	setrlimit(RLIMIT_NOFILE, &limit);
	assert_int_equal(err, -EMFILE);
	/* For the tear-down: without its last level it can be removed. */
	assert_int_equal(remove_tree_at(scratch->fd, "d/d"), 0);
}

static int remove_tree_of(void *data)
{
	return -remove_tree_at(((struct scratch *)data)->fd, "tree");
}

static void the_first_error_stops_it(void **state)
{
	struct scratch *scratch = *state;
	struct stat st;

	tree_write(in(scratch->path, "tree/locked/file"), "x", -1);
	assert_int_equal(chmod(in(scratch->path, "tree/locked"), 0555), 0);
	assert_int_equal(fchownat(scratch->fd, "", NOBODY, NOBODY, AT_EMPTY_PATH),
			 0);
	assert_int_equal(fchownat(scratch->fd, "tree", NOBODY, NOBODY, 0), 0);
	assert_int_equal(as_user(NOBODY, NOBODY, NULL, 0, remove_tree_of, scratch),
			 EACCES);
	assert_int_equal(fstatat(scratch->fd, "tree/locked/file", &st, 0), 0);
	/* Nor does a directory that is not ours to remove count as a file. */
	assert_int_equal(fchownat(scratch->fd, "", 0, 0, AT_EMPTY_PATH), 0);
	assert_int_equal(chmod(scratch->path, 01777), 0);
	assert_int_equal(fchownat(scratch->fd, "tree", 0, 0, 0), 0);
	assert_int_equal(remove_tree_at(scratch->fd, "tree/locked"), 0);
	assert_int_equal(as_user(NOBODY, NOBODY, NULL, 0, remove_tree_of, scratch),
			 EPERM);
	assert_int_equal(fstatat(scratch->fd, "tree", &st, 0), 0);
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_are_compared_at_both_ends),
		cmocka_unit_test(dots_are_the_two_names),
		cmocka_unit_test(a_stolen_descriptor_is_no_longer_owned),
		T(only_a_directory_itself_is_opened),
		T(whatever_it_is_goes),
		T(a_large_directory_goes),
		T(depth_is_bounded),
		T(the_first_error_stops_it),
	};
	int status = unit_needs_root();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
