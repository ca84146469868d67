/*
 * The store's limits, size= and inodes=: a store that is full of what can't be made
 * anew refuses with ENOSPC and takes nothing else down with it.  What goes from a
 * store that is full of bytecode is eviction.c's subject.
 */
#include "rules_common.h"

#define MEBI ((size_t)1 << 20)

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "a/m.py"), "m = 1\n");
	write_text(in(source, "b/n.py"), "n = 1\n");
	return 0;
}

/* A daemon may well say that its store is full. */
static struct fixture_options one_mebibyte = {
	.prepare = make_project, .options = "size=1M",
	.expected_log = "No space left",
};
static struct fixture_options few_inodes = {
	.prepare = make_project, .options = "inodes=20",
	.expected_log = "No space left",
};

/* Writes until it fails or @size is reached; returns how much was written. */
static size_t fill(const char *path, size_t size, int *ret_error)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
	static char block[64 << 10];
	size_t done = 0;

	*ret_error = 0;
	if (fd < 0) {
		*ret_error = errno;
		return 0;
	}
	memset(block, 'x', sizeof(block));
	while (done < size && !*ret_error) {
		ssize_t got = write(fd, block, sizeof(block));

		if (got < 0)
			*ret_error = errno;
		else
			done += (size_t)got;
	}
	close(fd);
	return done;
}

static void a_full_store_says_enospc_at_its_size(void **state)
{
	struct fixture *f = *state;
	size_t done;
	int error;

	done = fill(on(f, "a/__pycache__/big"), 2 * MEBI, &error);
	assert_int_equal(error, ENOSPC);
	assert_true(done <= MEBI);
	assert_true(done >= MEBI / 2);
}

static void a_full_store_leaves_the_source_alone(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	int error;

	fill(on(f, "a/__pycache__/big"), 2 * MEBI, &error);
	assert_int_equal(error, ENOSPC);
	assert_int_equal(fill(on(f, "a/data"), 3 * MEBI, &error), 3 * MEBI);
	assert_int_equal(error, 0);
	assert_works(stat(behind(f, "a/data"), &st));
	assert_int_equal(st.st_size, 3 * MEBI);
	assert_works(mkdir(on(f, "new"), 0755));
	assert_works(rename(on(f, "a/data"), on(f, "new/data")));
	assert_works(unlink(on(f, "new/data")));
}

static void what_a_full_store_holds_is_readable(void **state)
{
	struct fixture *f = *state;
	int error;

	write_text(on(f, "b/__pycache__/n.so"), "kept");
	fill(on(f, "a/__pycache__/big"), 2 * MEBI, &error);
	assert_int_equal(error, ENOSPC);
	assert_holds(on(f, "b/__pycache__/n.so"), "kept");
	assert_lists(on(f, "a/__pycache__"), "big");
	assert_works(mkdir(on(f, "new"), 0755));
	assert_lists(on(f, "new/__pycache__"), "");
}

static void a_store_takes_writes_again_once_there_is_room(void **state)
{
	struct fixture *f = *state;
	int error;

	for (int i = 0; i < 3; i++) {
		fill(on(f, "a/__pycache__/big"), 2 * MEBI, &error);
		assert_int_equal(error, ENOSPC);
		assert_works(unlink(on(f, "a/__pycache__/big")));
		assert_lists(on(f, "a/__pycache__"), "");
		assert_int_equal(fill(on(f, "b/__pycache__/half"), MEBI / 2,
				      &error), MEBI / 2);
		assert_int_equal(error, 0);
		assert_works(unlink(on(f, "b/__pycache__/half")));
	}
}

/* Makes files until one fails; returns how many were made. */
static int make_files(const char *given, int most, int *ret_error)
{
	char name[40];
	int made;

	KEEP(dir, given);
	*ret_error = 0;
	for (made = 0; made < most; made++) {
		snprintf(name, sizeof(name), "m%d.so", made);
		*ret_error = outcome_open(open(in(dir, name),
					       O_WRONLY | O_CREAT | O_EXCL |
					       O_CLOEXEC, 0644));
		if (*ret_error)
			break;
	}
	return made;
}

static void no_more_inodes_than_were_given(void **state)
{
	struct fixture *f = *state;
	int error, made;

	made = make_files(on(f, "a/__pycache__"), 40, &error);
	assert_int_equal(error, ENOSPC);
	assert_in_range(made, 5, 20);
	assert_fails(mkdir(on(f, "a/__pycache__/sub"), 0755), ENOSPC);
	assert_fails(symlink("x", on(f, "a/__pycache__/link")), ENOSPC);
	write_text(on(f, "a/data"), "of the source");
	assert_holds(on(f, "a/data"), "of the source");
	assert_works(unlink(on(f, "a/__pycache__/m0.so")));
	write_text(on(f, "a/__pycache__/m0.so"), "room again");
	assert_holds(on(f, "a/__pycache__/m0.so"), "room again");
}

/* There is no state of the store in which the name does not work. */
static void every_directory_has_one_when_no_inode_is_left(void **state)
{
	struct fixture *f = *state;
	int error;

	make_files(on(f, "a/__pycache__"), 40, &error);
	assert_int_equal(error, ENOSPC);
	assert_works(mkdir(on(f, "new"), 0755));
	assert_lists(on(f, "new/__pycache__"), "");
	assert_lists(on(f, "b/__pycache__"), "");
	assert_fails(mkdir(on(f, "new/__pycache__"), 0755), EEXIST);
	assert_works(rmdir(on(f, "new/__pycache__")));
	assert_int_equal(outcome_open(open(on(f, "new/__pycache__/m.pyc"),
					   O_WRONLY | O_CREAT, 0644)), ENOSPC);
	assert_works(rename(on(f, "new"), on(f, "newer")));
	assert_works(rmdir(on(f, "newer")));
	for (int i = 0; i < 5; i++) {
		char name[40];

		snprintf(name, sizeof(name), "a/__pycache__/m%d.so", i);
		assert_works(unlink(on(f, name)));
	}
	write_text(on(f, "b/__pycache__/n.pyc"), "room again");
	assert_holds(on(f, "b/__pycache__/n.pyc"), "room again");
}

static void removed_directories_give_back_what_they_held(void **state)
{
	struct fixture *f = *state;

	/* Each round takes an inode or two; the limit is 20. */
	for (int i = 0; i < 100; i++) {
		assert_works(mkdir(on(f, "e"), 0755));
		write_text(on(f, "e/__pycache__/sub/m.pyc"), "code");
		assert_works(rmdir(on(f, "e")));
	}
}

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		WITH(a_full_store_says_enospc_at_its_size, &one_mebibyte),
		WITH(a_full_store_leaves_the_source_alone, &one_mebibyte),
		WITH(what_a_full_store_holds_is_readable, &one_mebibyte),
		WITH(a_store_takes_writes_again_once_there_is_room,
		     &one_mebibyte),
		WITH(no_more_inodes_than_were_given, &few_inodes),
		WITH(every_directory_has_one_when_no_inode_is_left,
		     &few_inodes),
		WITH(removed_directories_give_back_what_they_held, &few_inodes),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
