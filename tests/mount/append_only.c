/*
 * Files with the attribute append-only (chattr +a): the same calls on a plain file
 * and on one in the mount.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "fixture.h"
#include "tree.h"

static int set_append_only(const char *path, bool on)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), flags = 0;
	int err = fd < 0 || ioctl(fd, FS_IOC_GETFLAGS, &flags) < 0;

	flags = on ? flags | FS_APPEND_FL : flags & ~FS_APPEND_FL;
	err = err || ioctl(fd, FS_IOC_SETFLAGS, &flags) < 0 ? -errno : 0;
	close(fd);
	return err;
}

static int setup(void **state)
{
	struct fixture *f = fixture_create(NULL);

	tree_write(in(f->source, "log"), "1", -1);
	tree_write(in(f->plain, "log"), "1", -1);
	*state = f;
	return 0;
}

/* With the attribute on it nobody could remove the file. */
static int teardown(void **state)
{
	const struct fixture *f = *state;

	(void)set_append_only(in(f->source, "log"), false);
	(void)set_append_only(in(f->plain, "log"), false);
	fixture_destroy(*state);
	return 0;
}

/* Skips the running test where there is no such attribute. */
static void make_append_only(const struct fixture *f)
{
	int err = set_append_only(in(f->source, "log"), true);

	if (!err)
		err = set_append_only(in(f->plain, "log"), true);
	if (err) {
		print_message("cannot run here: chattr +a: %s\n", strerror(-err));
		skip();
	}
}

/* The result of a call, or its errno as a negative number. */
static long result(long value)
{
	return value < 0 ? -errno : value;
}

enum { STEPS = 10 };

static void append(const char *path, long ret[STEPS])
{
	int one = open(path, O_WRONLY | O_APPEND);
	int both = open(path, O_RDWR | O_APPEND);
	char is[8] = "";
	int step = 0;

	ret[step++] = result(write(one, "2", 1));
	ret[step++] = result(write(both, "3", 1));
	ret[step++] = result(pwrite(both, "4", 1, 0));
	ret[step++] = result(pread(both, is, sizeof(is), 0));
	ret[step++] = strcmp(is, "1234") == 0;
	ret[step++] = result(ftruncate(both, 0));
	ret[step++] = result(truncate(path, 0));
	ret[step++] = result(fallocate(both, FALLOC_FL_KEEP_SIZE, 0, 4096));
	ret[step++] = result(fsync(one));
	ret[step++] = result(unlink(path));
	assert_int_equal(step, STEPS);
	close(one);
	close(both);
}

static void it_can_be_appended_to_and_no_more(void **state)
{
	const struct fixture *f = *state;
	long plain[STEPS], mounted[STEPS];

	make_append_only(f);
	append(in(f->plain, "log"), plain);
	append(in(f->mountpoint, "log"), mounted);
	for (int i = 0; i < STEPS; i++)
		if (mounted[i] != plain[i])
			fail_msg("step %d: %ld, natively %ld", i, mounted[i], plain[i]);
	assert_int_equal(plain[0], 1);
}

/* Natively that can't be opened; here the kernel opens without asking. */
static void nothing_is_overwritten(void **state)
{
	const struct fixture *f = *state;
	int fd, appending;

	make_append_only(f);
	appending = open(in(f->mountpoint, "log"), O_WRONLY | O_APPEND);
	fd = open(in(f->mountpoint, "log"), O_WRONLY);
	assert_int_equal(write(appending, "2", 1), 1);
	assert_int_equal(result(pwrite(fd, "x", 1, 0)), -EPERM);
	/* Until it is an ordinary file again. */
	assert_int_equal(set_append_only(in(f->source, "log"), false), 0);
	assert_int_equal(pwrite(fd, "3", 1, 0), 1);
	assert_int_equal(write(appending, "4", 1), 1);
	char *is = tree_read(in(f->source, "log"), NULL);
	assert_string_equal(is, "324");
	free(is);
	close(fd);
	close(appending);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(it_can_be_appended_to_and_no_more,
						setup, teardown),
		cmocka_unit_test_setup_teardown(nothing_is_overwritten,
						setup, teardown),
	};
	int status = fixture_possible();

	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
