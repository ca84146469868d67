/*
 * The inside of an inode, for inode.c and handle.c alone.
 */
#ifndef PYCACHEFS_INODE_PRIVATE_H
#define PYCACHEFS_INODE_PRIVATE_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* Short of memory, adding fails with a word instead of ending the process. */
#define HASH_NONFATAL_OOM 1
#define uthash_nonfatal_oom(inode) ((inode)->out_of_memory = true)
#include <uthash.h>

#include "handle.h"
#include "identity.h"

/* Compared and hashed as bytes: no padding. */
struct inode_key {
	uint64_t kind;		/* enum inode_kind */
	struct file_id id;	/* of a shadow: its source directory's */
};

struct inode {
	/* Never change. */
	uint64_t number;
	struct inode_key key;
	mode_t type;

	/* Guarded by table->lock; refs can grow and shrink without it, but only
	 * with it reach 0. */
	_Atomic unsigned refs;
	uint64_t lookups;	/* the kernel's */
	struct inode *parent;	/* a reference; NULL for the root */
	char *name;		/* owned; in parent */
	UT_hash_handle by_key;
	_Atomic bool watched, tidy, capability_removed;
	_Atomic int spoiled;	/* holds a reference while it is not 0 */
	_Atomic uint64_t shown;	/* see inode_note_shown(); 0: not yet */
	_Atomic uint32_t used_at;	/* see inode_note_used() */
	bool in_keys;
	bool out_of_memory;	/* while adding */

	/* Guarded by handles->lock. */
	struct handle *handle;	/* a reference, or NULL */
	struct inode *row_next, *row_prev;	/* while handle is set */
	bool pinned, used, wrote;
};

/*
 * An inode's number is its slot, and above that how often the slot was used before:
 * found without hashing, and never the same twice.
 */
struct slot {
	struct inode *inode;	/* NULL: free */
	uint32_t uses;
	uint32_t next_free;	/* while it is free; 0: the last */
};

struct inode_table {
	/* Never change while there are requests. */
	struct handles *handles;	/* owned */
	void (*on_free)(void *data, struct inode *inode, int fd);
	void *on_free_data;

	pthread_rwlock_t lock;		/* guards all below */
	struct inode *by_key;
	struct slot *slots;		/* owned */
	uint32_t slot_count;		/* those in use since the start */
	uint32_t slot_room;		/* those allocated */
	uint32_t free_slot;		/* the first of the free ones; 0: none */
	uint64_t known;
};

/* A reference to an inode that was found elsewhere than in the table's indexes:
 * false when it is on its way out. */
static inline bool inode_ref_if_alive(struct inode *inode)
{
	unsigned refs = atomic_load(&inode->refs);

	while (refs > 0)
		if (atomic_compare_exchange_weak(&inode->refs, &refs, refs + 1))
			return true;
	return false;
}

#endif
