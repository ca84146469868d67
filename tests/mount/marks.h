/*
 * What the tests of several users on one mount share: users who leave their mark in
 * the bytecode of one module, and look whose mark they find there.
 */
#ifndef TESTS_MARKS_H
#define TESTS_MARKS_H

#include "rules_common.h"

#define ALICE 1000
#define BOB 1001
#define CAROL 1002
#define GROUP 2000
#define ROOT 0

#define CACHE "d/__pycache__"
#define CODE "m.cpython-311.pyc"
#define BYTECODE CACHE "/" CODE

static inline int make_project(const char *source, void *data)
{
	(void)data;
	assert_works(mkdir(in(source, "d"), 0755));
	write_text(in(source, "d/m.py"), "m = 1\n");
	write_text(in(source, "d/n.py"), "n = 1\n");
	return 0;
}

/* Everything is told in a child's exit status: an errno, or one of these. */
enum { NOT_MINE = 200, MINE = 201, NOTHING = 202 };

struct task {
	char path[1024], dir[1024];
	int fd;
	uid_t user;
};

/* The user's mark is their uid. */static inline int put_mark(const char *path, uid_t user)
{
	char temporary[1100], text[16];
	int fd, err = 0;

	/* As Python does. */
	snprintf(temporary, sizeof(temporary), "%s.%d", path, getpid());
	snprintf(text, sizeof(text), "%08u", user);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	if (fd < 0)
		return errno;
	if (write(fd, text, 8) != 8)
		err = errno;
	close(fd);
	return err ? err : outcome(rename(temporary, path));
}

static inline int get_mark(const char *path, uid_t user)
{
	char text[16] = "", mine[16];
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return errno == ENOENT ? NOTHING : errno;
	snprintf(mine, sizeof(mine), "%08u", user);
	if (read(fd, text, sizeof(text) - 1) < 0)
		text[0] = '\0';
	close(fd);
	return strcmp(text, mine) == 0 ? MINE : NOT_MINE;
}

static inline int task_put(void *data)
{
	const struct task *task = data;

	return put_mark(task->path, task->user);
}

static inline int task_get(void *data)
{
	const struct task *task = data;

	return get_mark(task->path, task->user);
}

static inline int run(const struct fixture *f, uid_t user, int (*call)(void *),
	       const char *name)
{
	struct task task = { .user = user };

	snprintf(task.path, sizeof(task.path), "%s/%s", f->mountpoint, name);
	return as_user(user, user, NULL, 0, call, &task);
}
#define puts_mark(f, user) run(f, user, task_put, BYTECODE)
#define gets_mark(f, user) run(f, user, task_get, BYTECODE)

static inline void set_d(const struct fixture *f, uid_t uid, gid_t gid, mode_t mode)
{
	assert_works(chown(on(f, "d"), uid, gid));
	assert_works(chmod(on(f, "d"), mode));
}

static inline int look_closely(void *data)
{
	const struct task *task = data;
	struct stat st, up;

	/* Before something is first written, and after that. */
	for (int i = 0; i < 2; i++) {
		if (stat(task->path, &st) < 0)
			return errno;
		if (st.st_mode != (S_IFDIR | 0700) || st.st_uid != task->user ||
		    st.st_gid != task->user)
			return NOT_MINE;
		if (put_mark(in(task->path, CODE), task->user))
			return EIO;
	}
	if (outcome(mkdir(task->path, 0777)) != EEXIST)
		return EEXIST;
	if (stat(in(task->path, CODE), &st) < 0 || st.st_uid != task->user)
		return EPERM;
	if (mkdir(in(task->path, "sub"), 0755) || rmdir(in(task->path, "sub")))
		return ENOTDIR;
	if (stat(in(task->path, ".."), &up) < 0 ||
	    stat(in(task->path, "../../d"), &st) < 0 || up.st_ino != st.st_ino)
		return EXDEV;
	if (chmod(task->path, 0750) || stat(task->path, &st) < 0 ||
	    (st.st_mode & 07777) != 0750 || chmod(task->path, 0700))
		return ENOTSUP;
	if (unlink(in(task->path, CODE)))
		return errno;
	return 0;
}

#define PLAIN(test, options) \
	{ #test " (" #options ")", test, users_begin, fixture_end, &options }
#define USERS(test) PLAIN(test, project), \
	{ #test " (in place)", test, users_begin, fixture_end, \
	  &project_in_place }

#endif
