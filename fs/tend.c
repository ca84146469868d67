/*
 * Tending a shared store.
 */
#include "tend.h"

#include "discard.h"
#include "ledger.h"
#include "util.h"

enum { INTERVAL_MILLISECONDS = 1000 };

struct tender {
	struct fs *fs;		/* borrowed; does not change */
	pthread_t thread;
	pthread_mutex_t lock;	/* guards all below */
	pthread_cond_t ended;
	bool ending;
};

static void let_go(struct fs *fs)
{
	struct inode *inode;

	for (uint32_t at = 0; (inode = inode_next(fs->inodes, &at)); ) {
		if (inode_kind(inode) != INODE_SOURCE)
			discard_removed(fs, inode);
		inode_put(fs->inodes, inode);
	}
}

/* Waits for the next look; false at the end. */
static bool pause_tending(struct tender *tender)
{
	const struct timespec until = monotonic_in(INTERVAL_MILLISECONDS);
	bool ending;

	pthread_mutex_lock(&tender->lock);
	while (!tender->ending && cond_wait(&tender->ended, &tender->lock, &until))
		;
	ending = tender->ending;
	pthread_mutex_unlock(&tender->lock);
	return !ending;
}

static void *tend(void *data)
{
	struct tender *tender = data;
	uint64_t seen = 0;

	while (pause_tending(tender)) {
		uint64_t claims = ledger_claims(tender->fs->store.ledger);

		if (claims != seen)
			let_go(tender->fs);
		seen = claims;
	}
	return NULL;
}

int tender_create(struct tender **ret, struct fs *fs)
{
	struct tender *tender = calloc(1, sizeof(*tender));
	int err;

	if (!tender)
		return -ENOMEM;
	tender->fs = fs;
	pthread_mutex_init(&tender->lock, NULL);
	cond_init_monotonic(&tender->ended);
	err = thread_start(&tender->thread, tend, tender);
	if (err) {
		free(tender);
		return err;
	}
	*ret = tender;
	return 0;
}

void tender_destroy(struct tender *tender)
{
	if (!tender)
		return;
	pthread_mutex_lock(&tender->lock);
	tender->ending = true;
	pthread_cond_signal(&tender->ended);
	pthread_mutex_unlock(&tender->lock);
	pthread_join(tender->thread, NULL);
	pthread_cond_destroy(&tender->ended);
	pthread_mutex_destroy(&tender->lock);
	free(tender);
}
