/*
 * Entries: from a place to an inode that the kernel may know.
 */
#ifndef PYCACHEFS_ENTRY_H
#define PYCACHEFS_ENTRY_H

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include "fs.h"
#include "route.h"

/* The answer that there is nothing at @place, which the kernel may remember. */
void entry_missing(struct fs *fs, const struct inode *parent,
		   const struct place *place, struct fuse_entry_param *ret);

/*
 * Looks @place up for the kernel, in the directory @parent.  Returns 0 with an
 * entry that counts as one lookup, or negative errno (-ENOENT: not there).
 */
int entry_find(struct fs *fs, struct inode *parent, const struct place *place,
	       struct fuse_entry_param *ret);

/* A file that was just opened or made at a place. */
struct opened {
	int fd;				/* taken, even on error */
	enum handle_use open_for;	/* what it is good for */
	bool nameless;			/* O_TMPFILE */
	uint64_t since;			/* inode_events() from before */
};

/* The same for a file that is open already. */
int entry_open(struct fs *fs, struct inode *parent, const struct place *place,
	       const struct opened *opened, struct fuse_entry_param *ret);

#endif
