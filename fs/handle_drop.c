/*
 * Descriptors that leave the cache though there is room: what they are open for has
 * changed, has gone or lies elsewhere.  Those that are held or pinned stay.
 */
#include "handle.h"

#include <pthread.h>
#include <sys/stat.h>

#include "handle_private.h"
#include "inode.h"
#include "inode_private.h"
#include "util.h"

#include <utlist.h>

/* Takes the handle out of the cache, if there is one and @may_go says so. */
static struct handle *take_if(struct handles *handles, struct inode *inode,
			      bool (*may_go)(const struct inode *inode))
{
	struct handle *handle = NULL;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle && may_go(inode))
		handle = row_detach_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

static bool is_unpinned(const struct inode *inode)
{
	return !inode->pinned;
}

static bool is_plain_reader(const struct inode *inode)
{
	return inode->handle->readable && inode->row == ROW_PLAIN &&
		inode->type == S_IFREG;
}

struct handle *handles_take_unpinned(struct handles *handles, struct inode *inode)
{
	return take_if(handles, inode, is_unpinned);
}

void handles_drop_reader(struct handles *handles, struct inode *inode)
{
	handle_put(take_if(handles, inode, is_plain_reader));
}

struct handle *handles_peek(struct handles *handles, struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = inode->handle && !inode->pinned ? handle_ref(inode->handle) : NULL;
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

void handles_drop_directories(struct handles *handles)
{
	struct handle *dropped = NULL, *handle, *next_handle;
	struct inode *inode, *next;

	pthread_mutex_lock(&handles->lock);
	DL_FOREACH_SAFE2(handles->rows[ROW_PLAIN].first, inode, next, row_next) {
		if (inode->type != S_IFDIR || inode_kind(inode) != INODE_SOURCE)
			continue;
		handle = row_detach_locked(handles, inode);
		LL_PREPEND(dropped, handle);
	}
	pthread_mutex_unlock(&handles->lock);
	LL_FOREACH_SAFE(dropped, handle, next_handle)
		handle_put(handle);
}
