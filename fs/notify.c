/*
 * Word to the kernel that something it has cached is out of date.
 */
#include "notify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "forgetter.h"
#include "log.h"
#include "util.h"

#include <utlist.h>

enum { MAX_FLUSH_MILLISECONDS = 100 };

struct message {
	uint64_t number;
	char *name;		/* owned: in that directory; NULL: the inode itself */
	bool content;		/* of the inode: see notify_inode() */
	struct message *prev, *next;
};

struct notifier {
	struct fuse_session *session;	/* borrowed; does not change */
	pthread_t thread;
	struct forgetter *forgetter;	/* owned */
	_Atomic uint64_t *sent;		/* borrowed */

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t queued, done;
	struct message *queue;		/* owned, oldest first */
	uint64_t queued_count, done_count;	/* since the start */
	unsigned waiters;		/* in words_sent() */
	unsigned readers;		/* threads that may come there */
	bool stopping;
};

static void count_sent(struct notifier *notifier)
{
	atomic_fetch_add_explicit(notifier->sent, 1, memory_order_relaxed);
}

void notify_expire(struct notifier *notifier, uint64_t parent, const char *name)
{
	/* -ENOENT: the kernel does not hold it. */
	(void)fuse_lowlevel_notify_expire_entry(notifier->session, parent, name,
						strlen(name));
	count_sent(notifier);
}

void notify_name(struct notifier *notifier, uint64_t parent, const char *name)
{
	/* A name that the kernel does not hold does not make it touch the directory
	 * either, so that is said in any case. */
	notify_expire(notifier, parent, name);
	notify_inode(notifier, parent, true);
}

void notify_gone(struct notifier *notifier, uint64_t parent, uint64_t number,
		 const char *name)
{
	/* -ENOENT: forgotten already.  -ENOTEMPTY: a directory in which somebody has
	 * something open; its names have been dropped all the same. */
	(void)fuse_lowlevel_notify_delete(notifier->session, parent, number, name,
					  strlen(name));
	count_sent(notifier);
}

void notify_inode(struct notifier *notifier, uint64_t number, bool content)
{
	/* A negative offset leaves the pages: fuse_reverse_inval_inode(). */
	(void)fuse_lowlevel_notify_inval_inode(notifier->session, number,
					       content ? 0 : -1, 0);
	count_sent(notifier);
}

static void queue_message(struct notifier *notifier, uint64_t number,
			  const char *name, bool content)
{
	struct message *message = calloc(1, sizeof(*message));

	if (message && name)
		message->name = strdup(name);
	if (!message || (name && !message->name)) {
		free(message);
		log_error("short of memory: what the kernel knows of inode %llu may be "
			  "out of date", (unsigned long long)number);
		return;
	}
	message->number = number;
	message->content = content;
	pthread_mutex_lock(&notifier->lock);
	DL_APPEND(notifier->queue, message);
	notifier->queued_count++;
	pthread_cond_signal(&notifier->queued);
	pthread_mutex_unlock(&notifier->lock);
}

/* The hooks of fs.h. */
static void attr_changed(void *notifier, uint64_t number)
{
	queue_message(notifier, number, NULL, false);
}

static void content_changed(void *notifier, uint64_t number)
{
	queue_message(notifier, number, NULL, true);
}

static void name_gone(void *notifier, uint64_t directory, const char *name)
{
	queue_message(notifier, directory, name, false);
}

static void file_gone(void *data, uint64_t number, uint64_t parent, const char *name)
{
	struct notifier *notifier = data;

	forgetter_add(notifier->forgetter, number, parent, name);
}

static void forgotten(void *data)
{
	struct notifier *notifier = data;

	forgetter_wait(notifier->forgetter);
}

/*
 * Until all that was queued before is sent, so that an answer can come after it; but no
 * longer than a tenth of a second, and not as the last of the readers: sending may need
 * a lock of the kernel's that another request holds, and that one a thread to serve it.
 */
static bool words_sent(void *data)
{
	struct notifier *notifier = data;
	const struct timespec until = monotonic_in(MAX_FLUSH_MILLISECONDS);
	uint64_t goal;
	bool done;

	pthread_mutex_lock(&notifier->lock);
	goal = notifier->queued_count;
	notifier->waiters++;
	while (notifier->waiters < notifier->readers && notifier->done_count < goal &&
	       cond_wait(&notifier->done, &notifier->lock, &until))
		;
	notifier->waiters--;
	done = notifier->done_count >= goal;
	pthread_mutex_unlock(&notifier->lock);
	return done;
}

/* Waits for a message, which the caller owns; NULL at the end. */
static struct message *next_message(struct notifier *notifier)
{
	struct message *message;

	pthread_mutex_lock(&notifier->lock);
	while (!notifier->queue && !notifier->stopping)
		pthread_cond_wait(&notifier->queued, &notifier->lock);
	message = notifier->queue;
	if (message)
		DL_DELETE(notifier->queue, message);
	pthread_mutex_unlock(&notifier->lock);
	return message;
}

static void *send_queued(void *data)
{
	struct notifier *notifier = data;
	struct message *message;

	while ((message = next_message(notifier))) {
		if (message->name)
			notify_name(notifier, message->number, message->name);
		else
			notify_inode(notifier, message->number, message->content);
		free(message->name);
		free(message);
		pthread_mutex_lock(&notifier->lock);
		notifier->done_count++;
		pthread_cond_broadcast(&notifier->done);
		pthread_mutex_unlock(&notifier->lock);
	}
	return NULL;
}

void notifier_set_readers(struct notifier *notifier, unsigned readers)
{
	pthread_mutex_lock(&notifier->lock);
	notifier->readers = readers;
	pthread_mutex_unlock(&notifier->lock);
}

static void connect_hooks(struct notifier *notifier, struct fs *fs)
{
	fs->attr_changed = attr_changed;
	fs->content_changed = content_changed;
	fs->name_gone = name_gone;
	fs->file_gone = file_gone;
	fs->forgotten = forgotten;
	fs->words_sent = words_sent;
	fs->notifier = notifier;
}

int notifier_create(struct notifier **ret, struct fuse_session *session,
		    struct fs *fs)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	int err;

	if (!notifier)
		return -ENOMEM;
	notifier->session = session;
	notifier->sent = &fs->figures.invalidations;
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->queued, NULL);
	cond_init_monotonic(&notifier->done);
	err = forgetter_create(&notifier->forgetter, session, fs);
	if (!err)
		err = thread_start(&notifier->thread, send_queued, notifier);
	if (err) {
		forgetter_destroy(notifier->forgetter);
		free(notifier);
		return err;
	}
	connect_hooks(notifier, fs);
	*ret = notifier;
	return 0;
}

void notifier_destroy(struct notifier *notifier)
{
	if (!notifier)
		return;
	pthread_mutex_lock(&notifier->lock);
	notifier->stopping = true;
	pthread_cond_signal(&notifier->queued);
	pthread_mutex_unlock(&notifier->lock);
	pthread_join(notifier->thread, NULL);
	forgetter_destroy(notifier->forgetter);
	pthread_cond_destroy(&notifier->queued);
	pthread_cond_destroy(&notifier->done);
	pthread_mutex_destroy(&notifier->lock);
	free(notifier);
}
