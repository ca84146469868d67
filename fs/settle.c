/*
 * Settling: giving up descriptors of the source that are open for writing.
 *
 * A pass changes the row that new writers join, and empties the other one: each
 * writer that was there when it began is looked at once, and those that stay join
 * the new ones.  So between passes all writers stand in one row.
 */
#include "settle.h"

#include <fcntl.h>
#include <time.h>

#include "cred.h"
#include "handle_private.h"
#include "inode.h"
#include "inode_private.h"
#include "util.h"

/* How many writers are looked at under the lock at a time. */
enum { MAX_LOOKS = 64 };

/* What is to become of an idle writer. */
struct outcome {
	struct handle *path;	/* takes its place; a reference or NULL */
	bool keep;		/* it could not come back */
};

/* Without descriptors or memory nothing comes of it: the next pass tries again. */
static struct outcome try_without_writing(const struct handle *writer)
{
	char name[FD_NAME_SIZE];
	int fd;

	if (faccessat(cred_proc_fd(), fd_name(writer->fd, name), W_OK,
		      AT_EACCESS) < 0)
		return (struct outcome){ .keep = true };
	fd = cred_reopen(writer->fd, O_PATH);
	return (struct outcome){
		.path = fd < 0 ? NULL : handle_new(fd, false, false),
	};
}

/* Swaps @inode's @writer for an O_PATH handle if it is still in the cache. */
static void settle_one(struct handles *handles, struct inode *inode,
		       struct handle *writer)
{
	struct outcome outcome = try_without_writing(writer);
	struct handle *old = NULL;

	pthread_mutex_lock(&handles->lock);
	if (inode->handle == writer && outcome.keep) {
		writer->keep = true;
		row_update_locked(handles, inode);
	} else if (inode->handle == writer && outcome.path && !inode->wrote) {
		old = inode->handle;
		inode->handle = outcome.path;
		outcome.path = NULL;
		row_update_locked(handles, inode);
	}
	pthread_mutex_unlock(&handles->lock);
	handle_put(outcome.path);
	handle_put(old);
}

/*
 * Moves writers from the row @from to the one that new writers join, until it has
 * found one that was not used since the last pass: returns references to it and to
 * its handle, or NULL.  Clears the marks of those it passes.
 */
static struct inode *next_idle_locked(struct handles *handles, enum row_name from,
				      struct handle **ret_writer)
{
	struct row *row = &handles->rows[from];

	for (int look = 0; look < MAX_LOOKS && row->first; look++) {
		struct inode *inode = row->first;
		bool wrote = inode->wrote;

		row_rejoin_locked(handles, inode);
		inode->wrote = false;
		if (wrote || !inode_ref_if_alive(inode))
			continue;
		*ret_writer = handle_ref(inode->handle);
		return inode;
	}
	return NULL;
}

static enum row_name other_row(enum row_name row)
{
	return row == ROW_WRITERS ? ROW_MORE_WRITERS : ROW_WRITERS;
}

/* Returns whether there may be more to do. */
static bool settle_next(struct handles *handles)
{
	struct handle *writer = NULL;
	enum row_name from;
	struct inode *inode;
	bool more;

	pthread_mutex_lock(&handles->lock);
	from = other_row(handles->young);
	inode = next_idle_locked(handles, from, &writer);
	more = handles->rows[from].first != NULL;
	handles->settling = more || inode;
	pthread_mutex_unlock(&handles->lock);
	if (!inode)
		return more;
	settle_one(handles, inode, writer);
	handle_put(writer);
	inode_put(handles->table, inode);
	return true;
}

void handles_settle(struct handles *handles)
{
	bool busy;

	pthread_mutex_lock(&handles->lock);
	busy = handles->settling;
	if (!busy) {
		handles->settling = true;
		handles->young = other_row(handles->young);
	}
	pthread_mutex_unlock(&handles->lock);
	if (busy)
		return;
	while (settle_next(handles))
		;
}

bool handles_settle_wait(struct handles *handles, unsigned seconds)
{
	struct timespec until;
	bool stopping;

	pthread_mutex_lock(&handles->lock);
	while (!row_writers_locked(handles) && !handles->stopping) {
		handles->resting = true;
		pthread_cond_wait(&handles->changed, &handles->lock);
	}
	handles->resting = false;
	until = monotonic_in((uint64_t)seconds * 1000);
	while (!handles->stopping &&
	       cond_wait(&handles->changed, &handles->lock, &until))
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
