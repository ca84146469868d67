/*
 * Sharing: whose `__pycache__` the name means to whoever asks.
 */
#include "sharing.h"

#include <fcntl.h>
#include <sys/stat.h>

#include "util.h"

/* Whether the kernel would let @caller write to the directory @fd: 0 or negative
 * errno. */
static int ask_kernel(int fd, const struct caller *caller)
{
	char name[FD_NAME_SIZE];
	int err = cred_become(caller, CRED_STRICT);

	if (err)
		return err;
	err = faccessat(cred_proc_fd(), fd_name(fd, name), W_OK, AT_EACCESS) < 0
		? -errno : 0;
	cred_restore();
	return err;
}

/* What their uid alone tells: 1 shares, 0 does not, -EAGAIN: it does not tell.  An
 * owner that has no uid in this namespace shows as one that is somebody's here. */
static int judge_by_uid(const struct stat *st, uid_t uid)
{
	bool may_be_owner = uid == st->st_uid;

	if (may_be_owner && uid != cred_overflow_uid())
		return (st->st_mode & S_IWUSR) != 0;
	/* An ACL's mask shows as the group's bits. */
	if (!may_be_owner && !(st->st_mode & (S_IWGRP | S_IWOTH)))
		return 0;
	/* A daemon that can ask for itself only. */
	if (!cred_can_switch() && uid != geteuid())
		return 0;
	return -EAGAIN;
}

int sharing_whose(struct fs *fs, struct inode *directory,
		  const struct caller *caller, uid_t *ret_user)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct stat st;
	int shares, err;

	/* Who may do all. */
	if (caller->uid == 0) {
		*ret_user = 0;
		return 0;
	}
	err = inode_open(fs->inodes, directory, HANDLE_PATH, &handle);
	if (err)
		return err;
	if (fstat(handle_fd(handle), &st) < 0)
		return -errno;
	shares = judge_by_uid(&st, caller->uid);
	if (shares == -EAGAIN) {
		if (cred_can_switch() && !caller->groups)
			return -EAGAIN;
		/* A read-only filesystem says EROFS to all and hides the answer; only
		 * owner and root share there. */
		shares = ask_kernel(handle_fd(handle), caller) == 0;
	}
	*ret_user = shares ? 0 : caller->uid;
	return 0;
}
