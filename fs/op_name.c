/*
 * Operations that find or make a name: lookup, create, O_TMPFILE, mknod, mkdir,
 * symlink, link.  What takes a name away is in op_remove.c.
 */
#include <fcntl.h>

#include "bytecode.h"
#include "entry.h"
#include "fresh.h"
#include "inode_spoil.h"
#include "ops.h"
#include "reply.h"
#include "room.h"
#include "route.h"
#include "seed.h"
#include "util.h"

/* Fills the `__pycache__` that was found, if it is to be. */
static void seed(struct request *r, const struct place *place)
{
	struct caller caller;

	if (place->kind != INODE_SHADOW || !seed_is_due(r->fs, r->inode, place->user))
		return;
	caller = request_caller(r, place->user != 0);
	seed_directory(r->fs, r->inode, &caller, place->user);
}

static int do_lookup(struct request *r, struct fuse_entry_param *ret)
{
	_cleanup_place_ struct place place = { 0 };
	int err;

	fresh_asked(r->inode);
	err = route(r->fs, r->inode, r->name, ROUTE_FIND, &place);
	if (!err)
		err = request_whose(r, &place);
	if (!err)
		seed(r, &place);
	if (!err)
		err = entry_find(r->fs, r->inode, &place, ret);
	if (err == -ENOENT) {
		bytecode_missed(r->fs, r->inode, r->name, fuse_req_ctx(r->req)->pid);
		entry_missing(r->fs, r->inode, &place, ret);
		return 0;
	}
	return err;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	BEGIN_REQUEST(r, req, FS_LOOKUP, parent, name);
	struct fuse_entry_param entry;
	int err = do_lookup(&r, &entry);

	if (err)
		reply_error(&r, err);
	else
		reply_entry(&r, &entry);
}

static void forget(struct fs *fs, fuse_ino_t ino, uint64_t count)
{
	atomic_fetch_add_explicit(&fs->figures.requests[FS_FORGET], 1,
				  memory_order_relaxed);
	inode_forget(fs->inodes, ino, count);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t count)
{
	forget(fuse_req_userdata(req), ino, count);
	fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count,
		     struct fuse_forget_data *forgets)
{
	for (size_t i = 0; i < count; i++)
		forget(fuse_req_userdata(req), forgets[i].ino, forgets[i].nlookup);
	fuse_reply_none(req);
}

/*
 * Acts as the caller who makes a file with @mode.  Their groups count only for a
 * setgid bit that they ask for (fs/attr.c, mode_strip_sgid()).
 */
static int become_maker(struct request *r, mode_t mode)
{
	struct caller caller = request_caller(r, mode & S_ISGID);

	return cred_become(&caller, CRED_ALLOWED);
}

/* An orphan that lies where something is to be made goes first, as far as the
 * caller may remove it. */
static int make_way(struct request *r, const struct place *place)
{
	struct caller caller;
	int err;

	if (!place->orphan)
		return 0;
	caller = request_caller(r, true);
	err = cred_become(&caller, CRED_STRICT);
	if (err)
		return err;
	err = route_remove_orphan(place);
	cred_restore();
	if (!err)
		fs_note_change(r->fs, INODE_SOURCE, FS_REMOVED);
	return err;
}

static void count_made(struct fs *fs, const struct place *place)
{
	if (place->kind == INODE_STORE)
		atomic_fetch_add_explicit(&fs->figures.redirected_files, 1,
					  memory_order_relaxed);
	fs_note_change(fs, place->kind, FS_MADE);
}

/* Whether to try again what has failed with @err at @place. */
static bool try_again(struct request *r, const struct place *place, int err,
		      unsigned *tries)
{
	return place->kind == INODE_STORE && room_try_again(r->fs, err, tries);
}

/* Claims what is about to be made at @place, unless that is @claimed already. */
static int claim(struct request *r, const struct place *place, bool *claimed)
{
	int err = *claimed || place->kind != INODE_STORE
		? 0 : store_claim(&r->fs->store, 0, 1);

	*claimed = !err;
	return err;
}

/*
 * Making room may have taken the note of the module's state along that was made on the
 * way, as that of other bytecode which had to go.  It is made again, now that there is
 * a file that needs it; without it, the file counts as stale.
 */
static void note_again(struct request *r, const struct place *place)
{
	_cleanup_place_ struct place again = { 0 };

	if (place->kind == INODE_STORE)
		(void)route(r->fs, r->inode, r->name, ROUTE_REPLACE, &again);
}

/* What is to be made, for those that differ in the one system call only. */
struct making {
	mode_t mode;
	dev_t rdev;
	const char *target;	/* of a symlink, else NULL */
	int *ret_fd;		/* of a file that is opened, too, else NULL */
	bool exclusive;		/* the caller gave O_EXCL */
};

/*
 * Opened for reading and writing whatever the caller wants, since requests carry
 * no handle and the descriptor is kept for all of them.  Of the caller's flags only
 * O_EXCL matters here: the kernel sees to the others.
 */
static int open_new(int dirfd, const char *name, const struct making *making)
{
	int fd = openat(dirfd, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_NOCTTY |
			O_CLOEXEC, making->mode);

	/* Made behind the mount meanwhile: the kernel has not checked whether the
	 * caller may open it.  Upon ESTALE it looks again, and does. */
	if (fd < 0)
		return errno == EEXIST && !making->exclusive ? -ESTALE : -errno;
	*making->ret_fd = fd;
	return 0;
}

static int make_at(int dirfd, const char *name, const struct making *making)
{
	int result;

	if (making->ret_fd)
		return open_new(dirfd, name, making);
	if (making->target)
		result = symlinkat(making->target, dirfd, name);
	else if (S_ISDIR(making->mode))
		result = mkdirat(dirfd, name, making->mode);
	else
		result = mknodat(dirfd, name, making->mode, making->rdev);
	return result < 0 ? -errno : 0;
}

/* Makes it, and says where in @place. */
static int make(struct request *r, const struct making *making, struct place *place)
{
	int err = route(r->fs, r->inode, r->name, ROUTE_MAKE, place);
	unsigned tries = 0;

	if (!err)
		err = make_way(r, place);
	if (err)
		return err;
	do {
		err = become_maker(r, making->mode);
		if (err)
			return err;
		err = make_at(place->dirfd, r->name, making);
		cred_restore();
	} while (try_again(r, place, err, &tries));
	if (err)
		return err;
	note_again(r, place);
	route_adopt(r->fs, r->inode, place);
	reply_module_changed(r, r->inode, r->name, true);
	count_made(r->fs, place);
	return 0;
}

static int do_create(struct request *r, mode_t mode, int flags,
		     struct fuse_entry_param *ret)
{
	struct opened opened = {
		.open_for = HANDLE_WRITE, .since = inode_events(r->fs->inodes),
	};
	const struct making making = {
		.mode = mode, .ret_fd = &opened.fd, .exclusive = flags & O_EXCL,
	};
	_cleanup_place_ struct place place = { 0 };
	int err = make(r, &making, &place);

	if (err)
		return err;
	bytecode_created(r->fs, r->inode, r->name, fuse_req_ctx(r->req)->pid);
	return entry_open(r->fs, r->inode, &place, &opened, ret);
}

/* No handle, as with op_open().  Where a RELEASE follows all the same (Linux 6.18), there is
 * nothing to release. */
static void answer_create(struct request *r, int err,
			  const struct fuse_entry_param *entry,
			  struct fuse_file_info *fi)
{
	if (err) {
		reply_error(r, err);
		return;
	}
	fi->fh = 0;
	fi->keep_cache = 1;
	reply_create(r, entry, fi);
}

/* Whether to try again: an empty part of the store may go to make room just when it is
 * used. */
static bool may_have_gone(const struct request *r, int err, int *tries)
{
	return err == -ENOENT && inode_kind(r->inode) == INODE_SHADOW && ++*tries < 3;
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name,
	       mode_t mode, struct fuse_file_info *fi)
{
	BEGIN_REQUEST(r, req, FS_CREATE, parent, name);
	struct fuse_entry_param entry;
	int err, tries = 0;

	do
		err = do_create(&r, mode, fi->flags, &entry);
	while (may_have_gone(&r, err, &tries));
	answer_create(&r, err, &entry, fi);
}

/* The directory's own tree takes it. */
static int do_tmpfile(struct request *r, mode_t mode, int flags,
		      struct fuse_entry_param *ret)
{
	struct place place = { .name = "", .kind = inode_kind(r->inode) };
	struct opened opened = { .open_for = HANDLE_WRITE, .nameless = true };
	_cleanup_handle_ struct handle *dir = NULL;
	int err = route_open_to_change(r->fs, r->inode, &dir);
	bool claimed = false;
	unsigned tries = 0;

	if (place.kind == INODE_SHADOW)
		place.kind = INODE_STORE;
	if (err)
		return err;
	do {
		err = claim(r, &place, &claimed);
		if (err)
			continue;
		err = become_maker(r, mode);
		if (err)
			return err;
		opened.fd = openat(handle_fd(dir), ".", O_RDWR | O_TMPFILE | O_CLOEXEC |
				   (flags & O_EXCL), mode);
		err = opened.fd < 0 ? -errno : 0;
		cred_restore();
	} while (try_again(r, &place, err, &tries));
	if (err)
		return err;
	return entry_open(r->fs, r->inode, &place, &opened, ret);
}

void op_tmpfile(fuse_req_t req, fuse_ino_t parent, mode_t mode,
		struct fuse_file_info *fi)
{
	BEGIN_REQUEST(r, req, FS_TMPFILE, parent, NULL);
	struct fuse_entry_param entry;
	int err, tries = 0;

	do
		err = do_tmpfile(&r, mode, fi->flags, &entry);
	while (may_have_gone(&r, err, &tries));
	answer_create(&r, err, &entry, fi);
}

static int do_make(struct request *r, const struct making *making,
		   struct fuse_entry_param *ret)
{
	_cleanup_place_ struct place place = { 0 };
	int err = make(r, making, &place);

	return err ? err : entry_find(r->fs, r->inode, &place, ret);
}

static void op_make(struct request *r, const struct making *making)
{
	struct fuse_entry_param entry;
	int err = do_make(r, making, &entry);

	if (err)
		reply_error(r, err);
	else
		reply_entry(r, &entry);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name,
	      mode_t mode, dev_t rdev)
{
	BEGIN_REQUEST(r, req, FS_MKNOD, parent, name);
	op_make(&r, &(struct making){ .mode = mode, .rdev = rdev });
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
	BEGIN_REQUEST(r, req, FS_MKDIR, parent, name);
	op_make(&r, &(struct making){ .mode = S_IFDIR | mode });
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent,
		const char *name)
{
	BEGIN_REQUEST(r, req, FS_SYMLINK, parent, name);
	op_make(&r, &(struct making){ .mode = S_IFLNK, .target = target });
}

/* @r is about the new directory, @file is what gets a further name in it. */
static int do_link(struct request *r, struct inode *file,
		   struct fuse_entry_param *ret)
{
	_cleanup_place_ struct place place = { 0 };
	_cleanup_handle_ struct handle *handle = NULL;
	char name[FD_NAME_SIZE];
	int err = route(r->fs, r->inode, r->name, ROUTE_REPLACE, &place);
	bool claimed = false;
	unsigned tries = 0;

	if (err)
		return err;
	/* As between two filesystems. */
	if (place.kind != inode_kind(file))
		return -EXDEV;
	if (inode_spoiled(file))
		return inode_spoiled(file);
	err = route_open(r->fs, file, HANDLE_PATH, &handle);
	if (!err)
		err = make_way(r, &place);
	if (err)
		return err;
	fd_name(handle_fd(handle), name);
	do {
		err = claim(r, &place, &claimed);
		if (!err && linkat(cred_proc_fd(), name, place.dirfd, r->name,
				   AT_SYMLINK_FOLLOW) < 0)
			err = -errno;
	} while (try_again(r, &place, err, &tries));
	if (err)
		return err;
	if (place.kind == INODE_STORE)
		route_recheck(r->fs, r->inode, r->name);
	route_adopt(r->fs, r->inode, &place);
	reply_module_changed(r, r->inode, r->name, true);
	fs_note_change(r->fs, place.kind, FS_MADE);
	return entry_find(r->fs, r->inode, &place, ret);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent,
	     const char *new_name)
{
	BEGIN_REQUEST(r, req, FS_LINK, new_parent, new_name);
	struct inode *file = inode_get(r.fs->inodes, ino);
	struct fuse_entry_param entry;
	int err = file ? do_link(&r, file, &entry) : -ESTALE;

	inode_put(r.fs->inodes, file);
	if (err)
		reply_error(&r, err);
	else
		reply_entry(&r, &entry);
}
