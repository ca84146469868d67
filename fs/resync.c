/*
 * Making the kernel ask again for everything.
 *
 * Names that the kernel knows to be there are those of the table; names that it knows
 * to be missing, but that are there now, are found by listing.  Listing comes first:
 * expiring a name waits for the lookups in its directory, so what those have found is
 * in the table when it is gone through.  What is looked up later is up to date.
 *
 * At a million names this takes some seconds and no memory.
 */
#include "resync.h"

#include <dirent.h>
#include <string.h>

#include "cred.h"
#include "echo.h"
#include "log.h"
#include "util.h"

static bool is_shortage(int err)
{
	return err == -EMFILE || err == -ENFILE || err == -ENOMEM;
}

static int list(struct fs *fs, struct inode *directory, DIR **ret)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int fd, err = inode_open(fs->inodes, directory, HANDLE_PATH, &handle);

	if (err)
		return err;
	fd = cred_reopen(handle_fd(handle), O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	*ret = fdopendir(fd);
	if (!*ret) {
		err = -errno;
		close(fd);
	}
	return err;
}

static int expire_listed(struct fs *fs, struct notifier *notifier,
			 struct inode *directory)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = list(fs, directory, &dir);

	if (err)
		return err;
	while ((errno = 0, entry = readdir(dir)))
		if (!is_dot(entry->d_name))
			notify_expire(notifier, inode_number(directory),
				      entry->d_name);
	return -errno;
}

/* Returns false when it should be tried again. */
static bool resync_directory(struct fs *fs, struct notifier *notifier,
			     struct inode *directory)
{
	int err = expire_listed(fs, notifier, directory);

	if (!err)
		return true;
	if (is_shortage(err))
		return false;
	/* Not where it was, or not ours to read any more.  Found again, it is another
	 * inode, so the kernel drops all names that it held of this one. */
	if (inode_number(directory) != INODE_ROOT)
		inode_retire(fs->inodes, directory);
	else
		log_warning("the source can't be listed, names that it is known not to "
			    "have may be out of date: %s", strerror(-err));
	return true;
}

static void expire_place(struct fs *fs, struct notifier *notifier,
			 struct inode *inode, bool only_asked)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(fs->inodes, inode, name);

	if (parent && *name && (!only_asked || echo_is_needed(parent)))
		notify_expire(notifier, inode_number(parent), name);
	inode_put(fs->inodes, parent);
}

static bool is_source_directory(const struct inode *inode)
{
	return inode_kind(inode) == INODE_SOURCE && inode_type(inode) == S_IFDIR;
}

bool resync_all(struct fs *fs, struct notifier *notifier)
{
	struct inode *inode;
	bool complete = true;

	for (uint32_t at = 0; (inode = inode_next(fs->inodes, &at)); ) {
		if (is_source_directory(inode) &&
		    !resync_directory(fs, notifier, inode))
			complete = false;
		inode_put(fs->inodes, inode);
	}
	for (uint32_t at = 0; (inode = inode_next(fs->inodes, &at)); ) {
		/* A `__pycache__` is always there; its attributes may be its
		 * directory's. */
		if (inode_kind(inode) != INODE_SHADOW)
			expire_place(fs, notifier, inode, false);
		notify_inode(notifier, inode_number(inode), true);
		inode_put(fs->inodes, inode);
	}
	return complete;
}

void resync_echo(struct fs *fs, struct notifier *notifier)
{
	struct inode *inode;

	for (uint32_t at = 0; (inode = inode_next(fs->inodes, &at)); ) {
		if (inode_kind(inode) == INODE_SOURCE)
			expire_place(fs, notifier, inode, true);
		inode_put(fs->inodes, inode);
	}
}
