/*
 * Sweeping: files that were removed behind the mount are let go.
 *
 * A descriptor of ours holds a removed file's space until the kernel forgets the
 * inode, which it has no reason to do.  So after something was removed, descriptors
 * are looked through for files without a name.
 *
 * For one thread, which serves no requests.
 */
#ifndef PYCACHEFS_SWEEP_H
#define PYCACHEFS_SWEEP_H

#include "fs.h"
#include "notify.h"

struct sweep;

/* Both are borrowed.  Returns NULL when memory is short.  sweep_destroy() takes NULL. */
struct sweep *sweep_create(struct fs *fs, struct notifier *notifier);
void sweep_destroy(struct sweep *sweep);

/* Something was removed: sweep soon. */
void sweep_want(struct sweep *sweep);

/* Goes on sweeping for a moment.  Returns in how many milliseconds to call again, or
 * -1 when there is nothing to do. */
int sweep_step(struct sweep *sweep);

/* The directory @inode was removed: what the store keeps for it goes. */
void sweep_removed(struct sweep *sweep, struct inode *inode);

#endif
