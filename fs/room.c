/*
 * Room in the store.  What may go first is decided in evict.c; what a file is good
 * for, by its name, in names.c.
 *
 * Making room goes through the whole store, whose files are at most as many as its
 * inodes; and it frees a sixteenth at once, so that many writes share that.  One
 * thread does it at a time: whoever waited for it most likely finds room.
 */
#include "room.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <time.h>

#include "cred.h"
#include "discard.h"
#include "evict.h"
#include "ledger.h"
#include "log.h"
#include "names.h"
#include "shadow.h"
#include "util.h"

#include <uthash.h>

enum {
	/* No writer of bytecode pauses for so long. */
	ABANDONED_SECONDS = 60,
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

/* Files of one directory that are made from one module, or seem to be, whether or not
 * they may go: what stays needs the stamp. */
struct family {
	size_t members;
	UT_hash_handle hh;
	char key[];		/* the shadow's name, a slash, "X.py" */
};

/* What may go: a file, or the whole shadow of a directory that is gone. */
struct file {
	struct family *family;
	struct part part;
	char *name;		/* owned; NULL: the shadow */
	uint64_t files;		/* in it */
};

/* All that may go. */
struct survey {
	struct fs *fs;
	const struct file_id *keep;
	struct file *files;			/* owned, as all below */
	struct evict_candidate *candidates;	/* as many */
	size_t count, room;
	struct family *families;
	uint64_t freed;		/* inodes of shadows that held nothing */
	bool out_of_memory;
};

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

static struct family *join_family(struct survey *survey, const char *shadow,
				  const char *name)
{
	char module[NAME_SIZE], key[2 * NAME_SIZE];
	struct family *family;
	size_t length;

	if (!names_module(name, 0, module))
		return NULL;
	length = (size_t)snprintf(key, sizeof(key), "%s/%s", shadow, module);
	HASH_FIND(hh, survey->families, key, length, family);
	if (!family) {
		family = calloc(1, sizeof(*family) + length + 1);
		if (!family)
			return NULL;
		memcpy(family->key, key, length + 1);
		HASH_ADD_KEYPTR(hh, survey->families, family->key, length, family);
	}
	family->members++;
	return family;
}

static bool grow(struct survey *survey)
{
	size_t room = survey->room ? survey->room * 2 : 256;
	struct evict_candidate *candidates;
	struct file *files;

	if (survey->count < survey->room)
		return true;
	files = realloc(survey->files, room * sizeof(*files));
	if (!files)
		return false;
	survey->files = files;
	candidates = realloc(survey->candidates, room * sizeof(*candidates));
	if (!candidates)
		return false;
	survey->candidates = candidates;
	survey->room = room;
	return true;
}

/* Takes the name of @file. */
static void add_candidate(struct survey *survey, struct evict_candidate candidate,
			  struct file file)
{
	if (!grow(survey)) {
		free(file.name);
		survey->out_of_memory = true;
		return;
	}
	candidate.index = survey->count;
	survey->files[survey->count] = file;
	survey->candidates[survey->count++] = candidate;
}

/* Where the survey goes through: one part of one shadow. */
struct place_surveyed {
	struct survey *survey;
	const char *shadow;
	struct part part;
	bool missing;		/* its directory: see origin.h */
	int fd;
	size_t names;		/* in all parts of the shadow so far */
};

static bool may_go(const struct survey *survey, enum name_use use,
		   const struct stat *st)
{
	struct timespec now;

	if (!S_ISREG(st->st_mode) ||
	    (survey->keep && survey->keep->ino == st->st_ino))
		return false;
	if (use == NAME_CACHED)
		return true;
	clock_gettime(CLOCK_REALTIME, &now);
	return use == NAME_UNFINISHED &&
		now.tv_sec - st->st_mtim.tv_sec > ABANDONED_SECONDS;
}

/* What the user has named beside the source may be all there is of it. */
static bool is_also(const struct place_surveyed *place, const char *name)
{
	char module[NAME_SIZE];

	return place->part.part == SHADOW_BESIDE &&
		names_classify(&place->survey->fs->opts->names, name, module) ==
			NAME_ALSO;
}

static void add_file(const struct place_surveyed *place, const char *name)
{
	struct survey *survey = place->survey;
	struct family *family = join_family(survey, place->shadow, name);
	enum name_use use = names_use(name);
	struct evict_candidate candidate = { .inodes = 1 };
	struct stat st;
	char *copy;

	if (use == NAME_OTHER || is_also(place, name) ||
	    fstatat(place->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
	    !may_go(survey, use, &st))
		return;
	copy = strdup(name);
	if (!copy) {
		survey->out_of_memory = true;
		return;
	}
	candidate.class = use != NAME_CACHED ? EVICT_ABANDONED :
		place->missing ? EVICT_MISSING : EVICT_CACHED;
	candidate.used_at = nanoseconds(&st.st_atim);
	candidate.bytes = (uint64_t)st.st_blocks * 512;
	add_candidate(survey, candidate, (struct file){
		.family = family, .part = place->part, .name = copy, .files = 1,
	});
}

/* All that is kept for a directory that is gone. */
static void add_shadow(const struct place_surveyed *place)
{
	struct survey *survey = place->survey;
	struct store_usage usage = shadow_usage(&survey->fs->store,
						&place->part.directory);

	add_candidate(survey, (struct evict_candidate){
		.class = EVICT_GONE, .bytes = usage.used, .inodes = usage.inodes_used,
	}, (struct file){ .part = place->part, .files = usage.files });
}

static void survey_part(struct place_surveyed *place)
{
	struct survey *survey = place->survey;
	_cleanup_close_ int fd = -1;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;

	/* One that goes meanwhile makes room by itself. */
	if (part_open(survey->fs, &place->part, &fd) < 0 ||
	    dir_reopen(fd, &dir) < 0)
		return;
	place->fd = fd;
	while ((entry = readdir(dir)) && !survey->out_of_memory) {
		if (is_dot(entry->d_name))
			continue;
		place->names++;
		add_file(place, entry->d_name);
	}
}

static void survey_cache(void *data, uid_t user)
{
	struct place_surveyed *place = data;

	place->part.part = SHADOW_CACHE;
	place->part.user = user;
	survey_part(place);
}

/* A cached descriptor would hold what is removed. */
static void close_cache(void *data, uid_t user)
{
	const struct place_surveyed *place = data;
	struct inode_table *inodes = place->survey->fs->inodes;
	struct inode *shadow = inode_find_shadow(inodes, &place->part.directory, user);

	if (shadow)
		inode_close(inodes, shadow);
	inode_put(inodes, shadow);
}

/* Takes back what the shadow costs, in which nothing was found. */
static void reclaim(struct place_surveyed *place)
{
	struct store *store = &place->survey->fs->store;

	close_cache(place, 0);
	shadow_each_user(store, &place->part.directory, close_cache, place);
	place->survey->freed += shadow_reclaim(store, &place->part.directory);
}

/* What the kernel knows is there, or is let go of by who hears that it went. */
static enum origin_fate fate_of(struct fs *fs, const struct file_id *directory)
{
	struct inode *inode = inode_find(fs->inodes, INODE_SOURCE, directory);
	enum origin_fate fate = inode ? ORIGIN_THERE
				      : shadow_fate(&fs->store, directory);

	inode_put(fs->inodes, inode);
	return fate;
}

static void survey_shadow(struct place_surveyed *place)
{
	enum origin_fate fate = fate_of(place->survey->fs, &place->part.directory);

	if (fate == ORIGIN_GONE) {
		add_shadow(place);
		return;
	}
	place->missing = fate == ORIGIN_MISSING;
	place->part.part = SHADOW_BESIDE;
	survey_part(place);
	survey_cache(place, 0);
	shadow_each_user(&place->survey->fs->store, &place->part.directory,
			 survey_cache, place);
	/* Else what directories leave behind would fill the store in the end. */
	if (!place->names)
		reclaim(place);
}

static int survey_store(struct survey *survey)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = open_dir_at(survey->fs->store.root, ".", &dir);

	if (err)
		return err;
	while ((entry = readdir(dir)) && !survey->out_of_memory) {
		struct place_surveyed place = {
			.survey = survey, .shadow = entry->d_name,
		};

		if (shadow_parse(entry->d_name, &place.part.directory))
			survey_shadow(&place);
	}
	return survey->out_of_memory ? -ENOMEM : 0;
}

static void survey_end(struct survey *survey)
{
	struct family *family, *next;

	HASH_ITER(hh, survey->families, family, next) {
		HASH_DEL(survey->families, family);
		free(family);
	}
	for (size_t i = 0; i < survey->count; i++)
		free(survey->files[i].name);
	free(survey->files);
	free(survey->candidates);
}

/* The last of its family takes the stamps along, which are inodes too. */
static void leave_family(struct fs *fs, const struct file *file)
{
	char module[NAME_SIZE];

	if (!file->family || --file->family->members > 0)
		return;
	for (unsigned i = 0; names_module(file->name, i, module); i++)
		shadow_unstamp(&fs->store, &file->part.directory, module);
}

static bool evict_file(struct fs *fs, const struct file *file)
{
	_cleanup_close_ int part = -1;

	if (part_open(fs, &file->part, &part) < 0 ||
	    discard_file(fs, &file->part, part, file->name,
			 atomic_load(&fs->prunes)) < 0)
		return false;
	leave_family(fs, file);
	return true;
}

static bool evict(struct fs *fs, const struct file *file)
{
	if (!file->name)
		shadow_drop(&fs->store, &file->part.directory);
	else if (!evict_file(fs, file))
		return false;
	atomic_fetch_add_explicit(&fs->figures.evictions, file->files,
				  memory_order_relaxed);
	return true;
}

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
	int err = survey_store(survey);

	if (err)
		return err;
	rest.inodes -= rest.inodes < survey->freed ? rest.inodes : survey->freed;
	if (survey->fs->store.ledger)
		ledger_correct(survey->fs->store.ledger, 0, -(int64_t)survey->freed);
	chosen = evict_choose(survey->candidates, survey->count, &rest);
	for (size_t i = 0; i < chosen; i++) {
		const struct evict_candidate *candidate = &survey->candidates[i];

		if (!evict(survey->fs, &survey->files[candidate->index]))
			continue;
		evicted++;
		if (survey->fs->store.ledger)
			ledger_correct(survey->fs->store.ledger,
				       -(int64_t)candidate->bytes,
				       -(int64_t)candidate->inodes);
	}
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
	if (bytes > fs->store.size)
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
