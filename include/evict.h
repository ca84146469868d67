/*
 * Which bytecode goes when the store is full.
 *
 * Pure policy: it is told of every file that may go, and of how much room is
 * wanted, and answers with the files to remove.
 *
 * Files go class by class, and within a class the one that was not used for the
 * longest time first:
 *   gone        all that is kept for a directory that is gone for good
 *   abandoned   temporaries whose writer was killed: nobody will ever read them
 *   missing     bytecode of a directory that is not where it was: gone, most likely
 *   cached      bytecode that could be made anew
 *
 * What counts as use is for the caller to say; see room.h.
 */
#ifndef PYCACHEFS_EVICT_H
#define PYCACHEFS_EVICT_H

#include <stddef.h>
#include <stdint.h>

enum evict_class { EVICT_GONE, EVICT_ABANDONED, EVICT_MISSING, EVICT_CACHED };

struct evict_candidate {
	enum evict_class class;
	uint64_t used_at;	/* nanoseconds; only compared */
	uint64_t bytes;		/* that come free when it goes, */
	uint64_t inodes;	/* as do these */
	size_t index;		/* the caller's own */
};

/* Room that is wanted. */
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

struct evict_room {
	uint64_t size, inodes;		/* of the store in all */
	uint64_t free_bytes, free_inodes;
};

/*
 * The goal for a store: that a sixteenth of it be free, so that the cost of going
 * through it is shared by many writes, and at least the room that is @wanted.
 */
struct evict_goal evict_goal(const struct evict_room *room,
			     const struct evict_goal *wanted);

#endif
