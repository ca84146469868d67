/*
 * Which bytecode goes when the store is full.  The order is told in evict.h.
 */
#include "evict.h"

#include <stdlib.h>

/* A sixteenth: see evict_goal(). */
enum { SHARE = 16 };

static int compare(const void *a, const void *b)
{
	const struct evict_candidate *one = a, *other = b;

	if (one->class != other->class)
		return one->class < other->class ? -1 : 1;
	if (one->used_at != other->used_at)
		return one->used_at < other->used_at ? -1 : 1;
	/* Of equals the larger one: fewer have to go. */
	if (one->bytes != other->bytes)
		return one->bytes > other->bytes ? -1 : 1;
	return 0;
}

size_t evict_choose(struct evict_candidate *candidates, size_t count,
		    const struct evict_goal *goal)
{
	uint64_t bytes = 0, inodes = 0;
	size_t chosen = 0;

	if (count)
		qsort(candidates, count, sizeof(*candidates), compare);
	while (chosen < count && (bytes < goal->bytes || inodes < goal->inodes)) {
		bytes += candidates[chosen].bytes;
		inodes += candidates[chosen++].inodes;
	}
	return chosen;
}

/* What is missing until a share of @all, and what is @wanted, are free. */
static uint64_t missing(uint64_t all, uint64_t available, uint64_t wanted)
{
	uint64_t goal = all / SHARE > wanted ? all / SHARE : wanted;

	return goal > available ? goal - available : 0;
}

struct evict_goal evict_goal(const struct evict_room *room,
			     const struct evict_goal *wanted)
{
	return (struct evict_goal){
		.bytes = missing(room->size, room->free_bytes, wanted->bytes),
		.inodes = missing(room->inodes, room->free_inodes, wanted->inodes),
	};
}
