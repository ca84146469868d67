/*
 * Rows: which cached descriptor goes when there are too many.
 *
 * Within a row it is second chance: descriptors stand in the order in which they
 * came; each use sets a mark.  The first in the row goes, unless it has the mark,
 * which it then loses on going to the row's end.  One call looks at no more than
 * 64 of a row; when all of them had the mark, the last of them goes.
 *
 * Between rows: plain ones go first, as long as they are more than an eighth of
 * all, since without some of them every request would open its whole path anew.
 * Then writers, and last those writers that could not be opened again: dropping
 * one of these may fail somebody's write.  What is held never goes.
 */
#include "handle_private.h"

#include "inode.h"
#include "inode_private.h"

#include <utlist.h>

enum { MAX_LOOKS = 64 };

bool row_is_held_locked(const struct inode *inode)
{
	return inode->pinned || inode->holds > 0;
}

static bool is_writers_row(enum row_name row)
{
	return row == ROW_WRITERS || row == ROW_MORE_WRITERS;
}

static enum row_name row_of(const struct handles *handles, const struct inode *inode)
{
	const struct handle *handle = inode->handle;

	if (!handle)
		return ROW_NONE;
	/* Held or not: an unlinked file may have another name, to be executed by. */
	if (handle->writable && !handle->keep && inode_kind(inode) == INODE_SOURCE)
		return is_writers_row(inode->row) ? inode->row : handles->young;
	if (row_is_held_locked(inode))
		return ROW_HELD;
	return handle->keep ? ROW_KEPT : ROW_PLAIN;
}

uint64_t row_writers_locked(const struct handles *handles)
{
	return handles->rows[ROW_WRITERS].count +
		handles->rows[ROW_MORE_WRITERS].count;
}

static void move_locked(struct handles *handles, struct inode *inode,
			enum row_name to)
{
	if (inode->row != ROW_NONE) {
		struct row *row = &handles->rows[inode->row];

		DL_DELETE2(row->first, inode, row_prev, row_next);
		row->count--;
		handles->count--;
	}
	inode->row = to;
	if (to != ROW_NONE) {
		struct row *row = &handles->rows[to];

		DL_APPEND2(row->first, inode, row_prev, row_next);
		row->count++;
		handles->count++;
	}
}

void row_update_locked(struct handles *handles, struct inode *inode)
{
	enum row_name to = row_of(handles, inode);

	if (to == inode->row)
		return;
	move_locked(handles, inode, to);
	if (is_writers_row(to) && handles->resting)
		pthread_cond_broadcast(&handles->changed);
}

void row_rejoin_locked(struct handles *handles, struct inode *inode)
{
	move_locked(handles, inode, handles->young);
}

struct handle *row_detach_locked(struct handles *handles, struct inode *inode)
{
	struct handle *handle = inode->handle;

	inode->handle = NULL;
	row_update_locked(handles, inode);
	return handle;
}

void row_attach_locked(struct handles *handles, struct inode *inode,
		       struct handle *handle)
{
	inode->handle = handle;
	inode->used = true;
	row_update_locked(handles, inode);
}

static struct handle *evict_from_locked(struct handles *handles, enum row_name name)
{
	struct row *row = &handles->rows[name];
	struct inode *last_chance = NULL;

	for (int look = 0; look < MAX_LOOKS && row->first; look++) {
		struct inode *first = row->first;

		if (!row_is_held_locked(first)) {
			if (!first->used)
				return row_detach_locked(handles, first);
			last_chance = first;
		}
		first->used = false;
		move_locked(handles, first, name);
	}
	return last_chance ? row_detach_locked(handles, last_chance) : NULL;
}

struct handle *row_evict_locked(struct handles *handles)
{
	static const enum row_name order[] = {
		ROW_PLAIN, ROW_WRITERS, ROW_MORE_WRITERS, ROW_KEPT, ROW_PLAIN,
	};
	/* Whether there are enough plain ones decides whether they are first. */
	size_t i = handles->rows[ROW_PLAIN].count > handles->limit / 8 ? 0 : 1;
	struct handle *handle = NULL;

	for (; i < ARRAY_SIZE(order) && !handle; i++)
		handle = evict_from_locked(handles, order[i]);
	return handle;
}
