/*
 * Small helpers that every layer uses.  Nothing here knows about bytecode,
 * FUSE or the mount.
 */
#include "util.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

enum { MAX_DEPTH = 100 };

bool starts_with(const char *text, const char *prefix)
{
	return strncmp(text, prefix, strlen(prefix)) == 0;
}

bool ends_with(const char *text, const char *suffix)
{
	size_t length = strlen(text), tail = strlen(suffix);

	return length >= tail && strcmp(text + length - tail, suffix) == 0;
}

bool is_dot(const char *name)
{
	return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

int open_dir_at(int dirfd, const char *name, DIR **ret)
{
	_cleanup_close_ int fd = openat(dirfd, name,
			O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	DIR *dir = fdopendir(fd);
	if (!dir)
		return -errno;
	steal_fd(&fd);
	*ret = dir;
	return 0;
}

int dir_reopen(int fd, DIR **ret)
{
	return open_dir_at(fd, ".", ret);
}

static int remove_level(int at, const char *name, int depth)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err;

	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return 0;
	/* unlink(2) of a directory: EISDIR on Linux, EPERM by POSIX. */
	if (errno != EISDIR && errno != EPERM)
		return -errno;
	if (depth == MAX_DEPTH)
		return -ELOOP;

	err = open_dir_at(at, name, &dir);
	if (err)
		return err == -ENOTDIR ? -EPERM : err;
	while ((errno = 0, entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		err = remove_level(dirfd(dir), entry->d_name, depth + 1);
		if (err)
			return err;
	}
	if (errno)
		return -errno;
	if (unlinkat(at, name, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

int remove_tree_at(int dirfd, const char *name)
{
	return remove_level(dirfd, name, 0);
}

const char *proc_name(int fd, char ret[PROC_NAME_SIZE])
{
	snprintf(ret, PROC_NAME_SIZE, "/proc/self/fd/%d", fd);
	return ret;
}

int copy_xattr(int from, int to, const char *name)
{
	_cleanup_free_ char *value = malloc(XATTR_SIZE_MAX);
	char path[PROC_NAME_SIZE];
	ssize_t size;

	if (!value)
		return -ENOMEM;
	size = getxattr(proc_name(from, path), name, value, XATTR_SIZE_MAX);
	if (size < 0)
		return errno == ENODATA || errno == EOPNOTSUPP ? 0 : -errno;
	return setxattr(proc_name(to, path), name, value, (size_t)size, 0) < 0
		? -errno : 0;
}

uint64_t milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

struct timespec monotonic_in(uint64_t milliseconds)
{
	struct timespec then;
	uint64_t nanoseconds;

	clock_gettime(CLOCK_MONOTONIC, &then);
	nanoseconds = (uint64_t)then.tv_nsec + milliseconds % 1000 * 1000000;
	then.tv_sec += (time_t)(milliseconds / 1000 + nanoseconds / 1000000000);
	then.tv_nsec = (long)(nanoseconds % 1000000000);
	return then;
}

void cond_init_monotonic(pthread_cond_t *cond)
{
	pthread_condattr_t clock;

	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(cond, &clock);
	pthread_condattr_destroy(&clock);
}

bool cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until)
{
	return pthread_cond_timedwait(cond, lock, until) != ETIMEDOUT;
}

int thread_start(pthread_t *ret, void *(*run)(void *data), void *data)
{
	sigset_t all, before;
	int err;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(ret, NULL, run, data);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return -err;
}
