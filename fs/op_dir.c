/*
 * Operations on directories: listing, with and without attributes, and fsync.
 *
 * Listings carry no state between requests: an offset is the source filesystem's
 * own (d_off), and each request opens the directory anew.  The kernel keeps whole
 * listings in its cache, so that is a first touch's price.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#include "attr.h"
#include "entry.h"
#include "names.h"
#include "ops.h"
#include "reply.h"
#include "route.h"
#include "util.h"

/* As getdents64(2) writes it. */
struct linux_dirent {
	uint64_t d_ino;
	int64_t d_off;
	uint16_t d_reclen;
	uint8_t d_type;
	char d_name[];
};

struct listing {
	struct request *r;
	bool plus;		/* with attributes, each entry a lookup */
	int fd;
	uint64_t dev;
	int64_t skip;		/* leave out all up to this offset; 0: nothing */
	char *buffer;		/* the answer; owned */
	size_t size, used;
};

void op_opendir(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_OPENDIR, ino, NULL);
	/* fs/fuse/dir.c, fuse_dir_open(): never asked again, listings cached. */
	reply_error(&r, -ENOSYS);
}

/* A descriptor of our own, since its position is moved. */
static int open_directory(struct request *r, int *ret_fd)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int fd, err = route_open(r->fs, r->inode, HANDLE_PATH, &handle);

	if (err)
		return err;
	fd = cred_reopen(handle_fd(handle), O_RDONLY | O_DIRECTORY);
	if (fd < 0)
		return fd;
	*ret_fd = fd;
	return 0;
}

/* Attributes and a lookup for @name; without them when it has just gone. */
static void look_up(struct listing *listing, const char *name,
		    struct fuse_entry_param *ret)
{
	struct fs *fs = listing->r->fs;
	struct inode *parent = listing->r->inode;
	bool source = inode_kind(parent) == INODE_SOURCE;
	char module[NAME_SIZE];
	struct place place = {
		.kind = source ? INODE_SOURCE : INODE_STORE,
		.dirfd = listing->fd,
		.name = name,
		.depends = source && names_classify(&fs->opts->names, name,
						    module) == NAME_BYTECODE,
	};

	if (entry_find(fs, parent, &place, ret) < 0)
		*ret = (struct fuse_entry_param){ 0 };
}

/* Adds an entry to the answer; false when there is no room. */
static bool add_entry(struct listing *listing, const struct linux_dirent *entry)
{
	struct request *r = listing->r;
	struct fuse_entry_param found = { 0 };
	char *to = listing->buffer + listing->used;
	size_t room = listing->size - listing->used, needed;

	if (listing->plus) {
		/* Whether it fits is known before: a lookup can't go to waste. */
		needed = fuse_add_direntry_plus(r->req, NULL, 0, entry->d_name,
						&found, 0);
		if (needed > room)
			return false;
		/* Whether bytecode is fresh is found out when it is asked for. */
		if (!is_dot(entry->d_name) &&
		    inode_kind(r->inode) != INODE_SHADOW)
			look_up(listing, entry->d_name, &found);
	}
	if (!found.ino) {
		found.attr.st_ino = attr_ino(r->fs, inode_kind(r->inode) == INODE_SOURCE
					     ? INODE_SOURCE : INODE_STORE,
					     listing->dev, entry->d_ino);
		found.attr.st_mode = (mode_t)DTTOIF(entry->d_type);
	}
	if (listing->plus)
		needed = fuse_add_direntry_plus(r->req, to, room, entry->d_name,
						&found, entry->d_off);
	else
		needed = fuse_add_direntry(r->req, to, room, entry->d_name,
					   &found.attr, entry->d_off);
	if (needed > room)
		return false;
	listing->used += needed;
	return true;
}

/*
 * Adds what getdents64() has read, leaving hidden names out.  Returns false when
 * the answer is full.
 */
static bool add_entries(struct listing *listing, const char *read, size_t length)
{
	struct request *r = listing->r;
	bool may_hide = inode_kind(r->inode) == INODE_SOURCE;

	for (size_t at = 0; at < length; ) {
		const struct linux_dirent *entry = (const void *)(read + at);

		at += entry->d_reclen;
		if (listing->skip) {
			if (entry->d_off == listing->skip)
				listing->skip = 0;
			continue;
		}
		if (may_hide && route_hides(r->fs, inode_id(r->inode), listing->fd,
					    entry->d_name))
			continue;
		if (!add_entry(listing, entry))
			return false;
	}
	return true;
}

/* Reads on until the answer holds something or the directory ends, since an empty
 * answer means the end. */
static int fill_listing(struct listing *listing)
{
	/* An entry is not much longer in the answer than here, so one buffer of
	 * this size is not much more than fits. */
	union {
		struct linux_dirent align;
		char bytes[8192];
	} read;
	long length;

	do {
		length = syscall(SYS_getdents64, listing->fd, read.bytes,
				 sizeof(read.bytes));
		if (length < 0)
			return listing->used ? 0 : -errno;
		if (!add_entries(listing, read.bytes, (size_t)length))
			break;
	} while (length > 0 && (!listing->used || listing->size - listing->used > 4096));
	return 0;
}

static int do_list(struct listing *listing, off_t offset)
{
	struct stat st;
	int err = open_directory(listing->r, &listing->fd);

	if (err)
		return err;
	listing->buffer = malloc(listing->size);
	if (!listing->buffer)
		return -ENOMEM;
	if (fstat(listing->fd, &st) < 0)
		return -errno;
	listing->dev = st.st_dev;
	/* FUSE filesystems need not be able to go on in a directory that was just
	 * opened: sshfs aborts (sshfs.c, sftp_readdir_async()). */
	if (device_is_fuse(&listing->r->fs->devices, st.st_dev))
		listing->skip = offset;
	else if (offset && lseek(listing->fd, offset, SEEK_SET) < 0)
		return -errno;
	return fill_listing(listing);
}

static void list(struct request *r, size_t size, off_t offset, bool plus)
{
	struct listing listing = { .r = r, .plus = plus, .fd = -1, .size = size };
	int err = do_list(&listing, offset);

	if (err)
		reply_error(r, err);
	else
		reply_data(r, listing.buffer, listing.used);
	cleanup_close(&listing.fd);
	free(listing.buffer);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_READDIR, ino, NULL);
	list(&r, size, offset, false);
}

void op_readdirplus(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
		    struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_READDIRPLUS, ino, NULL);
	list(&r, size, offset, true);
}

static int do_fsyncdir(struct request *r, bool data_only)
{
	_cleanup_close_ int fd = -1;
	int err = open_directory(r, &fd);

	if (err)
		return err;
	return (data_only ? fdatasync(fd) : fsync(fd)) < 0 ? -errno : 0;
}

void op_fsyncdir(fuse_req_t req, fuse_ino_t ino, int datasync,
		 struct fuse_file_info *fi)
{
	(void)fi;
	BEGIN_REQUEST(r, req, FS_FSYNCDIR, ino, NULL);
	reply_error(&r, do_fsyncdir(&r, datasync));
}
