/*
 * Paths as users give them.  Only commands use this, before or after a mount; the
 * daemon knows descriptors.
 */
#include "paths.h"

#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>

#include "log.h"
#include "util.h"

extern char **environ;

char *path_resolve_parent(const char *path)
{
	_cleanup_free_ char *copy = strdup(path), *copy2 = strdup(path);
	_cleanup_free_ char *parent = NULL;
	char *result = NULL;

	if (!copy || !copy2)
		return NULL;
	parent = realpath(dirname(copy), NULL);
	if (!parent || asprintf(&result, "%s/%s", strcmp(parent, "/") ? parent : "",
				basename(copy2)) < 0)
		return NULL;
	return result;
}

char *path_resolve(const char *path)
{
	char *resolved = realpath(path, NULL);

	if (!resolved && (errno == ENOTCONN || errno == ECONNABORTED))
		return path_resolve_parent(path);
	return resolved;
}

bool path_is_within(const char *path, const char *directory)
{
	size_t length = strlen(directory);

	if (strcmp(directory, "/") == 0)
		return true;
	return strncmp(path, directory, length) == 0 &&
		(path[length] == '/' || path[length] == '\0');
}

/* Runs fusermount3, whose message, if any, goes to @words. */
static int run_fusermount(const char *path, bool lazy, int words)
{
	const char *const busy[] = { "fusermount3", "-u", "--", path, NULL };
	const char *const any[] = { "fusermount3", "-u", "-z", "--", path, NULL };
	const char *const *argv = lazy ? any : busy;
	posix_spawn_file_actions_t actions;
	int status, err;
	pid_t child;

	posix_spawn_file_actions_init(&actions);
	posix_spawn_file_actions_adddup2(&actions, words, STDERR_FILENO);
	err = posix_spawnp(&child, argv[0], &actions, NULL,
			   (char *const *)(uintptr_t)argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (err)
		return -err;
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EPERM;
}

static int complain_unmount(const char *path, int err)
{
	complain("can't unmount '%s': %s%s", path, strerror(-err),
		 err == -EBUSY ? "; end what uses it, or give --lazy" : "");
	return err;
}

int path_unmount(const char *path, bool lazy)
{
	_cleanup_close_ int words = -1;
	char said[LOG_WORDS];
	ssize_t length;
	int err;

	if (umount2(path, UMOUNT_NOFOLLOW | (lazy ? MNT_DETACH : 0)) == 0)
		return 0;
	if (errno != EPERM)
		return complain_unmount(path, -errno);
	words = memfd_create("stderr", MFD_CLOEXEC);
	if (words < 0)
		return complain_unmount(path, -errno);
	err = run_fusermount(path, lazy, words);
	if (!err)
		return 0;
	length = pread(words, said, sizeof(said) - 1, 0);
	if (length <= 0)
		return complain_unmount(path, err);
	said[length] = '\0';
	said[strcspn(said, "\n")] = '\0';
	complain("can't unmount '%s': %s", path, said);
	return err;
}

int path_unmount_only(const struct mount_id *mount)
{
	_cleanup_free_ char *point = NULL;
	int err = mounts_locate(mount, &point);

	if (err == -ENOENT)
		return 0;
	if (err == -EBUSY)
		complain("'%s': stays mounted: something else is mounted on top of it",
			 point);
	else if (err)
		complain("/proc/self/mountinfo: %s", strerror(-err));
	return err ? err : path_unmount(point, true);
}
