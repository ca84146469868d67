/*
 * Operations on attributes: getattr, setattr, statx, readlink, statfs.
 */
#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>

#include "attr.h"
#include "inode_spoil.h"
#include "ops.h"
#include "reply.h"
#include "route.h"
#include "util.h"

static void answer_attr(struct request *r, int err)
{
	struct statx attr;

	if (!err)
		err = attr_get(r->fs, r->inode, &attr);
	if (err)
		reply_error(r, err);
	else
		reply_attr(r, &attr);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_GETATTR, ino, NULL);
	answer_attr(&r, 0);
}

void op_statx(fuse_req_t req, fuse_ino_t ino, int flags, int mask,
	      struct fuse_file_info *fi)
{
	(void)flags, (void)mask, (void)fi;
	BEGIN_REQUEST(r, req, FS_STATX, ino, NULL);
	struct statx attr;
	int err = attr_get(r.fs, r.inode, &attr);

	if (err)
		reply_error(&r, err);
	else
		reply_statx(&r, &attr);
}

/*
 * Who has the file open for writing may go on writing, but a plain user's daemon
 * can't open it any more once the permission is gone: open it now.  Who may not
 * write it now has it not open either, so then there is nothing to keep; but to be
 * short of descriptors or memory would fail those who have.
 */
static int keep_writer(struct request *r)
{
	int err = inode_keep_writer(r->fs->inodes, r->inode);

	return err == -EMFILE || err == -ENFILE || err == -ENOMEM ? err : 0;
}

static int change_mode(struct request *r, int fd, mode_t mode)
{
	bool matters = inode_type(r->inode) == S_IFREG && !cred_can_switch();
	char name[FD_NAME_SIZE];
	int err = matters && !(mode & S_IWUSR) ? keep_writer(r) : 0;

	if (inode_kind(r->inode) == INODE_SHADOW)
		mode = attr_shadow_mode(mode);
	if (!err && fchmodat(cred_proc_fd(), fd_name(fd, name), mode, 0) < 0)
		err = -errno;
	if (!err && matters && mode & S_IWUSR)
		inode_unkeep_writer(r->fs->inodes, r->inode);
	return err;
}

static int change_owner(int fd, const struct stat *attr, int valid)
{
	uid_t uid = valid & FUSE_SET_ATTR_UID ? attr->st_uid : (uid_t)-1;
	gid_t gid = valid & FUSE_SET_ATTR_GID ? attr->st_gid : (gid_t)-1;

	return fchownat(fd, "", uid, gid, AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0
		? -errno : 0;
}

static int strip_privileges(int fd)
{
	return fchownat(fd, "", (uid_t)-1, (gid_t)-1,
			AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/*
 * Nothing is to be set, but setuid and setgid are to be stripped: chown(2) with
 * neither owner nor group, which is the owner's to do, or a write by anyone who may
 * write.  The kernel does not say which, so it is for both.  Root's writes come here
 * for a file's capabilities alone, just after the kernel has removed them itself.
 */
static int change_nothing(struct request *r, int fd)
{
	struct caller caller = request_caller(r, true);
	char name[FD_NAME_SIZE];
	bool may_write = false;
	int err;

	fd_name(fd, name);
	if (caller.uid == 0 && inode_take_capability_removed(r->inode))
		return 0;
	err = cred_become(&caller, CRED_STRICT);
	if (err)
		return err;
	err = strip_privileges(fd);
	if (!err)
		fs_note_change(r->fs, inode_kind(r->inode), FS_ATTRIBUTES);
	if (err == -EPERM)
		may_write = faccessat(cred_proc_fd(), name, W_OK,
				      AT_EACCESS) == 0;
	cred_restore();
	if (!may_write)
		return err;
	/* Where the daemon can't do more, the write itself will strip. */
	if (strip_privileges(fd) == 0)
		fs_note_change(r->fs, inode_kind(r->inode), FS_ATTRIBUTES);
	return 0;
}

/* As the caller, so that setuid and setgid go where theirs would. */
static int change_size(struct request *r, off_t size)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct caller caller = request_caller(r, false);
	int err = route_open(r->fs, r->inode, HANDLE_WRITE, &handle);

	if (!err)
		err = cred_become(&caller, CRED_ALLOWED);
	if (err)
		return err;
	err = ftruncate(handle_fd(handle), size) < 0 ? -errno : 0;
	cred_restore();
	if (!err && size == 0)
		inode_unspoil(r->fs->inodes, r->inode);
	return err;
}

static int change_times(int fd, const struct stat *attr, int valid)
{
	struct timespec times[2] = {
		{ .tv_nsec = UTIME_OMIT }, { .tv_nsec = UTIME_OMIT },
	};
	char name[FD_NAME_SIZE];

	if (valid & FUSE_SET_ATTR_ATIME_NOW)
		times[0].tv_nsec = UTIME_NOW;
	else if (valid & FUSE_SET_ATTR_ATIME)
		times[0] = attr->st_atim;
	if (valid & FUSE_SET_ATTR_MTIME_NOW)
		times[1].tv_nsec = UTIME_NOW;
	else if (valid & FUSE_SET_ATTR_MTIME)
		times[1] = attr->st_mtim;
	return utimensat(cred_proc_fd(), fd_name(fd, name), times, 0) < 0 ? -errno : 0;
}

enum {
	VALID_OWNER = FUSE_SET_ATTR_UID | FUSE_SET_ATTR_GID,
	VALID_TIMES = FUSE_SET_ATTR_ATIME | FUSE_SET_ATTR_ATIME_NOW |
		FUSE_SET_ATTR_MTIME | FUSE_SET_ATTR_MTIME_NOW,
};

static int do_setattr(struct request *r, const struct stat *attr, int valid)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int fd, err = route_open_to_change(r->fs, r->inode, &handle);
	/* What was done is done, whatever fails behind it. */
	int done = 0;

	if (err)
		return err;
	fd = handle_fd(handle);
	if (!valid)
		return change_nothing(r, fd);
	if (inode_kind(r->inode) == INODE_SHADOW &&
	    valid & (FUSE_SET_ATTR_MODE | VALID_OWNER))
		err = attr_detach_shadow(r->fs, r->inode, fd);
	/* The owner before the mode, which a change of owner strips. */
	if (!err && valid & VALID_OWNER) {
		err = change_owner(fd, attr, valid);
		done |= err ? 0 : VALID_OWNER;
	}
	if (!err && valid & FUSE_SET_ATTR_MODE) {
		err = change_mode(r, fd, attr->st_mode & 07777);
		done |= err ? 0 : FUSE_SET_ATTR_MODE;
	}
	if (!err && valid & FUSE_SET_ATTR_SIZE) {
		err = change_size(r, attr->st_size);
		done |= err ? 0 : FUSE_SET_ATTR_SIZE;
	}
	if (!err && valid & VALID_TIMES) {
		err = change_times(fd, attr, valid);
		done |= err ? 0 : VALID_TIMES;
	}
	if (done)
		fs_note_change(r->fs, inode_kind(r->inode),
			       done & FUSE_SET_ATTR_SIZE ? FS_WRITTEN : FS_ATTRIBUTES);
	if (done & (FUSE_SET_ATTR_SIZE | VALID_TIMES))
		reply_content_changed(r, r->inode);
	return err;
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *attr, int valid,
		struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_SETATTR, ino, NULL);
	int err = do_setattr(&r, attr, valid);

	answer_attr(&r, err);
	if (!err && valid & (FUSE_SET_ATTR_MODE | VALID_OWNER))
		reply_tell_shadow(&r);
}

static int do_readlink(struct request *r, char *target, size_t size)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err = route_open(r->fs, r->inode, HANDLE_PATH, &handle);
	ssize_t length;

	if (err)
		return err;
	length = readlinkat(handle_fd(handle), "", target, size - 1);
	if (length < 0)
		return -errno;
	target[length] = '\0';
	return 0;
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
	BEGIN_REQUEST(r, req, FS_READLINK, ino, NULL);
	char target[PATH_MAX + 1];
	int err = do_readlink(&r, target, sizeof(target));

	if (err)
		reply_error(&r, err);
	else
		reply_text(&r, target);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
	BEGIN_REQUEST(r, req, FS_STATFS, ino, NULL);
	_cleanup_handle_ struct handle *handle = NULL;
	struct statvfs fs;
	int err = route_open(r.fs, r.inode, HANDLE_PATH, &handle);

	if (!err && fstatvfs(handle_fd(handle), &fs) < 0)
		err = -errno;
	if (!err && inode_kind(r.inode) != INODE_SOURCE)
		store_limit(&r.fs->store, &fs);
	if (err)
		reply_error(&r, err);
	else
		reply_statfs(&r, &fs);
}
