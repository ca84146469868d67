/*
 * Bytecode and its module.  Where bytecode lies is told by route.c; what belongs to
 * which module, by names.c; when the kernel hears of it, by notify.c.
 */
#include "bytecode.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "discard.h"
#include "log.h"
#include "names.h"
#include "shadow.h"
#include "util.h"

/* The longest tick of a kernel's clock is 10 ms; twice that is safe. */
#define TICK_NANOSECONDS UINT64_C(20000000)

/* Before a state in a stamp: the module might have changed again without its state
 * telling, see changed_just_now(). */
enum { PROVISIONAL = '~' };

/* A stamp that is no module's state. */
#define OUTDATED "-"

static bool lies_there(int at, const char *name)
{
	struct stat st;

	return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Whether a further change could leave the ctime as it is. */
static bool changed_just_now(struct fs *fs, const struct file_id *id,
			     const struct statx *stx)
{
	struct timespec now;
	uint64_t time;

	if (device_has_fine_times(&fs->devices, id->dev))
		return false;
	clock_gettime(CLOCK_REALTIME, &now);
	time = (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
	return time < nanoseconds_of(stx->stx_ctime) + TICK_NANOSECONDS;
}

/*
 * The state of @module in @dirfd, with PROVISIONAL before it where that is so.
 * Returns 0 or negative errno: -ENOENT when there is none.
 */
static int read_state(struct fs *fs, int dirfd, const char *module,
		      char ret[NOTE_SIZE])
{
	char file[STATE_SIZE];
	struct file_id id;
	struct statx stx;
	int err = identify_state(&fs->devices, dirfd, module, &stx, &id, file);

	if (err)
		return err == -EISDIR ? -ENOENT : err;
	snprintf(ret, NOTE_SIZE, "%.1s%s.%" PRIx64,
		 changed_just_now(fs, &id, &stx) ? (const char[]){ PROVISIONAL, 0 } : "",
		 file, nanoseconds_of(stx.stx_ctime));
	return 0;
}

static const char *without_mark(const char *state)
{
	return state + (*state == PROVISIONAL);
}

/* Of the modules that exist the one with the longest name, as "a.b.py" has it in
 * "a.b.cpython-311.pyc"; else one that has a stamp. */
void bytecode_of(struct fs *fs, struct inode *directory, int dirfd, int part,
		 const char *name, struct bytecode *ret)
{
	char module[NAME_SIZE], stamp[NOTE_SIZE];

	*ret = (struct bytecode){
		.directory = directory, .dirfd = dirfd, .part = part, .name = name,
	};
	/* What else programs keep there is theirs. */
	if (names_use(name) == NAME_OTHER)
		return;
	for (unsigned i = 0; names_module(name, i, module); i++)
		if (source_has_module(dirfd, module))
			strcpy(ret->module, module);
	for (unsigned i = 0; !*ret->module && names_module(name, i, module); i++)
		if (shadow_get_stamp(&fs->store, inode_id(directory), module,
				     stamp) == 0)
			strcpy(ret->module, module);
}

static bool belongs_in_cache(const char *name, const char *module)
{
	return names_belongs(name, module) && names_use(name) != NAME_OTHER;
}

static bool belongs_beside(const char *name, const char *module)
{
	char legacy[NAME_SIZE], needs[NAME_SIZE];

	for (int i = 0; i < NAMES_LEGACY; i++)
		if (names_legacy(module, i, legacy) && strcmp(legacy, name) == 0)
			return true;
	return names_is_temporary(name, needs) && strcmp(needs, module) == 0;
}

/* What the user has named is kept whatever becomes of modules. */
static bool is_also(const struct fs *fs, const char *name)
{
	char module[NAME_SIZE];

	return names_classify(&fs->opts->names, name, module) == NAME_ALSO;
}

/* Once through @part.  Returns how many files were dropped; adds to @ret_gone those that
 * had gone by then, perhaps to another name. */
static unsigned drop_once(struct fs *fs, const struct part *part, const char *module,
			  bool (*belongs)(const char *name, const char *module),
			  unsigned *ret_gone)
{
	_cleanup_close_ int fd = -1;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	unsigned dropped = 0;
	int err = part_open(fs, part, &fd);

	if (!err)
		err = dir_reopen(fd, &dir);
	if (err && err != -ENOENT)
		log_error("bytecode of '%s' can't be looked for: %s", module,
			  strerror(-err));
	while (!err && (entry = readdir(dir))) {
		int result;

		if (!belongs(entry->d_name, module) ||
		    (part->part == SHADOW_BESIDE && is_also(fs, entry->d_name)))
			continue;
		result = discard_file(fs, part, fd, entry->d_name, true);
		dropped += result == 0;
		*ret_gone += result == -ENOENT;
		if (result && result != -ENOENT && result != -EISDIR)
			log_error("stale bytecode '%s' can't be removed: %s",
				  entry->d_name, strerror(-result));
	}
	return dropped;
}

/* Drops what belongs to @module from @part, until there is nothing: a file may get its
 * name while the part is gone through. */
static unsigned drop_part(struct fs *fs, const struct part *part, const char *module,
			  bool (*belongs)(const char *name, const char *module))
{
	/* Whoever keeps renaming does not keep us: what has gone in vain so often is left. */
	enum { MAX_VAIN = 100 };
	unsigned dropped = 0, vain = 0, more, gone;

	do {
		gone = 0;
		more = drop_once(fs, part, module, belongs, &gone);
		dropped += more;
	} while (more || (gone && ++vain < MAX_VAIN));
	return dropped;
}

struct dropping {
	struct fs *fs;
	const struct file_id *directory;
	const char *module;
	unsigned dropped;
};

static void drop_cache(void *data, uid_t user)
{
	struct dropping *dropping = data;
	const struct part part = { *dropping->directory, SHADOW_CACHE, user };

	dropping->dropped += drop_part(dropping->fs, &part, dropping->module,
				       belongs_in_cache);
}

static void drop_all(struct dropping *dropping)
{
	const struct part beside = { *dropping->directory, SHADOW_BESIDE, 0 };

	drop_cache(dropping, 0);
	shadow_each_user(&dropping->fs->store, dropping->directory, drop_cache, dropping);
	dropping->dropped += drop_part(dropping->fs, &beside, dropping->module,
				       belongs_beside);
}

/*
 * The stamp goes after the bytecode, which is stale without one, while a stamp without
 * bytecode does no harm.  A file may come in between, whose maker has seen the stamp: the
 * next one would tell of a later state than it was made from, so it goes too.  Whoever
 * makes one afterwards finds no stamp and sets another.
 */
unsigned bytecode_drop(struct fs *fs, const struct file_id *directory,
		       const char *module)
{
	struct dropping dropping = {
		.fs = fs, .directory = directory, .module = module,
	};

	drop_all(&dropping);
	shadow_unstamp(&fs->store, directory, module);
	drop_all(&dropping);
	return dropping.dropped;
}

/* The same because the module has changed. */
static bool drop(struct fs *fs, struct inode *directory, const char *module)
{
	unsigned dropped = bytecode_drop(fs, inode_id(directory), module);

	atomic_fetch_add_explicit(&fs->figures.dropped, dropped,
				  memory_order_relaxed);
	return dropped > 0;
}

/* Whether there is a stamp, and it tells the state that the module is in. */
static bool is_fresh(struct fs *fs, const struct bytecode *bytecode,
		     bool *ret_stamped)
{
	char state[NOTE_SIZE], stamp[NOTE_SIZE];

	*ret_stamped = shadow_get_stamp(&fs->store, inode_id(bytecode->directory),
					bytecode->module, stamp) == 0;
	return *ret_stamped &&
		read_state(fs, bytecode->dirfd, bytecode->module, state) == 0 &&
		strcmp(without_mark(state), without_mark(stamp)) == 0;
}

void bytecode_check(struct fs *fs, const struct bytecode *bytecode)
{
	bool stamped;

	if (!*bytecode->module || is_fresh(fs, bytecode, &stamped))
		return;
	/* Without a stamp there is most likely nothing to drop either. */
	if (stamped || lies_there(bytecode->part, bytecode->name))
		drop(fs, bytecode->directory, bytecode->module);
}

int bytecode_stamp(struct fs *fs, const struct bytecode *bytecode, bool renamed)
{
	char state[NOTE_SIZE];
	bool stamped;
	int err;

	if (!*bytecode->module || is_fresh(fs, bytecode, &stamped) ||
	    (stamped && renamed))
		return 0;
	if (stamped || (!renamed && lies_there(bytecode->part, bytecode->name)))
		drop(fs, bytecode->directory, bytecode->module);
	err = read_state(fs, bytecode->dirfd, bytecode->module, state);
	if (err)
		return err == -ENOENT ? 0 : err;
	return shadow_stamp(&fs->store, inode_id(bytecode->directory),
			    bytecode->dirfd, bytecode->module, state);
}

/* What is asked, of whom, and by whom. */
struct question {
	struct inode *directory;	/* a reference */
	struct handle *handle;		/* of it, a reference */
	struct bytecode bytecode;
	uint64_t key;
};

static void end_question(struct fs *fs, struct question *question)
{
	handle_put(question->handle);
	inode_put(fs->inodes, question->directory);
}

/* About the module of @name in the `__pycache__` @shadow.  Returns whether there is one;
 * in any case end_question() ends it. */
static bool ask(struct fs *fs, struct inode *shadow, const char *name, pid_t pid,
		struct question *ret)
{
	const uint64_t who[] = { inode_number(shadow), (uint64_t)pid };

	*ret = (struct question){ .directory = inode_parent(fs->inodes, shadow) };
	if (!ret->directory ||
	    inode_open(fs->inodes, ret->directory, HANDLE_PATH, &ret->handle) < 0)
		return false;
	bytecode_of(fs, ret->directory, handle_fd(ret->handle), -1, name,
		    &ret->bytecode);
	ret->key = identity_digest(ret->bytecode.module, strlen(ret->bytecode.module),
				   identity_digest(who, sizeof(who), IDENTITY_SEED));
	return *ret->bytecode.module;
}

static uint64_t digest_state(struct fs *fs, const struct bytecode *bytecode)
{
	char state[NOTE_SIZE];

	if (read_state(fs, bytecode->dirfd, bytecode->module, state) < 0)
		return 0;
	return identity_digest(without_mark(state), strlen(without_mark(state)),
			       IDENTITY_SEED);
}

static struct miss *find_slot(struct fs *fs, uint64_t key)
{
	return &fs->misses.slots[key % ARRAY_SIZE(fs->misses.slots)];
}

void bytecode_missed(struct fs *fs, struct inode *shadow, const char *name, pid_t pid)
{
	struct question question;
	uint64_t state;

	/* A temporary is looked for just before it is created. */
	if (inode_kind(shadow) != INODE_SHADOW || names_use(name) != NAME_CACHED)
		return;
	if (ask(fs, shadow, name, pid, &question)) {
		state = digest_state(fs, &question.bytecode);
		pthread_mutex_lock(&fs->misses.lock);
		*find_slot(fs, question.key) = (struct miss){ question.key, state };
		pthread_mutex_unlock(&fs->misses.lock);
	}
	end_question(fs, &question);
}

/* The state that was noted for @key, which is forgotten; 0: none. */
static uint64_t take_state(struct fs *fs, uint64_t key)
{
	uint64_t state = 0;
	struct miss *slot;

	pthread_mutex_lock(&fs->misses.lock);
	slot = find_slot(fs, key);
	if (slot->key == key) {
		state = slot->state;
		*slot = (struct miss){ 0 };
	}
	pthread_mutex_unlock(&fs->misses.lock);
	return state;
}

void bytecode_created(struct fs *fs, struct inode *shadow, const char *name, pid_t pid)
{
	struct question question;
	uint64_t state = 0;

	if (inode_kind(shadow) != INODE_SHADOW || names_use(name) == NAME_OTHER)
		return;
	if (ask(fs, shadow, name, pid, &question))
		state = take_state(fs, question.key);
	/* Without the stamp it is as stale. */
	if (state && state != digest_state(fs, &question.bytecode) &&
	    shadow_stamp(&fs->store, inode_id(question.directory),
			 question.bytecode.dirfd, question.bytecode.module,
			 OUTDATED) < 0)
		shadow_unstamp(&fs->store, inode_id(question.directory),
			       question.bytecode.module);
	end_question(fs, &question);
}

/* Whether what is made from the module @name was made from it as it is now. */
static bool is_made_since(struct fs *fs, struct inode *directory, const char *name)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct bytecode bytecode = { .directory = directory };
	bool stamped;

	if (inode_open(fs->inodes, directory, HANDLE_PATH, &handle) < 0)
		return false;
	bytecode.dirfd = handle_fd(handle);
	strcpy(bytecode.module, name);
	return is_fresh(fs, &bytecode, &stamped);
}

bool bytecode_module_changed(struct fs *fs, struct inode *directory,
			     const char *name, unsigned change)
{
	char stamp[NOTE_SIZE] = "";

	if (!names_is_module(name) || strlen(name) >= NAME_SIZE ||
	    inode_kind(directory) != INODE_SOURCE)
		return false;
	/* Without a stamp nothing was made from it; where one has just come, something
	 * may lie that was brought along. */
	if (shadow_get_stamp(&fs->store, inode_id(directory), name, stamp) < 0 &&
	    !(change & BYTECODE_CAME))
		return false;
	/* Of two changes within a tick the stamp may tell the first. */
	if (change & BYTECODE_HEARD && *stamp != PROVISIONAL &&
	    is_made_since(fs, directory, name))
		return false;
	return drop(fs, directory, name);
}
