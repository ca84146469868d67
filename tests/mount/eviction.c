/*
 * A store that is full of bytecode makes room: what was not used for the longest time
 * goes, and nothing that could not be made anew.
 */
#include "rules_common.h"

#include <sys/ioctl.h>
#include <sys/statvfs.h>
#include <sys/xattr.h>
#include <sys/utsname.h>
#include <termios.h>

#define KIBI ((size_t)1 << 10)

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "a/m.py"), "m = 1\n");
	return 0;
}

static struct fixture_options one_mebibyte = {
	.prepare = make_project, .options = "size=1M",
};
static struct fixture_options one_reader = {
	.prepare = make_project, .options = "size=1M,max_threads=1",
};
static struct fixture_options room_for_one = {
	.prepare = make_project, .options = "size=64K,max_threads=1",
};
static struct fixture_options few_inodes = {
	.prepare = make_project, .options = "inodes=40",
};

/* A file of bytecode, in the ring of in(). */
static const char *bytecode(const struct fixture *f, int number)
{
	char name[64];

	snprintf(name, sizeof(name), "a/__pycache__/m%d.cpython-311.pyc", number);
	return on(f, name);
}

/* Writes all of it in one call, as Python does. */
static void put(const char *path, size_t size)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
	char *content = calloc(1, size);

	assert_non_null(content);
	if (fd < 0)
		fail_msg("creating '%s': %s", path, strerror(errno));
	if (write(fd, content, size) != (ssize_t)size)
		fail_msg("writing '%s': %s", path, strerror(errno));
	close(fd);
	free(content);
}

/* What CPython does to each file that it opens. */
static void use(const char *path)
{
	int fd = open(path, O_RDONLY);
	struct termios terminal;

	assert_true(fd >= 0);
	assert_fails(ioctl(fd, TCGETS, &terminal), ENOTTY);
	close(fd);
}

static bool is_within(const struct fixture *f, size_t size)
{
	struct statvfs fs;

	assert_works(statvfs(on(f, "a/__pycache__"), &fs));
	return (fs.f_blocks - fs.f_bfree) * fs.f_frsize <= size;
}

static int count_left(const struct fixture *f, int count)
{
	int left = 0;

	for (int i = 0; i < count; i++)
		left += exists(bytecode(f, i));
	return left;
}

struct counted {
	const struct fixture *f;
	int count, most;
};

static bool are_no_more(void *data)
{
	const struct counted *counted = data;

	return count_left(counted->f, counted->count) <= counted->most;
}

/* The kernel hears a moment later of what has gone. */
static void assert_left(const struct fixture *f, int count, int least, int most)
{
	struct counted counted = { f, count, most };

	assert_true(eventually(DEADLINE, are_no_more, &counted));
	assert_in_range(count_left(f, count), least, most);
}

static void there_is_always_room_for_bytecode(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 300; i++) {
		put(bytecode(f, i), 16 * KIBI);
		assert_true(is_within(f, KIBI * KIBI));
		assert_exists(bytecode(f, i));
	}
	/* Not more goes than is needed: of 64 that fit, a sixteenth at a time. */
	assert_left(f, 300, 50, 64);
}

/* Each takes the place of the one before, which the kernel has to forget in time. */
static void there_is_room_for_one_file_after_another(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 200; i++) {
		put(bytecode(f, i), 60 * KIBI);
		assert_exists(bytecode(f, i));
	}
}

static void there_is_always_an_inode_for_bytecode(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 200; i++) {
		put(bytecode(f, i), 1);
		assert_exists(bytecode(f, i));
	}
	assert_left(f, 200, 10, 40);
}

static bool can_put(void *path)
{
	int fd = open(path, O_WRONLY | O_CREAT, 0644);

	if (fd < 0)
		return false;
	close(fd);
	return true;
}

/* Each leaves a shadow, parts and a stamp, in which nothing is. */
static void directories_that_hold_no_bytecode_make_room(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 60; i++) {
		char name[64];

		snprintf(name, sizeof(name), "d%d/m.py", i);
		write_text(on(f, name), "");
		snprintf(name, sizeof(name), "d%d/__pycache__/m.cpython-311.pyc", i);
		KEEP(path, on(f, name));
		assert_true(eventually(DEADLINE, can_put, path));
		assert_exists(path);
	}
}

/* Nothing more can be made until something goes. */
static void fill_up(const struct fixture *f)
{
	struct statvfs fs;
	int i = 0;

	do {
		put(bytecode(f, i++), 1);
		assert_works(statvfs(on(f, "a/__pycache__"), &fs));
	} while (fs.f_ffree > 0);
}

static void a_cache_of_ones_own_mode_finds_room(void **state)
{
	struct fixture *f = *state;
	const struct timespec times[2] = { { .tv_sec = 1 }, { .tv_sec = 1 } };
	struct stat st;

	for (int i = 0; i < 4; i++)
		write_text(on(f, (const char *[]){ "b/m.py", "c/m.py", "d/m.py",
			   "e/m.py" }[i]), "");
	fill_up(f);
	assert_works(chmod(on(f, "b/__pycache__"), 0711));
	assert_works(stat(on(f, "b/__pycache__"), &st));
	assert_int_equal(st.st_mode & 07777, 0711);
	fill_up(f);
	assert_works(utimensat(AT_FDCWD, on(f, "c/__pycache__"), times, 0));
	fill_up(f);
	assert_works(setxattr(on(f, "d/__pycache__"), "trusted.mine", "1", 1, 0));
	fill_up(f);
	free(command_output(NULL, "setfacl", "-m", "u:1000:rx", on(f, "e/__pycache__"),
			    NULL));
}

static void a_nameless_file_finds_room(void **state)
{
	struct fixture *f = *state;
	int fd;

	write_text(on(f, "b/m.py"), "");
	fill_up(f);
	fd = open(on(f, "b/__pycache__"), O_TMPFILE | O_WRONLY, 0644);
	assert_true(fd >= 0);
	close(fd);
}

static void what_was_used_last_stays_longest(void **state)
{
	struct fixture *f = *state;

	for (int i = 0; i < 60; i++)
		put(bytecode(f, i), 16 * KIBI);
	use(bytecode(f, 0));
	use(bytecode(f, 7));
	for (int i = 60; i < 100; i++)
		put(bytecode(f, i), 16 * KIBI);
	assert_exists(bytecode(f, 0));
	assert_exists(bytecode(f, 7));
	KEEP(unused, bytecode(f, 1));
	assert_true(eventually(DEADLINE, is_missing, unused));
}

static void what_cannot_be_made_anew_stays(void **state)
{
	static const char *const others[] = {
		"a/__pycache__/lib.so", "a/__pycache__/lib.c", "a/__pycache__/m",
		"a/__pycache__/build/m.cpython-311.pyc",
	};
	struct fixture *f = *state;

	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		write_text(on(f, others[i]), "kept");
	for (int i = 0; i < 200; i++)
		put(bytecode(f, i), 16 * KIBI);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++)
		assert_holds(on(f, others[i]), "kept");
}

static void a_full_store_of_other_files_refuses(void **state)
{
	struct fixture *f = *state;
	int fd;

	put(bytecode(f, 0), 16 * KIBI);
	put(on(f, "a/__pycache__/lib.so"), 1000 * KIBI);
	fd = open(bytecode(f, 1), O_WRONLY | O_CREAT, 0644);
	assert_true(fd >= 0);
	char *content = calloc(1, 64 * KIBI);
	assert_true(write(fd, content, 64 * KIBI) < (ssize_t)(64 * KIBI));
	free(content);
	close(fd);
	assert_int_equal(count_left(f, 1), 0);
}

static void a_file_in_the_making_stays(void **state)
{
	struct fixture *f = *state;
	const char *temporary = on(f, "a/__pycache__/m.cpython-311.pyc.1234");
	int fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);

	KEEP(path, temporary);
	assert_true(fd >= 0);
	for (int i = 0; i < 200; i++) {
		if (i % 20 == 0)
			assert_int_equal(write(fd, "part", 4), 4);
		put(bytecode(f, i), 16 * KIBI);
	}
	close(fd);
	assert_works(rename(path, on(f, "a/__pycache__/m.cpython-311.pyc")));
	assert_holds(on(f, "a/__pycache__/m.cpython-311.pyc"),
		     "partpartpartpartpartpartpartpartpartpart");
}

/* Its module's state is noted once for all that is made from it: see bytecode.h. */
static void a_file_in_the_making_outlives_its_predecessor(void **state)
{
	struct fixture *f = *state;
	int fd;

	KEEP(path, on(f, "a/__pycache__/m.cpython-311.pyc"));
	KEEP(temporary, on(f, "a/__pycache__/m.cpython-311.pyc.1234"));
	put(path, 16 * KIBI);
	write_text(on(f, "a/__pycache__/m.data"), "kept");
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL, 0644);
	assert_true(fd >= 0);
	assert_int_equal(write(fd, "new", 3), 3);
	close(fd);
	for (int i = 0; i < 100; i++)
		put(bytecode(f, i), 16 * KIBI);
	assert_true(eventually(DEADLINE, is_missing, path));
	assert_works(rename(temporary, path));
	assert_holds(path, "new");
	for (int i = 0; i < 100; i++)
		put(bytecode(f, i), 16 * KIBI);
	assert_true(eventually(DEADLINE, is_missing, path));
	assert_holds(on(f, "a/__pycache__/m.data"), "kept");
}

/* Also when that goes to make room for it. */
static void a_file_can_be_made_anew_however_full_it_is(void **state)
{
	struct fixture *f = *state;

	KEEP(path, on(f, "a/__pycache__/m.cpython-311.pyc"));
	KEEP(temporary, on(f, "a/__pycache__/m.cpython-311.pyc.1234"));
	for (int others = 25; others < 40; others++) {
		/* Of all that lies there it is the oldest. */
		put(path, 1);
		for (int i = 0; i < others; i++)
			put(bytecode(f, i), 1);
		put(temporary, 1);
		assert_works(rename(temporary, path));
		for (int i = 0; i < others; i++)
			(void)unlink(bytecode(f, i));
		assert_works(unlink(path));
	}
}

static void an_abandoned_file_goes_first(void **state)
{
	const struct timespec old[2] = { { .tv_nsec = UTIME_NOW }, { .tv_sec = 1 } };
	struct fixture *f = *state;
	const char *temporary = on(f, "a/__pycache__/m.cpython-311.pyc.1234");

	KEEP(path, temporary);
	for (int i = 0; i < 50; i++)
		put(bytecode(f, i), 16 * KIBI);
	put(path, 100 * KIBI);
	assert_works(utimensat(AT_FDCWD, path, old, 0));
	for (int i = 50; i < 60; i++)
		put(bytecode(f, i), 16 * KIBI);
	assert_true(eventually(DEADLINE, is_missing, path));
	assert_int_equal(count_left(f, 60), 60);
}

/* Whether the kernel can be told to forget a file that nobody has open. */
static bool kernel_prunes(void)
{
	unsigned major = 0, minor = 0;
	struct utsname name;

	assert_works(uname(&name));
	assert_int_equal(sscanf(name.release, "%u.%u", &major, &minor), 2);
	return major > 6 || (major == 6 && minor >= 18);
}

/* Or, where nobody can tell whether it is open, is told, and can start over. */
static void whoever_has_it_open_may_go_on(void **state)
{
	struct fixture *f = *state;
	struct stat st;
	char byte;
	int fd;

	put(bytecode(f, 0), 16 * KIBI);
	fd = open(bytecode(f, 0), O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED), 0);
	for (int i = 1; i < 100; i++) {
		put(bytecode(f, i), 16 * KIBI);
		assert_exists(bytecode(f, i));
	}
	KEEP(path, bytecode(f, 0));
	assert_true(eventually(DEADLINE, is_missing, path));
	if (kernel_prunes()) {
		assert_int_equal(pread(fd, &byte, 1, 12 * KIBI), 1);
		assert_int_equal(pwrite(fd, "x", 1, 0), 1);
		assert_works(fstat(fd, &st));
		assert_int_equal(st.st_nlink, 0);
	} else {
		assert_fails(write(fd, "x", 1), ESTALE);
	}
	close(fd);
	put(path, 16 * KIBI);
	assert_exists(path);
	/* Nothing of it is left. */
	put(on(f, "a/__pycache__/lib.so"), 990 * KIBI);
}

/* What is open takes room, so others have to go, but never more than are needed. */
static void what_is_open_does_not_keep_others_from_room(void **state)
{
	enum { OPEN = 30 };
	struct fixture *f = *state;
	int fds[OPEN];

	for (int i = 0; i < OPEN; i++) {
		put(bytecode(f, i), 16 * KIBI);
		fds[i] = open(bytecode(f, i), O_RDONLY);
		assert_true(fds[i] >= 0);
	}
	for (int i = OPEN; i < 200; i++) {
		put(bytecode(f, i), 16 * KIBI);
		assert_exists(bytecode(f, i));
	}
	for (int i = 0; i < OPEN; i++)
		close(fds[i]);
	for (int i = 200; i < 300; i++)
		put(bytecode(f, i), 16 * KIBI);
	assert_left(f, 300, 50, 64);
}

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		WITH(there_is_always_room_for_bytecode, &one_mebibyte),
		WITH(there_is_always_room_for_bytecode, &one_reader),
		WITH(there_is_room_for_one_file_after_another, &room_for_one),
		WITH(there_is_always_an_inode_for_bytecode, &few_inodes),
		WITH(directories_that_hold_no_bytecode_make_room, &few_inodes),
		WITH(a_cache_of_ones_own_mode_finds_room, &few_inodes),
		WITH(a_nameless_file_finds_room, &few_inodes),
		WITH(what_was_used_last_stays_longest, &one_mebibyte),
		WITH(what_cannot_be_made_anew_stays, &one_mebibyte),
		WITH(a_full_store_of_other_files_refuses, &one_mebibyte),
		WITH(a_file_in_the_making_stays, &one_mebibyte),
		WITH(a_file_in_the_making_outlives_its_predecessor, &one_mebibyte),
		WITH(a_file_can_be_made_anew_however_full_it_is, &few_inodes),
		WITH(an_abandoned_file_goes_first, &one_mebibyte),
		WITH(whoever_has_it_open_may_go_on, &one_mebibyte),
		WITH(what_is_open_does_not_keep_others_from_room, &one_mebibyte),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
