/*
 * How long the kernel may cache an answer.
 *
 * What lies in the store changes by requests alone, which the kernel knows of.  A
 * source directory's names, and the attributes of what it holds, change without
 * its knowing; the watcher hears of that.  Legacy bytecode is never cached by
 * name: whether X.pyc is the store's or the source's depends on X.py.  Nor is
 * `__pycache__` where several users reach the mount, since it is whoever's asks: a
 * time limit of 0 makes the kernel ask on each walk, as the user who walks
 * (fs/fuse/dir.c, fuse_dentry_revalidate()), and a walk that waits for another's
 * lookup of the name asks again (fs/namei.c, __lookup_slow()).  A store that other
 * daemons use too changes unheard: no name in it is cached, since one that is gone may
 * be that of stale bytecode, and attributes for the time limit.
 */
#include "fresh.h"

#include "util.h"

/* A year: the kernel counts in jiffies, and nobody will wait for it to end. */
static const double unlimited = 365 * 86400.0;

void fresh_asked(struct inode *directory)
{
	inode_note_asked(directory, milliseconds());
}

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
	if (place->depends ||
	    (place->kind == INODE_STORE && store_is_shared(&fs->store)))
		return 0;
	/* It means another directory to another user. */
	if (place->kind == INODE_SHADOW && fs->several_users)
		return 0;
	if (!atomic_load(&fs->watching))
		return fs->timeout;
	switch (inode_kind(parent)) {
	case INODE_SOURCE:
		return inode_is_watched(parent) || place->kind != INODE_SOURCE
			? unlimited : fs->timeout;
	case INODE_SHADOW:
		/* Its modules lie in the directory above. */
		return inode_parent_watched(fs->inodes, parent)
			? unlimited : fs->timeout;
	case INODE_STORE:
		return unlimited;
	}
	return fs->timeout;
}

double fresh_attr(struct fs *fs, const struct inode *inode)
{
	if (!atomic_load(&fs->watching) ||
	    (inode_kind(inode) != INODE_SOURCE && store_is_shared(&fs->store)))
		return fs->timeout;
	switch (inode_kind(inode)) {
	case INODE_SOURCE:
		/* A directory's parent does not hear of what is made in it, which
		 * its times tell, and by these the kernel judges its listing. */
		return (inode_type(inode) == S_IFDIR
			? inode_is_watched(inode)
			: inode_parent_watched(fs->inodes, inode))
			? unlimited : fs->timeout;
	case INODE_SHADOW:
		return inode_parent_watched(fs->inodes, inode) ? unlimited
							       : fs->timeout;
	case INODE_STORE:
		return unlimited;
	}
	return fs->timeout;
}

static uint32_t digest(const void *data, size_t size, uint64_t seed)
{
	uint64_t sum = identity_digest(data, size, seed);

	return (uint32_t)(sum ^ sum >> 32);
}

void fresh_pages(struct fs *fs, struct inode *inode, const struct stat *attr)
{
	const int64_t content[] = {
		attr->st_mtim.tv_sec, attr->st_mtim.tv_nsec, attr->st_size,
	};
	const int64_t changed[] = { attr->st_ctim.tv_sec, attr->st_ctim.tv_nsec };

	if (inode_kind(inode) != INODE_SOURCE || !S_ISREG(attr->st_mode) ||
	    fresh_attr(fs, inode) == unlimited)
		return;
	if (!inode_note_shown(inode,
			      digest(content, sizeof(content), IDENTITY_SEED),
			      digest(changed, sizeof(changed), IDENTITY_SEED)))
		return;
	fs->content_changed(fs->notifier, inode_number(inode));
	fs->words_sent(fs->notifier);
}

void fresh_reader(struct fs *fs, struct inode *inode)
{
	if (inode_kind(inode) == INODE_SOURCE && fresh_attr(fs, inode) < unlimited)
		inode_drop_reader(fs->inodes, inode);
}
