/*
 * Word to the kernel that something it has cached is out of date.
 */
#include "notify.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "log.h"
#include "util.h"

#include <utlist.h>

/* An inode whose attributes are to be asked for again. */
struct message {
	uint64_t number;
	struct message *next;
};

struct notifier {
	struct fuse_session *session;	/* borrowed; does not change */
	pthread_t thread;
	_Atomic uint64_t *sent;		/* borrowed */

	pthread_mutex_t lock;		/* guards all below */
	pthread_cond_t changed;
	struct message *queue;		/* owned, oldest first */
	bool stopping;
};

void notify_name(struct notifier *notifier, uint64_t parent, const char *name)
{
	/* -ENOENT: the kernel does not hold it.  Then it has not touched the
	 * directory either, so that is said in any case. */
	(void)fuse_lowlevel_notify_expire_entry(notifier->session, parent, name,
						strlen(name));
	notify_inode(notifier, parent, true);
	atomic_fetch_add_explicit(notifier->sent, 1, memory_order_relaxed);
}

void notify_inode(struct notifier *notifier, uint64_t number, bool content)
{
	/* A negative offset leaves the pages: fuse_reverse_inval_inode(). */
	(void)fuse_lowlevel_notify_inval_inode(notifier->session, number,
					       content ? 0 : -1, 0);
	atomic_fetch_add_explicit(notifier->sent, 1, memory_order_relaxed);
}

void notify_inode_later(struct notifier *notifier, uint64_t number)
{
	struct message *message = malloc(sizeof(*message));

	if (!message) {
		log_warning("short of memory: attributes of inode %llu may be out of date",
			    (unsigned long long)number);
		return;
	}
	message->number = number;
	pthread_mutex_lock(&notifier->lock);
	LL_APPEND(notifier->queue, message);
	pthread_cond_signal(&notifier->changed);
	pthread_mutex_unlock(&notifier->lock);
}

/* Waits for a message, which the caller owns; NULL at the end. */
static struct message *next_message(struct notifier *notifier)
{
	struct message *message;

	pthread_mutex_lock(&notifier->lock);
	while (!notifier->queue && !notifier->stopping)
		pthread_cond_wait(&notifier->changed, &notifier->lock);
	message = notifier->queue;
	if (message)
		LL_DELETE(notifier->queue, message);
	pthread_mutex_unlock(&notifier->lock);
	return message;
}

static void *send_queued(void *data)
{
	struct notifier *notifier = data;
	struct message *message;

	while ((message = next_message(notifier))) {
		notify_inode(notifier, message->number, false);
		free(message);
	}
	return NULL;
}

int notifier_create(struct notifier **ret, struct fuse_session *session,
		    _Atomic uint64_t *sent)
{
	struct notifier *notifier = calloc(1, sizeof(*notifier));
	int err;

	if (!notifier)
		return -ENOMEM;
	notifier->session = session;
	notifier->sent = sent;
	pthread_mutex_init(&notifier->lock, NULL);
	pthread_cond_init(&notifier->changed, NULL);
	err = thread_start(&notifier->thread, send_queued, notifier);
	if (err) {
		free(notifier);
		return err;
	}
	*ret = notifier;
	return 0;
}

void notifier_destroy(struct notifier *notifier)
{
	if (!notifier)
		return;
	pthread_mutex_lock(&notifier->lock);
	notifier->stopping = true;
	pthread_cond_signal(&notifier->changed);
	pthread_mutex_unlock(&notifier->lock);
	pthread_join(notifier->thread, NULL);
	pthread_cond_destroy(&notifier->changed);
	pthread_mutex_destroy(&notifier->lock);
	free(notifier);
}
