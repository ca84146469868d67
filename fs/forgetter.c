/*
 * Making the kernel forget files of the store that are gone.
 */
#include "forgetter.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <time.h>

#include "inode_names.h"
#include "util.h"

#include <utlist.h>

enum {
	MAX_WAIT_MILLISECONDS = 100,
	/* Where nobody waits for the room there is time.  The directories that lead to a
	 * file may be forgotten with it, and who removes a module often removes them next,
	 * which is not heard of then. */
	LEISURE_MILLISECONDS = 5,
	/* A lookup that found the file before it went may have been answered, and the
	 * answer not yet taken: its thread has been woken, so a moment is enough.  Most
	 * of what is evicted was looked up long before.  Of the rest the kernel's word
	 * comes sooner, where there is a thread to take it. */
	MOMENT_MILLISECONDS = 20,
	PAUSE_NANOSECONDS = 500000,
	/* What the kernel has may be open, or be in its hands for an instant: word that
	 * its name is gone (notify.c) is passed on at the same time. */
	MIN_TRIES = 10,
};

/* libfuse 3.18 has no call for it (include/uapi/linux/fuse.h). */
enum { NOTIFY_PRUNE = 9 };
struct prune_message {
	struct fuse_out {
		uint32_t length;
		int32_t code;
		uint64_t unique;
	} head;
	uint32_t count, padding;
	uint64_t spare;
	uint64_t number;
};

struct gone {
	struct gone *next;
	uint64_t number, parent;
	char name[];
};

struct forgetter {
	struct fuse_session *session;	/* borrowed; does not change, as below */
	struct fs *fs;
	pthread_t thread;

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t added, hurry, done;
	unsigned waiters;		/* for room */
	struct gone *queue;		/* owned */
	uint64_t added_count, done_count;	/* since the start */
	bool stopping;
};

void forgetter_add(struct forgetter *forgetter, uint64_t number, uint64_t parent,
		   const char *name)
{
	size_t size = strlen(name) + 1;
	struct gone *gone = malloc(sizeof(*gone) + size);

	/* The kernel is short of memory as well by then, and forgets by itself. */
	if (!gone)
		return;
	gone->number = number;
	gone->parent = parent;
	memcpy(gone->name, name, size);
	pthread_mutex_lock(&forgetter->lock);
	LL_PREPEND(forgetter->queue, gone);
	forgetter->added_count++;
	pthread_cond_signal(&forgetter->added);
	pthread_mutex_unlock(&forgetter->lock);
}

void forgetter_wait(struct forgetter *forgetter)
{
	const struct timespec until = monotonic_in(MAX_WAIT_MILLISECONDS);
	uint64_t goal;

	if (!atomic_load(&forgetter->fs->prunes))
		return;
	pthread_mutex_lock(&forgetter->lock);
	goal = forgetter->added_count;
	forgetter->waiters++;
	pthread_cond_signal(&forgetter->hurry);
	while (forgetter->done_count < goal &&
	       cond_wait(&forgetter->done, &forgetter->lock, &until))
		;
	forgetter->waiters--;
	pthread_mutex_unlock(&forgetter->lock);
}

/* Whether the kernel does not know the file any more. */
static bool prune(struct forgetter *forgetter, uint64_t number)
{
	struct prune_message message = {
		.head = { .length = sizeof(message), .code = NOTIFY_PRUNE },
		.count = 1, .number = number,
	};

	return write(fuse_session_fd(forgetter->session), &message,
		     sizeof(message)) == sizeof(message) &&
		fuse_lowlevel_notify_inval_inode(forgetter->session, number, -1, 0) ==
		-ENOENT;
}

/* The kernel's word may wait for a thread to take it, but the memory is needed. */
static void close_forgotten(struct fs *fs, uint64_t number)
{
	struct inode *inode = inode_get(fs->inodes, number);

	if (inode)
		inode_forgotten(fs->inodes, inode);
	inode_put(fs->inodes, inode);
}

/* Whether an answer that told of the file may not have been taken yet.  Once the kernel's
 * word has come that it has forgotten all answers, the table does not know it. */
static bool may_be_on_its_way(struct fs *fs, uint64_t number)
{
	struct inode *inode = inode_get(fs->inodes, number);
	bool may_be = inode && inode_told_ago(inode) < MOMENT_MILLISECONDS;

	inode_put(fs->inodes, inode);
	return may_be;
}

/* Takes the files out of @batch that the kernel has forgotten for good.  Returns whether
 * there are others that it does not know yet, or not any more. */
static bool forget_known(struct forgetter *forgetter, struct gone **batch)
{
	bool others = false;

	for (struct gone **at = batch, *gone; (gone = *at); ) {
		/* Asked before: else an answer could be taken in between. */
		bool on_its_way = may_be_on_its_way(forgetter->fs, gone->number);
		bool knows = !prune(forgetter, gone->number);

		if (knows || on_its_way) {
			others |= !knows;
			at = &gone->next;
		} else {
			close_forgotten(forgetter->fs, gone->number);
			*at = gone->next;
			free(gone);
		}
	}
	return others;
}

/* Leaves what is open in @batch. */
static void forget_by_number(struct forgetter *forgetter, struct gone **batch)
{
	const struct timespec pause = { .tv_nsec = PAUSE_NANOSECONDS };
	bool others = true;

	for (int tries = 0; *batch && (others || tries < MIN_TRIES); tries++) {
		if (tries)
			nanosleep(&pause, NULL);
		others = forget_known(forgetter, batch);
	}
}

/* Of those the kernel drops the name: what is open is forgotten upon its last close. */
static void forget_by_name(struct forgetter *forgetter, struct gone *batch)
{
	struct gone *gone, *next;

	LL_FOREACH_SAFE(batch, gone, next) {
		(void)fuse_lowlevel_notify_inval_entry(forgetter->session, gone->parent,
						       gone->name, strlen(gone->name));
		atomic_fetch_add_explicit(&forgetter->fs->figures.invalidations, 1,
					  memory_order_relaxed);
		free(gone);
	}
}

/* Waits for files, which the caller owns; NULL at the end. */
static struct gone *next_batch(struct forgetter *forgetter, uint64_t *ret_goal)
{
	struct gone *batch;

	pthread_mutex_lock(&forgetter->lock);
	while (!forgetter->queue && !forgetter->stopping)
		pthread_cond_wait(&forgetter->added, &forgetter->lock);
	batch = forgetter->queue;
	forgetter->queue = NULL;
	*ret_goal = forgetter->added_count;
	pthread_mutex_unlock(&forgetter->lock);
	return batch;
}

/* For a while, or until somebody waits. */
static void take_leisure(struct forgetter *forgetter)
{
	const struct timespec until = monotonic_in(LEISURE_MILLISECONDS);

	pthread_mutex_lock(&forgetter->lock);
	while (!forgetter->waiters && !forgetter->stopping &&
	       cond_wait(&forgetter->hurry, &forgetter->lock, &until))
		;
	pthread_mutex_unlock(&forgetter->lock);
}

static void *forget(void *data)
{
	struct forgetter *forgetter = data;
	struct gone *batch;
	uint64_t goal;

	while ((batch = next_batch(forgetter, &goal))) {
		take_leisure(forgetter);
		if (atomic_load(&forgetter->fs->prunes))
			forget_by_number(forgetter, &batch);
		/* Before what may wait for who waits. */
		pthread_mutex_lock(&forgetter->lock);
		forgetter->done_count = goal;
		pthread_cond_broadcast(&forgetter->done);
		pthread_mutex_unlock(&forgetter->lock);
		forget_by_name(forgetter, batch);
	}
	return NULL;
}

int forgetter_create(struct forgetter **ret, struct fuse_session *session,
		     struct fs *fs)
{
	struct forgetter *forgetter = calloc(1, sizeof(*forgetter));
	int err;

	if (!forgetter)
		return -ENOMEM;
	forgetter->session = session;
	forgetter->fs = fs;
	pthread_mutex_init(&forgetter->lock, NULL);
	pthread_cond_init(&forgetter->added, NULL);
	cond_init_monotonic(&forgetter->hurry);
	cond_init_monotonic(&forgetter->done);
	err = thread_start(&forgetter->thread, forget, forgetter);
	if (err) {
		free(forgetter);
		return err;
	}
	*ret = forgetter;
	return 0;
}

void forgetter_destroy(struct forgetter *forgetter)
{
	if (!forgetter)
		return;
	pthread_mutex_lock(&forgetter->lock);
	forgetter->stopping = true;
	pthread_cond_signal(&forgetter->added);
	pthread_cond_signal(&forgetter->hurry);
	pthread_mutex_unlock(&forgetter->lock);
	pthread_join(forgetter->thread, NULL);
	pthread_cond_destroy(&forgetter->added);
	pthread_cond_destroy(&forgetter->hurry);
	pthread_cond_destroy(&forgetter->done);
	pthread_mutex_destroy(&forgetter->lock);
	free(forgetter);
}
