/*
 * Attributes as users see them.
 */
#include "attr.h"

#include <endian.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "cred.h"
#include "route.h"
#include "shadow.h"
#include "util.h"

uint64_t attr_ino(struct fs *fs, enum inode_kind kind, uint64_t dev, uint64_t ino)
{
	switch (kind) {
	case INODE_SOURCE:
		return shown_ino(&fs->devices, dev, ino);
	case INODE_SHADOW:
		/* By its directory's number: the same before and after something
		 * is first written to it. */
		return shown_ino(&fs->devices, dev, ino) | INO_STORE | INO_SHADOW;
	case INODE_STORE:
		return ino | INO_STORE;
	}
	return ino;
}

mode_t attr_shadow_mode(mode_t mode)
{
	return mode & 07777 & ~(mode_t)S_ISUID;
}

uint32_t attr_gid(const struct fs *fs, uint32_t uid, uint32_t gid)
{
	return fs->one_id && uid == geteuid() ? getegid() : gid;
}

/* Whether this entry names a user or a group that is not ours. */
static bool names_another(const struct posix_acl_xattr_entry *entry)
{
	switch (le16toh(entry->e_tag)) {
	case ACL_USER:
		return le32toh(entry->e_id) != geteuid();
	case ACL_GROUP:
		return le32toh(entry->e_id) != getegid();
	}
	return false;
}

size_t attr_acl(const struct fs *fs, void *value, size_t length)
{
	struct posix_acl_xattr_entry entry;
	size_t kept = sizeof(struct posix_acl_xattr_header);
	char *acl = value;

	if (!fs->one_id || length < kept)
		return length;
	for (size_t at = kept; at + sizeof(entry) <= length; at += sizeof(entry)) {
		memcpy(&entry, acl + at, sizeof(entry));
		if (names_another(&entry))
			continue;
		memcpy(acl + kept, &entry, sizeof(entry));
		kept += sizeof(entry);
	}
	return kept;
}

/* The user in whose own `__pycache__` @inode lies, or which it is; 0: in none. */
static uid_t find_user(struct fs *fs, struct inode *inode)
{
	struct inode *at = inode_ref(inode), *parent;
	uid_t user = 0;

	while (at && inode_kind(at) == INODE_STORE) {
		parent = inode_parent(fs->inodes, at);
		inode_put(fs->inodes, at);
		at = parent;
	}
	if (at && inode_kind(at) == INODE_SHADOW)
		user = inode_user(at);
	inode_put(fs->inodes, at);
	return user;
}

uid_t attr_uid(struct fs *fs, struct inode *inode, uid_t uid)
{
	uid_t user = cred_can_switch() || inode_kind(inode) == INODE_SOURCE
		? 0 : find_user(fs, inode);

	return user ? user : uid;
}

static int statx_handle(struct fs *fs, struct handle *handle, struct statx *ret)
{
	return identify_statx(&fs->devices, handle_fd(handle), "", ret, NULL);
}

/* The directory whose `__pycache__` @shadow is, as a handle. */
static int open_directory(struct fs *fs, struct inode *shadow, struct handle **ret)
{
	struct inode *directory = inode_parent(fs->inodes, shadow);
	int err = inode_open(fs->inodes, directory, HANDLE_PATH, ret);

	inode_put(fs->inodes, directory);
	return err;
}

/* A user's own, @own of which is in the store. */
static void show_own(const struct inode *shadow, bool made, struct statx *own)
{
	/* A plain user's daemon could not give it away. */
	if (!made || !cred_can_switch()) {
		own->stx_uid = inode_user(shadow);
		own->stx_gid = inode_group(shadow);
	}
	if (!made)
		own->stx_mode = S_IFDIR | 0700;
}

/* Owner and mode are those of its directory. */
static int show_as_source(struct fs *fs, struct inode *shadow, struct statx *own)
{
	_cleanup_handle_ struct handle *directory = NULL;
	struct statx model;
	int err = open_directory(fs, shadow, &directory);

	if (!err)
		err = statx_handle(fs, directory, &model);
	if (err)
		return err;
	own->stx_uid = model.stx_uid;
	own->stx_gid = model.stx_gid;
	own->stx_mode = model.stx_mode;
	return 0;
}

static int get_shadow(struct fs *fs, struct inode *shadow, struct handle *handle,
		      struct statx *ret)
{
	bool made = handle != fs->empty;
	struct statx own;
	int err = statx_handle(fs, handle, &own);

	if (!err && inode_user(shadow) != 0)
		show_own(shadow, made, &own);
	else if (!err && (!made || shadow_follows_source(own.stx_mode)))
		err = show_as_source(fs, shadow, &own);
	if (err)
		return err;
	/* The mark that it follows, or a bit that says nothing. */
	own.stx_mode &= (uint16_t)~S_ISUID;
	own.stx_ino = attr_ino(fs, INODE_SHADOW, inode_id(shadow)->dev,
			       inode_id(shadow)->ino);
	*ret = own;
	return 0;
}

static int get_other(struct fs *fs, struct inode *inode, struct handle *handle,
		   struct statx *ret)
{
	int err = statx_handle(fs, handle, ret);

	if (!err)
		ret->stx_ino = attr_ino(fs, inode_kind(inode),
					makedev(ret->stx_dev_major, ret->stx_dev_minor),
					ret->stx_ino);
	return err;
}

int attr_get(struct fs *fs, struct inode *inode, struct statx *ret)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct statx stx;
	int err = route_open(fs, inode, HANDLE_PATH, &handle);

	if (err)
		return err;
	if (inode_kind(inode) == INODE_SHADOW)
		err = get_shadow(fs, inode, handle, &stx);
	else
		err = get_other(fs, inode, handle, &stx);
	if (err)
		return err;
	stx.stx_uid = attr_uid(fs, inode, stx.stx_uid);
	stx.stx_gid = attr_gid(fs, stx.stx_uid, stx.stx_gid);
	*ret = stx;
	return 0;
}

int attr_detach_shadow(struct fs *fs, struct inode *shadow, int fd)
{
	_cleanup_handle_ struct handle *directory = NULL;
	struct stat own, model;
	char name[FD_NAME_SIZE];
	int err;

	if (fstat(fd, &own) < 0)
		return -errno;
	if (!shadow_follows_source(own.st_mode))
		return 0;
	err = open_directory(fs, shadow, &directory);
	if (err)
		return err;
	if (fstat(handle_fd(directory), &model) < 0)
		return -errno;
	/* A plain user's daemon may not give files away; its users are one. */
	(void)fchownat(fd, "", model.st_uid, model.st_gid, AT_EMPTY_PATH);
	(void)copy_xattr(handle_fd(directory), fd, "system.posix_acl_access");
	if (fchmodat(cred_proc_fd(), fd_name(fd, name), attr_shadow_mode(model.st_mode), 0) < 0)
		return -errno;
	return 0;
}

int attr_acl_holder(struct fs *fs, struct inode *shadow, struct handle **ret)
{
	struct handle *handle;
	struct stat own;
	int err = route_open(fs, shadow, HANDLE_PATH, &handle);

	if (err)
		return err;
	if (inode_user(shadow) != 0) {
		*ret = handle;
		return 0;
	}
	if (handle != fs->empty) {
		if (fstat(handle_fd(handle), &own) < 0)
			err = -errno;
		else if (!shadow_follows_source(own.st_mode)) {
			*ret = handle;
			return 0;
		}
	}
	handle_put(handle);
	return err ? err : open_directory(fs, shadow, ret);
}
