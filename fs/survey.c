/*
 * Surveys.  What may go first is decided in evict.c; what a file is good for, by its
 * name, in names.c.
 */
#include "survey.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "discard.h"
#include "names.h"
#include "shadow.h"
#include "util.h"

#include <uthash.h>

/* No writer of bytecode pauses for so long. */
enum { ABANDONED_SECONDS = 60 };

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

static uint64_t nanoseconds(const struct timespec *time)
{
	return (uint64_t)time->tv_sec * 1000000000 + (uint64_t)time->tv_nsec;
}

/* The family of @name in @shadow; NULL: none, or short of memory to make it. */
static struct family *find_family(struct survey *survey, const char *shadow,
				  const char *name, bool make)
{
	char module[NAME_SIZE], key[2 * NAME_SIZE];
	struct family *family;
	size_t length;

	if (!names_module(name, 0, module))
		return NULL;
	length = (size_t)snprintf(key, sizeof(key), "%s/%s", shadow, module);
	HASH_FIND(hh, survey->families, key, length, family);
	if (!family && make) {
		family = calloc(1, sizeof(*family) + length + 1);
		if (!family)
			return NULL;
		memcpy(family->key, key, length + 1);
		HASH_ADD_KEYPTR(hh, survey->families, family->key, length, family);
	}
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

/* What has come to a family that has lost its stamps: see survey_drop_newcomers(). */
static void drop_newcomer(const struct place_surveyed *place, const char *name)
{
	const struct family *family = find_family(place->survey, place->shadow, name, false);

	if (family && !family->members && names_use(name) != NAME_OTHER &&
	    !is_also(place, name))
		(void)discard_file(place->survey->fs, &place->part, place->fd, name,
				   true);
}

static void add_file(const struct place_surveyed *place, const char *name)
{
	struct survey *survey = place->survey;
	struct family *family = find_family(survey, place->shadow, name, true);
	enum name_use use = names_use(name);
	struct evict_candidate candidate = { .inodes = 1 };
	struct stat st;
	char *copy;

	if (family)
		family->members++;
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
		if (survey->again)
			drop_newcomer(place, entry->d_name);
		else
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

static void survey_parts(struct place_surveyed *place)
{
	place->part.part = SHADOW_BESIDE;
	survey_part(place);
	survey_cache(place, 0);
	shadow_each_user(&place->survey->fs->store, &place->part.directory,
			 survey_cache, place);
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
	survey_parts(place);
	/* Else what directories leave behind would fill the store in the end. */
	if (!place->names)
		reclaim(place);
}

int survey_take(struct survey *survey)
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

void survey_end(struct survey *survey)
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

/*
 * A file may come after its family was counted, and then loses its stamp with those that
 * went.  The next stamp would tell of the module as it is by then, which is not what the
 * file was made from; so it goes too.  Who makes one after the stamp was taken notices,
 * and sets another: see note_again().
 */
void survey_drop_newcomers(struct survey *survey)
{
	const struct file_id *last = NULL;

	survey->again = true;
	for (size_t i = 0; i < survey->count; i++) {
		const struct file *file = &survey->files[i];
		struct place_surveyed place = { .survey = survey, .part = file->part };
		char shadow[NAME_SIZE];

		/* Files of one shadow follow each other. */
		if (!file->family || file->family->members > 0 ||
		    (last && memcmp(last, &file->part.directory, sizeof(*last)) == 0))
			continue;
		last = &file->part.directory;
		snprintf(shadow, sizeof(shadow), "%.*s",
			 (int)strcspn(file->family->key, "/"), file->family->key);
		place.shadow = shadow;
		survey_parts(&place);
	}
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

bool survey_evict(struct survey *survey, const struct evict_candidate *candidate)
{
	const struct file *file = &survey->files[candidate->index];
	struct fs *fs = survey->fs;

	if (!file->name)
		shadow_drop(&fs->store, &file->part.directory);
	else if (!evict_file(fs, file))
		return false;
	atomic_fetch_add_explicit(&fs->figures.evictions, file->files,
				  memory_order_relaxed);
	return true;
}
