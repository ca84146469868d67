/*
 * Handles: the bounded cache of descriptors behind the inode table.
 */
#include "handle.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "cred.h"
#include "inode.h"
#include "inode_private.h"
#include "util.h"

#include <utlist.h>

struct handle {
	int fd;			/* owned */
	bool readable, writable;
	bool keep;		/* as a writer, see settle_one(); handles->lock */
	_Atomic unsigned refs;
};

struct handles {
	struct inode_table *table;	/* borrowed; never changes, as below */
	struct devices *devices;
	inode_opener *opener;
	void *data;
	uint64_t limit;

	pthread_mutex_t lock;		/* guards all below */
	struct inode *row;		/* oldest first */
	uint64_t count;			/* of the row */
	uint64_t writers;		/* of source files in it */
	bool stopping;
	pthread_cond_t changed;		/* writers or stopping */
};

enum {
	/* How many of the row one call looks at for one to drop. */
	MAX_LOOKS = 64,
	/* The deepest chain of names that is followed: PATH_MAX / 2.  A chain can
	 * be a loop where directories were moved behind the mount. */
	MAX_CHAIN = 2048,
};

static struct handle *handle_new(int fd, bool readable, bool writable)
{
	struct handle *handle = malloc(sizeof(*handle));

	if (!handle) {
		close(fd);
		return NULL;
	}
	handle->fd = fd;
	handle->readable = readable;
	handle->writable = writable;
	handle->keep = false;
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
	pthread_condattr_t clock;

	if (!handles)
		return -ENOMEM;
	handles->table = table;
	handles->devices = devices;
	handles->opener = opener;
	handles->data = data;
	handles->limit = limit;
	pthread_mutex_init(&handles->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&handles->changed, &clock);
	pthread_condattr_destroy(&clock);
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

/* Whether settling may turn the descriptor into an O_PATH one. */
static bool is_source_writer(const struct inode *inode)
{
	return inode->handle->writable && !inode->handle->keep &&
		inode_kind(inode) == INODE_SOURCE;
}

/* Takes the handle out of the row; the caller puts it without the lock. */
static struct handle *detach_locked(struct handles *handles, struct inode *inode)
{
	struct handle *handle = inode->handle;

	if (!handle)
		return NULL;
	if (is_source_writer(inode))
		handles->writers--;
	inode->handle = NULL;
	DL_DELETE2(handles->row, inode, row_prev, row_next);
	handles->count--;
	return handle;
}

static void attach_locked(struct handles *handles, struct inode *inode,
			  struct handle *handle)
{
	inode->handle = handle;
	inode->used = true;
	DL_APPEND2(handles->row, inode, row_prev, row_next);
	handles->count++;
	if (is_source_writer(inode) && handles->writers++ == 0)
		pthread_cond_broadcast(&handles->changed);
}

/* Takes one handle out of the row if there are too many, by second chance. */
static struct handle *evict_locked(struct handles *handles, struct inode *keep)
{
	struct inode *last_chance = NULL;

	if (handles->count <= handles->limit)
		return NULL;
	for (int look = 0; look < MAX_LOOKS; look++) {
		struct inode *first = handles->row;

		if (first != keep && !first->pinned) {
			if (!first->used)
				return detach_locked(handles, first);
			last_chance = first;
		}
		first->used = false;
		DL_DELETE2(handles->row, first, row_prev, row_next);
		DL_APPEND2(handles->row, first, row_prev, row_next);
	}
	return last_chance ? detach_locked(handles, last_chance) : NULL;
}

static bool is_good_for(const struct handle *handle, enum handle_use use)
{
	return use == HANDLE_PATH || (use == HANDLE_READ && handle->readable) ||
		(use == HANDLE_WRITE && handle->writable);
}

/* A reference to the cached handle, whatever it is good for; or NULL. */
static struct handle *cached(struct handles *handles, struct inode *inode,
			     enum handle_use use)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = inode->handle;
	if (handle) {
		handle_ref(handle);
		inode->used = true;
		if (use == HANDLE_WRITE)
			inode->wrote = true;
	}
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

/*
 * Puts @handle, which it takes, into the cache, unless what is there is good for
 * the same @use already.  Returns a reference to the one that is there now.
 */
static struct handle *install(struct handles *handles, struct inode *inode,
			      struct handle *handle, enum handle_use use)
{
	struct handle *old = NULL, *evicted = NULL, *spare = NULL;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle && is_good_for(inode->handle, use)) {
		spare = handle;
		handle = inode->handle;
		inode->used = true;
	} else {
		old = detach_locked(handles, inode);
		attach_locked(handles, inode, handle);
		evicted = evict_locked(handles, inode);
	}
	if (use == HANDLE_WRITE)
		inode->wrote = true;
	handle_ref(handle);
	pthread_mutex_unlock(&handles->lock);
	handle_put(spare);
	handle_put(old);
	handle_put(evicted);
	return handle;
}

struct handle *handles_take(struct handles *handles, struct inode *inode)
{
	struct handle *handle;

	pthread_mutex_lock(&handles->lock);
	handle = detach_locked(handles, inode);
	pthread_mutex_unlock(&handles->lock);
	return handle;
}

void handles_offer(struct handles *handles, struct inode *inode, int fd,
		   enum handle_use open_for)
{
	struct handle *handle = handle_new(fd, open_for != HANDLE_PATH,
					   open_for == HANDLE_WRITE);

	if (handle)
		handle_put(install(handles, inode, handle, open_for));
}

/* Makes room after EMFILE or ENFILE.  Returns whether there is hope. */
static bool make_room(struct handles *handles)
{
	struct handle *evicted;
	uint64_t limit;

	pthread_mutex_lock(&handles->lock);
	limit = handles->limit;
	handles->limit = 0;
	evicted = evict_locked(handles, NULL);
	handles->limit = limit;
	pthread_mutex_unlock(&handles->lock);
	handle_put(evicted);
	return evicted != NULL;
}

static bool is_out_of_descriptors(int err)
{
	return err == -EMFILE || err == -ENFILE;
}

/* Opens @inode at the place where it was last seen, checking its identity. */
static int open_at_place(struct handles *handles, struct inode *inode, int *ret_fd)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(handles->table, inode, name);
	_cleanup_close_ int fd = -1;
	struct file_id id;
	struct stat st;
	int err;

	if (!parent)
		return -ESTALE;
	do
		err = handles->opener(handles->data, parent, inode_kind(inode),
				      name, &fd);
	while (is_out_of_descriptors(err) && make_room(handles));
	inode_put(handles->table, parent);
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

/* Opens @inode by its place; its parent has a handle, or gets one on the way. */
static int open_one(struct handles *handles, struct inode *inode)
{
	int fd, err = open_at_place(handles, inode, &fd);

	if (!err)
		handles_offer(handles, inode, fd, HANDLE_PATH);
	return err;
}

/*
 * Opens @inode by name from its nearest ancestor that has a descriptor, downward,
 * so that no call recurses however deep the tree is.
 */
static int open_by_chain(struct handles *handles, struct inode *inode)
{
	struct inode *chain[MAX_CHAIN];
	int length = 0, err = 0;

	for (struct inode *at = inode_ref(inode); at; ) {
		struct handle *handle = cached(handles, at, HANDLE_PATH);

		if (handle || length == MAX_CHAIN) {
			err = handle ? 0 : -ESTALE;
			handle_put(handle);
			inode_put(handles->table, at);
			break;
		}
		chain[length++] = at;
		at = inode_parent(handles->table, at);
	}
	while (length > 0) {
		struct inode *at = chain[--length];

		if (!err)
			err = open_one(handles, at);
		/* A shadow without anything in the store still has a place. */
		if (err == -ENOENT && at != inode)
			err = -ESTALE;
		inode_put(handles->table, at);
	}
	return err;
}

/* Opens the file behind @handle anew, fit for @use. */
static int reopen(const struct handle *handle, enum handle_use use,
		  struct handle **ret)
{
	bool writes = use == HANDLE_WRITE, reads = true;
	int fd = cred_reopen(handle->fd, (writes ? O_RDWR : O_RDONLY) |
			     O_NOCTTY | O_NONBLOCK);

	if (fd == -EACCES && writes) {
		fd = cred_reopen(handle->fd, O_WRONLY);
		reads = false;
	}
	if (fd < 0)
		return fd;
	*ret = handle_new(fd, reads, writes);
	return *ret ? 0 : -ENOMEM;
}

int handles_open(struct handles *handles, struct inode *inode,
		 enum handle_use use, struct handle **ret)
{
	struct handle *handle = cached(handles, inode, use), *better = NULL;
	int err = 0;

	/* Dropped again before it was taken: as good as never opened. */
	for (int tries = 0; !handle && !err && tries < 8; tries++) {
		err = open_by_chain(handles, inode);
		handle = err ? NULL : cached(handles, inode, use);
	}
	if (!handle)
		return err ? err : -EMFILE;
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
		*ret = install(handles, inode, better, use);
	return err;
}

int handles_pin(struct handles *handles, struct inode *inode)
{
	struct handle *handle;
	bool pinned = false;
	int err = 0;

	for (int tries = 0; !pinned && !err && tries < 8; tries++) {
		err = handles_open(handles, inode, HANDLE_PATH, &handle);
		if (err)
			break;
		pthread_mutex_lock(&handles->lock);
		pinned = inode->handle != NULL;
		inode->pinned = pinned;
		pthread_mutex_unlock(&handles->lock);
		handle_put(handle);
	}
	return pinned ? 0 : err ? err : -EMFILE;
}

void handles_unpin(struct handles *handles, struct inode *inode)
{
	pthread_mutex_lock(&handles->lock);
	inode->pinned = false;
	pthread_mutex_unlock(&handles->lock);
}

/* An O_PATH handle in place of @handle, or NULL when that could not be undone. */
static struct handle *without_writing(const struct handle *handle)
{
	char name[FD_NAME_SIZE];
	int fd;

	if (faccessat(cred_proc_fd(), fd_name(handle->fd, name), W_OK,
		      AT_EACCESS) < 0)
		return NULL;
	fd = cred_reopen(handle->fd, O_PATH);
	return fd < 0 ? NULL : handle_new(fd, false, false);
}

/* Swaps @inode's @writer for an O_PATH handle if it is still in the cache. */
static void settle_one(struct handles *handles, struct inode *inode,
		       struct handle *writer)
{
	struct handle *path = without_writing(writer), *old = NULL;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle == writer && !path) {
		writer->keep = true;
		handles->writers--;
	} else if (inode->handle == writer && !inode->wrote) {
		old = detach_locked(handles, inode);
		attach_locked(handles, inode, path);
		path = NULL;
	}
	pthread_mutex_unlock(&handles->lock);
	handle_put(path);
	handle_put(old);
}

/*
 * Finds the next writer after @after (or the first) that was not used since the
 * last pass, and clears the marks of those it passes.  Returns references.
 */
static struct inode *next_idle_locked(struct handles *handles, uint64_t *skip,
				      struct handle **ret_writer)
{
	struct inode *inode;
	uint64_t position = 0;

	DL_FOREACH2(handles->row, inode, row_next) {
		if (position++ < *skip || !is_source_writer(inode))
			continue;
		if (inode->wrote) {
			inode->wrote = false;
			continue;
		}
		if (!inode_ref_if_alive(inode))
			continue;
		*skip = position;
		*ret_writer = handle_ref(inode->handle);
		return inode;
	}
	return NULL;
}

void handles_settle(struct handles *handles)
{
	uint64_t skip = 0;

	for (;;) {
		struct handle *writer = NULL;
		struct inode *inode;

		pthread_mutex_lock(&handles->lock);
		inode = next_idle_locked(handles, &skip, &writer);
		pthread_mutex_unlock(&handles->lock);
		if (!inode)
			return;
		settle_one(handles, inode, writer);
		handle_put(writer);
		inode_put(handles->table, inode);
	}
}

bool handles_settle_wait(struct handles *handles, unsigned seconds)
{
	struct timespec until;
	bool stopping;

	pthread_mutex_lock(&handles->lock);
	while (!handles->writers && !handles->stopping)
		pthread_cond_wait(&handles->changed, &handles->lock);
	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += seconds;
	while (!handles->stopping &&
	       pthread_cond_timedwait(&handles->changed, &handles->lock,
				      &until) != ETIMEDOUT)
		;
	stopping = handles->stopping;
	pthread_mutex_unlock(&handles->lock);
	return !stopping;
}

void handles_settle_stop(struct handles *handles)
{
	pthread_mutex_lock(&handles->lock);
	handles->stopping = true;
	pthread_cond_broadcast(&handles->changed);
	pthread_mutex_unlock(&handles->lock);
}
