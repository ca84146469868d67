/*
 * The source: the directory that is mounted.  Which of its names are shown is
 * not known here: see route.c.
 */
#include "source.h"

#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>

#include "mounts.h"
#include "util.h"

int source_open(struct source *ret, const char *path)
{
	_cleanup_close_ int fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
	struct stat st;

	if (fd < 0 || fstat(fd, &st) < 0)
		return -errno;
	int ours = mounts_have_ours(st.st_dev);
	if (ours)
		return ours < 0 ? ours : -ELOOP;
	ret->fd = steal_fd(&fd);
	atomic_init(&ret->own_dev, 0);
	return 0;
}

void source_close(struct source *source)
{
	if (source->fd >= 0)
		close(source->fd);
	source->fd = -1;
}

/* O_PATH and the cached attributes alone: neither sends a request to FUSE. */
static int open_across_mount(const struct source *source, int at,
			     const char *name, int *ret_fd)
{
	_cleanup_close_ int fd = openat(at, name,
					O_PATH | O_NOFOLLOW | O_CLOEXEC);
	struct statx stx;

	if (fd < 0)
		return -errno;
	if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &stx) < 0)
		return -errno;
	if (makedev(stx.stx_dev_major, stx.stx_dev_minor) ==
	    atomic_load(&source->own_dev))
		return -ELOOP;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int source_open_child(const struct source *source, int at, const char *name,
		      int *ret_fd)
{
	struct open_how how = {
		.flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
		.resolve = RESOLVE_NO_XDEV,
	};
	long fd = syscall(SYS_openat2, at, name, &how, sizeof(how));

	if (fd >= 0) {
		*ret_fd = (int)fd;
		return 0;
	}
	/* ENOSYS: before Linux 5.6; EPERM: a seccomp filter that is older. */
	if (errno == EXDEV || errno == ENOSYS || errno == EPERM)
		return open_across_mount(source, at, name, ret_fd);
	return -errno;
}

bool source_has_module(int at, const char *module)
{
	struct stat st;

	return fstatat(at, module, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
		!S_ISDIR(st.st_mode);
}
