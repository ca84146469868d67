/*
 * Routing: the only code that knows both trees.
 *
 * The rules in short.  Inside the store everything belongs to the store.  In a
 * source directory D, `__pycache__` is D's shadow; what also= names, and bytecode
 * whose module lies in D, belong to the part of D's shadow for what shows beside
 * the source; all else is the source's.
 *
 * Parts of shadows come into being when something is first written.  Until then an
 * empty directory stands in for looking, so a full store never keeps anyone from
 * looking.
 */
#include "route.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "bytecode.h"
#include "names.h"
#include "orphan.h"
#include "room.h"
#include "shadow.h"
#include "util.h"

static int release_on_error(struct place *place, int err)
{
	if (err)
		route_release(place);
	return err;
}

/* Wraps an owned descriptor as the place's directory. */
static int take_dir(struct place *place, int fd)
{
	place->dir = handle_create(fd);
	if (!place->dir)
		return -ENOMEM;
	place->dirfd = fd;
	return 0;
}

static void use_dir(struct place *place, struct handle *dir)
{
	place->dir = dir;
	place->dirfd = handle_fd(dir);
}

/* Opens D's `__pycache__` in the store, made if missing; becomes @shadow's handle. */
static int make_cache(struct fs *fs, struct inode *shadow)
{
	_cleanup_handle_ struct handle *model = NULL;
	_cleanup_close_ int fd = -1;
	struct inode *directory = inode_parent(fs->inodes, shadow);
	int err = inode_open(fs->inodes, directory, HANDLE_PATH, &model);

	inode_put(fs->inodes, directory);
	if (err)
		return err;
	if (inode_user(shadow) != 0)
		return shadow_make_own(&fs->store, inode_id(shadow),
				       inode_user(shadow), inode_group(shadow),
				       handle_fd(model), &fd);
	return shadow_make(&fs->store, SHADOW_CACHE, inode_id(shadow),
			   handle_fd(model), &fd);
}

/* Whether the directory behind @fd was removed since it was opened. */
static bool is_removed(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

/* A handle of the store's side of @shadow: -ENOENT when there is none yet. */
static int open_cache(struct fs *fs, struct inode *shadow, struct handle **ret)
{
	struct handle *handle;
	int err;

	/* What rmdir took someone may have made anew, and rmdir have taken again. */
	while (!(err = inode_open(fs->inodes, shadow, HANDLE_PATH, &handle)) &&
	       is_removed(handle_fd(handle))) {
		handle_put(handle);
		inode_close(fs->inodes, shadow);
	}
	if (!err)
		*ret = handle;
	return err;
}

static int open_cache_to_change(struct fs *fs, struct inode *shadow,
				struct handle **ret)
{
	int err;

	do {
		err = open_cache(fs, shadow, ret);
		if (err != -ENOENT)
			return err;
		err = make_cache(fs, shadow);
	} while (!err);
	return err;
}

static int check_writable(const struct fs *fs, const struct inode *inode)
{
	return fs->opts->read_only && inode_kind(inode) == INODE_SOURCE ? -EROFS : 0;
}

int route_open(struct fs *fs, struct inode *inode, enum handle_use use,
	       struct handle **ret)
{
	int err;

	if (inode_kind(inode) == INODE_SHADOW) {
		err = open_cache(fs, inode, ret);
		if (err == -ENOENT) {
			*ret = handle_ref(fs->empty);
			return 0;
		}
		return err;
	}
	err = use == HANDLE_WRITE || use == HANDLE_APPEND
		? check_writable(fs, inode) : 0;
	return err ? err : inode_open(fs->inodes, inode, use, ret);
}

static int open_to_change(struct fs *fs, struct inode *inode, struct handle **ret)
{
	int err = check_writable(fs, inode);

	if (err)
		return err;
	if (inode_kind(inode) == INODE_SHADOW)
		return open_cache_to_change(fs, inode, ret);
	return inode_open(fs->inodes, inode, HANDLE_PATH, ret);
}

int route_open_to_change(struct fs *fs, struct inode *inode, struct handle **ret)
{
	unsigned tries = 0;
	int err;

	do
		err = open_to_change(fs, inode, ret);
	while (room_try_again(fs, err, &tries));
	return err;
}

static bool is_making(enum route_intent intent)
{
	return intent == ROUTE_MAKE || intent == ROUTE_REPLACE;
}

/* The part of @directory's shadow that shows beside the source. */
static int place_beside(struct fs *fs, struct inode *directory,
			enum route_intent intent, struct place *place)
{
	const struct file_id *id = inode_id(directory);
	int fd, err = shadow_open(&fs->store, SHADOW_BESIDE, id, &fd);

	place->kind = INODE_STORE;
	if (err == -ENOENT && is_making(intent)) {
		_cleanup_handle_ struct handle *model = NULL;

		err = inode_open(fs->inodes, directory, HANDLE_PATH, &model);
		if (!err)
			err = shadow_make(&fs->store, SHADOW_BESIDE, id,
					      handle_fd(model), &fd);
	}
	if (err == -ENOENT && intent == ROUTE_FIND) {
		use_dir(place, handle_ref(fs->empty));
		return 0;
	}
	return err ? err : take_dir(place, fd);
}

/* Bytecode is not found when its module has changed since, and made only with a note
 * of the state that its module is in. */
static int mind_module(struct fs *fs, const struct bytecode *bytecode,
		       enum route_intent intent)
{
	if (is_making(intent))
		return bytecode_stamp(fs, bytecode, intent == ROUTE_REPLACE);
	if (intent != ROUTE_REMOVE)
		bytecode_check(fs, bytecode);
	return 0;
}

/* Beside its @module, which lies in the directory @dir. */
static int place_bytecode(struct fs *fs, struct inode *directory,
			  struct handle *dir, const char *module,
			  enum route_intent intent, struct place *place)
{
	struct bytecode bytecode = {
		.directory = directory, .dirfd = handle_fd(dir), .name = place->name,
	};
	int err = place_beside(fs, directory, intent, place);

	if (err || place->dir == fs->empty)
		return err;
	strcpy(bytecode.module, module);
	bytecode.part = place->dirfd;
	return mind_module(fs, &bytecode, intent);
}

/* In a `__pycache__`. */
static int place_in_cache(struct fs *fs, struct inode *shadow,
			  enum route_intent intent, struct place *place)
{
	struct inode *directory;
	struct bytecode bytecode;
	struct handle *dir;
	int err;

	if (place->dir == fs->empty)
		return 0;
	directory = inode_parent(fs->inodes, shadow);
	err = inode_open(fs->inodes, directory, HANDLE_PATH, &dir);
	if (!err) {
		bytecode_of(fs, directory, handle_fd(dir), place->dirfd,
			    place->name, &bytecode);
		err = mind_module(fs, &bytecode, intent);
		handle_put(dir);
	}
	inode_put(fs->inodes, directory);
	return err;
}

/* In the source itself. */
static int place_source(struct fs *fs, struct inode *directory,
			enum route_intent intent, struct place *place)
{
	struct handle *dir;
	int err = intent == ROUTE_FIND ? 0 : check_writable(fs, directory);

	if (!err)
		err = inode_open(fs->inodes, directory, HANDLE_PATH, &dir);
	if (err)
		return err;
	place->kind = INODE_SOURCE;
	use_dir(place, dir);
	return 0;
}

/*
 * Bytecode without a module is a real file, unless it is an orphan: then it stays
 * hidden until somebody makes a file of that name.
 */
static int place_sourceless(struct fs *fs, struct inode *directory, int dirfd,
			    enum route_intent intent, struct place *place)
{
	place->orphan = orphan_is(fs, inode_id(directory), dirfd, place->name);
	if (place->orphan && !is_making(intent))
		return -ENOENT;
	return place_source(fs, directory, intent, place);
}

int route_remove_orphan(const struct place *place)
{
	if (unlinkat(place->dirfd, place->name, 0) < 0 && errno != ENOENT)
		return -errno;
	return 0;
}

void route_adopt(struct fs *fs, struct inode *parent, const struct place *place)
{
	if (place->orphan)
		shadow_unmark(&fs->store, inode_id(parent), place->name);
}

static int place_in_source(struct fs *fs, struct inode *directory,
			   enum route_intent intent, struct place *place)
{
	_cleanup_handle_ struct handle *dir = NULL;
	char module[NAME_SIZE];
	int err;

	switch (names_classify(&fs->opts->names, place->name, module)) {
	case NAME_PLAIN:
		return place_source(fs, directory, intent, place);
	case NAME_PYCACHE:
		/* Its parts in the store have names of their own; whoever finds
		 * it asks for its inode, whoever removes it for its identity.
		 * Whose it is depends on who asks. */
		if (intent == ROUTE_MAKE)
			return -EEXIST;
		err = place_source(fs, directory, ROUTE_FIND, place);
		place->kind = INODE_SHADOW;
		return err;
	case NAME_ALSO:
		return place_beside(fs, directory, intent, place);
	case NAME_BYTECODE:
		place->depends = true;
		err = inode_open(fs->inodes, directory, HANDLE_PATH, &dir);
		if (err)
			return err;
		if (source_has_module(handle_fd(dir), module))
			return place_bytecode(fs, directory, dir, module, intent,
					      place);
		return place_sourceless(fs, directory, handle_fd(dir), intent, place);
	}
	return -EINVAL;
}

static int route_once(struct fs *fs, struct inode *parent,
		      enum route_intent intent, struct place *ret)
{
	struct place place = { .name = ret->name };
	struct handle *dir;
	int err;

	if (inode_kind(parent) == INODE_SOURCE) {
		err = place_in_source(fs, parent, intent, &place);
	} else {
		err = is_making(intent)
			? open_to_change(fs, parent, &dir)
			: route_open(fs, parent, HANDLE_PATH, &dir);
		if (!err)
			use_dir(&place, dir);
		place.kind = INODE_STORE;
		if (!err && inode_kind(parent) == INODE_SHADOW)
			err = place_in_cache(fs, parent, intent, &place);
	}
	if (!err && intent == ROUTE_MAKE && place.kind == INODE_STORE)
		err = store_claim(&fs->store, 0, 1);
	err = release_on_error(&place, err);
	*ret = place;
	return err;
}

int route(struct fs *fs, struct inode *parent, const char *name,
	  enum route_intent intent, struct place *ret)
{
	unsigned tries = 0;
	int err;

	*ret = (struct place){ .name = name };
	if (strlen(name) >= NAME_SIZE)
		return -ENAMETOOLONG;
	/* What is made on the way takes room in the store. */
	do
		err = route_once(fs, parent, intent, ret);
	while (room_try_again(fs, err, &tries));
	return err;
}

void route_recheck(struct fs *fs, struct inode *parent, const char *name)
{
	struct place place;

	if (inode_kind(parent) != INODE_STORE &&
	    route(fs, parent, name, ROUTE_FIND, &place) == 0)
		route_release(&place);
}

bool route_hides(struct fs *fs, const struct file_id *directory, int dirfd,
		 const char *name)
{
	char module[NAME_SIZE];

	switch (names_classify(&fs->opts->names, name, module)) {
	case NAME_PLAIN:
		return false;
	case NAME_PYCACHE:
	case NAME_ALSO:
		return true;
	case NAME_BYTECODE:
		return source_has_module(dirfd, module) ||
			orphan_is(fs, directory, dirfd, name);
	}
	return false;
}

int route_reopen(void *data, struct inode *parent, const struct inode *inode,
		 const char *name, int *ret_fd)
{
	struct fs *fs = data;
	enum inode_kind kind = inode_kind(inode);
	_cleanup_handle_ struct handle *dir = NULL;
	_cleanup_close_ int part = -1;
	int fd, err, at;

	if (kind == INODE_SHADOW)
		return shadow_open_cache(&fs->store, inode_id(parent),
					 inode_user(inode), ret_fd);
	if (kind == INODE_STORE && inode_kind(parent) == INODE_SOURCE) {
		err = shadow_open(&fs->store, SHADOW_BESIDE, inode_id(parent),
				      &part);
		at = part;
	} else {
		err = inode_open(fs->inodes, parent, HANDLE_PATH, &dir);
		at = err ? -1 : handle_fd(dir);
	}
	if (err)
		return err;
	if (kind == INODE_SOURCE)
		return source_open_child(&fs->source, at, name, ret_fd);
	fd = openat(at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
	if (fd < 0)
		return -errno;
	*ret_fd = fd;
	return 0;
}
