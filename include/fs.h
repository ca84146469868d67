/*
 * What a mount consists of: configuration, both trees, the inode table, and the
 * figures.  Built by session.c, handed to every operation.
 */
#ifndef PYCACHEFS_FS_H
#define PYCACHEFS_FS_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"
#include "inode.h"
#include "opts.h"
#include "source.h"
#include "store.h"

/* Requests that are counted, in the order in which `status` lists them. */
#define FS_OPERATIONS(X) \
	X(LOOKUP, lookup) X(FORGET, forget) X(GETATTR, getattr) \
	X(SETATTR, setattr) X(STATX, statx) X(READLINK, readlink) \
	X(MKNOD, mknod) X(MKDIR, mkdir) X(UNLINK, unlink) X(RMDIR, rmdir) \
	X(SYMLINK, symlink) X(RENAME, rename) X(LINK, link) X(OPEN, open) \
	X(READ, read) X(WRITE, write) X(FLUSH, flush) X(FSYNC, fsync) \
	X(OPENDIR, opendir) X(READDIR, readdir) X(READDIRPLUS, readdirplus) \
	X(FSYNCDIR, fsyncdir) X(STATFS, statfs) X(SETXATTR, setxattr) \
	X(GETXATTR, getxattr) X(LISTXATTR, listxattr) \
	X(REMOVEXATTR, removexattr) X(CREATE, create) X(TMPFILE, tmpfile) \
	X(IOCTL, ioctl) X(FALLOCATE, fallocate) X(LSEEK, lseek) \
	X(COPY_FILE_RANGE, copy_file_range)

enum fs_operation {
#define X(upper, lower) FS_##upper,
	FS_OPERATIONS(X)
#undef X
	FS_OPERATION_COUNT
};

/* What can be done to the source. */
enum fs_change {
	FS_WRITTEN, FS_MADE, FS_REMOVED, FS_RENAMED, FS_ATTRIBUTES, FS_CHANGE_COUNT
};

/* Grow only; read by `status`. */
struct fs_figures {
	_Atomic uint64_t requests[FS_OPERATION_COUNT];
	_Atomic uint64_t redirected_files;	/* made in the store */
	_Atomic uint64_t redirected_bytes;	/* written to it */
	_Atomic uint64_t evictions;		/* files that made room */
	_Atomic uint64_t dropped;		/* bytecode of modules that changed */
	_Atomic uint64_t invalidations;		/* words to the kernel */
	_Atomic uint64_t changes[FS_CHANGE_COUNT];	/* of the source, by requests */
};

/* What bytecode.c notes for who is about to compile: see bytecode_missed(). */
struct misses {
	pthread_mutex_t lock;		/* guards all below */
	struct miss {
		uint64_t key, state;	/* digests; 0: none */
	} slots[1024];
};

struct fs {
	const struct opts *opts;	/* borrowed; does not change */
	bool one_id;			/* only our uid and gid can be shown: attr.c */
	double timeout;			/* the time limit, in seconds; constant */
	bool several_users;		/* can reach the mount; constant */
	struct devices devices;
	struct source source;
	struct store store;
	pthread_mutex_t room_lock;	/* one makes room at a time: see room.c; and */
	uint64_t no_room_until;		/* guards this, in milliseconds() */
	pthread_mutex_t seed_lock;	/* one seeds at a time: see seed.c */
	struct misses misses;
	struct handle *empty;		/* the store's empty directory; owned */
	struct inode_table *inodes;	/* owned */
	struct fs_figures figures;
	/*
	 * Hooks of what lies above, set before requests are served.  @watch hears
	 * of changes in a source directory from now on, or returns negative errno.
	 * @attr_changed tells the kernel, soon, to ask for attributes again;
	 * @content_changed, to read the file again;
	 * @name_gone, that a name in the directory of that number is no more;
	 * @file_gone, that the file @number of the store, which was @name in the
	 * directory @parent, is no more: see forgetter.h.
	 * @forgotten waits a moment until what was said by @file_gone has come to
	 * something, as far as the file is not open.
	 * @words_sent waits a moment until the kernel has heard what was said until
	 * now, and tells whether it has.
	 */
	int (*watch)(void *watcher, struct inode *directory, int fd);
	void *watcher;
	void (*attr_changed)(void *notifier, uint64_t number);
	void (*content_changed)(void *notifier, uint64_t number);
	void (*name_gone)(void *notifier, uint64_t directory, const char *name);
	void (*file_gone)(void *notifier, uint64_t number, uint64_t parent,
			  const char *name);
	void (*forgotten)(void *notifier);
	bool (*words_sent)(void *notifier);
	void *notifier;
	/* Whether the kernel forgets a file by its number (Linux 6.18); constant. */
	_Atomic bool prunes;
	_Atomic bool watching;		/* whether caching without limit is honest */
	const char *not_watching;	/* if not, why; static */

	/* The JSON text of `status`, which the caller frees; NULL when memory is
	 * short.  Set before requests are served. */
	char *(*describe)(struct fs *fs);
};

/* Counts what a request has done to an inode of @kind, or to a name of such a one, if
 * that is the source's.  None must be left out: `run -v` says that the source has not
 * been changed when there is none. */
static inline void fs_note_change(struct fs *fs, enum inode_kind kind,
				  enum fs_change change)
{
	if (kind == INODE_SOURCE)
		atomic_fetch_add_explicit(&fs->figures.changes[change], 1,
					  memory_order_relaxed);
}

#endif
