/*
 * The mounts of this mount namespace, as /proc/self/mountinfo tells them.
 * Reading it touches no filesystem but proc, so a dead mount can't block it.
 */
#ifndef PYCACHEFS_MOUNTS_H
#define PYCACHEFS_MOUNTS_H

#include <stdbool.h>
#include <stdint.h>

/* The type under which our mounts show. */
#define MOUNTS_TYPE "fuse.pycachefs"

struct mount_entry {
	int id;			/* as STATX_MNT_ID gives it */
	int parent;		/* id of the mount that it lies on */
	uint64_t dev;		/* as st_dev */
	const char *root;	/* its root in the filesystem, octal escapes resolved */
	const char *point;	/* where, likewise */
	const char *type;	/* such as "ext4" */
	const char *origin;	/* what, such as a device or our source */
};

/*
 * Calls @each for every mount, oldest first, until it returns non-zero, which
 * is then returned.  The entry is valid during the call.  Returns 0 at the end,
 * or negative errno when the list can't be read.
 */
int mounts_each(int (*each)(const struct mount_entry *entry, void *data),
		void *data);

/* Whether a mount of ours is the device @dev: 1 or 0, or negative errno. */
int mounts_have_ours(uint64_t dev);

/*
 * The same for the list open as @fd, from mounts_open(), which is read from its
 * start.  Opened before mounting, it needs no path afterwards.
 */
int mounts_each_in(int fd, int (*each)(const struct mount_entry *entry, void *data),
		   void *data);

/* Opens the list; poll(2) tells by POLLPRI when it has changed.  The caller owns the
 * descriptor.  Returns it, or negative errno. */
int mounts_open(void);

/*
 * Finds the topmost mount at exactly @point, an absolute path.  Returns 1 with
 * @ret_dev and @ret_ours set, 0 when nothing is mounted there, or negative errno.
 */
int mounts_find(const char *point, uint64_t *ret_dev, bool *ret_ours);

/*
 * One mount, told from every other.  Its device and number are given to the next as
 * soon as it is gone; @unique never is, but only Linux 6.8 and newer tell it.
 */
struct mount_id {
	uint64_t dev;
	int id;
	uint64_t unique;	/* 0: not known */
};

/*
 * Says which one the topmost mount at @point is, when it is of our type.  Returns 0,
 * -ENOENT when it is not, or negative errno.  Asks no FUSE daemon anything.
 */
int mounts_identify(const char *point, struct mount_id *ret);

/*
 * Says where @mount is now, as it may have been moved, or a directory above it
 * renamed.  Returns 0 with a path that the caller frees, -ENOENT when it is gone,
 * -EBUSY with the path when that leads to something else, which is mounted on top,
 * or negative errno.  Asks no FUSE daemon anything.
 */
int mounts_locate(const struct mount_id *mount, char **ret_point);

#endif
