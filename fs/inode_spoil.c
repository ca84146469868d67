/*
 * Spoiled inodes: a list in the table, which holds a reference to each.
 */
#include "inode_spoil.h"

#include <string.h>
#include <sys/stat.h>

#include "inode_private.h"
#include "util.h"

#include <utlist.h>

int inode_spoiled(const struct inode *inode)
{
	return atomic_load(&inode->spoiled);
}

void inode_spoil(struct inode_table *table, struct inode *inode, int err)
{
	pthread_rwlock_wrlock(&table->lock);
	if (atomic_exchange(&inode->spoiled, err) == 0) {
		inode_ref(inode);
		LL_PREPEND2(table->spoiled, inode, next_spoiled);
	}
	pthread_rwlock_unlock(&table->lock);
}

void inode_unspoil(struct inode_table *table, struct inode *inode)
{
	bool was_spoiled = false;

	/* Truncating is common, spoiling is not. */
	if (!inode_spoiled(inode))
		return;
	pthread_rwlock_wrlock(&table->lock);
	was_spoiled = atomic_exchange(&inode->spoiled, 0) != 0;
	if (was_spoiled)
		LL_DELETE2(table->spoiled, inode, next_spoiled);
	pthread_rwlock_unlock(&table->lock);
	if (was_spoiled)
		inode_put(table, inode);
}

/* When it can't be told, it stays spoiled: that costs memory, but no bytecode. */
static bool has_lost_its_names(struct inode_table *table, struct inode *inode)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err = inode_open(table, inode, HANDLE_PATH, &handle);
	struct stat st;

	return err ? err == -ESTALE :
		fstat(handle_fd(handle), &st) == 0 && st.st_nlink == 0;
}

void inode_release_spoiled(struct inode_table *table, struct inode *inode)
{
	if (inode_spoiled(inode) && has_lost_its_names(table, inode))
		inode_unspoil(table, inode);
}

/* Whether the names of @inode, a file of the store, go back to @directory. */
static bool is_below_locked(const struct inode *inode,
			    const struct file_id *directory)
{
	while (inode->key.kind == INODE_STORE && inode->names)
		inode = inode->names->parent;
	return inode->key.kind != INODE_STORE &&
		memcmp(&inode->key.id, directory, sizeof(*directory)) == 0;
}

/* References to the spoiled inodes below @directory, in an array that the caller
 * frees.  Returns how many; 0 as well when memory is short. */
static size_t find_below(struct inode_table *table, const struct file_id *directory,
			 struct inode ***ret)
{
	struct inode **found = NULL, *inode;
	size_t count = 0, room = 0;

	pthread_rwlock_rdlock(&table->lock);
	LL_COUNT2(table->spoiled, inode, room, next_spoiled);
	if (room)
		found = malloc(room * sizeof(struct inode *));
	LL_FOREACH2(found ? table->spoiled : NULL, inode, next_spoiled)
		if (is_below_locked(inode, directory))
			found[count++] = inode_ref(inode);
	pthread_rwlock_unlock(&table->lock);
	*ret = found;
	return count;
}

void inode_release_spoiled_below(struct inode_table *table,
				 const struct file_id *directory)
{
	struct inode **found;
	size_t count = find_below(table, directory, &found);

	for (size_t i = 0; i < count; i++) {
		inode_release_spoiled(table, found[i]);
		inode_put(table, found[i]);
	}
	free(found);
}
