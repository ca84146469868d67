/*
 * Which bytecode goes when the store is full.
 *
 * Pure policy: it is told of every file that may go, and of how much room is
 * wanted, and answers with the files to remove.
 *
 * Files go class by class, and within a class the one that was not used for the
 * longest time first:
 *   abandoned   temporaries whose writer was killed: nobody will ever read them
 *   homeless    bytecode whose directory is gone
 *   cached      bytecode that could be made anew
 *
 * What counts as use is for the caller to say; see room.h.
 */
#ifndef PYCACHEFS_EVICT_H
#define PYCACHEFS_EVICT_H

#include <stddef.h>
#include <stdint.h>

enum evict_class { EVICT_ABANDONED, EVICT_HOMELESS, EVICT_CACHED };

struct evict_candidate {
	enum evict_class class;
	uint64_t used_at;	/* nanoseconds; only compared */
	uint64_t bytes;		/* that come free when it goes */
	size_t index;		/* the caller's own */
};

/* Room that is wanted; each file that goes gives one inode. */
struct evict_goal {
	uint64_t bytes;
	uint64_t inodes;
};

/*
 * Sorts @candidates so that those to remove come first, and returns how many that
 * are: just enough for @goal, or all of them where that is not enough.
 */
size_t evict_choose(struct evict_candidate *candidates, size_t count,
		    const struct evict_goal *goal);

/*
 * The goal for a store of @size bytes and @inodes files: a sixteenth of both, so
 * that the cost of going through the store is shared by many writes; and at least
 * @wanted bytes.
 */
struct evict_goal evict_goal(uint64_t size, uint64_t inodes, uint64_t wanted);

#endif
