/*
 * Spoiled inodes.
 *
 * A file of the store to which a write has failed, or came up short, is spoiled
 * until it is truncated to 0: it must not get the name that its writer has in mind
 * for it.  The table keeps it until then, or until it has lost its last name, since
 * the kernel may forget the file between the write and the rename.
 */
#ifndef PYCACHEFS_INODE_SPOIL_H
#define PYCACHEFS_INODE_SPOIL_H

#include "inode.h"

/* The negative errno of the write that failed, 0 for a sound file. */
int inode_spoiled(const struct inode *inode);
void inode_spoil(struct inode_table *table, struct inode *inode, int err);
/* It was truncated to 0. */
void inode_unspoil(struct inode_table *table, struct inode *inode);

/* @inode has lost a name: it is kept no longer if that was its last. */
void inode_release_spoiled(struct inode_table *table, struct inode *inode);

/* The same for all inodes of the store whose names go back to the source directory
 * of identity @directory: what the store has kept for it was dropped. */
void inode_release_spoiled_below(struct inode_table *table,
				 const struct file_id *directory);

#endif
