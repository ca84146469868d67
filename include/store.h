/*
 * The store: a tmpfs of our own that holds what the rules keep off the source.
 *
 * It is mounted nowhere, so no path leads to it, and it is gone when the last
 * descriptor is closed.  The kernel keeps its limits: a write beyond them is
 * ENOSPC.
 *
 * Below its root lie the parts of shadows.  A shadow belongs to one directory of
 * the source and is named by that directory's identity, so it follows a rename
 * and is never inherited by a successor with the same inode number.  A part is
 * made when something is first written to it.
 */
#ifndef PYCACHEFS_STORE_H
#define PYCACHEFS_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

struct store {
	int root;		/* O_PATH of the tmpfs; owned */
	int empty;		/* O_PATH of a directory that stays empty; owned */
	uint64_t dev;		/* st_dev of the tmpfs */
	uint64_t size;		/* its limit in bytes */
	uint64_t inodes;	/* its limit of files and directories */
	_Atomic uint64_t serial;	/* names what is being removed */
};

enum store_part {
	STORE_CACHE,	/* what `__pycache__` shows */
	STORE_BESIDE,	/* entries that show beside the source */
	STORE_ORPHANS,	/* marks, see store_mark() */
};

/* Inodes that are no caller's: the root and the empty directory. */
enum { STORE_OWN_INODES = 2 };

struct store_usage {
	uint64_t size, used;		/* bytes */
	uint64_t inodes, inodes_used;
	uint64_t files;			/* regular ones among them */
};

/*
 * Makes the store with room for @size bytes and @inodes files (0: one per 4 KiB,
 * at least 1,024).  Must be called before threads start: without privileges a
 * child process in a user namespace mounts the tmpfs.  Returns 0 or negative
 * errno.  store_destroy() frees all that it holds.
 */
int store_create(struct store *ret, uint64_t size, uint64_t inodes);
void store_destroy(struct store *store);

/*
 * Opens a part of @id's shadow as O_PATH; the caller owns it.  Returns 0 or
 * negative errno, -ENOENT when nothing was ever written to it.  Any thread.
 */
int store_open_part(const struct store *store, enum store_part part,
		    const struct file_id *id, int *ret_fd);

/*
 * The same, but makes the part when it is missing.  It takes group, setgid bit
 * and default ACL from @model, the source's directory, so that what is created
 * inside inherits as it would there.  Returns 0 or negative errno (-ENOSPC: full).
 */
int store_make_part(struct store *store, enum store_part part,
		    const struct file_id *id, int model, int *ret_fd);

/*
 * Removes an empty STORE_CACHE part.  Returns 0, also when it does not exist;
 * else negative errno, -ENOTEMPTY among them.
 */
int store_remove_cache(const struct store *store, const struct file_id *id);

/* Removes @id's shadow with all that it holds.  Errors are left to a warning. */
void store_drop(struct store *store, const struct file_id *id);

/*
 * Orphans: bytecode X.pyc of the source that is hidden because X.py lies beside
 * it would appear as soon as X.py is removed, and then run in its stead.  A mark
 * says to go on hiding it.  Marks live as long as the store.
 */
int store_mark(struct store *store, const struct file_id *id, int model,
	       const char *name);
bool store_is_marked(const struct store *store, const struct file_id *id,
		     const char *name);
void store_unmark(const struct store *store, const struct file_id *id,
		  const char *name);

/* What the kernel says is used, and a count of the files.  Goes through the whole
 * store.  Returns 0 or negative errno. */
int store_usage(const struct store *store, struct store_usage *ret);

/*
 * A STORE_CACHE part shows its source directory's owner and mode until chmod,
 * chown or an ACL gives it its own.  On the tmpfs, a mode of 01700 beside the
 * setgid bit says "as the source's directory".
 */
bool store_follows_source(unsigned mode);

#endif
