/*
 * Acting as the caller in many threads, in none, and by a daemon that is no root.
 */
#include "unit.h"

#include <fcntl.h>
#include <grp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/fsuid.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "cred.h"

enum { THREADS = 4, ROUNDS = 500 };

struct shared {
	char *top;
	int fd;
	_Atomic int errors, foreign;
};

/* Each thread is a user of its own, and makes files all the while. */
static void make_as_user(void *data, int index)
{
	struct shared *shared = data;
	struct caller caller = {
		.uid = (uid_t)(1000 + index), .gid = (gid_t)(2000 + index),
		.umask = (mode_t)index,
	};
	char name[32];
	struct stat st;

	shared->errors += cred_thread_init() != 0;
	for (int i = 0; i < ROUNDS; i++) {
		snprintf(name, sizeof(name), "%d.%d", index, i);
		if (cred_become(&caller, CRED_ALLOWED)) {
			shared->errors++;
			continue;
		}
		int fd = openat(shared->fd, name, O_RDWR | O_CREAT | O_EXCL |
				O_CLOEXEC, 0666);
		cred_restore();
		if (fd < 0 || fstat(fd, &st))
			shared->errors++;
		else
			shared->foreign += st.st_uid != caller.uid ||
				st.st_gid != caller.gid ||
				(st.st_mode & 0777) != (0666 & ~caller.umask);
		cleanup_close(&fd);
	}
}

static void threads_are_different_users_at_once(void **state)
{
	struct shared shared = { .top = unit_scratch() };

	(void)state;
	shared.fd = open(shared.top, O_RDONLY | O_CLOEXEC);
	unit_threads(THREADS, make_as_user, &shared);
	close(shared.fd);
	unit_remove(shared.top);
	assert_int_equal(shared.errors, 0);
	assert_int_equal(shared.foreign, 0);
}

struct standing {
	char cwd[256];
	mode_t umask;
	int file;		/* O_PATH */
	int err;		/* of a call by its name */
	char value[8];
};

static void note_place(struct standing *place)
{
	place->umask = umask(0);
	umask(place->umask);
	if (!getcwd(place->cwd, sizeof(place->cwd)))
		place->cwd[0] = '\0';
}

static void use_names(void *data, int index)
{
	struct standing *place = data;
	char name[FD_NAME_SIZE];

	(void)index;
	place->err = cred_thread_init();
	umask(0);
	if (!place->err)
		place->err = cred_thread_init();
	note_place(place);
	if (place->err)
		return;
	/* An O_PATH descriptor, for a call that takes none such. */
	place->err = setxattr(fd_name(place->file, name), "user.x", "value", 5,
				 0) ? -errno : 0;
	getxattr(name, "user.x", place->value, sizeof(place->value));
}

static void a_thread_that_serves_has_its_own_place(void **state)
{
	char *top = unit_scratch();
	struct standing before, after, place = { 0 };

	(void)state;
	umask(022);
	note_place(&before);
	tree_write(in(top, "file"), "text", -1);
	place.file = open(in(top, "file"), O_PATH | O_CLOEXEC);
	unit_threads(1, use_names, &place);
	note_place(&after);
	close(place.file);
	unit_remove(top);
	assert_true(ends_with(place.cwd, "/fd"));
	assert_int_equal(place.umask, 0);
	assert_int_equal(place.err, 0);
	assert_string_equal(place.value, "value");
	/* The others are where they were. */
	assert_string_equal(after.cwd, before.cwd);
	assert_int_equal(after.umask, 022);
}

static void a_descriptor_is_opened_anew_for_another_use(void **state)
{
	char *top = unit_scratch(), name[FD_NAME_SIZE], text[8] = "";
	int path, fd;

	(void)state;
	tree_write(in(top, "file"), "text", -1);
	path = open(in(top, "file"), O_PATH | O_CLOEXEC);
	/* Its name is gone, it is not. */
	tree_remove(in(top, "file"));
	fd = cred_reopen(path, O_RDWR);
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(pread(fd, text, sizeof(text), 0), 4);
	assert_string_equal(text, "text");
	close(fd);
	assert_int_equal(cred_reopen(path, O_RDONLY | O_DIRECTORY), -ENOTDIR);
	close(path);
	assert_int_equal(cred_reopen(path, O_RDONLY), -ENOENT);
	assert_string_equal(fd_name(0, name), "0");
	assert_string_equal(fd_name(INT32_MAX, name), "2147483647");
	unit_remove(top);
}

/* What a daemon does that is no root; the number of the step that failed. */
static int serve_as_user(void *data)
{
	struct shared *shared = data;
	struct caller other = { .uid = SOMEBODY, .gid = SOMEBODY, .umask = 077 };
	struct stat st;

	if (cred_init() || cred_can_switch() || cred_check_threads())
		return 1;
	if (cred_thread_init())
		return 7;
	if (cred_become(&other, CRED_ALLOWED))
		return 2;
	/* Everyone is the daemon, but each has a umask. */
	int fd = openat(shared->fd, "file", O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC,
			0666);
	cred_restore();
	if (fd < 0 || fstat(fd, &st))
		return 3;
	if (st.st_uid != NOBODY || st.st_gid != NOBODY ||
	    (st.st_mode & 0777) != 0600)
		return 4;
	if (umask(0) != 0)
		return 5;
	if ((uid_t)setfsuid((uid_t)-1) != NOBODY || getgroups(0, NULL) != 1)
		return 6;
	return 0;
}

static void a_plain_users_daemon_is_one_user(void **state)
{
	struct shared shared = { .top = unit_scratch() };
	const gid_t group = SOME_GROUP;

	(void)state;
	assert_true(cred_can_switch());
	assert_int_equal(chmod(shared.top, 0777), 0);
	shared.fd = open(shared.top, O_RDONLY | O_CLOEXEC);
	int status = as_user(NOBODY, NOBODY, &group, 1, serve_as_user, &shared);
	close(shared.fd);
	unit_remove(shared.top);
	assert_int_equal(status, 0);
}

static int init_results[2];

static void init_twice(void *data, int index)
{
	(void)data, (void)index;
	for (int i = 0; i < 2; i++)
		init_results[i] = cred_thread_init();
}

/* The number of the step that failed. */
static int serve_without_unshare(void *data)
{
	struct standing here, after;

	(void)data;
	umask(022);
	note_place(&here);
	if (cred_check_threads())
		return 1;
	if (forbid_unshare())
		return 2;
	if (cred_check_threads() != -EPERM)
		return 3;
	unit_threads(1, init_twice, NULL);
	if (init_results[0] != -EPERM || init_results[1] != -EPERM)
		return 4;
	/* What is shared with the other threads was let alone. */
	note_place(&after);
	return after.umask != 022 || strcmp(after.cwd, here.cwd) != 0 ? 5 : 0;
}

static void a_thread_that_shares_its_place_does_not_serve(void **state)
{
	(void)state;
	assert_int_equal(as_user(0, 0, NULL, 0, serve_without_unshare, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads_are_different_users_at_once),
		cmocka_unit_test(a_thread_that_serves_has_its_own_place),
		cmocka_unit_test(a_descriptor_is_opened_anew_for_another_use),
		cmocka_unit_test(a_plain_users_daemon_is_one_user),
		cmocka_unit_test(a_thread_that_shares_its_place_does_not_serve),
	};
	int status = unit_needs_root();

	if (!status && cred_init() < 0)
		status = 1;
	return status ? status : cmocka_run_group_tests(tests, NULL, NULL);
}
