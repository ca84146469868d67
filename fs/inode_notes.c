/*
 * What is noted of an inode beside what it is: each note is one atomic value, so none
 * needs a lock.  What they mean is told in inode.h.
 */
#include "inode.h"

#include <time.h>

#include "inode_private.h"

/* Told without asking the hardware, which is slow on some machines. */
static uint16_t coarse_milliseconds(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	return (uint16_t)((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000);
}

void inode_note_told(struct inode *inode)
{
	atomic_store(&inode->told_at, coarse_milliseconds());
}

unsigned inode_told_ago(const struct inode *inode)
{
	return (uint16_t)(coarse_milliseconds() - atomic_load(&inode->told_at));
}

bool inode_is_tidy(const struct inode *inode)
{
	return atomic_load(&inode->tidy);
}

void inode_set_tidy(struct inode *inode)
{
	atomic_store(&inode->tidy, true);
}

bool inode_is_seeded(const struct inode *inode)
{
	return atomic_load(&inode->seeded);
}

void inode_set_seeded(struct inode *inode)
{
	atomic_store(&inode->seeded, true);
}

bool inode_note_shown(struct inode *inode, uint32_t content, uint32_t ctime)
{
	uint64_t now = (uint64_t)content << 32 | ctime;
	uint64_t before = atomic_exchange(&inode->shown, now);

	return before && before != now && before >> 32 == content;
}

bool inode_note_used(struct inode *inode, uint32_t second)
{
	return atomic_exchange(&inode->used_at, second) != second;
}

void inode_set_capability_removed(struct inode *inode)
{
	atomic_store(&inode->capability_removed, true);
}

bool inode_take_capability_removed(struct inode *inode)
{
	return atomic_exchange(&inode->capability_removed, false);
}

gid_t inode_group(const struct inode *inode)
{
	return atomic_load(&inode->group);
}

void inode_note_group(struct inode *inode, gid_t group)
{
	atomic_store(&inode->group, group);
}

bool inode_is_watched(const struct inode *inode)
{
	return atomic_load(&inode->watched);
}

void inode_set_watched(struct inode *inode)
{
	atomic_store(&inode->watched, true);
}

void inode_note_asked(struct inode *directory, uint64_t milliseconds)
{
	atomic_store(&directory->asked, milliseconds);
}

uint64_t inode_asked(const struct inode *directory)
{
	return atomic_load(&directory->asked);
}
