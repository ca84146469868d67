/*
 * What the tests share in which several users reach a mount: who they are, what
 * they try, and how things are owned.
 */
#ifndef TESTS_USERS_COMMON_H
#define TESTS_USERS_COMMON_H

#include "rules_common.h"

#define ALICE 1000
#define BOB 1001
#define GROUP 2000

static int make_project(const char *source, void *data)
{
	(void)data;
	assert_works(mkdir(in(source, "d"), 0755));
	write_text(in(source, "d/m.py"), "m = 1\n");
	return 0;
}

static struct fixture_options project = { .prepare = make_project };
static struct fixture_options project_in_place = {
	.prepare = make_project, .in_place = true,
};

/* A call that a user makes; returns the errno. */
static inline int make_file(void *path)
{
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666), error;

	if (fd < 0)
		return errno;
	error = write(fd, "code", 4) == 4 ? 0 : errno;
	close(fd);
	return error;
}

/* @user does @call to @name of the mount's d/__pycache__. */
static inline int does(const struct fixture *f, uid_t user,
		       int (*call)(void *), const char *name)
{
	KEEP(path, in(on(f, "d/__pycache__"), name));

	return as_user(user, user, NULL, 0, call, path);
}

/* The same below the directory @fd, which the user stands in. */
struct below {
	int fd;
	int (*call)(void *);
	char name[16];
};

static inline int call_below(void *data)
{
	struct below *below = data;

	return fchdir(below->fd) < 0 ? errno : below->call(below->name);
}

static inline int does_below(int fd, uid_t user, int (*call)(void *),
			      const char *name)
{
	struct below below = { .fd = fd, .call = call };

	snprintf(below.name, sizeof(below.name), "%s", name);
	return as_user(user, user, NULL, 0, call_below, &below);
}

static inline void assert_owned(const char *path, uid_t uid, gid_t gid,
				mode_t mode)
{
	struct stat st;

	assert_works(lstat(path, &st));
	assert_int_equal(st.st_uid, uid);
	assert_int_equal(st.st_gid, gid);
	if (!S_ISLNK(st.st_mode))
		assert_int_equal(st.st_mode & 07777, mode);
}

/* A directory on the mount and how it is owned behind it, for eventually(). */
struct owned {
	char dir[1024];
	struct stat like;
};

static inline bool is_like(const char *path, const struct stat *like)
{
	struct stat st;

	return stat(path, &st) == 0 && st.st_uid == like->st_uid &&
		st.st_gid == like->st_gid && st.st_mode == like->st_mode;
}

/* Both: who may not enter the one does not get to the other. */
static inline bool is_owned(void *data)
{
	const struct owned *owned = data;

	return is_like(owned->dir, &owned->like) &&
		is_like(in(owned->dir, "__pycache__"), &owned->like);
}

static inline bool carries_soon(const struct fixture *f)
{
	struct owned owned;

	assert_works(stat(behind(f, "d"), &owned.like));
	snprintf(owned.dir, sizeof(owned.dir), "%s/d", f->mountpoint);
	return eventually(DEADLINE, is_owned, &owned);
}

#define USERS(test) \
	{ #test, test, users_begin, fixture_end, &project }, \
	{ #test " (in place)", test, users_begin, fixture_end, \
	  &project_in_place }

#endif
