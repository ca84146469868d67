/*
 * Sharing: whose `__pycache__` the name means to whoever asks.
 *
 * Bytecode is code, so nobody is to be shown bytecode of somebody who could not
 * change the source as well.  Who may write a directory D of the source shares one
 * `__pycache__` with all others who may; the kernel lets nobody else write to it,
 * since it shows D's owner, group, mode and ACL.  Who may not write D, and could
 * natively cache nothing, gets one of their own, closed to others.
 *
 * A wrong answer "shares" is harmless for that reason, and a wrong "has their own"
 * only takes a cache away.  So nothing hangs on when the question is asked: it is
 * asked anew at each lookup, and what was open before stays what it was.
 *
 * uid and groups are those that files are checked by: fsuid (fs/fuse/dev.c,
 * fuse_get_req()) and supplementary groups.
 */
#ifndef PYCACHEFS_SHARING_H
#define PYCACHEFS_SHARING_H

#include "cred.h"
#include "fs.h"

/*
 * Whose `__pycache__` of the source directory @directory it is that @caller is shown:
 * 0 for the shared one, else the caller's own.  Returns 0; -EAGAIN when that depends
 * on groups and @caller has none noted; or another negative errno.
 */
int sharing_whose(struct fs *fs, struct inode *directory,
		  const struct caller *caller, uid_t *ret_user);

#endif
