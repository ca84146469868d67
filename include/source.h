/*
 * The source: the directory that is mounted, as it was before mounting.
 *
 * Everything is done relative to descriptors that were opened before the mount
 * covered the path, so an in-place mount never meets itself.
 */
#ifndef PYCACHEFS_SOURCE_H
#define PYCACHEFS_SOURCE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct source {
	int fd;				/* O_PATH of its root; owned */
	_Atomic uint64_t own_dev;	/* our mount's st_dev; 0 until it is known */
};

/*
 * Opens the directory @path.  Returns 0 or negative errno: -ENOTDIR when it is no
 * directory, -ELOOP when it lies in a pycachefs mount.  source_close() ends it.
 */
int source_open(struct source *ret, const char *path);
void source_close(struct source *source);

/*
 * Opens @name below @at as O_PATH without following a symlink.  Mounts below the
 * source are entered, but never our own: a bind mount of it there gives -ELOOP
 * instead of a request that waits for itself.  The caller owns the descriptor.
 * Returns 0 or negative errno.  Any thread.
 */
int source_open_child(const struct source *source, int at, const char *name,
		      int *ret_fd);

/* Whether a file (no directory) called @module lies in the directory @at. */
bool source_has_module(int at, const char *module);

#endif
