/*
 * Purging: the bytecode kept for a directory goes, because somebody asks for it.
 *
 * What goes is all that the store shows in and beside the source: every file of
 * `__pycache__`, bytecode beside modules, and what also= names.  What stays are the
 * marks of orphans (see shadow.h): without them, bytecode of modules that were removed
 * would appear.
 *
 * The kernel hears of each name that goes, soon.  Any thread, not while acting as a
 * caller; no locks.
 */
#ifndef PYCACHEFS_PURGE_H
#define PYCACHEFS_PURGE_H

#include "fs.h"

/*
 * Purges @directory, of the source, with all directories below it, those of mounts
 * below the source among them; a `__pycache__` alone.  The mount's root takes all that
 * the store holds along, unless others use it too: see depot.h.  Goes on after an
 * error.  Returns 0, or the first negative errno: -ENOTDIR when @directory is neither,
 * -ELOOP where the tree is deeper than 1,000 levels.
 */
int purge_tree(struct fs *fs, struct inode *directory);

/*
 * Purges the bytecode of one module in @directory, of the source.  @module need not
 * end in NUL after its @length.  Returns 0, or -EINVAL when it is no module's name.
 */
int purge_module(struct fs *fs, struct inode *directory, const char *module,
		 size_t length);

#endif
