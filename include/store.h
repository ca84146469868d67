/*
 * The store: a tmpfs of our own that holds what the rules keep off the source.
 *
 * It is mounted nowhere, so no path leads to it, and it is gone when the last
 * descriptor is closed.  The kernel keeps its limits: a write beyond them is
 * ENOSPC.
 *
 * Below its root lie the shadows of the source's directories: see shadow.h.
 */
#ifndef PYCACHEFS_STORE_H
#define PYCACHEFS_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

struct store {
	int root;		/* O_PATH of the tmpfs; owned */
	int empty;		/* O_PATH of a directory that stays empty; owned */
	uint64_t dev;		/* st_dev of the tmpfs */
	uint64_t size;		/* its limit in bytes */
	uint64_t inodes;	/* its limit of files and directories */
	_Atomic uint64_t serial;	/* names what is made or removed */
	_Atomic bool left_behind;	/* something waits to be removed */
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

/* A name in the root of the store that nothing has had since the store was made. */
enum { STORE_SPARE_SIZE = 2 + 21 };
void store_spare_name(struct store *store, char ret[STORE_SPARE_SIZE]);

/*
 * Removes what is called @name in the root of the store, with all below it, however
 * deep.  A missing name is no error.  What can't be removed now, which is told by a
 * warning, is tried again when something else is removed.
 */
void store_remove(struct store *store, const char *name);

/* What the kernel says is used, and a count of the files.  Goes through the whole
 * store.  Returns 0 or negative errno. */
int store_usage(const struct store *store, struct store_usage *ret);

#endif
