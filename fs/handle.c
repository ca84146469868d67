/*
 * Handles: the bounded cache of descriptors behind the inode table.
 */
#include "handle.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cred.h"
#include "handle_private.h"
#include "inode.h"
#include "inode_private.h"
#include "util.h"

#include <utlist.h>

enum {
	/* The deepest chain of names that is followed: PATH_MAX / 2.  A chain can
	 * be a loop where directories were moved behind the mount. */
	MAX_CHAIN = 2048,
	/* What is pinned may be on its way out: the kernel's word that it forgets
	 * an unlinked file follows a moment after. */
	PIN_WAITS = 10, PIN_WAIT_NS = 2000000,
};

struct handle *handle_new(int fd, bool readable, bool writable)
{
	struct handle *handle = malloc(sizeof(*handle));

	if (!handle) {
		close(fd);
		return NULL;
	}
	handle->fd = fd;
	handle->readable = readable;
	handle->writable = writable;
	handle->appends = handle->keep = false;
	atomic_init(&handle->refs, 1);
	return handle;
}

struct handle *handle_create(int fd)
{
	return handle_new(fd, false, false);
}

struct handle *handle_ref(struct handle *handle)
{
	atomic_fetch_add(&handle->refs, 1);
	return handle;
}

void handle_put(struct handle *handle)
{
	if (!handle || atomic_fetch_sub(&handle->refs, 1) != 1)
		return;
	close(handle->fd);
	free(handle);
}

int handle_fd(const struct handle *handle)
{
	return handle->fd;
}

int handles_create(struct handles **ret, struct inode_table *table, unsigned limit,
		   struct devices *devices, inode_opener *opener, void *data)
{
	struct handles *handles = calloc(1, sizeof(*handles));

	if (!handles)
		return -ENOMEM;
	handles->table = table;
	handles->devices = devices;
	handles->opener = opener;
	handles->data = data;
	handles->limit = limit;
	handles->pin_limit = limit - limit / 4;
	handles->young = ROW_WRITERS;
	pthread_mutex_init(&handles->lock, NULL);
	cond_init_monotonic(&handles->changed);
	*ret = handles;
	return 0;
}

void handles_destroy(struct handles *handles)
{
	if (!handles)
		return;
	pthread_cond_destroy(&handles->changed);
	pthread_mutex_destroy(&handles->lock);
	free(handles);
}

void handles_figures(struct handles *handles, uint64_t *ret_open,
		     uint64_t *ret_limit)
{
	pthread_mutex_lock(&handles->lock);
	*ret_open = handles->count;
	pthread_mutex_unlock(&handles->lock);
	*ret_limit = handles->limit;
}

static bool writes(enum handle_use use)
{
	return use == HANDLE_WRITE || use == HANDLE_APPEND;
}

static bool is_good_for(const struct handle *handle, enum handle_use use)
{
	switch (use) {
	case HANDLE_PATH:
		return true;
	case HANDLE_READ:
		return handle->readable;
	case HANDLE_WRITE:
		return handle->writable && !handle->appends;
	case HANDLE_APPEND:
		return handle->writable;
	}
	return false;
}

/* A reference to the cached handle, whatever it is good for; or NULL. */
static struct handle *cached_locked(struct inode *inode, enum handle_use use)
{
	struct handle *handle = inode->handle;

	if (!handle)
		return NULL;
	inode->used = true;
	if (writes(use))
		inode->wrote = true;
	return handle_ref(handle);
}

static struct handle *cached(struct handles *handles, struct inode *inode,
			     enum handle_use use)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = cached_locked(inode, use);
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

static void hold_locked(struct handles *handles, struct inode *inode)
{
	inode->holds++;
	row_update_locked(handles, inode);
}

void handles_unhold(struct handles *handles, struct inode *inode)
{
	pthread_mutex_lock(&handles->lock);
	inode->holds--;
	row_update_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
}

/* As cached(), and holds the inode when there is a handle. */
static struct handle *hold_cached(struct handles *handles, struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = cached_locked(inode, HANDLE_PATH);
	if (handle)
		hold_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

/*
 * Puts @handle, which it takes, into the cache, unless what is there will do for
 * @use, or is a writer that would not come back.  Returns a reference to a handle
 * that is good for @use; @hold: and holds the inode.
 */
static struct handle *install(struct handles *handles, struct inode *inode,
			      struct handle *handle, enum handle_use use, bool hold)
{
	/* Two at a time, so that what was held and is too much goes by and by. */
	struct handle *dropped[3] = { NULL };
	struct handle *old;

	pthread_mutex_lock(&handles->lock);
	old = inode->handle;
	if (old && is_good_for(old, use)) {
		dropped[0] = handle;
		handle = handle_ref(old);
		inode->used = true;
	} else if (!old || !old->keep || handle->writable) {
		dropped[0] = row_detach_locked(handles, inode);
		for (int i = 1; i < 3 && handles->count >= handles->limit; i++)
			dropped[i] = row_evict_locked(handles);
		row_attach_locked(handles, inode, handle_ref(handle));
	}
	if (writes(use))
		inode->wrote = true;
	if (hold)
		hold_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	for (size_t i = 0; i < ARRAY_SIZE(dropped); i++)
		handle_put(dropped[i]);
	return handle;
}

struct handle *handles_take(struct handles *handles, struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = row_detach_locked(handles, inode);
	if (inode->pinned)
		handles->pins--;
	inode->pinned = false;
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

int handles_offer(struct handles *handles, struct inode *inode, int fd,
		  enum handle_use open_for, bool keep)
{
	struct handle *handle = handle_new(fd, open_for != HANDLE_PATH,
					   writes(open_for));

	if (!handle)
		return -ENOMEM;
	handle->keep = keep;
	handle_put(install(handles, inode, handle, open_for, false));
	return 0;
}

/* Makes room after EMFILE or ENFILE.  Returns whether there is hope. */
static bool make_room(struct handles *handles)
{
	struct handle *evicted;

	pthread_mutex_lock(&handles->lock);
	evicted = row_evict_locked(handles);
	pthread_mutex_unlock(&handles->lock);
	handle_put(evicted);
	return evicted != NULL;
}

static bool is_out_of_descriptors(int err)
{
	return err == -EMFILE || err == -ENFILE;
}

/* Opens @inode as @name in @parent, checking its identity. */
static int open_at(struct handles *handles, struct inode *inode,
		   struct inode *parent, const char *name, int *ret_fd)
{
	_cleanup_close_ int fd = -1;
	struct file_id id;
	struct stat st;
	int err;

	do
		err = handles->opener(handles->data, parent, inode, name, &fd);
	while (is_out_of_descriptors(err) && make_room(handles));
	/* A shadow has the identity of its directory, not of what is opened. */
	if (inode_kind(inode) != INODE_SHADOW) {
		if (!err)
			err = identify(handles->devices, fd, "", &st, &id);
		if (err == -ENOENT || err == -ENOTDIR || err == -ELOOP)
			return -ESTALE;
		if (!err && (memcmp(&id, inode_id(inode), sizeof(id)) != 0 ||
			     (st.st_mode & S_IFMT) != inode_type(inode)))
			return -ESTALE;
	}
	if (err)
		return err;
	*ret_fd = steal_fd(&fd);
	return 0;
}

int handles_check_place(struct handles *handles, struct inode *inode,
			struct inode *parent, const char *name)
{
	int fd, err = open_at(handles, inode, parent, name, &fd);

	if (!err)
		close(fd);
	return err;
}

/* Opens @inode at its place, or by another name when it is not there any more. */
static int open_at_place(struct handles *handles, struct inode *inode, int *ret_fd)
{
	char name[NAME_SIZE];
	bool again;
	int err;

	do {
		struct inode *parent = inode_place(handles->table, inode, name);

		err = parent ? open_at(handles, inode, parent, name, ret_fd) : -ESTALE;
		again = parent && err == -ESTALE &&
			inode_next_place(handles->table, inode, parent, name);
		inode_put(handles->table, parent);
	} while (again);
	return err;
}

/* Opens @inode by its place and holds it; its parent is held, or need not be open. */
static int open_one(struct handles *handles, struct inode *inode,
		    struct handle **ret)
{
	struct handle *handle;
	int fd, err = open_at_place(handles, inode, &fd);

	if (err)
		return err;
	handle = handle_new(fd, false, false);
	if (!handle)
		return -ENOMEM;
	*ret = install(handles, inode, handle, HANDLE_PATH, true);
	return 0;
}

/* An inode that is held, with a reference to it and to its handle; or nothing. */
struct held {
	struct inode *inode;
	struct handle *handle;
};

static void let_go(struct handles *handles, struct held *held)
{
	if (!held->inode)
		return;
	handles_unhold(handles, held->inode);
	handle_put(held->handle);
	inode_put(handles->table, held->inode);
	*held = (struct held){ 0 };
}

/*
 * Opens @inode by name from its nearest ancestor that has a descriptor, downward,
 * so that no call recurses however deep the tree is: each is held until the next
 * one is open.  Returns 0, with @inode held and its handle, or negative errno.
 */
static int hold(struct handles *handles, struct inode *inode, struct handle **ret)
{
	struct inode *chain[MAX_CHAIN];
	struct held held = { 0 };
	int length = 0, err = 0;

	for (struct inode *at = inode_ref(inode); at; ) {
		held.handle = hold_cached(handles, at);
		if (held.handle) {
			held.inode = at;
			break;
		}
		if (length == MAX_CHAIN) {
			inode_put(handles->table, at);
			err = -ESTALE;
			break;
		}
		chain[length++] = at;
		at = inode_parent(handles->table, at);
	}
	while (length > 0) {
		struct held next = { .inode = chain[--length] };

		if (!err)
			err = open_one(handles, next.inode, &next.handle);
		/* A shadow without anything in the store still has a place. */
		if (err == -ENOENT && length > 0)
			err = -ESTALE;
		if (err) {
			inode_put(handles->table, next.inode);
			continue;
		}
		let_go(handles, &held);
		held = next;
	}
	if (err) {
		let_go(handles, &held);
		return err;
	}
	*ret = held.handle;
	inode_put(handles->table, held.inode);
	return 0;
}

int handles_hold(struct handles *handles, struct inode *inode)
{
	struct handle *handle;
	int err = hold(handles, inode, &handle);

	if (!err)
		handle_put(handle);
	return err;
}

static bool has_room_for_pin(struct handles *handles)
{
	bool has_room;

	pthread_mutex_lock(&handles->lock);
	has_room = handles->pins < handles->pin_limit;
	pthread_mutex_unlock(&handles->lock);
	return has_room;
}

int handles_may_pin(struct handles *handles, bool waits)
{
	const struct timespec moment = { .tv_nsec = PIN_WAIT_NS };

	for (int wait = 0; waits && wait < PIN_WAITS; wait++) {
		if (has_room_for_pin(handles))
			return 0;
		nanosleep(&moment, NULL);
	}
	return has_room_for_pin(handles) ? 0 : -EMFILE;
}

void handles_set_pinned(struct handles *handles, struct inode *inode, bool pinned)
{
	pthread_mutex_lock(&handles->lock);
	if (pinned && !inode->pinned)
		handles->pins++;
	else if (!pinned && inode->pinned)
		handles->pins--;
	inode->pinned = pinned;
	row_update_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
}

/*
 * Opens the file behind @fd for writing, the best way that is permitted: reading
 * may not be (EACCES), nor writing anywhere but at the end (EPERM).
 */
static int open_writer(int fd, enum handle_use use, struct handle **ret)
{
	int flags = O_RDWR | O_NOCTTY | O_NONBLOCK, result;

	for (;;) {
		result = cred_reopen(fd, flags);
		if (result == -EACCES && (flags & O_ACCMODE) == O_RDWR)
			flags = (flags & ~O_ACCMODE) | O_WRONLY;
		else if (result == -EPERM && use == HANDLE_APPEND &&
			 !(flags & O_APPEND))
			flags |= O_APPEND;
		else
			break;
	}
	if (result < 0)
		return result;
	*ret = handle_new(result, (flags & O_ACCMODE) == O_RDWR, true);
	if (!*ret)
		return -ENOMEM;
	(*ret)->appends = flags & O_APPEND;
	return 0;
}

/* Opens the file behind @handle anew, fit for @use. */
static int reopen(const struct handle *handle, enum handle_use use,
		  struct handle **ret)
{
	int fd;

	if (writes(use))
		return open_writer(handle->fd, use, ret);
	fd = cred_reopen(handle->fd, O_RDONLY | O_NOCTTY | O_NONBLOCK);
	if (fd < 0)
		return fd;
	*ret = handle_new(fd, true, false);
	return *ret ? 0 : -ENOMEM;
}

int handles_open(struct handles *handles, struct inode *inode,
		 enum handle_use use, struct handle **ret)
{
	struct handle *handle = cached(handles, inode, use), *better = NULL;
	int err = 0;

	if (!handle) {
		err = hold(handles, inode, &handle);
		if (err)
			return err;
		handles_unhold(handles, inode);
	}
	if (is_good_for(handle, use)) {
		*ret = handle;
		return 0;
	}
	if (inode->type != S_IFREG && inode->type != S_IFDIR) {
		handle_put(handle);
		return -EINVAL;
	}
	do
		err = reopen(handle, use, &better);
	while (is_out_of_descriptors(err) && make_room(handles));
	handle_put(handle);
	if (!err)
		*ret = install(handles, inode, better, use, false);
	return err;
}

int handles_keep_writer(struct handles *handles, struct inode *inode)
{
	struct handle *writer;
	int err = handles_hold(handles, inode);

	if (err)
		return err;
	err = handles_open(handles, inode, HANDLE_APPEND, &writer);
	if (!err) {
		pthread_mutex_lock(&handles->lock);
		if (inode->handle && inode->handle->writable)
			inode->handle->keep = true;
		row_update_locked(handles, inode);
		pthread_mutex_unlock(&handles->lock);
		handle_put(writer);
	}
	handles_unhold(handles, inode);
	return err;
}

void handles_unkeep_writer(struct handles *handles, struct inode *inode)
{
	pthread_mutex_lock(&handles->lock);
	if (inode->handle) {
		inode->handle->keep = false;
		row_update_locked(handles, inode);
	}
	pthread_mutex_unlock(&handles->lock);
}
