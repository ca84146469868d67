/*
 * Orphans: bytecode of the source that is hidden because its module lies beside it.
 *
 * X.pyc would appear as soon as X.py is removed, and then run in its stead: code that was
 * deleted.  So it is marked then, and goes on being hidden.  The mark tells which file it
 * is, by identity, size and mtime: another file of that name, or other content, is a
 * program that is shipped as bytecode, and shown.
 *
 * A removal behind the mount is heard of a moment later; until then the file shows.  What
 * is not heard of leaves it visible: with a time limit instead of the watcher, or in a
 * directory that nobody has looked at through the mount.
 *
 * Any thread, without locks.
 */
#ifndef PYCACHEFS_ORPHAN_H
#define PYCACHEFS_ORPHAN_H

#include <stdbool.h>

#include "fs.h"

/* Whether @name in the source directory of identity @directory, which @dirfd is open
 * for and in which its module does not lie, is to stay hidden. */
bool orphan_is(struct fs *fs, const struct file_id *directory, int dirfd,
	       const char *name);

/*
 * To be called before a module such as "x.py" is removed or renamed in the source
 * directory @directory, which @dirfd is open for: bytecode of the source that was hidden
 * because of it is marked.  Other names cost nothing.
 */
void orphan_before_removal(struct fs *fs, struct inode *directory, int dirfd,
			   const char *name);

/*
 * What happened to @name in @directory behind the mount; to be called in the order in
 * which that is heard.  It came or went; it came or was written, and if that was after its
 * module went, it is not what was hidden.  Events that the kernel has merged may come too
 * early for that: then such a file stays hidden until it is written or replaced again.
 */
void orphan_name_heard(struct fs *fs, struct inode *directory, const char *name);
void orphan_content_heard(struct fs *fs, struct inode *directory, const char *name);

#endif
