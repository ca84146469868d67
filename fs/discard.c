/*
 * Discarding files of the store.  What is to go is for others to say: bytecode.c
 * and room.c.
 */
#include "discard.h"

#include "inode_spoil.h"
#include "util.h"

/* Its descriptor, if one is cached, holds memory of the store. */
static void let_go(struct fs *fs, const struct file_id *id)
{
	struct inode *inode = inode_find(fs->inodes, INODE_STORE, id);

	if (!inode)
		return;
	inode_retire(fs->inodes, inode);
	inode_unspoil(fs->inodes, inode);
	inode_close(fs->inodes, inode);
	inode_put(fs->inodes, inode);
}

int discard_file(struct fs *fs, const struct file_id *directory,
		 enum shadow_part part, int fd, const char *name)
{
	struct inode *shadow;
	struct file_id id;
	struct stat st;
	int err = identify(&fs->devices, fd, name, &st, &id);

	if (err)
		return err;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (unlinkat(fd, name, 0) < 0)
		return -errno;
	/* Further names of it stay what they are. */
	if (st.st_nlink <= 1)
		let_go(fs, &id);
	/* Names beside the source are not cached: see fresh_name(). */
	shadow = part == SHADOW_CACHE
		? inode_find(fs->inodes, INODE_SHADOW, directory) : NULL;
	if (shadow)
		fs->name_gone(fs->notifier, inode_number(shadow), name);
	inode_put(fs->inodes, shadow);
	return 0;
}
