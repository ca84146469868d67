/*
 * The names of an inode.
 *
 * The first is the inode's place, by which its descriptor is opened again.  The
 * others are those of a file with hard links that were seen before: when its place
 * goes, one of them may still lead there, and then nothing need be pinned.  Without
 * them, a copy made of links (cp -al) and removed again would pin a descriptor for
 * every file, for as long as the kernel remembers the originals.
 */
#include "inode_names.h"

#include <stdio.h>
#include <string.h>

#include "inode_private.h"
#include "util.h"

#include <utlist.h>

/* How many names are remembered; who has more may pin descriptors. */
enum { MAX_NAMES = 8 };

struct inode_name *inode_name_create(struct inode *parent, const char *text)
{
	size_t size = strlen(text) + 1;
	struct inode_name *name = malloc(sizeof(*name) + size);

	if (!name)
		return NULL;
	name->next = NULL;
	name->parent = inode_ref(parent);
	memcpy(name->text, text, size);
	return name;
}

void inode_name_free(struct inode_table *table, struct inode_name *name)
{
	if (!name)
		return;
	inode_put(table, name->parent);
	free(name);
}

void inode_names_free(struct inode_table *table, struct inode_name *names)
{
	struct inode_name *name, *next;

	LL_FOREACH_SAFE(names, name, next)
		inode_name_free(table, name);
}

static bool is_name(const struct inode_name *name, const struct inode *parent,
		    const char *text)
{
	return name->parent == parent && strcmp(name->text, text) == 0;
}

/* Takes the name out of the list; NULL when it is not there. */
static struct inode_name *take_name_locked(struct inode *inode,
					   const struct inode *parent,
					   const char *text)
{
	struct inode_name **at = &inode->names, *name;

	while (*at && !is_name(*at, parent, text))
		at = &(*at)->next;
	name = *at;
	if (name) {
		*at = name->next;
		name->next = NULL;
	}
	return name;
}

static void drop_name_locked(struct inode *inode, const struct inode *parent,
			     const char *text, struct inode_name **gone)
{
	struct inode_name *name = take_name_locked(inode, parent, text);

	if (name)
		LL_PREPEND(*gone, name);
}

/* Makes @name the inode's place.  Of the others no more stay than the file has. */
static void set_place_locked(struct inode_table *table, struct inode *inode,
			     struct inode_name *name, nlink_t links,
			     struct inode_name **gone)
{
	struct inode_name **at = &inode->names;
	nlink_t most = inode->type == S_IFDIR || links < 1 ? 1 :
		links > MAX_NAMES ? MAX_NAMES : links;

	LL_PREPEND(inode->names, name);
	for (nlink_t i = 0; *at && i < most; i++)
		at = &(*at)->next;
	LL_CONCAT(*gone, *at);
	*at = NULL;
	if (inode->pinned)
		handles_set_pinned(table->handles, inode, false);
}

int inode_seen_locked(struct inode_table *table, struct inode *inode,
		      struct inode *parent, const char *text, nlink_t links,
		      struct inode_name **gone)
{
	struct inode_name *name = take_name_locked(inode, parent, text);

	if (!name)
		name = inode_name_create(parent, text);
	if (!name)
		return -ENOMEM;
	set_place_locked(table, inode, name, links, gone);
	return 0;
}

bool inode_next_place(struct inode_table *table, struct inode *inode,
		      const struct inode *parent, const char *text)
{
	struct inode_name *gone = NULL;
	bool has_next;

	pthread_rwlock_wrlock(&table->lock);
	has_next = inode->names && (inode->names->next ||
				    !is_name(inode->names, parent, text));
	if (has_next)
		drop_name_locked(inode, parent, text, &gone);
	pthread_rwlock_unlock(&table->lock);
	inode_names_free(table, gone);
	return has_next;
}

int inode_hold(struct inode_table *table, struct inode *inode, bool loses_name)
{
	int err = loses_name ? handles_may_pin(table->handles, true) : 0;

	return err ? err : handles_hold(table->handles, inode);
}

int inode_hold_at_once(struct inode_table *table, struct inode *inode)
{
	int err = handles_may_pin(table->handles, false);

	return err ? err : handles_hold(table->handles, inode);
}

void inode_release(struct inode_table *table, struct inode *inode)
{
	handles_unhold(table->handles, inode);
}

/* Drops the name, and pins the inode if that was its last.  Returns whether another
 * one has become its place. */
static bool lose_name(struct inode_table *table, struct inode *inode,
		      const struct inode *parent, const char *text)
{
	struct inode_name *gone = NULL, *place;
	bool another;

	pthread_rwlock_wrlock(&table->lock);
	inode->stamp = atomic_fetch_add(&table->events, 1) + 1;
	place = inode->names;
	drop_name_locked(inode, parent, text, &gone);
	another = inode->names && inode->names != place;
	if (!inode->names)
		handles_set_pinned(table->handles, inode, true);
	pthread_rwlock_unlock(&table->lock);
	inode_names_free(table, gone);
	return another;
}

void inode_lost_name(struct inode_table *table, struct inode *inode,
		     struct inode *parent, const char *name)
{
	bool another = lose_name(table, inode, parent, name);
	char text[NAME_SIZE];

	/* That one may have gone behind the mount. */
	while (another) {
		struct inode *at = inode_place(table, inode, text);

		another = at && handles_check_place(table->handles, inode, at,
						    text) != 0 &&
			lose_name(table, inode, at, text);
		inode_put(table, at);
	}
}

void inode_lost_names(struct inode_table *table, struct inode *inode)
{
	struct inode_name *gone;

	pthread_rwlock_wrlock(&table->lock);
	inode->stamp = atomic_fetch_add(&table->events, 1) + 1;
	gone = inode->names;
	inode->names = NULL;
	handles_set_pinned(table->handles, inode, true);
	pthread_rwlock_unlock(&table->lock);
	inode_names_free(table, gone);
}

void inode_forgotten(struct inode_table *table, struct inode *inode)
{
	struct handle *handle;

	pthread_rwlock_wrlock(&table->lock);
	handle = handles_take(table->handles, inode);
	pthread_rwlock_unlock(&table->lock);
	handle_put(handle);
}

void inode_moved(struct inode_table *table, struct inode *inode,
		 struct inode *parent, const char *name, struct inode_name *to)
{
	struct inode_name *gone = NULL;

	pthread_rwlock_wrlock(&table->lock);
	inode->stamp = atomic_fetch_add(&table->events, 1) + 1;
	drop_name_locked(inode, parent, name, &gone);
	drop_name_locked(inode, to->parent, to->text, &gone);
	set_place_locked(table, inode, to, MAX_NAMES, &gone);
	pthread_rwlock_unlock(&table->lock);
	inode_names_free(table, gone);
}

void inode_each_name(struct inode_table *table, struct inode *inode,
		     void (*each)(void *data, struct inode *parent, const char *name),
		     void *data)
{
	struct {
		struct inode *parent;
		char text[NAME_SIZE];
	} names[MAX_NAMES];
	struct inode_name *name;
	int count = 0;

	pthread_rwlock_rdlock(&table->lock);
	LL_FOREACH(inode->names, name) {
		if (count == MAX_NAMES)
			break;
		names[count].parent = inode_ref(name->parent);
		snprintf(names[count++].text, NAME_SIZE, "%s", name->text);
	}
	pthread_rwlock_unlock(&table->lock);
	for (int i = 0; i < count; i++) {
		each(data, names[i].parent, names[i].text);
		inode_put(table, names[i].parent);
	}
}
