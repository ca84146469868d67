/*
 * The table of operations, and what is negotiated with the kernel.
 */
#include "ops.h"

#include "config.h"
#include "log.h"
#include "util.h"

const struct fuse_lowlevel_ops ops_table = {
	.lookup = op_lookup,
	.forget = op_forget,
	.forget_multi = op_forget_multi,
	.getattr = op_getattr,
	.setattr = op_setattr,
#if HAVE_FUSE_318
	.statx = op_statx,
#endif
	.readlink = op_readlink,
	.mknod = op_mknod,
	.mkdir = op_mkdir,
	.unlink = op_unlink,
	.rmdir = op_rmdir,
	.symlink = op_symlink,
	.rename = op_rename,
	.link = op_link,
	.open = op_open,
	.read = op_read,
	.write = op_write,
	.flush = op_flush,
	.fsync = op_fsync,
	.opendir = op_opendir,
	.readdir = op_readdir,
	.readdirplus = op_readdirplus,
	.fsyncdir = op_fsyncdir,
	.statfs = op_statfs,
	.setxattr = op_setxattr,
	.getxattr = op_getxattr,
	.listxattr = op_listxattr,
	.removexattr = op_removexattr,
	.create = op_create,
	.tmpfile = op_tmpfile,
	.ioctl = op_ioctl,
	.fallocate = op_fallocate,
	.lseek = op_lseek,
	.copy_file_range = op_copy_file_range,
	/* No access: the kernel checks permissions itself.  No locks: it keeps
	 * them for all users of the mount. */
};

void ops_negotiate(struct fuse_conn_info *conn)
{
	static const uint64_t wanted[] = {
		FUSE_CAP_ASYNC_READ,
		FUSE_CAP_AUTO_INVAL_DATA,
		FUSE_CAP_CACHE_SYMLINKS,
		/* To take a name back without unmounting what lies below it. */
		FUSE_CAP_EXPIRE_ONLY,
		/* The umask counts where the file is made: a default ACL there
		 * takes its place. */
		FUSE_CAP_DONT_MASK,
		/* Without it the kernel asks for security.capability before
		 * each write. */
		FUSE_CAP_HANDLE_KILLPRIV_V2,
		FUSE_CAP_NO_OPEN_SUPPORT,
		FUSE_CAP_NO_OPENDIR_SUPPORT,
		FUSE_CAP_PARALLEL_DIROPS,
		FUSE_CAP_POSIX_ACL,
		FUSE_CAP_READDIRPLUS,
		FUSE_CAP_READDIRPLUS_AUTO,
	};
	static const uint64_t unwanted[] = {
		/* Without OPEN requests O_TRUNC would be lost with it. */
		FUSE_CAP_ATOMIC_O_TRUNC,
		/* The first version keeps setuid on a write; see V2. */
		FUSE_CAP_HANDLE_KILLPRIV,
		/* The source would see nothing until a file is closed. */
		FUSE_CAP_WRITEBACK_CACHE,
		/* pread and pwrite are faster than splice here. */
		FUSE_CAP_SPLICE_READ,
		FUSE_CAP_SPLICE_WRITE,
		FUSE_CAP_SPLICE_MOVE,
	};

	for (size_t i = 0; i < ARRAY_SIZE(wanted); i++)
		if (!fuse_set_feature_flag(conn, wanted[i]))
			log_debug("the kernel lacks feature 0x%llx",
				  (unsigned long long)wanted[i]);
	for (size_t i = 0; i < ARRAY_SIZE(unwanted); i++)
		fuse_unset_feature_flag(conn, unwanted[i]);
}
