/*
 * Entries: from a place to an inode that the kernel may know.
 */
#include "entry.h"

#include <fcntl.h>

#include "attr.h"
#include "fresh.h"
#include "names.h"
#include "util.h"

static void fill(struct fs *fs, const struct inode *parent,
		 const struct place *place, struct inode *inode,
		 const struct stat *attr, struct fuse_entry_param *ret)
{
	fresh_pages(fs, inode, attr);
	*ret = (struct fuse_entry_param){
		.ino = inode_number(inode),
		.attr = *attr,
		.attr_timeout = fresh_attr(fs, inode),
		.entry_timeout = fresh_name(fs, parent, place),
	};
}

void entry_missing(struct fs *fs, const struct inode *parent,
		   const struct place *place, struct fuse_entry_param *ret)
{
	/* Number 0 with a time limit: remember that there is none.  Whoever looks for
	 * bytecode is to be heard of: see bytecode_missed(). */
	*ret = (struct fuse_entry_param){
		.entry_timeout = inode_kind(parent) == INODE_SHADOW &&
			names_use(place->name) == NAME_CACHED
			? 0 : fresh_name(fs, parent, place),
	};
}

/* Reads the attributes of what was just looked up into the answer. */
static int complete(struct fs *fs, struct inode *parent, const struct place *place,
		    struct inode *inode, struct fuse_entry_param *ret)
{
	struct statx stx;
	struct stat attr;
	int err;

	/* Watched first: what changes after this is heard of. */
	if (inode_type(inode) == S_IFDIR)
		fresh_watch(fs, inode);
	err = attr_get(fs, inode, &stx);
	if (err) {
		inode_forget(fs->inodes, inode_number(inode), 1);
	} else {
		stat_from_statx(&stx, &attr);
		fill(fs, parent, place, inode, &attr, ret);
	}
	return err;
}

/* `__pycache__` of @parent, whether or not anything was written to it. */
static int find_shadow(struct fs *fs, struct inode *parent,
		       const struct place *place, struct fuse_entry_param *ret)
{
	struct sighting seen = {
		.kind = INODE_SHADOW, .user = place->user, .id = *inode_id(parent),
		.mode = S_IFDIR,
		.parent = parent, .name = place->name,
		.since = inode_events(fs->inodes), .fd = -1,
	};
	struct inode *inode;
	int err;

	err = inode_lookup(fs->inodes, &seen, &inode);
	if (err)
		return err;
	inode_note_group(inode, place->group);
	err = complete(fs, parent, place, inode, ret);
	inode_put(fs->inodes, inode);
	return err;
}

int entry_open(struct fs *fs, struct inode *parent, const struct place *place,
	       const struct opened *opened, struct fuse_entry_param *ret)
{
	struct sighting seen = {
		.kind = place->kind, .parent = opened->nameless ? NULL : parent,
		.name = place->name, .since = opened->since, .fd = opened->fd,
		.open_for = opened->open_for,
	};
	struct inode *inode;
	struct stat attr;
	int err = identify(&fs->devices, seen.fd, "", &attr, &seen.id);

	if (err) {
		close(seen.fd);
		return err;
	}
	seen.mode = attr.st_mode;
	seen.links = attr.st_nlink;
	err = inode_lookup(fs->inodes, &seen, &inode);
	if (err)
		return err;
	if (opened->open_for == HANDLE_PATH)
		fresh_reader(fs, inode);
	if (S_ISDIR(attr.st_mode) && !inode_is_watched(inode)) {
		err = complete(fs, parent, place, inode, ret);
	} else {
		attr.st_ino = attr_ino(fs, place->kind, attr.st_dev, attr.st_ino);
		attr.st_uid = attr_uid(fs, inode, attr.st_uid);
		attr.st_gid = attr_gid(fs, attr.st_uid, attr.st_gid);
		fill(fs, parent, place, inode, &attr, ret);
	}
	inode_put(fs->inodes, inode);
	return err;
}

int entry_find(struct fs *fs, struct inode *parent, const struct place *place,
	       struct fuse_entry_param *ret)
{
	struct opened opened = { .since = inode_events(fs->inodes) };
	int err = 0;

	if (place->kind == INODE_SHADOW)
		return find_shadow(fs, parent, place, ret);
	if (place->kind == INODE_SOURCE) {
		err = source_open_child(&fs->source, place->dirfd, place->name,
					&opened.fd);
	} else {
		opened.fd = openat(place->dirfd, place->name,
				   O_PATH | O_NOFOLLOW | O_CLOEXEC);
		err = opened.fd < 0 ? -errno : 0;
	}
	return err ? err : entry_open(fs, parent, place, &opened, ret);
}
