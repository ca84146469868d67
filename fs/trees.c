/*
 * Removing trees that are all our own.
 */
#include "trees.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>

#include "util.h"

/* What is gone already is as good as removed. */
static int ignore_missing(int err)
{
	return err == -ENOENT ? 0 : err;
}

void trees_spare_name(struct trees_serial *serial, const char *prefix,
		      char ret[TREES_NAME_SIZE])
{
	snprintf(ret, TREES_NAME_SIZE, "%.2s%016" PRIx64 ".%" PRIu64, prefix,
		 serial->tag, atomic_fetch_add(&serial->next, 1));
}

bool trees_is_aside(const struct trees_serial *serial, const char *name)
{
	char prefix[TREES_NAME_SIZE];

	snprintf(prefix, sizeof(prefix), TREES_PREFIX "%016" PRIx64 ".", serial->tag);
	return starts_with(name, prefix);
}

int trees_move_aside(struct trees_serial *serial, int from, const char *name,
		     int to, char ret[TREES_NAME_SIZE])
{
	int err;

	do {
		trees_spare_name(serial, TREES_PREFIX, ret);
		err = renameat2(from, name, to, ret, RENAME_NOREPLACE) < 0
			? -errno : 0;
	} while (err == -EEXIST);
	return err;
}

/* A plain user is bound by the modes of what is theirs. */
static int let_in(int at, const char *name)
{
	_cleanup_close_ int fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW |
					O_CLOEXEC);
	char path[PROC_NAME_SIZE];

	return fd < 0 || chmod(proc_name(fd, path), 0700) < 0 ? -errno : 0;
}

static int open_to_empty(int at, const char *name, DIR **ret)
{
	int err = open_dir_at(at, name, ret);

	if (err == -EACCES) {
		err = let_in(at, name);
		return err ? err : open_dir_at(at, name, ret);
	}
	/* What can be listed may still be closed to changes. */
	if (!err)
		(void)fchmod(dirfd(*ret), 0700);
	return err;
}

static int raise_to_top(struct trees_serial *serial, int at, const char *name, int top)
{
	char spare[TREES_NAME_SIZE];
	int err = trees_move_aside(serial, at, name, top, spare);

	if (err != -EACCES)
		return err;
	/* A directory that moves is changed itself: in its "..". */
	err = let_in(at, name);
	return err ? err : trees_move_aside(serial, at, name, top, spare);
}

/* Removes a file or an empty directory; one that is not is -ENOTEMPTY. */
static int remove_one(int at, const char *name)
{
	if (unlinkat(at, name, 0) == 0 || errno == ENOENT)
		return 0;
	if (errno != EISDIR)
		return -errno;
	return unlinkat(at, name, AT_REMOVEDIR) < 0 ? ignore_missing(-errno) : 0;
}

/* The directory @name of @top loses all that it holds, some of it to @top. */
static int empty_into_top(struct trees_serial *serial, int top, const char *name)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = open_to_empty(top, name, &dir);

	if (err)
		return ignore_missing(err);
	while (!err && (errno = 0, entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		err = remove_one(dirfd(dir), entry->d_name);
		if (err == -ENOTEMPTY)
			err = ignore_missing(raise_to_top(serial, dirfd(dir),
							  entry->d_name, top));
	}
	return err ? err : -errno;
}

/* One pass over the top of the tree. */
static int clear_top(struct trees_serial *serial, int at, const char *name)
{
	_cleanup_dir_ DIR *top = NULL;
	struct dirent *entry;
	int err = open_to_empty(at, name, &top);

	while (!err && (errno = 0, entry = readdir(top))) {
		if (is_dot(entry->d_name))
			continue;
		err = remove_one(dirfd(top), entry->d_name);
		if (err == -ENOTEMPTY)
			err = empty_into_top(serial, dirfd(top), entry->d_name);
	}
	return err ? err : -errno;
}

int trees_remove(struct trees_serial *serial, int at, const char *name)
{
	int err;

	do {
		err = clear_top(serial, at, name);
		if (!err && unlinkat(at, name, AT_REMOVEDIR) < 0)
			err = -errno;
	} while (err == -ENOTEMPTY);
	return ignore_missing(err);
}
