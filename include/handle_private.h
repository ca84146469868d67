/*
 * The inside of the cache of descriptors, for handle.c, row.c and settle.c alone.
 */
#ifndef PYCACHEFS_HANDLE_PRIVATE_H
#define PYCACHEFS_HANDLE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "handle.h"

struct handle {
	int fd;			/* owned */
	bool readable, writable;
	bool appends;		/* all that it writes goes to the end */
	bool keep;		/* as a writer: there is no other; handles->lock */
	_Atomic unsigned refs;
	struct handle *next;	/* while it is being dropped */
};

/* Each inode whose handle is cached stands in one row, the oldest first. */
enum row_name {
	ROW_NONE,	/* no handle is cached */
	ROW_HELD,	/* must stay */
	ROW_PLAIN,	/* may go, and come again */
	ROW_KEPT,	/* as a writer it could not come again */
	/* Of source files, which settling turns into plain ones: those that the pass
	 * in progress has not come to yet, and the others. */
	ROW_WRITERS,
	ROW_MORE_WRITERS,
	ROW_COUNT
};

struct row {
	struct inode *first;
	uint64_t count;
};

struct handles {
	struct inode_table *table;	/* borrowed; never changes, as below */
	struct devices *devices;
	inode_opener *opener;
	void *data;
	uint64_t limit;			/* of cached handles */
	uint64_t pin_limit;		/* of those that are pinned */

	pthread_mutex_t lock;		/* guards all below */
	struct row rows[ROW_COUNT];
	uint64_t count;			/* of all rows */
	uint64_t pins;
	enum row_name young;		/* the writers' row that new ones join */
	bool settling;			/* a pass is in progress */
	bool stopping;
	bool resting;			/* who settles waits for a first writer */
	pthread_cond_t changed;		/* that came, or stopping */
};

/* Returns NULL when memory is short; then @fd is closed. */
struct handle *handle_new(int fd, bool readable, bool writable);

/* row.c, under handles->lock. */

/* Whether its handle must stay. */
bool row_is_held_locked(const struct inode *inode);

/* Puts @inode into the row that it belongs to now, at its end. */
void row_update_locked(struct handles *handles, struct inode *inode);
/* Puts a writer to the end of those that a pass has looked at, or need not. */
void row_rejoin_locked(struct handles *handles, struct inode *inode);
/* Takes the handle out of the cache, for the caller to put without the lock; NULL
 * when there is none. */
struct handle *row_detach_locked(struct handles *handles, struct inode *inode);
/* Caches @handle, whose reference it takes; there must be none. */
void row_attach_locked(struct handles *handles, struct inode *inode,
		       struct handle *handle);
/* Takes one handle out of the cache that is not to be missed; NULL when all that
 * was looked at must stay. */
struct handle *row_evict_locked(struct handles *handles);
/* Writers that settling has yet to turn into plain ones. */
uint64_t row_writers_locked(const struct handles *handles);

#endif
