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

struct handle *handles_take_unpinned(struct handles *handles, struct inode *inode)
{
	struct handle *handle = NULL;

	pthread_mutex_lock(&handles->lock);
	if (!inode->pinned)
		handle = row_detach_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

void handles_drop_removed(struct handles *handles, struct inode *inode)
{
	struct handle *handle = NULL, *dropped = NULL;
	struct stat st;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle && !row_is_held_locked(inode))
		handle = handle_ref(inode->handle);
	pthread_mutex_unlock(&handles->lock);
	if (handle && fstat(handle->fd, &st) == 0 && st.st_nlink == 0) {
		pthread_mutex_lock(&handles->lock);
		if (inode->handle == handle && !row_is_held_locked(inode))
			dropped = row_detach_locked(handles, inode);
		pthread_mutex_unlock(&handles->lock);
	}
	handle_put(handle);
	handle_put(dropped);
}

struct handle *handles_peek(struct handles *handles, struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = inode->handle && !inode->pinned ? handle_ref(inode->handle) : NULL;
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

void handles_drop_reader(struct handles *handles, struct inode *inode)
{
	struct handle *handle = NULL;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle && inode->handle->readable && inode->row == ROW_PLAIN &&
	    inode->type == S_IFREG)
		handle = row_detach_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	handle_put(handle);
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
