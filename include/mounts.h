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
	uint64_t dev;		/* as st_dev */
	const char *point;	/* where, with octal escapes resolved */
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

/*
 * Finds the topmost mount at exactly @point, an absolute path.  Returns 1 with
 * @ret_dev and @ret_ours set, 0 when nothing is mounted there, or negative errno.
 */
int mounts_find(const char *point, uint64_t *ret_dev, bool *ret_ours);

#endif
