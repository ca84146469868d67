/*
 * The guard of `auto_unmount`: a process that waits for the daemon's end and takes
 * its mount away when the daemon could not do so itself, as after SIGKILL.
 *
 * libfuse leaves this to fusermount3, whose releases up to 3.16 know no way to do it
 * for a mount that they have not made, and which unmounts whatever lies on top.
 */
#ifndef PYCACHEFS_GUARD_H
#define PYCACHEFS_GUARD_H

#include <stdbool.h>
#include <sys/types.h>

#include "mounts.h"

struct guard {
	pid_t child;	/* 0: none was asked for */
	int pipe;	/* its end tells the child of ours; owned */
};

/*
 * Starts a guard, before threads and before mounting.  In the background it lets go
 * of the terminal.  Returns 0 or negative errno.
 */
int guard_start(struct guard *ret, bool foreground);

/* From here on the guard answers for @mount.  Returns 0 or negative errno. */
int guard_watch(const struct guard *guard, const struct mount_id *mount);

/* The daemon ends in good order, having unmounted: the guard ends too.  Takes one
 * that was never started. */
void guard_dismiss(struct guard *guard);

#endif
