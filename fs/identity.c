/*
 * What makes a file the same file.  See identity.h for why the birth counts.
 */
#include "identity.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <sys/utsname.h>
#include <sys/vfs.h>

#include "util.h"

/* Linux 6.5: a handle that only tells files apart; overlayfs gives no other
 * without nfs_export. */
#ifndef AT_HANDLE_FID
#define AT_HANDLE_FID AT_REMOVEDIR
#endif

int devices_init(struct devices *devices)
{
	*devices = (struct devices){ 0 };
	return -pthread_mutex_init(&devices->lock, NULL);
}

void devices_destroy(struct devices *devices)
{
	pthread_mutex_destroy(&devices->lock);
	free(devices->known);
}

/* Filesystems with FS_MGTIME in their fs_flags. */
static bool type_has_fine_times(long type)
{
	int major, minor;
	struct utsname kernel;

	if (type != EXT4_SUPER_MAGIC && type != XFS_SUPER_MAGIC &&
	    type != BTRFS_SUPER_MAGIC && type != TMPFS_MAGIC)
		return false;
	return uname(&kernel) == 0 &&
		sscanf(kernel.release, "%d.%d", &major, &minor) == 2 &&
		(major > 6 || (major == 6 && minor >= 13));
}

/* Finds or adds @dev.  Returns its index, or negative errno. */
static int device_index_locked(struct devices *devices, uint64_t dev, long type)
{
	for (unsigned i = 0; i < devices->count; i++)
		if (devices->known[i].dev == dev)
			return (int)i;
	struct device *known = realloc(devices->known,
			(devices->count + 1) * sizeof(*known));
	if (!known)
		return -ENOMEM;
	known[devices->count] = (struct device){
		.dev = dev,
		.type = type,
		.fine_times = type_has_fine_times(type),
	};
	devices->known = known;
	return (int)devices->count++;
}

/* Whether @dev is known; if so, also what it is. */
static bool device_find(struct devices *devices, uint64_t dev,
			unsigned *ret_index, long *ret_type)
{
	bool found = false;

	pthread_mutex_lock(&devices->lock);
	for (unsigned i = 0; i < devices->count && !found; i++) {
		if (devices->known[i].dev != dev)
			continue;
		*ret_index = i;
		*ret_type = devices->known[i].type;
		found = true;
	}
	pthread_mutex_unlock(&devices->lock);
	return found;
}

static int device_is_overlay(struct devices *devices, uint64_t dev, int at,
			     const char *name, bool *ret)
{
	struct statfs fs;
	unsigned index;
	long type;
	int err;

	if (device_find(devices, dev, &index, &type)) {
		*ret = type == OVERLAYFS_SUPER_MAGIC;
		return 0;
	}
	_cleanup_close_ int fd = *name
		? openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC)
		: fcntl(at, F_DUPFD_CLOEXEC, 0);
	if (fd < 0 || fstatfs(fd, &fs) < 0)
		return -errno;
	*ret = fs.f_type == OVERLAYFS_SUPER_MAGIC;
	pthread_mutex_lock(&devices->lock);
	err = device_index_locked(devices, dev, (long)fs.f_type);
	pthread_mutex_unlock(&devices->lock);
	return err < 0 ? err : 0;
}

bool device_has_fine_times(struct devices *devices, uint64_t dev)
{
	bool fine = false;

	pthread_mutex_lock(&devices->lock);
	for (unsigned i = 0; i < devices->count; i++)
		if (devices->known[i].dev == dev)
			fine = devices->known[i].fine_times;
	pthread_mutex_unlock(&devices->lock);
	return fine;
}

bool type_is_local(long type)
{
	static const long local[] = {
		EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
		TMPFS_MAGIC, OVERLAYFS_SUPER_MAGIC, SQUASHFS_MAGIC,
		F2FS_SUPER_MAGIC, 0x2fc12fc1 /* zfs */, 0xca451a4e /* bcachefs */,
		EROFS_SUPER_MAGIC_V1, MSDOS_SUPER_MAGIC, EXFAT_SUPER_MAGIC,
		REISERFS_SUPER_MAGIC, ISOFS_SUPER_MAGIC, RAMFS_MAGIC,
	};

	for (size_t i = 0; i < ARRAY_SIZE(local); i++)
		if (local[i] == type)
			return true;
	return false;
}

bool device_is_fuse(struct devices *devices, uint64_t dev)
{
	unsigned index;
	long type;

	return device_find(devices, dev, &index, &type) && type == FUSE_SUPER_MAGIC;
}

int file_handle_get(int at, const char *name, union any_handle *ret)
{
	int mount_id;

	ret->handle.handle_bytes = MAX_HANDLE_SZ;
	if (name_to_handle_at(at, name, &ret->handle, &mount_id,
			      AT_EMPTY_PATH | AT_HANDLE_FID) == 0)
		return 0;
	ret->handle.handle_bytes = MAX_HANDLE_SZ;
	return name_to_handle_at(at, name, &ret->handle, &mount_id,
				 AT_EMPTY_PATH) < 0 ? -errno : 0;
}

uint64_t identity_digest(const void *data, size_t size, uint64_t seed)
{
	const unsigned char *bytes = data;

	for (size_t i = 0; i < size; i++)
		seed = (seed ^ bytes[i]) * UINT64_C(0x100000001b3);
	return seed;
}

/* 0 where the filesystem gives no handles. */
static uint64_t handle_digest(int at, const char *name)
{
	union any_handle any;

	if (file_handle_get(at, name, &any) < 0)
		return 0;
	return identity_digest(any.handle.f_handle, any.handle.handle_bytes,
			       IDENTITY_SEED);
}

uint64_t nanoseconds_of(struct statx_timestamp time)
{
	return (uint64_t)time.tv_sec * 1000000000 + time.tv_nsec;
}

int identify_statx(struct devices *devices, int at, const char *name,
		   struct statx *ret_statx, struct file_id *ret_id)
{
	struct statx stx;
	bool is_overlay = false;
	int err;

	if (statx(at, name, AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH | AT_NO_AUTOMOUNT,
		  STATX_BASIC_STATS | STATX_BTIME, &stx) < 0)
		return -errno;
	if (ret_id) {
		struct file_id id = {
			.dev = makedev(stx.stx_dev_major, stx.stx_dev_minor),
			.ino = stx.stx_ino,
		};
		err = device_is_overlay(devices, id.dev, at, name, &is_overlay);
		if (err)
			return err;
		if ((stx.stx_mask & STATX_BTIME) && !is_overlay)
			id.birth = nanoseconds_of(stx.stx_btime);
		else
			id.birth = handle_digest(at, name);
		*ret_id = id;
	}
	*ret_statx = stx;
	return 0;
}

int identify(struct devices *devices, int at, const char *name,
	     struct stat *ret_stat, struct file_id *ret_id)
{
	struct statx stx;
	int err = identify_statx(devices, at, name, &stx, ret_id);

	if (!err)
		stat_from_statx(&stx, ret_stat);
	return err;
}

int identify_state(struct devices *devices, int at, const char *name,
		   struct statx *ret_statx, struct file_id *ret_id, char ret[STATE_SIZE])
{
	int err = identify_statx(devices, at, name, ret_statx, ret_id);

	if (err)
		return err;
	if (S_ISDIR(ret_statx->stx_mode))
		return -EISDIR;
	/* Five numbers of at most 16 digits: 84 characters. */
	snprintf(ret, STATE_SIZE, "%" PRIx64 ".%" PRIx64 ".%" PRIx64 ".%" PRIx64
		 ".%" PRIx64, ret_id->dev, ret_id->ino, ret_id->birth,
		 (uint64_t)ret_statx->stx_size, nanoseconds_of(ret_statx->stx_mtime));
	return 0;
}

static struct timespec time_from_statx(struct statx_timestamp from)
{
	return (struct timespec){ .tv_sec = from.tv_sec, .tv_nsec = from.tv_nsec };
}

void stat_from_statx(const struct statx *from, struct stat *ret)
{
	*ret = (struct stat){
		.st_dev = makedev(from->stx_dev_major, from->stx_dev_minor),
		.st_ino = from->stx_ino,
		.st_mode = from->stx_mode,
		.st_nlink = from->stx_nlink,
		.st_uid = from->stx_uid,
		.st_gid = from->stx_gid,
		.st_rdev = makedev(from->stx_rdev_major, from->stx_rdev_minor),
		.st_size = (off_t)from->stx_size,
		.st_blksize = (blksize_t)from->stx_blksize,
		.st_blocks = (blkcnt_t)from->stx_blocks,
		.st_atim = time_from_statx(from->stx_atime),
		.st_mtim = time_from_statx(from->stx_mtime),
		.st_ctim = time_from_statx(from->stx_ctime),
	};
}

uint64_t shown_ino(struct devices *devices, uint64_t dev, uint64_t ino)
{
	const uint64_t marks = INO_STORE | INO_SHADOW;
	unsigned index = 0;
	long type;

	/* No source's number may look like the store's; overlayfs with many layers
	 * has some that large. */
	if (ino & marks)
		ino = (ino & ~marks) ^ (ino & marks) >> 5;
	if (!device_find(devices, dev, &index, &type) || index == 0)
		return ino;
	return ino ^ ((uint64_t)(index & 0xfff) << 48);
}
