/*
 * Discarding: files of the store that go without anybody naming them, since they are
 * stale, their room is needed, or all is to go.
 */
#ifndef PYCACHEFS_DISCARD_H
#define PYCACHEFS_DISCARD_H

#include "fs.h"
#include "shadow.h"

/* A part of the shadow of a source directory. */
struct part {
	struct file_id directory;
	enum shadow_part part;
	uid_t user;		/* of a SHADOW_CACHE: whose; see shadow_open_cache() */
};

/* Opens it as shadow_open() does. */
int part_open(const struct fs *fs, const struct part *part, int *ret_fd);

/*
 * Removes the file @name from @part, which @fd is open for, and the kernel hears of it
 * soon.  @stays_open: whoever has it open may go on, and its memory comes free when the
 * kernel has forgotten it: see forgetter.h.  Without that, or when as many files are
 * pinned as may be (handle.h), its memory is free at once, and whoever has it open finds
 * it gone (-ESTALE).  Returns 0 or negative errno: -EISDIR for a
 * directory.  Any thread, without locks.
 */
int discard_file(struct fs *fs, const struct part *part, int fd, const char *name,
		 bool stays_open);

/*
 * The same for whatever is called @name in the directory of the store @fd, with all
 * below it, which may stay open; of @name itself the caller tells the kernel.  A missing
 * name is no error.  Stops at the first error and returns it.
 */
int discard_tree(struct fs *fs, int fd, const char *name);

/* Lets go of @inode if its file was removed from the store by somebody else: whoever has
 * it open may go on as well. */
void discard_removed(struct fs *fs, struct inode *inode);

#endif
