/*
 * The inside of an inode, for the files of the table and of the cache of
 * descriptors alone.
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
	uint64_t kind;		/* enum inode_kind, and a user: see inode_user() */
	struct file_id id;	/* of a shadow: its source directory's */
};

/* A name by which a file was found. */
struct inode_name {
	struct inode_name *next;
	struct inode *parent;	/* a reference */
	char text[];
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
	uint64_t stamp;		/* of the last event, see inode_events() */
	/* Owned, the one that was seen last first; none: it is the root, or pinned. */
	struct inode_name *names;
	UT_hash_handle by_key;
	struct inode *next_spoiled;	/* while spoiled is not 0 */
	_Atomic bool watched, tidy, capability_removed, seeded;
	_Atomic int spoiled;	/* holds a reference while it is not 0 */
	_Atomic uint64_t shown;	/* see inode_note_shown(); 0: not yet */
	_Atomic uint64_t asked;	/* see inode_asked() */
	union {
		_Atomic uint32_t used_at;	/* see inode_note_used() */
		_Atomic uint32_t group;	/* of a shadow: see inode_group() */
	};
	bool in_keys;
	bool out_of_memory;	/* while adding */
	/* Of inode_told_ago(): milliseconds, of which the upper bits are left out. */
	_Atomic uint16_t told_at;

	/* Guarded by handles->lock. */
	struct handle *handle;	/* a reference, or NULL */
	struct inode *row_next, *row_prev;	/* while handle is set */
	unsigned holds;			/* operations that need handle to stay */
	uint8_t row;			/* enum row_name */
	bool used, wrote;
	bool pinned;			/* changes with table->lock held, too */
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
	struct inode *spoiled;		/* each a reference */
	_Atomic uint64_t events;	/* grows with the lock held */
	struct slot *slots;		/* owned */
	uint32_t slot_count;		/* those in use since the start */
	uint32_t slot_room;		/* those allocated */
	uint32_t free_slot;		/* the first of the free ones; 0: none */
	uint64_t known;
};

/* inode_notes.c: see inode_told_ago(). */
void inode_note_told(struct inode *inode);

/*
 * inode_names.c, under table->lock.  Names that go are added to @gone, for the
 * caller to free without the lock.
 */

/* @inode was seen as @text in @parent, when its file had @links names.  Ends a pin.
 * Returns 0 or -ENOMEM, upon which nothing has changed. */
int inode_seen_locked(struct inode_table *table, struct inode *inode,
		      struct inode *parent, const char *text, nlink_t links,
		      struct inode_name **gone);
/* Without the lock: @inode is not @text in @parent any more.  Returns whether there
 * is another place to look, else that one stays. */
bool inode_next_place(struct inode_table *table, struct inode *inode,
		      const struct inode *parent, const char *text);
/* Frees a list of names, without the lock. */
void inode_names_free(struct inode_table *table, struct inode_name *names);

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
