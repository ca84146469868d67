/*
 * What makes a file the same file: device, inode number and birth.
 *
 * An inode number alone is reused as soon as its file is gone.  The birth tells
 * the two apart: the birth time where the filesystem keeps one, else a digest
 * of the file handle, which holds the inode's generation.
 *
 * overlayfs is the exception.  A change copies a file up from the lower layer,
 * and the copy has a birth time of its own while it stays the same file to every
 * user; there the handle stands in at once, since it goes on naming the origin
 * (fs/overlayfs/export.c, ovl_check_encode_origin()).
 */
#ifndef PYCACHEFS_IDENTITY_H
#define PYCACHEFS_IDENTITY_H

#include <fcntl.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* Compared and hashed as bytes: no padding. */
struct file_id {
	uint64_t dev;
	uint64_t ino;
	uint64_t birth;		/* 0: not known */
};

/* Filesystems met so far; there are few, and none is ever dropped. */
struct devices {
	pthread_mutex_t lock;	/* guards all below */
	struct device {
		uint64_t dev;
		long type;	/* as statfs(2) tells it */
		bool fine_times;
	} *known;		/* owned */
	unsigned count;
};

int devices_init(struct devices *devices);
void devices_destroy(struct devices *devices);

/*
 * Looks at @name below @at without following a symlink; an empty name means @at
 * itself, which may be an O_PATH descriptor.  Fills @ret_stat and, unless it is
 * NULL, @ret_id.  Any thread.  Returns 0 or negative errno.
 */
int identify(struct devices *devices, int at, const char *name,
	     struct stat *ret_stat, struct file_id *ret_id);

/* As identify(), with the birth time as statx(2) tells it. */
int identify_statx(struct devices *devices, int at, const char *name,
		   struct statx *ret_statx, struct file_id *ret_id);

/*
 * As identify_statx() for what is no directory, and writes its state: which file it is,
 * its size and its mtime.  Another file has another state, and so has other content as
 * far as size and mtime tell.  -EISDIR for a directory.
 */
enum { STATE_SIZE = 88 };
int identify_state(struct devices *devices, int at, const char *name,
		   struct statx *ret_statx, struct file_id *ret_id, char ret[STATE_SIZE]);

/* As one number.  Times that are 584 years apart look the same. */
uint64_t nanoseconds_of(struct statx_timestamp time);

/*
 * Whether a file of the filesystem @dev, which was met before, gets a new ctime by
 * each change after its ctime was looked at (multigrain timestamps, Linux 6.13).
 * Elsewhere changes within one tick of the clock may share one.
 */
bool device_has_fine_times(struct devices *devices, uint64_t dev);

/* Whether a filesystem of that type, as statfs(2) tells it, is changed through this
 * kernel alone.  Any other may be a network's. */
bool type_is_local(long type);

void stat_from_statx(const struct statx *from, struct stat *ret);

/* Whether the filesystem @dev is FUSE; false where it was not met by identify(). */
bool device_is_fuse(struct devices *devices, uint64_t dev);

/*
 * The inode number to show for a file of the source.  A mount has one device
 * number, so files of further filesystems mounted below the source get their
 * device's index mixed into bits 48 to 59; the first device's stay as they are.
 * Bits 61 and 62 are left to the store: see INO_STORE.
 */
uint64_t shown_ino(struct devices *devices, uint64_t dev, uint64_t ino);

/* A file handle with room for its bytes. */
union any_handle {
	struct file_handle handle;
	char space[sizeof(struct file_handle) + MAX_HANDLE_SZ];
};

/*
 * The handle by which events and digests know the file @name below @at (as for
 * identify()).  It need not be good for opening.  Returns 0 or negative errno.
 */
int file_handle_get(int at, const char *name, union any_handle *ret);

/* FNV-1a over @size bytes, going on from @seed (IDENTITY_SEED to begin with): as
 * good as any for numbers that nobody chooses. */
uint64_t identity_digest(const void *data, size_t size, uint64_t seed);
#define IDENTITY_SEED UINT64_C(0xcbf29ce484222325)

/* Set in the inode number of everything that lies in the store, and in that of
 * a directory's `__pycache__`, so that neither can equal a number of the source. */
#define INO_STORE (UINT64_C(1) << 62)
#define INO_SHADOW (UINT64_C(1) << 61)

#endif
