/*
 * Shadows: what the store keeps for one directory of the source.  Where each part
 * shows is decided in route.c.
 */
#include "shadow.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>

/*
 * Setuid means nothing on a directory, and POSIX lets chmod(2) ignore it there:
 * so no user's mode has it, and no chown or ACL clears it (fs/open.c,
 * chown_common(); fs/posix_acl.c, posix_acl_update_mode()).
 */
#define MODE_AS_SOURCE (S_ISUID | 0700)

/* The note of where its directory is, in a shadow of a store that is kept: a symlink. */
#define ORIGIN_NAME "origin"

enum {
	/* "s-" and three numbers of 16 digits with dots between. */
	SHADOW_NAME_SIZE = 2 + 3 * 17,
	/* That, a slash, and the longest name in it: "seeded-4294967295". */
	PART_PATH_SIZE = SHADOW_NAME_SIZE + 18,
	/* How often the mark is made anew when the shadow goes meanwhile. */
	MAX_TRIES = 8,
	MOMENT_NANOSECONDS = 20000000,
};

static const char *const part_names[SHADOW_PARTS] = {
	[SHADOW_CACHE] = "cache",
	[SHADOW_BESIDE] = "beside",
	[SHADOW_ORPHANS] = "orphans",
	[SHADOW_STAMPS] = "stamps",
};

bool shadow_follows_source(unsigned mode)
{
	return mode & S_ISUID;
}

static void shadow_name(const struct file_id *id, char ret[SHADOW_NAME_SIZE])
{
	snprintf(ret, SHADOW_NAME_SIZE, "s-%" PRIx64 ".%" PRIx64 ".%" PRIx64,
		 id->dev, id->ino, id->birth);
}

bool shadow_parse(const char *name, struct file_id *ret)
{
	struct file_id id;
	int end = 0;

	if (sscanf(name, "s-%" SCNx64 ".%" SCNx64 ".%" SCNx64 "%n", &id.dev, &id.ino,
		   &id.birth, &end) != 3 || name[end])
		return false;
	*ret = id;
	return true;
}

static void part_path(enum shadow_part part, const struct file_id *id,
		      char ret[PART_PATH_SIZE])
{
	char name[SHADOW_NAME_SIZE];

	shadow_name(id, name);
	snprintf(ret, PART_PATH_SIZE, "%s/%s", name, part_names[part]);
}

static void cache_path(const struct file_id *id, uid_t user,
		       char ret[PART_PATH_SIZE])
{
	char name[SHADOW_NAME_SIZE];

	if (user == 0) {
		part_path(SHADOW_CACHE, id, ret);
		return;
	}
	shadow_name(id, name);
	snprintf(ret, PART_PATH_SIZE, "%s/user-%u", name, user);
}

static int open_part(const struct store *store, const char *path, int *ret_fd)
{
	int fd = openat(store->root, path, O_PATH | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}

int shadow_open(const struct store *store, enum shadow_part part,
		const struct file_id *id, int *ret_fd)
{
	char path[PART_PATH_SIZE];

	part_path(part, id, path);
	return open_part(store, path, ret_fd);
}

int shadow_open_cache(const struct store *store, const struct file_id *id,
		      uid_t user, int *ret_fd)
{
	char path[PART_PATH_SIZE];

	cache_path(id, user, path);
	return open_part(store, path, ret_fd);
}

void shadow_each_user(const struct store *store, const struct file_id *id,
		      void (*each)(void *data, uid_t user), void *data)
{
	_cleanup_dir_ DIR *dir = NULL;
	char name[SHADOW_NAME_SIZE];
	struct dirent *entry;
	uid_t user;
	int end;

	shadow_name(id, name);
	if (open_dir_at(store->root, name, &dir) < 0)
		return;
	while ((entry = readdir(dir))) {
		end = 0;
		if (sscanf(entry->d_name, "user-%u%n", &user, &end) == 1 &&
		    !entry->d_name[end])
			each(data, user);
	}
}

/*
 * What is created in the part @fd inherits from it, so it takes from the source's
 * directory what is inherited.  Less than that is no error: a plain user can't
 * give a group away that is not theirs.
 */
static int inherit_from(int model, int fd)
{
	char name[PROC_NAME_SIZE];
	struct stat st;

	if (fstat(model, &st) < 0 ||
	    chmod(proc_name(fd, name), MODE_AS_SOURCE | (st.st_mode & S_ISGID)) < 0)
		return -errno;
	(void)copy_xattr(model, fd, "system.posix_acl_default");
	/* The owner last: the rest is then another's to change.  A directory keeps
	 * its bits. */
	if (fchownat(fd, "", st.st_uid, st.st_gid, AT_EMPTY_PATH) < 0)
		(void)fchownat(fd, "", (uid_t)-1, st.st_gid, AT_EMPTY_PATH);
	return 0;
}

/* A directory that has lost its name can't be listed any more (fs/readdir.c,
 * iterate_dir()), not even with too little room for an entry. */
static bool has_no_listing(int model)
{
	char path[PROC_NAME_SIZE], entry;
	_cleanup_close_ int fd = open(proc_name(model, path), O_RDONLY | O_DIRECTORY |
				      O_CLOEXEC);

	return fd >= 0 && syscall(SYS_getdents64, fd, &entry, sizeof(entry)) < 0 &&
		errno == ENOENT;
}

/*
 * Whether the source's directory @model was removed since it was opened.  Most
 * filesystems then count no link to it; overlayfs goes on with the lower layer's
 * count.  Removed through this kernel its path says so, which a living name can
 * only pretend.
 */
static bool is_gone(int model)
{
	char path[PROC_NAME_SIZE], target[PATH_MAX + 1];
	struct stat st;
	ssize_t length;

	if (fstat(model, &st) < 0 || st.st_nlink == 0)
		return true;
	length = readlink(proc_name(model, path), target, PATH_MAX);
	target[length > 0 ? length : 0] = '\0';
	return ends_with(target, " (deleted)") && has_no_listing(model);
}

/* Whether there is nothing in the shadow @name but the note. */
static bool holds_note_alone(const struct store *store, const char *name)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;

	if (open_dir_at(store->root, name, &dir) < 0)
		return false;
	while ((entry = readdir(dir)))
		if (!is_dot(entry->d_name) && strcmp(entry->d_name, ORIGIN_NAME) != 0)
			return false;
	return true;
}

/*
 * Removes the shadow itself, if it has no part.  A maker of one tries again.  A part that
 * is made just now may lose the note, and without one the directory counts as there.
 * Returns how many inodes came free.
 */
static uint64_t remove_empty(const struct store *store, const struct file_id *id)
{
	char name[SHADOW_NAME_SIZE], path[PART_PATH_SIZE];
	uint64_t freed;

	shadow_name(id, name);
	if (unlinkat(store->root, name, AT_REMOVEDIR) == 0)
		return 1;
	if (!store_is_shared(store) || !holds_note_alone(store, name))
		return 0;
	snprintf(path, sizeof(path), "%s/" ORIGIN_NAME, name);
	freed = unlinkat(store->root, path, 0) == 0;
	return freed + (unlinkat(store->root, name, AT_REMOVEDIR) == 0);
}

/* Less than that is no error: see shadow_fate(). */
static void note_origin(struct store *store, const char *name, int model)
{
	char note[ORIGIN_NOTE_SIZE], path[PART_PATH_SIZE];

	snprintf(path, sizeof(path), "%s/" ORIGIN_NAME, name);
	if (!store->origin ||
	    faccessat(store->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0 ||
	    origin_note(store->origin, model, note) < 0 || store_claim(store, 0, 1) < 0)
		return;
	(void)symlinkat(note, store->root, path);
}

/* What is to be made: a part like the source's directory, or a user's own. */
struct making {
	char path[PART_PATH_SIZE];
	int model;		/* the source's directory */
	uid_t user;		/* 0: nobody's own */
	gid_t group;
};

static int make_ready(const struct making *part, int fd)
{
	if (part->user == 0)
		return inherit_from(part->model, fd);
	/* A plain user's daemon may not; attr.c shows them all the same. */
	(void)fchownat(fd, "", part->user, part->group, AT_EMPTY_PATH);
	return 0;
}

/* Makes the part in a shadow that is there: -EEXIST when someone was faster. */
static int make_in_shadow(struct store *store, const struct making *part)
{
	char making[STORE_SPARE_SIZE];
	int err;

	store_spare_name(store, making);
	err = store_claim(store, 0, 1);
	if (err)
		return err;
	if (mkdirat(store->root, making, 0700) < 0)
		return -errno;
	_cleanup_close_ int fd = openat(store->root, making, O_PATH | O_DIRECTORY |
					O_NOFOLLOW | O_CLOEXEC);
	/* It gets its name when it is whole, so that nobody makes a file in it that
	 * has not inherited. */
	err = fd < 0 ? -errno : make_ready(part, fd);
	if (!err && renameat2(store->root, making, store->root, part->path,
			      RENAME_NOREPLACE) < 0)
		err = -errno;
	if (err)
		unlinkat(store->root, making, AT_REMOVEDIR);
	return err;
}

/*
 * Gives @id a shadow, if it has none, and in it the part.  -ENOENT: the shadow was
 * dropped meanwhile.
 */
static int make_part(struct store *store, const struct file_id *id,
		     const struct making *part)
{
	char name[SHADOW_NAME_SIZE];
	int err;

	shadow_name(id, name);
	err = store_claim(store, 0, 1);
	if (err)
		return err;
	if (mkdirat(store->root, name, 0700) < 0 && errno != EEXIST)
		return -errno;
	note_origin(store, name, part->model);
	err = make_in_shadow(store, part);
	if (err && err != -EEXIST) {
		remove_empty(store, id);
		return err;
	}
	/* A directory goes first and its shadow is dropped after that: either the part
	 * is found by who drops it, or the directory is found gone here. */
	if (is_gone(part->model))
		shadow_drop(store, id);
	return 0;
}

static int open_or_make(struct store *store, const struct file_id *id,
			const struct making *part, int *ret_fd)
{
	int err;

	do {
		err = open_part(store, part->path, ret_fd);
		if (err != -ENOENT || is_gone(part->model))
			return err;
		err = make_part(store, id, part);
	} while (!err || err == -ENOENT);
	return err;
}

int shadow_make(struct store *store, enum shadow_part part,
		const struct file_id *id, int model, int *ret_fd)
{
	struct making making = { .model = model };

	part_path(part, id, making.path);
	return open_or_make(store, id, &making, ret_fd);
}

int shadow_make_own(struct store *store, const struct file_id *id, uid_t user,
		    gid_t group, int model, int *ret_fd)
{
	struct making making = { .model = model, .user = user, .group = group };

	cache_path(id, user, making.path);
	return open_or_make(store, id, &making, ret_fd);
}

int shadow_remove_cache(const struct store *store, const struct file_id *id,
			uid_t user)
{
	char path[PART_PATH_SIZE];

	cache_path(id, user, path);
	if (unlinkat(store->root, path, AT_REMOVEDIR) < 0 && errno != ENOENT)
		return -errno;
	remove_empty(store, id);
	return 0;
}

/* Whether something was made or removed in the part a moment ago: what follows a stamp
 * is one system call away. */
static bool is_in_use(const struct store *store, const char *path)
{
	struct timespec now;
	struct stat st;

	clock_gettime(CLOCK_REALTIME, &now);
	return fstatat(store->root, path, &st, 0) == 0 &&
		(now.tv_sec - st.st_mtim.tv_sec) * 1000000000 +
		now.tv_nsec - st.st_mtim.tv_nsec < MOMENT_NANOSECONDS;
}

static uint64_t remove_stamps(const struct store *store, const struct file_id *id)
{
	char path[PART_PATH_SIZE];
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	uint64_t freed = 0;

	part_path(SHADOW_STAMPS, id, path);
	if (is_in_use(store, path) || open_dir_at(store->root, path, &dir) < 0)
		return 0;
	while ((entry = readdir(dir)))
		freed += !is_dot(entry->d_name) &&
			unlinkat(dirfd(dir), entry->d_name, 0) == 0;
	return freed;
}

struct tidying {
	const struct store *store;
	const struct file_id *id;
	uint64_t freed;
};

static void remove_own(void *data, uid_t user)
{
	struct tidying *tidying = data;
	char path[PART_PATH_SIZE];

	cache_path(tidying->id, user, path);
	tidying->freed += unlinkat(tidying->store->root, path, AT_REMOVEDIR) == 0;
}

uint64_t shadow_tidy(const struct store *store, const struct file_id *id,
		     bool keep_modes)
{
	struct tidying tidying = { store, id, 0 };
	char path[PART_PATH_SIZE];
	struct stat st;

	for (int part = 0; part < SHADOW_PARTS; part++) {
		part_path((enum shadow_part)part, id, path);
		if (keep_modes && part == SHADOW_CACHE &&
		    fstatat(store->root, path, &st, 0) == 0 &&
		    !shadow_follows_source(st.st_mode))
			continue;
		tidying.freed += unlinkat(store->root, path, AT_REMOVEDIR) == 0;
	}
	shadow_each_user(store, id, remove_own, &tidying);
	return tidying.freed + remove_empty(store, id);
}

uint64_t shadow_reclaim(const struct store *store, const struct file_id *id)
{
	uint64_t freed = remove_stamps(store, id);

	return freed + shadow_tidy(store, id, true);
}

enum origin_fate shadow_fate(const struct store *store, const struct file_id *id)
{
	char name[SHADOW_NAME_SIZE], path[PART_PATH_SIZE], note[ORIGIN_NOTE_SIZE];
	ssize_t length;

	if (!store->origin)
		return ORIGIN_THERE;
	shadow_name(id, name);
	snprintf(path, sizeof(path), "%s/" ORIGIN_NAME, name);
	length = readlinkat(store->root, path, note, sizeof(note) - 1);
	if (length < 0)
		return ORIGIN_THERE;
	note[length] = '\0';
	return origin_judge(store->origin, id, note);
}

struct store_usage shadow_usage(const struct store *store, const struct file_id *id)
{
	struct store_usage usage = { 0 };
	char name[SHADOW_NAME_SIZE];

	shadow_name(id, name);
	store_count(store, name, &usage);
	return usage;
}

void shadow_drop(struct store *store, const struct file_id *id)
{
	char name[SHADOW_NAME_SIZE];

	shadow_name(id, name);
	store_remove(store, name);
}

int shadow_set_seeded(struct store *store, const struct file_id *id, uid_t user)
{
	char name[SHADOW_NAME_SIZE], path[PART_PATH_SIZE];
	int err;

	shadow_name(id, name);
	if (user)
		snprintf(path, sizeof(path), "%s/seeded-%u", name, user);
	else
		snprintf(path, sizeof(path), "%s/seeded", name);
	/* Most ask for what was done long ago. */
	if (faccessat(store->root, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
		return -EEXIST;
	err = store_claim(store, 0, 2);
	if (err)
		return err;
	err = -ENOENT;
	for (int tries = 0; err == -ENOENT && tries < MAX_TRIES; tries++) {
		if (mkdirat(store->root, name, 0700) < 0 && errno != EEXIST)
			return -errno;
		err = mknodat(store->root, path, S_IFREG | 0600, 0) < 0 ? -errno : 0;
	}
	return err;
}

/* The path of something called @name in a part, for one call. */
static void entry_path(enum shadow_part part, const struct file_id *id,
		       const char *name, char ret[PART_PATH_SIZE + NAME_SIZE])
{
	char path[PART_PATH_SIZE];

	part_path(part, id, path);
	snprintf(ret, PART_PATH_SIZE + NAME_SIZE, "%s/%s", path, name);
}

static int set_note(struct store *store, enum shadow_part part,
		    const struct file_id *id, int model, const char *name,
		    const char *text)
{
	char path[PART_PATH_SIZE + NAME_SIZE], making[STORE_SPARE_SIZE];
	_cleanup_close_ int fd = -1;
	int err = shadow_make(store, part, id, model, &fd);

	if (!err)
		err = store_claim(store, 0, 1);
	if (err)
		return err;
	/* By a rename, so that nobody meets a name without its note. */
	store_spare_name(store, making);
	if (symlinkat(text, store->root, making) < 0)
		return -errno;
	entry_path(part, id, name, path);
	if (renameat(store->root, making, store->root, path) == 0)
		return 0;
	err = -errno;
	unlinkat(store->root, making, 0);
	return err;
}

static int get_note(const struct store *store, enum shadow_part part,
		    const struct file_id *id, const char *name, char ret[NOTE_SIZE])
{
	char path[PART_PATH_SIZE + NAME_SIZE];
	ssize_t length;

	entry_path(part, id, name, path);
	length = readlinkat(store->root, path, ret, NOTE_SIZE - 1);
	if (length < 0)
		return -errno;
	ret[length] = '\0';
	return 0;
}

static void remove_note(const struct store *store, enum shadow_part part,
			const struct file_id *id, const char *name)
{
	char path[PART_PATH_SIZE + NAME_SIZE];

	entry_path(part, id, name, path);
	(void)unlinkat(store->root, path, 0);
}

int shadow_mark(struct store *store, const struct file_id *id, int model,
		const char *name, const char *mark)
{
	return set_note(store, SHADOW_ORPHANS, id, model, name, mark);
}

int shadow_get_mark(const struct store *store, const struct file_id *id,
		    const char *name, char ret[NOTE_SIZE])
{
	return get_note(store, SHADOW_ORPHANS, id, name, ret);
}

void shadow_unmark(const struct store *store, const struct file_id *id,
		   const char *name)
{
	remove_note(store, SHADOW_ORPHANS, id, name);
}

int shadow_stamp(struct store *store, const struct file_id *id, int model,
		 const char *module, const char *stamp)
{
	return set_note(store, SHADOW_STAMPS, id, model, module, stamp);
}

int shadow_get_stamp(const struct store *store, const struct file_id *id,
		     const char *module, char ret[NOTE_SIZE])
{
	return get_note(store, SHADOW_STAMPS, id, module, ret);
}

void shadow_unstamp(const struct store *store, const struct file_id *id,
		    const char *module)
{
	remove_note(store, SHADOW_STAMPS, id, module);
}
