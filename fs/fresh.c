/*
 * How long the kernel may cache an answer.
 *
 * What lies in the store changes by requests alone, which the kernel knows of.  A
 * source directory's names, and the attributes of what it holds, change without
 * its knowing; the watcher hears of that.  Legacy bytecode is never cached by
 * name: whether X.pyc is the store's or the source's depends on X.py.
 */
#include "fresh.h"

/* A year: the kernel counts in jiffies, and nobody will wait for it to end. */
static const double unlimited = 365 * 86400.0;

void fresh_watch(struct fs *fs, struct inode *directory)
{
	_cleanup_handle_ struct handle *handle = NULL;

	if (!atomic_load(&fs->watching) || inode_is_watched(directory) ||
	    inode_kind(directory) != INODE_SOURCE ||
	    inode_open(fs->inodes, directory, HANDLE_PATH, &handle) < 0)
		return;
	if (fs->watch(fs->watcher, directory, handle_fd(handle)) == 0)
		inode_set_watched(directory);
}

double fresh_name(struct fs *fs, const struct inode *parent,
		  const struct place *place)
{
	if (place->depends)
		return 0;
	if (!atomic_load(&fs->watching))
		return fs->timeout;
	return inode_kind(parent) != INODE_SOURCE || inode_is_watched(parent) ||
		place->kind != INODE_SOURCE ? unlimited : fs->timeout;
}

double fresh_attr(struct fs *fs, const struct inode *inode)
{
	if (!atomic_load(&fs->watching))
		return fs->timeout;
	if (inode_kind(inode) == INODE_STORE || inode_is_watched(inode) ||
	    inode_parent_watched(fs->inodes, inode))
		return unlimited;
	return fs->timeout;
}
