/*
 * Room in the store.  What may go is found out in survey.c; what goes first is decided in
 * evict.c.
 *
 * Making room goes through the whole store, whose files are at most as many as its
 * inodes; and it frees a sixteenth at once, so that many writes share that.  One
 * thread does it at a time: whoever waited for it most likely finds room.
 */
#include "room.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "cred.h"
#include "evict.h"
#include "ledger.h"
#include "log.h"
#include "survey.h"
#include "util.h"

enum {
	/* What one file may need: a shadow, its note, a part, the stamps, one of them,
	 * itself. */
	INODES_OF_A_FILE = 6,
	MAX_TRIES = 6,
	PAGE_BYTES = 4096,
	MOMENT_NANOSECONDS = 2000000,
	/* A store that nothing could go from is not gone through again for so long:
	 * each failing write would hold the others up. */
	FUTILE_MILLISECONDS = 50,
};

static int measure(const struct store *store, struct evict_room *ret)
{
	struct statvfs fs;

	if (fstatvfs(store->root, &fs) < 0)
		return -errno;
	store_limit(store, &fs);
	*ret = (struct evict_room){
		.size = store->size, .inodes = store->inodes,
		.free_bytes = fs.f_bfree * fs.f_frsize,
		.free_inodes = fs.f_ffree,
	};
	return 0;
}

/* Puts right what a ledger has not heard of: see ledger.h.  Returns whether there was
 * something, or negative errno. */
static int count_anew(struct fs *fs)
{
	struct ledger *ledger = fs->store.ledger;
	struct ledger_sums before = ledger_read(ledger);
	struct store_usage usage;
	int err = store_usage(&fs->store, &usage);

	if (err)
		return err;
	/* What is claimed meanwhile may be counted too, which errs on the safe side. */
	ledger_correct(ledger, (int64_t)(usage.used - before.bytes),
		       (int64_t)(usage.inodes_used - before.inodes));
	return usage.used < before.bytes || usage.inodes_used < before.inodes;
}

static int evict_for(struct survey *survey, const struct evict_goal *goal)
{
	size_t chosen, evicted = 0;
	struct evict_goal rest = *goal;
	int err = survey_take(survey);

	if (err)
		return err;
	rest.inodes -= rest.inodes < survey->freed ? rest.inodes : survey->freed;
	if (survey->fs->store.ledger)
		ledger_correct(survey->fs->store.ledger, 0, -(int64_t)survey->freed);
	chosen = evict_choose(survey->candidates, survey->count, &rest);
	for (size_t i = 0; i < chosen; i++) {
		const struct evict_candidate *candidate = &survey->candidates[i];

		if (!survey_evict(survey, candidate))
			continue;
		evicted++;
		if (survey->fs->store.ledger)
			ledger_correct(survey->fs->store.ledger,
				       -(int64_t)candidate->bytes,
				       -(int64_t)candidate->inodes);
	}
	survey_drop_newcomers(survey);
	survey->fs->forgotten(survey->fs->notifier);
	return evicted || survey->freed ? 0 : -ENOSPC;
}

static bool has_room(const struct evict_room *room, uint64_t bytes)
{
	return room->free_bytes > bytes && room->free_inodes >= INODES_OF_A_FILE;
}

static int evict_as_needed(struct fs *fs, uint64_t bytes, const struct file_id *keep)
{
	struct survey survey = { .fs = fs, .keep = keep };
	struct evict_goal wanted = { bytes, INODES_OF_A_FILE }, goal;
	struct evict_room room;
	int err;

	/* What is on its way out may do. */
	fs->forgotten(fs->notifier);
	err = measure(&fs->store, &room);
	/* Another thread has made it, or a file went. */
	if (err || has_room(&room, bytes))
		return err;
	if (milliseconds() < fs->no_room_until)
		return -ENOSPC;
	goal = evict_goal(&room, &wanted);
	err = evict_for(&survey, &goal);
	survey_end(&survey);
	if (err == -ENOSPC)
		fs->no_room_until = milliseconds() + FUTILE_MILLISECONDS;
	return err;
}

static int make_room_in_depot(struct fs *fs, uint64_t bytes,
			      const struct file_id *keep)
{
	struct evict_room room;
	int err = count_anew(fs);

	if (err < 0)
		return err;
	/* It is for the next claim to say whether that is enough. */
	if (err > 0 && measure(&fs->store, &room) == 0 && room.free_bytes >= bytes &&
	    room.free_inodes)
		return 0;
	/* Claims are of whole pages, which the first and the last byte may share. */
	return evict_as_needed(fs, bytes + 2 * PAGE_BYTES, keep);
}

static int make_room_locked(struct fs *fs, uint64_t bytes, const struct file_id *keep)
{
	const struct timespec moment = { .tv_nsec = MOMENT_NANOSECONDS };
	struct ledger *ledger = fs->store.ledger;
	int err;

	if (!ledger)
		return evict_as_needed(fs, bytes, keep);
	/* Another daemon is about it. */
	if (ledger_lock(ledger) < 0) {
		nanosleep(&moment, NULL);
		return 0;
	}
	err = make_room_in_depot(fs, bytes, keep);
	ledger_unlock(ledger);
	return err;
}

int room_make(struct fs *fs, uint64_t bytes, const struct file_id *keep)
{
	int err;

	/* What can never fit is no reason to empty the store. */
	if (bytes >= fs->store.size)
		return -ENOSPC;
	pthread_mutex_lock(&fs->room_lock);
	err = make_room_locked(fs, bytes, keep);
	pthread_mutex_unlock(&fs->room_lock);
	if (err && err != -ENOSPC)
		log_warning("store: can't look for room: %s", strerror(-err));
	return err;
}

bool room_try_again(struct fs *fs, int err, unsigned *tries)
{
	const struct timespec moment = { .tv_nsec = MOMENT_NANOSECONDS };

	if (err != -ENOSPC || ++*tries > MAX_TRIES)
		return false;
	if (room_make(fs, 0, NULL) < 0)
		nanosleep(&moment, NULL);
	return true;
}

void room_note_use(struct fs *fs, struct inode *inode, int fd)
{
	const struct timespec times[2] = {
		{ .tv_nsec = UTIME_NOW }, { .tv_nsec = UTIME_OMIT },
	};
	struct timespec now;
	char byte, name[FD_NAME_SIZE];

	if (inode_kind(inode) != INODE_STORE)
		return;
	clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
	if (!inode_note_used(inode, (uint32_t)now.tv_sec))
		return;
	/* Reading moves the atime alone where each read does (MOUNT_ATTR_STRICTATIME);
	 * setting it changes the ctime, which tar takes for a change of the file. */
	if (store_is_shared(&fs->store))
		(void)utimensat(cred_proc_fd(), fd_name(fd, name), times, 0);
	else if (pread(fd, &byte, 1, 0) < 0)
		return;
}

static uint64_t whole_pages(uint64_t bytes)
{
	return (bytes + PAGE_BYTES - 1) / PAGE_BYTES * PAGE_BYTES;
}

int room_claim(struct fs *fs, const struct inode *inode, int fd, off_t offset,
	       uint64_t size, struct room_claim *ret)
{
	uint64_t start = (uint64_t)offset, end, length;
	struct stat st;
	int err;

	*ret = (struct room_claim){ .ledger = NULL };
	if (!fs->store.ledger || inode_kind(inode) != INODE_STORE)
		return 0;
	if (fstat(fd, &st) < 0)
		return -errno;
	if (offset == ROOM_AT_END)
		start = (uint64_t)st.st_size;
	ret->before = (uint64_t)st.st_blocks * 512;
	/* As far as all before the end has its pages, only what lies beyond is new. */
	end = whole_pages(start + size);
	length = end - start / PAGE_BYTES * PAGE_BYTES;
	if (ret->before >= whole_pages((uint64_t)st.st_size))
		length = end > ret->before ? end - ret->before : 0;
	err = store_claim(&fs->store, length, 0);
	if (err)
		return err;
	ret->ledger = fs->store.ledger;
	ret->bytes = length;
	return 0;
}

void room_settle(const struct room_claim *claim, int fd)
{
	struct stat st;

	if (claim->ledger && fstat(fd, &st) == 0)
		ledger_correct(claim->ledger, (int64_t)((uint64_t)st.st_blocks * 512 -
			       claim->before - claim->bytes), 0);
}
