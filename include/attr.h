/*
 * Attributes as users see them: inode numbers that never collide, and those of a
 * `__pycache__`, which are its directory's until they are changed.
 */
#ifndef PYCACHEFS_ATTR_H
#define PYCACHEFS_ATTR_H

#include <sys/stat.h>

#include "fs.h"

/* Turns the inode number of a file's own attributes into the one to show. */
uint64_t attr_ino(struct fs *fs, enum inode_kind kind, uint64_t dev, uint64_t ino);

/*
 * Turns the group of a file into the one to show.  In a user namespace of one uid and
 * one gid the kernel lets nobody write to a file of another group, not even its owner,
 * who can natively (inode_permission(), HAS_UNMAPPED_ID).  The owner's rights don't
 * hang on the group, so it shows as theirs there.
 */
uint32_t attr_gid(const struct fs *fs, uint32_t uid, uint32_t gid);

/*
 * Leaves in an ACL, as it is kept in an xattr, the entries that can be shown.  In such
 * a namespace the kernel takes no ACL that names another user or group and answers
 * whoever is not the owner with EINVAL (posix_acl_from_xattr()).  Nobody there has
 * their ids, and the daemon can read what the caller can and nothing else, so nothing
 * is lost or gained by it.  Returns the new length.
 */
size_t attr_acl(const struct fs *fs, void *value, size_t length);

/*
 * Turns the owner of a file's own attributes into the one to show.  A plain user's
 * daemon can't give files away, so what others have in a `__pycache__` of their own
 * is the daemon's in the store and is shown as theirs.
 */
uid_t attr_uid(struct fs *fs, struct inode *inode, uid_t uid);

/* The attributes of @inode.  Returns 0 or negative errno. */
int attr_get(struct fs *fs, struct inode *inode, struct statx *ret);

/* The bits of @mode that a `__pycache__` can have of its own: all but setuid, which
 * means nothing on a directory and marks those that follow theirs in the store. */
mode_t attr_shadow_mode(mode_t mode);

/*
 * Gives the `__pycache__` @shadow, whose part of the store @fd is, owner, mode and
 * ACLs of its own, equal to those of its directory, unless it has its own already.
 * Returns 0 or negative errno.
 */
int attr_detach_shadow(struct fs *fs, struct inode *shadow, int fd);

/*
 * The handle whose ACLs count for @shadow: its own or its directory's.  Returns 0
 * with a reference, or negative errno.
 */
int attr_acl_holder(struct fs *fs, struct inode *shadow, struct handle **ret);

#endif
