/*
 * Operations on the content of files.
 *
 * Opening costs no message (see op_open()), so a request brings nothing but its
 * inode, and its descriptor comes from the cache.
 */
#include <fcntl.h>
#include <sys/uio.h>

#include "inode_spoil.h"
#include "ops.h"
#include "reply.h"
#include "room.h"
#include "route.h"
#include "util.h"

/* How often a write that finds the store full makes room and goes on. */
enum { MAX_ROUNDS = 8 };

/*
 * ENOSYS means "no need to ask": the kernel then opens every file by itself, keeps
 * its pages, and never sends OPEN again, nor RELEASE for what it has opened so
 * (fs/fuse/file.c, fuse_file_open()).  The permission checks are the kernel's own.
 */
void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_OPEN, ino, NULL);
	reply_error(&r, -ENOSYS);
}

/* Likewise: writes have reached the source already. */
void op_flush(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_FLUSH, ino, NULL);
	reply_error(&r, -ENOSYS);
}

static int do_read(struct request *r, char *buffer, size_t size, off_t offset,
		   size_t *ret_size)
{
	_cleanup_handle_ struct handle *handle = NULL;
	size_t done = 0;
	int err = route_open(r->fs, r->inode, HANDLE_READ, &handle);

	if (err)
		return err;
	room_note_use(r->fs, r->inode, handle_fd(handle));
	/* A short answer means the end of the file, so go on until it. */
	while (done < size) {
		ssize_t length = pread(handle_fd(handle), buffer + done,
				       size - done, offset + (off_t)done);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0 && !done)
			return -errno;
		if (length <= 0)
			break;
		done += (size_t)length;
	}
	*ret_size = done;
	return 0;
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
	     struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_READ, ino, NULL);
	_cleanup_free_ char *buffer = malloc(size ? size : 1);
	size_t length = 0;
	int err = buffer ? do_read(&r, buffer, size, offset, &length) : -ENOMEM;

	if (err)
		reply_error(&r, err);
	else
		reply_data(&r, buffer, length);
}

/*
 * The kernel leaves it to us to strip setuid and setgid when somebody without
 * CAP_FSETID changes a file (FUSE_CAP_HANDLE_KILLPRIV_V2).  libfuse does not hand
 * its word on, so every caller but root counts as such: acting as they do, the
 * source's kernel strips.  Capabilities it strips from anyone's change.
 */
static bool become_changer(struct request *r, int *ret_err)
{
	struct caller caller = request_caller(r, false);

	*ret_err = 0;
	if (caller.uid == 0 || !cred_can_switch())
		return false;
	*ret_err = cred_become(&caller, CRED_ALLOWED);
	return *ret_err == 0;
}

/* A write to the store that fails or comes up short spoils the file: CPython up to
 * 3.13 does not look at how much was written (cpython#126606). */
static void note_result(struct request *r, size_t wanted, size_t done, int err)
{
	if (inode_kind(r->inode) != INODE_STORE)
		return;
	if (err || done < wanted)
		inode_spoil(r->fs->inodes, r->inode, err ? err : -ENOSPC);
	if (!err)
		atomic_fetch_add_explicit(&r->fs->figures.redirected_bytes, done,
					  memory_order_relaxed);
}

/* Appends where the file ends now, since the offset is what the kernel thinks and
 * others may append behind the mount. */
static int write_all(int fd, const char *data, size_t size, off_t offset,
		     bool append, size_t *ret_size)
{
	size_t done = 0;

	while (done < size) {
		struct iovec part = {
			.iov_base = (char *)(uintptr_t)data + done,
			.iov_len = size - done,
		};
		ssize_t length = pwritev2(fd, &part, 1, offset + (off_t)done,
					  append ? RWF_APPEND : 0);

		if (length < 0 && errno == EINTR)
			continue;
		if (length < 0 && !done)
			return -errno;
		if (length <= 0)
			break;
		done += (size_t)length;
	}
	*ret_size = done;
	return 0;
}

static int write_as_changer(struct request *r, int fd, const char *data,
			    size_t size, off_t offset, bool append,
			    size_t *ret_size)
{
	struct room_claim claim;
	int err = room_claim(r->fs, r->inode, fd, append ? ROOM_AT_END : offset, size,
			     &claim);
	bool became;

	if (err)
		return err;
	became = become_changer(r, &err);
	if (!err)
		err = write_all(fd, data, size, offset, append, ret_size);
	if (became)
		cred_restore();
	room_settle(&claim, fd);
	return err;
}

/* The same, and when the store is full, as long as room can be made in it. */
static int write_making_room(struct request *r, int fd, const char *data,
			     size_t size, off_t offset, bool append,
			     size_t *ret_size)
{
	int err, rounds = 0;
	unsigned tries = 0;

	for (;;) {
		size_t done = 0, left = size - *ret_size;

		err = write_as_changer(r, fd, data + *ret_size, left,
				       offset + (off_t)*ret_size, append, &done);
		*ret_size += done;
		if (done == left || (err && err != -ENOSPC) ||
		    inode_kind(r->inode) != INODE_STORE || ++rounds > MAX_ROUNDS)
			break;
		/* What was just unlinked may give its room back in a moment. */
		if (room_make(r->fs, left - done, inode_id(r->inode)) < 0 &&
		    !room_try_again(r->fs, -ENOSPC, &tries))
			break;
	}
	return *ret_size ? 0 : err;
}

static int do_write(struct request *r, const char *data, size_t size,
		    off_t offset, bool append, size_t *ret_size)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err = route_open(r->fs, r->inode, append ? HANDLE_APPEND : HANDLE_WRITE,
			     &handle);

	if (err)
		return err;
	err = write_making_room(r, handle_fd(handle), data, size, offset, append,
				ret_size);
	note_result(r, size, *ret_size, err);
	if (*ret_size) {
		fs_note_change(r->fs, inode_kind(r->inode), FS_WRITTEN);
		reply_content_changed(r, r->inode);
	}
	return err;
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size,
	      off_t offset, struct fuse_file_info *fi)
{
	BEGIN_REQUEST(r, req, FS_WRITE, ino, NULL);
	size_t length = 0;
	int err = do_write(&r, data, size, offset, fi->flags & O_APPEND, &length);

	if (err)
		reply_error(&r, err);
	else
		reply_count(&r, length);
}

/* Any descriptor but an O_PATH one will do; what can't be read may be writable. */
static int do_fsync(struct request *r, bool data_only)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err = route_open(r->fs, r->inode, HANDLE_READ, &handle);

	if (err == -EACCES)
		err = route_open(r->fs, r->inode, HANDLE_APPEND, &handle);
	if (err)
		return err;
	if ((data_only ? fdatasync(handle_fd(handle)) :
	     fsync(handle_fd(handle))) < 0)
		return -errno;
	return 0;
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int datasync,
	      struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_FSYNC, ino, NULL);
	reply_error(&r, do_fsync(&r, datasync));
}

static int call_fallocate(struct request *r, int fd, int mode, off_t offset,
			  off_t length)
{
	bool frees = mode & (FALLOC_FL_PUNCH_HOLE | FALLOC_FL_COLLAPSE_RANGE);
	struct room_claim claim;
	int err = room_claim(r->fs, r->inode, fd, offset, frees ? 0 : (uint64_t)length,
			     &claim);
	bool became;

	if (err)
		return err;
	became = become_changer(r, &err);
	if (!err && fallocate(fd, mode, offset, length) < 0)
		err = -errno;
	if (became)
		cred_restore();
	room_settle(&claim, fd);
	return err;
}

static int do_fallocate(struct request *r, int mode, off_t offset, off_t length)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err = route_open(r->fs, r->inode, HANDLE_APPEND, &handle), rounds = 0;

	if (err)
		return err;
	do {
		err = call_fallocate(r, handle_fd(handle), mode, offset, length);
	} while (err == -ENOSPC && inode_kind(r->inode) == INODE_STORE &&
		 ++rounds <= MAX_ROUNDS &&
		 room_make(r->fs, (uint64_t)length, inode_id(r->inode)) == 0);
	if (!err) {
		fs_note_change(r->fs, inode_kind(r->inode), FS_WRITTEN);
		reply_content_changed(r, r->inode);
	}
	return err;
}

void op_fallocate(fuse_req_t req, fuse_ino_t ino, int mode, off_t offset,
		  off_t length, struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_FALLOCATE, ino, NULL);
	reply_error(&r, do_fallocate(&r, mode, offset, length));
}

void op_lseek(fuse_req_t req, fuse_ino_t ino, off_t offset, int whence,
	      struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_LSEEK, ino, NULL);
	_cleanup_handle_ struct handle *handle = NULL;
	int err = route_open(r.fs, r.inode, HANDLE_READ, &handle);
	/* The position itself is nobody's: reads and writes bring theirs. */
	off_t found = err ? -1 : lseek(handle_fd(handle), offset, whence);

	if (err || found < 0)
		reply_error(&r, err ? err : -errno);
	else
		reply_offset(&r, found);
}

static int do_copy(struct request *r, off_t offset_in, struct inode *out,
		   off_t offset_out, size_t length, int flags, size_t *ret)
{
	_cleanup_handle_ struct handle *from = NULL, *to = NULL;
	loff_t in = offset_in, at = offset_out;
	ssize_t copied = -1;
	bool became;
	int err;

	/* The kernel then copies by reading and writing, which makes room. */
	if (inode_kind(out) == INODE_STORE)
		return -EXDEV;
	err = route_open(r->fs, r->inode, HANDLE_READ, &from);
	if (!err)
		err = route_open(r->fs, out, HANDLE_WRITE, &to);
	if (err)
		return err;
	became = become_changer(r, &err);
	if (!err) {
		copied = copy_file_range(handle_fd(from), &in, handle_fd(to), &at,
					 length, (unsigned)flags);
		err = copied < 0 ? -errno : 0;
	}
	if (became)
		cred_restore();
	if (err)
		return err;
	if (copied)
		fs_note_change(r->fs, INODE_SOURCE, FS_WRITTEN);
	reply_content_changed(r, out);
	*ret = (size_t)copied;
	return 0;
}

void op_copy_file_range(fuse_req_t req, fuse_ino_t ino_in, off_t offset_in,
			struct fuse_file_info *fi_in, fuse_ino_t ino_out,
			off_t offset_out, struct fuse_file_info *fi_out,
			size_t length, int flags)
{
	(void)fi_in;
	(void)fi_out;
	BEGIN_REQUEST(r, req, FS_COPY_FILE_RANGE, ino_in, NULL);
	struct inode *out = inode_get(r.fs->inodes, ino_out);
	size_t copied = 0;
	int err = out ? do_copy(&r, offset_in, out, offset_out, length, flags,
				&copied) : -ESTALE;

	inode_put(r.fs->inodes, out);
	if (err)
		reply_error(&r, err);
	else
		reply_count(&r, copied);
}

/* Python asks each file that it opens whether it is a terminal. */
void op_ioctl(fuse_req_t req, fuse_ino_t ino, unsigned command, void *arg,
	      struct fuse_file_info *fi, unsigned flags, const void *in,
	      size_t in_size, size_t out_size)
{
	(void)command, (void)arg, (void)fi, (void)flags;
	(void)in, (void)in_size, (void)out_size;
	BEGIN_REQUEST(r, req, FS_IOCTL, ino, NULL);
	_cleanup_handle_ struct handle *handle = NULL;

	/* Often the only sign that bytecode is used. */
	if (inode_kind(r.inode) == INODE_STORE &&
	    route_open(r.fs, r.inode, HANDLE_READ, &handle) == 0)
		room_note_use(r.fs, r.inode, handle_fd(handle));
	reply_error(&r, -ENOTTY);
}
