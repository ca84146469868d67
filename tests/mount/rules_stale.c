/*
 * Bytecode goes as soon as its module changes, comes or goes, through the mount or
 * behind it, and whatever else lies in the store stays.
 */
#include "rules_common.h"

#include <dirent.h>
#include <sys/xattr.h>

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "a/x.py"), "x = 1\n");
	write_text(in(source, "a/y.py"), "y = 1\n");
	write_text(in(source, "b/x.py"), "x = 2\n");
	return 0;
}

static struct fixture_options watched = { .prepare = make_project };
static struct fixture_options watched_in_place = {
	.prepare = make_project, .in_place = true,
};
/* Nothing is heard, and nothing is cached. */
static struct fixture_options unwatched = {
	.prepare = make_project, .options = "timeout=0",
};

/* All that may be made from x.py, and what must not go with it. */
static const char *const of_x[] = {
	"a/__pycache__/x.cpython-311.pyc", "a/__pycache__/x.cpython-311.opt-1.pyc",
	"a/__pycache__/x.cpython-311-pytest-7.2.1.pyc",
	"a/__pycache__/x.pypy39.pyc", "a/__pycache__/x.f-1.py311.nbi",
	"a/__pycache__/x.f-1.py311.1.nbc",
	"a/__pycache__/x.cpython-311.pyc.140215", "a/x.pyc", "a/x.pyo",
	"a/x$py.class", "a/x.pyc.140215",
};
static const char *const of_others[] = {
	"a/__pycache__/y.cpython-311.pyc", "a/__pycache__/xy.cpython-311.pyc",
	"a/__pycache__/lib.so", "a/__pycache__/x", "a/__pycache__/x.json", "a/y.pyc",
	"b/__pycache__/x.cpython-311.pyc", "b/x.pyc",
};
enum {
	OF_X = sizeof(of_x) / sizeof(*of_x),
	OF_OTHERS = sizeof(of_others) / sizeof(*of_others),
};

static void make_all(const struct fixture *f)
{
	for (int i = 0; i < OF_X; i++)
		write_text(on(f, of_x[i]), "code");
	for (int i = 0; i < OF_OTHERS; i++)
		write_text(on(f, of_others[i]), "code");
	/* The kernel shall have them all in its caches. */
	for (int i = 0; i < OF_X; i++)
		assert_holds(on(f, of_x[i]), "code");
	free(tree_list(on(f, "a/__pycache__")));
}

static bool all_gone(void *data)
{
	const struct fixture *f = data;

	for (int i = 0; i < OF_X; i++)
		if (exists(on(f, of_x[i])))
			return false;
	return true;
}

static void assert_others(const struct fixture *f)
{
	for (int i = 0; i < OF_OTHERS; i++)
		assert_holds(on(f, of_others[i]), "code");
}

/* What may become of a/x.py, by the path that leads to directory a. */
static void rewrite(const char *x)
{
	int fd = open(x, O_WRONLY);

	assert_int_equal(pwrite(fd, "x = 3\n", 6, 0), 6);
	close(fd);
}

static void cut(const char *x)
{
	assert_works(truncate(x, 2));
}

static void extend(const char *x)
{
	int fd = open(x, O_WRONLY);

	assert_works(posix_fallocate(fd, 0, 100) ? -1 : 0);
	close(fd);
}

static void set_times(const char *x)
{
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };

	assert_works(utimensat(AT_FDCWD, x, times, 0));
}

static void replace(const char *x)
{
	char new[1024];

	snprintf(new, sizeof(new), "%s.new", x);
	write_text(new, "x = 4\n");
	assert_works(rename(new, x));
}

static void take_away(const char *x)
{
	char away[1024];

	snprintf(away, sizeof(away), "%s.away", x);
	assert_works(rename(x, away));
}

static void delete(const char *x)
{
	assert_works(unlink(x));
}

static void exchange(const char *x)
{
	char other[1024];

	snprintf(other, sizeof(other), "%s.other", x);
	write_text(other, "x = 5\n");
	assert_works(renameat2(AT_FDCWD, x, AT_FDCWD, other, RENAME_EXCHANGE));
}

static void (*const changes[])(const char *x) = {
	rewrite, cut, extend, set_times, replace, exchange, take_away, delete,
};
enum { CHANGES = sizeof(changes) / sizeof(*changes) };

static void restore(const struct fixture *f)
{
	unlink(behind(f, "a/x.py.away"));
	unlink(behind(f, "a/x.py.other"));
	write_text(on(f, "a/x.py"), "x = 1\n");
}

/* At once: the call that changes it has not ended before. */
static void what_changes_through_the_mount_drops_its_bytecode(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < CHANGES; i++) {
		make_all(f);
		changes[i](on(f, "a/x.py"));
		if (!all_gone(f))
			fail_msg("change %d leaves bytecode", i);
		assert_lists(on(f, "a/__pycache__"),
			     "lib.so x x.json xy.cpython-311.pyc y.cpython-311.pyc");
		assert_others(f);
		restore(f);
	}
}

static void what_changes_behind_the_mount_drops_its_bytecode(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < CHANGES; i++) {
		make_all(f);
		changes[i](behind(f, "a/x.py"));
		if (!eventually(DEADLINE, all_gone, f))
			fail_msg("change %d leaves bytecode", i);
		assert_others(f);
		restore(f);
		/* Heard of before the next round begins. */
		assert_holds(on(f, "a/x.py"), "x = 1\n");
	}
}

/* Bytecode that was brought along before its module says nothing about it. */
static void a_module_that_comes_later_finds_no_bytecode(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "b/__pycache__/late.cpython-311.pyc"), "code");
	write_text(on(f, "b/__pycache__/later.cpython-311.pyc"), "code");
	write_text(on(f, "b/late.py"), "late = 1\n");
	assert_missing(on(f, "b/__pycache__/late.cpython-311.pyc"));
	assert_holds(on(f, "b/__pycache__/later.cpython-311.pyc"), "code");
	write_text(behind(f, "b/later.py"), "later = 1\n");
	KEEP(path, on(f, "b/__pycache__/later.cpython-311.pyc"));
	assert_true(eventually(DEADLINE, is_missing, path));
}

/* As natively: its writer may go on, but the file has no name any more. */
static void a_file_in_the_making_does_not_get_its_name(void **state)
{
	struct fixture *f = *state;
	int fd = open(on(f, "a/__pycache__/x.cpython-311.pyc.1"),
		      O_RDWR | O_CREAT | O_EXCL, 0644);
	char text[8] = "";

	assert_true(fd >= 0);
	assert_int_equal(write(fd, "old", 3), 3);
	rewrite(on(f, "a/x.py"));
	assert_int_equal(write(fd, "old", 3), 3);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 6);
	assert_string_equal(text, "oldold");
	close(fd);
	assert_fails(rename(on(f, "a/__pycache__/x.cpython-311.pyc.1"),
			    on(f, "a/__pycache__/x.cpython-311.pyc")), ENOENT);
	assert_missing(on(f, "a/__pycache__/x.cpython-311.pyc"));
}

/* What an import does, with an edit when it has read the module. */
static void import_late(const struct fixture *f, void (*edit)(const char *x),
			const char *x)
{
	assert_missing(on(f, of_x[0]));
	if (edit)
		edit(x);
	write_text(on(f, "a/__pycache__/x.cpython-311.pyc.1"), "code");
	(void)rename(on(f, "a/__pycache__/x.cpython-311.pyc.1"), on(f, of_x[0]));
}

/* Whether the mount shows x.py as it is behind it: what is opened before that is what it
 * was. */
static bool is_heard_of(void *data)
{
	const struct fixture *f = data;
	struct stat seen, st;

	assert_works(stat(on(f, "a/x.py"), &seen));
	assert_works(stat(behind(f, "a/x.py"), &st));
	return seen.st_ino == st.st_ino && seen.st_ctim.tv_sec == st.st_ctim.tv_sec &&
		seen.st_ctim.tv_nsec == st.st_ctim.tv_nsec;
}

static void what_was_compiled_before_an_edit_is_not_kept(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		import_late(f, NULL, NULL);
		assert_holds(on(f, of_x[0]), "code");
		rewrite(on(f, "a/x.py"));
		import_late(f, i ? rewrite : replace, on(f, "a/x.py"));
		assert_missing(on(f, of_x[0]));
		import_late(f, i ? rewrite : replace, behind(f, "a/x.py"));
		assert_missing(on(f, of_x[0]));
		assert_true(eventually(DEADLINE, is_heard_of, f));
	}
	import_late(f, NULL, NULL);
	assert_holds(on(f, of_x[0]), "code");
}

/* By either name, whichever the kernel knows. */
static void a_module_with_two_names_drops_the_bytecode_of_both(void **state)
{
	struct fixture *f = *state;

	assert_works(link(on(f, "a/x.py"), on(f, "b/z.py")));
	assert_exists(on(f, "b/z.py"));
	write_text(on(f, of_x[0]), "code");
	write_text(on(f, "b/__pycache__/z.cpython-311.pyc"), "code");
	rewrite(on(f, "b/z.py"));
	assert_missing(on(f, of_x[0]));
	assert_missing(on(f, "b/__pycache__/z.cpython-311.pyc"));
	assert_works(unlink(on(f, "b/z.py")));
}

static void what_is_written_anew_is_kept(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 3; i++) {
		write_text(on(f, of_x[0]), "code");
		write_text(on(f, of_x[1]), "code");
		assert_holds(on(f, of_x[0]), "code");
		rewrite(on(f, "a/x.py"));
		assert_missing(on(f, of_x[0]));
		write_text(on(f, of_x[0]), "newer");
		assert_holds(on(f, of_x[0]), "newer");
		assert_missing(on(f, of_x[1]));
	}
}

/* What changes no module drops nothing. */
static void other_changes_leave_it_alone(void **state)
{
	struct fixture *f = *state;

	make_all(f);
	write_text(on(f, "a/data"), "x");
	write_text(on(f, "a/z.py"), "z = 1\n");
	assert_works(rename(on(f, "a/z.py"), on(f, "a/w.py")));
	assert_works(unlink(on(f, "a/w.py")));
	assert_holds(on(f, "a/x.py"), "x = 1\n");
	assert_works(rename(on(f, "a"), on(f, "c")));
	assert_works(rename(on(f, "c"), on(f, "a")));
	for (int i = 0; i < OF_X; i++)
		assert_holds(on(f, of_x[i]), "code");
	assert_others(f);
}

/* Opens it, with nothing of it in the kernel's memory. */
static int open_afresh(const char *path)
{
	int fd = open(path, O_RDONLY);

	assert_true(fd >= 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	return fd;
}

static void assert_open(int fd)
{
	char text[8] = "";
	struct stat st;

	assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
	assert_string_equal(text, "code");
	assert_works(fstat(fd, &st));
	assert_int_equal(st.st_nlink, 0);
	close(fd);
}

/* As what is unlinked does: the import that reads it goes on. */
static void what_is_open_when_it_is_dropped_stays_readable(void **state)
{
	struct fixture *f = *state;
	int fds[OF_X];

	for (int behind_it = 0; behind_it < 2; behind_it++) {
		make_all(f);
		for (int i = 0; i < OF_X; i++)
			fds[i] = open_afresh(on(f, of_x[i]));
		rewrite(behind_it ? behind(f, "a/x.py") : on(f, "a/x.py"));
		assert_true(eventually(DEADLINE, all_gone, f));
		/* Others get the names. */
		for (int i = 0; i < OF_X; i++)
			write_text(on(f, of_x[i]), "newer");
		for (int i = 0; i < OF_X; i++)
			assert_open(fds[i]);
		for (int i = 0; i < OF_X; i++)
			assert_holds(on(f, of_x[i]), "newer");
		restore(f);
		assert_true(eventually(DEADLINE, all_gone, f));
	}
}

static void what_is_open_when_it_is_dropped_gives_its_memory_back(void **state)
{
	struct fixture *f = *state;
	char *block = calloc(1, 1 << 20), byte;

	assert_non_null(block);
	/* Each round takes half of a store of 2 MiB. */
	for (int i = 0; i < 6; i++) {
		int fd;

		tree_write(on(f, of_x[0]), block, 1 << 20);
		fd = open_afresh(on(f, of_x[0]));
		rewrite(on(f, "a/x.py"));
		assert_int_equal(pread(fd, &byte, 1, 1 << 19), 1);
		close(fd);
	}
	free(block);
}

static void what_is_dropped_gives_its_memory_back(void **state)
{
	struct fixture *f = *state;
	char *block = calloc(1, 1 << 20);

	assert_non_null(block);
	/* Each round takes half of a store of 2 MiB. */
	for (int i = 0; i < 6; i++) {
		tree_write(on(f, of_x[0]), block, 1 << 20);
		free(tree_read(on(f, of_x[0]), NULL));
		rewrite(on(f, "a/x.py"));
	}
	free(block);
}

static struct fixture_options two_mebibytes = {
	.prepare = make_project, .options = "size=2M",
};

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		BOTH(what_changes_through_the_mount_drops_its_bytecode, watched),
		BOTH(what_changes_behind_the_mount_drops_its_bytecode, watched),
		WITH(what_changes_through_the_mount_drops_its_bytecode, &unwatched),
		WITH(what_changes_behind_the_mount_drops_its_bytecode, &unwatched),
		WITH(a_module_that_comes_later_finds_no_bytecode, &watched),
		WITH(a_module_that_comes_later_finds_no_bytecode, &unwatched),
		WITH(a_file_in_the_making_does_not_get_its_name, &watched),
		WITH(a_file_in_the_making_does_not_get_its_name, &unwatched),
		WITH(what_was_compiled_before_an_edit_is_not_kept, &watched),
		WITH(what_was_compiled_before_an_edit_is_not_kept, &unwatched),
		WITH(a_module_with_two_names_drops_the_bytecode_of_both, &watched),
		WITH(what_is_written_anew_is_kept, &watched),
		WITH(other_changes_leave_it_alone, &watched),
		WITH(what_is_dropped_gives_its_memory_back, &two_mebibytes),
		WITH(what_is_open_when_it_is_dropped_stays_readable, &watched),
		WITH(what_is_open_when_it_is_dropped_stays_readable, &unwatched),
		WITH(what_is_open_when_it_is_dropped_gives_its_memory_back,
		     &two_mebibytes),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
