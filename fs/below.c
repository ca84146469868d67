/*
 * The mounts below the source.
 *
 * When we are mounted over the source itself, a mount on top of ours has a path like
 * one below the source.  The two are told apart by what they lie on: a mount's chain
 * of parents leads to ours, or it does not.
 */
#include "below.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "cred.h"
#include "identity.h"
#include "mounts.h"
#include "util.h"

struct candidate {
	int id, parent;
	uint64_t digest;
	bool on_ours;		/* is ours, or lies on it */
};

struct candidates {
	char prefix[PATH_MAX];	/* the source's path with a slash at its end */
	uint64_t own_dev;
	struct candidate *all;	/* owned */
	size_t count, room;
};

static int add(const struct mount_entry *entry, void *data)
{
	struct candidates *found = data;
	const uint64_t what[] = {
		(uint64_t)entry->id, (uint64_t)entry->parent, entry->dev,
	};
	bool ours = found->own_dev && entry->dev == found->own_dev;
	struct candidate *all;

	if (!ours && !starts_with(entry->point, found->prefix))
		return 0;
	if (found->count == found->room) {
		size_t room = found->room ? found->room * 2 : 16;

		all = realloc(found->all, room * sizeof(*all));
		if (!all)
			return -ENOMEM;
		found->all = all;
		found->room = room;
	}
	found->all[found->count++] = (struct candidate){
		.id = entry->id,
		.parent = entry->parent,
		.digest = identity_digest(entry->point, strlen(entry->point),
			identity_digest(what, sizeof(what), IDENTITY_SEED)),
		.on_ours = ours,
	};
	return 0;
}

static int by_id(const void *left, const void *right)
{
	const struct candidate *a = left, *b = right;

	return (a->id > b->id) - (a->id < b->id);
}

/* Marks what lies on ours.  A parent may come after its child: mount --move. */
static void follow_parents(struct candidates *found)
{
	bool changed = true;

	qsort(found->all, found->count, sizeof(*found->all), by_id);
	while (changed) {
		changed = false;
		for (size_t i = 0; i < found->count; i++) {
			struct candidate *at = &found->all[i], *parent;
			struct candidate key = { .id = at->parent };

			parent = bsearch(&key, found->all, found->count,
					 sizeof(*found->all), by_id);
			if (!at->on_ours && parent && parent->on_ours)
				at->on_ours = changed = true;
		}
	}
}

int below_digest(const struct source *source, int mounts, uint64_t *ret)
{
	struct candidates found = { .own_dev = atomic_load(&source->own_dev) };
	char name[FD_NAME_SIZE];
	uint64_t sum = 0;
	ssize_t length;
	int err;

	/* Where it is now: it may have been moved. */
	length = readlinkat(cred_proc_fd(), fd_name(source->fd, name), found.prefix,
			    sizeof(found.prefix) - 2);
	if (length < 0)
		return -errno;
	if (length > 1)
		found.prefix[length] = '/';
	err = mounts_each_in(mounts, add, &found);
	if (!err && found.count)
		follow_parents(&found);
	for (size_t i = 0; !err && i < found.count; i++)
		if (!found.all[i].on_ours)
			sum += found.all[i].digest;
	free(found.all);
	if (!err)
		*ret = sum;
	return err;
}
