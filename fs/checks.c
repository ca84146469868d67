/*
 * What a command checks, and clears away, before anything is mounted.
 */
#include "checks.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>

#include "log.h"
#include "mounts.h"
#include "paths.h"
#include "util.h"

int check_device(void)
{
	_cleanup_close_ int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);

	if (fd >= 0)
		return 0;
	complain("/dev/fuse: %s; %s", strerror(errno),
		 errno == EACCES || errno == EPERM
		 ? "run as root, or let users have the device (chmod 0666); in a "
		   "container, give it the device (--device /dev/fuse)"
		 : "load the module by 'modprobe fuse', or give the container the "
		   "device (--device /dev/fuse)");
	return -errno;
}

int check_proc(void)
{
	if (access("/proc/self/fd", F_OK) == 0)
		return 0;
	complain("/proc/self/fd: %s; mount /proc", strerror(errno));
	return -errno;
}

int check_directory(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0) {
		complain("'%s': %s", path, strerror(errno));
		return -errno;
	}
	if (!S_ISDIR(st.st_mode)) {
		complain("'%s': %s", path, strerror(ENOTDIR));
		return -ENOTDIR;
	}
	return 0;
}

/* Mounts of ours whose daemons are gone stand in the way: take them away. */
static int clear_dead(const char *path)
{
	struct statfs fs;
	uint64_t dev;
	bool ours = false;
	int err = 0;

	/* Not stat(), which the kernel may answer from its cache. */
	while (!err && statfs(path, &fs) < 0 &&
	       (errno == ENOTCONN || errno == ECONNABORTED) &&
	       mounts_find(path, &dev, &ours) == 1 && ours)
		err = path_unmount(path, true);
	return err;
}

int check_resolve(char **path)
{
	char *resolved = path_resolve(*path);

	if (!resolved) {
		complain("'%s': %s", *path, strerror(errno));
		return -errno;
	}
	free(*path);
	*path = resolved;
	return clear_dead(resolved);
}

int check_resolve_store(char **path)
{
	char *resolved;

	if (!*path)
		return 0;
	resolved = path_resolve_parent(*path);
	if (!resolved) {
		complain("store '%s': %s", *path, strerror(errno));
		return -errno;
	}
	free(*path);
	*path = resolved;
	return 0;
}

static int match_device(const struct mount_entry *entry, void *data)
{
	const uint64_t *dev = data;

	return entry->dev == *dev && strcmp(entry->type, MOUNTS_TYPE) == 0;
}

bool check_is_served(const char *path)
{
	struct stat st;

	if (stat(path, &st) < 0)
		return false;
	uint64_t dev = st.st_dev;
	return mounts_each(match_device, &dev) == 1;
}
