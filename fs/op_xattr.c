/*
 * Operations on extended attributes, POSIX ACLs among them.
 *
 * The calls take no descriptor that is O_PATH, so most go by name: a serving
 * thread's working directory is /proc/self/fd (see cred.h), where "7" is the file
 * behind descriptor 7, and "6/name" is a symlink itself.
 */
#include <linux/limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>

#include "attr.h"
#include "ops.h"
#include "purge.h"
#include "reply.h"
#include "room.h"
#include "route.h"
#include "util.h"

/* Virtual, of the mount's root only, in no list: `status` reads it. */
#define STATUS_NAME "user.pycachefs.status"

/* Virtual, of every directory, in no list: `purge` sets it, to the name of a module or
 * to nothing for all below.  The kernel lets do so who may write the directory.
 * Getting it says EAGAIN until the kernel has heard of what went, then ENODATA: while
 * it is set, the kernel holds the directory's lock, which it needs to hear of names in
 * it (fs/xattr.c, vfs_setxattr()). */
#define PURGE_NAME "user.pycachefs.purge"

static const char acl_prefix[] = "system.posix_acl_";

struct subject {
	struct handle *handle;	/* a reference */
	char path[16 + NAME_SIZE];
};

static void subject_release(struct subject *subject)
{
	handle_put(subject->handle);
}
#define _cleanup_subject_ __attribute__((cleanup(subject_release)))

/* A symlink can't be named through its own descriptor, which would be followed. */
static int name_symlink(struct request *r, struct subject *ret)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(r->fs->inodes, r->inode, name);
	struct place place = { 0 };
	int err = parent ? route(r->fs, parent, name, ROUTE_FIND, &place) : -ESTALE;

	inode_put(r->fs->inodes, parent);
	if (err)
		return err;
	ret->handle = place.dir;
	snprintf(ret->path, sizeof(ret->path), "%d/%s", place.dirfd, name);
	return 0;
}

/* Names what the request's inode stands for; @acl: an ACL is to be read. */
static int find_subject(struct request *r, bool changes, bool acl,
			struct subject *ret)
{
	int err;

	if (changes)
		err = route_open_to_change(r->fs, r->inode, &ret->handle);
	else if (acl && inode_kind(r->inode) == INODE_SHADOW)
		err = attr_acl_holder(r->fs, r->inode, &ret->handle);
	else
		err = route_open(r->fs, r->inode, HANDLE_PATH, &ret->handle);
	if (err)
		return err;
	if (inode_type(r->inode) == S_IFLNK) {
		handle_put(ret->handle);
		ret->handle = NULL;
		return name_symlink(r, ret);
	}
	snprintf(ret->path, sizeof(ret->path), "%d", handle_fd(ret->handle));
	return 0;
}

static bool is_virtual(const struct request *r, const char *name)
{
	return r->number == INODE_ROOT && strcmp(name, STATUS_NAME) == 0;
}

/* "7" is a link that must be followed, "6/name" one that must not. */
static bool follows(const struct request *r)
{
	return inode_type(r->inode) != S_IFLNK;
}

static int purge(struct request *r, const char *module, size_t length)
{
	return length ? purge_module(r->fs, r->inode, module, length)
		      : purge_tree(r->fs, r->inode);
}

/* Whether the ACL at @path has entries that don't show: to set another would take
 * them away unseen. */
static bool hides_entries(const struct fs *fs, const char *path, const char *name)
{
	char value[4096];
	ssize_t length;

	if (!fs->one_id)
		return false;
	length = getxattr(path, name, value, sizeof(value));
	return length < 0 ? errno == ERANGE
			  : attr_acl(fs, value, (size_t)length) < (size_t)length;
}

struct xattr {
	const char *name, *value;
	size_t size;
	int flags;
};

/* An ACL changes the mode: as the caller, whose groups decide whether setgid stays
 * (fs/posix_acl.c, posix_acl_update_mode()). */
static int set_at(struct request *r, const struct subject *subject, bool acl,
		  const struct xattr *xattr)
{
	struct caller caller;
	int result, err;

	if (acl) {
		caller = request_caller(r, true);
		err = cred_become(&caller, CRED_STRICT);
		if (err)
			return err;
	}
	result = follows(r)
		? setxattr(subject->path, xattr->name, xattr->value, xattr->size,
			   xattr->flags)
		: lsetxattr(subject->path, xattr->name, xattr->value, xattr->size,
			    xattr->flags);
	err = result < 0 ? -errno : 0;
	if (acl)
		cred_restore();
	return err;
}

static int do_setxattr(struct request *r, const char *name, const char *value,
		       size_t size, int flags)
{
	_cleanup_subject_ struct subject subject = { 0 };
	const struct xattr xattr = { name, value, size, flags };
	bool acl = starts_with(name, acl_prefix);
	unsigned tries = 0;
	int err;

	if (is_virtual(r, name))
		return -EPERM;
	if (strcmp(name, PURGE_NAME) == 0)
		return purge(r, value, size);
	err = find_subject(r, true, acl, &subject);
	if (!err && acl && hides_entries(r->fs, subject.path, name))
		err = -EOPNOTSUPP;
	if (!err && acl && inode_kind(r->inode) == INODE_SHADOW)
		err = attr_detach_shadow(r->fs, r->inode,
					 handle_fd(subject.handle));
	if (err)
		return err;
	/* A tmpfs counts users' own against its inodes (Linux 6.6, mm/shmem.c,
	 * shmem_xattr_handler_set()). */
	do
		err = set_at(r, &subject, acl, &xattr);
	while (inode_kind(r->inode) != INODE_SOURCE && room_try_again(r->fs, err, &tries));
	if (!err)
		fs_note_change(r->fs, inode_kind(r->inode), FS_ATTRIBUTES);
	/* `__pycache__` shows its directory's ACL and mode. */
	if (!err && acl)
		reply_tell_shadow(r);
	return err;
}

void op_setxattr(fuse_req_t req, fuse_ino_t ino, const char *name,
		 const char *value, size_t size, int flags)
{
	BEGIN_REQUEST(r, req, FS_SETXATTR, ino, NULL);
	reply_error(&r, do_setxattr(&r, name, value, size, flags));
}

/* A descriptor that the kernel takes for it is cheaper than a name, for which /proc makes
 * an inode each time; and the kernel asks of each file that is written first. */
static ssize_t get_at(const struct request *r, const struct subject *subject,
		      const char *name, char *value, size_t size)
{
	ssize_t length;

	if (!follows(r))
		return lgetxattr(subject->path, name, value, size);
	length = fgetxattr(handle_fd(subject->handle), name, value, size);
	/* It is O_PATH. */
	if (length < 0 && errno == EBADF)
		length = getxattr(subject->path, name, value, size);
	return length;
}

/* Fills @value, or asks for the length alone when @size is 0. */
static int do_getxattr(struct request *r, const char *name, char *value,
		       size_t size, size_t *ret_length)
{
	_cleanup_subject_ struct subject subject = { 0 };
	bool acl = starts_with(name, acl_prefix);
	int err = find_subject(r, false, acl, &subject);
	ssize_t length;

	if (err)
		return err;
	length = get_at(r, &subject, name, value, size);
	if (length < 0)
		return -errno;
	*ret_length = acl && size ? attr_acl(r->fs, value, (size_t)length)
				  : (size_t)length;
	return 0;
}

static void answer_status(struct request *r, size_t size)
{
	_cleanup_free_ char *text = r->fs->describe(r->fs);

	if (text)
		reply_xattr(r, text, strlen(text), size);
	else
		reply_error(r, -ENOMEM);
}

void op_getxattr(fuse_req_t req, fuse_ino_t ino, const char *name, size_t size)
{
	BEGIN_REQUEST(r, req, FS_GETXATTR, ino, NULL);
	if (is_virtual(&r, name)) {
		answer_status(&r, size);
		return;
	}
	if (strcmp(name, PURGE_NAME) == 0) {
		r.fs->forgotten(r.fs->notifier);
		reply_error(&r, r.fs->words_sent(r.fs->notifier) ? -ENODATA : -EAGAIN);
		return;
	}
	_cleanup_free_ char *value = malloc(size ? size : 1);
	size_t length = 0;
	int err = value ? do_getxattr(&r, name, value, size, &length) : -ENOMEM;

	if (err)
		reply_error(&r, err);
	else
		reply_xattr(&r, value, length, size);
}

/* The names of trusted attributes are root's to see (fs/xattr.c,
 * xattr_permission()), and the daemon is root.  Returns the new length. */
static size_t drop_trusted(char *names, size_t length)
{
	size_t kept = 0;

	for (size_t at = 0; at < length; ) {
		size_t size = strlen(names + at) + 1;

		if (!starts_with(names + at, "trusted.")) {
			memmove(names + kept, names + at, size);
			kept += size;
		}
		at += size;
	}
	return kept;
}

/* Reads all names; the caller frees them. */
static int do_listxattr(struct request *r, char **ret_names, size_t *ret_length)
{
	_cleanup_subject_ struct subject subject = { 0 };
	_cleanup_free_ char *names = malloc(XATTR_LIST_MAX);
	int err = names ? find_subject(r, false, false, &subject) : -ENOMEM;
	ssize_t length;

	if (err)
		return err;
	length = follows(r) ? listxattr(subject.path, names, XATTR_LIST_MAX)
			    : llistxattr(subject.path, names, XATTR_LIST_MAX);
	if (length < 0)
		return -errno;
	*ret_length = (size_t)length;
	if (request_caller(r, false).uid != 0)
		*ret_length = drop_trusted(names, (size_t)length);
	*ret_names = names;
	names = NULL;
	return 0;
}

void op_listxattr(fuse_req_t req, fuse_ino_t ino, size_t size)
{
	BEGIN_REQUEST(r, req, FS_LISTXATTR, ino, NULL);
	_cleanup_free_ char *names = NULL;
	size_t length = 0;
	int err = do_listxattr(&r, &names, &length);

	if (err)
		reply_error(&r, err);
	else
		reply_xattr(&r, names, length, size);
}

static int do_removexattr(struct request *r, const char *name)
{
	_cleanup_subject_ struct subject subject = { 0 };
	bool acl = starts_with(name, acl_prefix);
	int result, err;

	if (is_virtual(r, name))
		return -EPERM;
	err = find_subject(r, true, false, &subject);
	if (!err && acl && inode_kind(r->inode) == INODE_SHADOW)
		err = attr_detach_shadow(r->fs, r->inode,
					 handle_fd(subject.handle));
	if (err)
		return err;
	result = follows(r) ? removexattr(subject.path, name)
			    : lremovexattr(subject.path, name);
	if (result == 0 && strcmp(name, "security.capability") == 0)
		inode_set_capability_removed(r->inode);
	err = result < 0 ? -errno : 0;
	if (!err)
		fs_note_change(r->fs, inode_kind(r->inode), FS_ATTRIBUTES);
	if (!err && acl)
		reply_tell_shadow(r);
	return err;
}

void op_removexattr(fuse_req_t req, fuse_ino_t ino, const char *name)
{
	BEGIN_REQUEST(r, req, FS_REMOVEXATTR, ino, NULL);
	reply_error(&r, do_removexattr(&r, name));
}
