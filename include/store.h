/*
 * The store: what the rules keep off the source lies there.
 *
 * By default it is a tmpfs of our own.  It is mounted nowhere, so no path leads to it,
 * and it is gone when the last descriptor is closed.  The kernel keeps its limits: a
 * write beyond them is ENOSPC.
 *
 * Or it is a directory of somebody's tmpfs, which is kept: see depot.h.  Then the
 * limits are ours to keep, by claims.
 *
 * Below its root lie the shadows of the source's directories: see shadow.h.
 */
#ifndef PYCACHEFS_STORE_H
#define PYCACHEFS_STORE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/statvfs.h>

#include "identity.h"
#include "trees.h"

struct ledger;
struct origin;

struct store {
	int root;		/* O_PATH of its directory; owned */
	int empty;		/* O_PATH of a directory that stays empty; owned */
	uint64_t dev;		/* st_dev of the tmpfs */
	uint64_t size;		/* its limit in bytes */
	uint64_t inodes;	/* its limit of files and directories */
	struct trees_serial serial;	/* names what is made or removed */
	_Atomic bool left_behind;	/* something waits to be removed */

	/* Of a depot alone. */
	const char *path;	/* borrowed; NULL: a private tmpfs */
	struct ledger *ledger;	/* owned */
	struct origin *origin;	/* owned; NULL: nothing is noted */
	int lock;		/* see depot.c; owned */
	void (*leave)(struct store *store);	/* ends it */
};

/* Whether others may change it too. */
static inline bool store_is_shared(const struct store *store)
{
	return store->path != NULL;
}

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

/* For those who make one: sets limits and tag.  Returns 0 or negative errno. */
int store_set_up(struct store *store, uint64_t size, uint64_t inodes);

/*
 * Claims room for @bytes and @inodes that are about to be made.  In a private store
 * the kernel sees to that.  Returns 0 or -ENOSPC.  Any thread.
 */
int store_claim(struct store *store, uint64_t bytes, uint64_t inodes);

/* A name in the root of the store that nothing has had, in whatever daemon. */
enum { STORE_SPARE_SIZE = TREES_NAME_SIZE };
void store_spare_name(struct store *store, char ret[STORE_SPARE_SIZE]);

/* Whether @name is that of something in the making or on its way out, in whatever
 * daemon. */
bool store_is_passing(const char *name);

/*
 * Removes what is called @name in the root of the store, with all below it, however
 * deep.  A missing name is no error.  What can't be removed now, which is told by a
 * warning, is tried again when something else is removed.
 */
void store_remove(struct store *store, const char *name);

/* Turns what fstatvfs(2) says in the store into what it holds of its limits. */
void store_limit(const struct store *store, struct statvfs *fs);

/* Adds to @usage what is called @name in the root, with all that it holds. */
void store_count(const struct store *store, const char *name,
		 struct store_usage *usage);

/* What is used, as the kernel says or as is counted in a depot, and a count of the
 * files.  Goes through the whole store.  Returns 0 or negative errno. */
int store_usage(const struct store *store, struct store_usage *ret);

#endif
