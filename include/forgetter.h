/*
 * Making the kernel forget files of the store that are gone.
 *
 * Opening and closing cost no message, so nobody tells whether a file is open that is
 * dropped as stale or evicted.  It stays readable, as one does that is unlinked: its
 * descriptor is kept (see inode_names.h), and with that its memory, until the kernel
 * forgets the file.  By itself it does so when memory is short, so it is asked to, and
 * forgets at once what nobody has open, and the rest upon the last close.
 *
 * Linux 6.18 and newer forget a file by its number (FUSE_NOTIFY_PRUNE), without a lock.
 * Older ones do so by its name alone, with the lock of its directory, which may be held
 * by the very request that needs the memory: there nobody can wait for it.
 */
#ifndef PYCACHEFS_FORGETTER_H
#define PYCACHEFS_FORGETTER_H

#include <stdint.h>

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include "fs.h"

struct forgetter;

/*
 * Makes a forgetter for @session and starts its thread.  Both are borrowed.  Returns 0
 * or negative errno.  forgetter_destroy() ends the thread, which may leave files
 * unforgotten, and takes NULL.
 */
int forgetter_create(struct forgetter **ret, struct fuse_session *session,
		     struct fs *fs);
void forgetter_destroy(struct forgetter *forgetter);

/* Soon: the file @number, which was @name in the directory @parent.  No lookup may find
 * its inode, which is pinned.  Any thread. */
void forgetter_add(struct forgetter *forgetter, uint64_t number, uint64_t parent,
		   const char *name);

/*
 * Where files are forgotten by number, waits until all is that was added before and is
 * not open, but no longer than a tenth of a second.  It needs no thread that serves
 * requests, so any may wait.
 */
void forgetter_wait(struct forgetter *forgetter);

#endif
