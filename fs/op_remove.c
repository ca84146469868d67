/*
 * Operations that take a name away: unlink, rmdir, rename.
 *
 * They act as their caller.  Whether a sticky directory lets them is for the kernel
 * of the tree itself to say: ours checked attributes that may be as old as the time
 * limit (fs/fuse/dir.c, fuse_permission(); fs/namei.c, may_delete()).
 *
 * A file that loses its name may still be open, and no message told us so.  Its
 * descriptor is pinned before the name goes, and kept until the kernel forgets it.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "leftover.h"
#include "ops.h"
#include "reply.h"
#include "route.h"
#include "shadow.h"
#include "util.h"

/* A file as it was found by name, just before that name is taken away. */
struct victim {
	bool exists, is_dir;
	struct file_id id;
	struct inode *inode;	/* a reference; NULL when the kernel knows none */
};

static int find_victim(struct fs *fs, const struct place *place,
		       struct victim *ret)
{
	struct victim victim = { .exists = true };
	struct stat st;
	int err = identify(&fs->devices, place->dirfd, place->name, &st, &victim.id);

	if (err)
		return err;
	victim.is_dir = S_ISDIR(st.st_mode);
	victim.inode = inode_find(fs->inodes, place->kind, &victim.id);
	*ret = victim;
	return 0;
}

/* The same, with the descriptor pinned if there is an inode. */
static int pin_victim(struct fs *fs, const struct place *place,
		      struct victim *ret)
{
	int err = find_victim(fs, place, ret);

	if (!err && ret->inode)
		err = inode_pin(fs->inodes, ret->inode);
	return err;
}

static void release_victim(struct fs *fs, struct victim *victim, bool stays)
{
	if (stays && victim->inode)
		inode_unpin(fs->inodes, victim->inode);
	inode_put(fs->inodes, victim->inode);
}

/* A directory of the source is gone: so is what the store kept for it. */
static void drop_shadow_of(struct fs *fs, const struct place *place,
			   const struct victim *victim)
{
	if (victim->is_dir && place->kind == INODE_SOURCE)
		shadow_drop(&fs->store, &victim->id);
}

/* unlinkat(2) as the caller. */
static int remove_name(struct request *r, const struct place *place, int flags)
{
	struct caller caller = request_caller(r, false);
	int err = cred_become(&caller, CRED_ALLOWED);

	if (err)
		return err;
	err = unlinkat(place->dirfd, place->name, flags) < 0 ? -errno : 0;
	cred_restore();
	return err;
}

static int do_unlink(struct request *r)
{
	_cleanup_place_ struct place place = { 0 };
	struct victim victim = { 0 };
	int err = route(r->fs, r->inode, r->name, ROUTE_REMOVE, &place);

	if (err)
		return err;
	if (place.kind == INODE_SHADOW)
		return -EISDIR;
	err = pin_victim(r->fs, &place, &victim);
	if (!err) {
		if (place.kind == INODE_SOURCE)
			route_before_removal(r->fs, r->inode, place.dirfd, r->name);
		err = remove_name(r, &place, 0);
	}
	if (!err && victim.inode)
		inode_unspoil(r->fs->inodes, victim.inode);
	if (!err)
		reply_module_changed(r, r->inode, r->name, false);
	release_victim(r->fs, &victim, err != 0);
	return err;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	BEGIN_REQUEST(r, req, FS_UNLINK, parent, name);
	reply_error(&r, do_unlink(&r));
}

/* `__pycache__` empties nothing; it goes on existing as every directory's does,
 * but as a new one, so that whoever stands in the old one sees it removed. */
static int remove_cache(struct fs *fs, struct inode *directory)
{
	struct inode *shadow;
	int err = shadow_remove_cache(&fs->store, inode_id(directory));

	if (err)
		return err;
	shadow = inode_find(fs->inodes, INODE_SHADOW, inode_id(directory));
	if (shadow)
		inode_retire(fs->inodes, shadow);
	inode_put(fs->inodes, shadow);
	return 0;
}

static int remove_directory(struct request *r, const struct place *place,
			    const struct victim *victim)
{
	struct caller caller;
	int err = remove_name(r, place, AT_REMOVEDIR);

	if ((err != -ENOTEMPTY && err != -EEXIST) || place->kind != INODE_SOURCE)
		return err;
	caller = request_caller(r, true);
	err = leftover_clear(r->fs, place->dirfd, r->name, &victim->id, &caller);
	return err ? err : remove_name(r, place, AT_REMOVEDIR);
}

static int do_rmdir(struct request *r)
{
	_cleanup_place_ struct place place = { 0 };
	struct victim victim = { 0 };
	int err = route(r->fs, r->inode, r->name, ROUTE_REMOVE, &place);

	if (err)
		return err;
	if (place.kind == INODE_SHADOW)
		return remove_cache(r->fs, r->inode);
	err = pin_victim(r->fs, &place, &victim);
	if (!err)
		err = remove_directory(r, &place, &victim);
	if (!err)
		drop_shadow_of(r->fs, &place, &victim);
	release_victim(r->fs, &victim, err != 0);
	return err;
}

void op_rmdir(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	BEGIN_REQUEST(r, req, FS_RMDIR, parent, name);
	reply_error(&r, do_rmdir(&r));
}

/* Both ends of a rename, with what was found there before it. */
struct renaming {
	struct inode *parent, *new_parent;
	struct place old, new;
	struct victim moved, replaced;
	unsigned flags;
};

/*
 * renameat2(2) as the caller.  Where an orphan is replaced, the kernel saw no file,
 * so it has checked nothing: then all that the caller could not do natively is
 * refused.
 */
static int call_rename(struct request *r, const struct renaming *renaming)
{
	enum cred_power power = renaming->new.orphan ? CRED_STRICT : CRED_ALLOWED;
	struct caller caller = request_caller(r, power == CRED_STRICT);
	int result, err = cred_become(&caller, power);

	if (err)
		return err;
	result = renameat2(renaming->old.dirfd, renaming->old.name,
			   renaming->new.dirfd, renaming->new.name,
			   renaming->flags);
	err = result < 0 ? -errno : 0;
	cred_restore();
	return err;
}

/* A directory that is not empty may be replaced when nothing is left in it but
 * hidden cache entries: it looks empty to the caller. */
static int rename_places(struct request *r, const struct renaming *renaming)
{
	const unsigned keeps = RENAME_NOREPLACE | RENAME_EXCHANGE;
	struct caller caller;
	int err = call_rename(r, renaming);

	if ((err != -ENOTEMPTY && err != -EEXIST) || renaming->flags & keeps ||
	    !renaming->replaced.is_dir || renaming->new.kind != INODE_SOURCE)
		return err;
	caller = request_caller(r, true);
	err = leftover_clear(r->fs, renaming->new.dirfd, renaming->new.name,
			     &renaming->replaced.id, &caller);
	return err ? err : call_rename(r, renaming);
}

/* What the table knows of both files after the rename has happened. */
static void note_rename(struct fs *fs, struct renaming *renaming)
{
	struct inode *moved = renaming->moved.inode;
	struct inode *replaced = renaming->replaced.inode;

	if (moved)
		inode_move(fs->inodes, moved, renaming->new_parent,
			   renaming->new.name);
	if (!(renaming->flags & RENAME_EXCHANGE)) {
		drop_shadow_of(fs, &renaming->new, &renaming->replaced);
		if (replaced)
			inode_unspoil(fs->inodes, replaced);
	} else if (replaced) {
		inode_move(fs->inodes, replaced, renaming->parent,
			   renaming->old.name);
	}
}

static int prepare_rename(struct fs *fs, struct renaming *renaming)
{
	int err = find_victim(fs, &renaming->old, &renaming->moved);

	if (!err && renaming->moved.inode)
		err = inode_spoiled(renaming->moved.inode);
	if (err)
		return err;
	err = pin_victim(fs, &renaming->new, &renaming->replaced);
	if (err && err != -ENOENT)
		return err;
	if (renaming->old.kind == INODE_SOURCE && !(renaming->flags & RENAME_EXCHANGE))
		route_before_removal(fs, renaming->parent, renaming->old.dirfd,
				     renaming->old.name);
	return 0;
}

static int do_rename(struct request *r, struct inode *new_parent,
		     const char *new_name, unsigned flags)
{
	struct renaming renaming = {
		.parent = r->inode, .new_parent = new_parent, .flags = flags,
	};
	int err = route(r->fs, r->inode, r->name, ROUTE_MOVE, &renaming.old);

	if (!err)
		err = route(r->fs, new_parent, new_name, ROUTE_REPLACE,
			    &renaming.new);
	/* As between two filesystems; `__pycache__` itself is one's root. */
	if (!err && (renaming.old.kind != renaming.new.kind ||
		     renaming.old.kind == INODE_SHADOW))
		err = -EXDEV;
	if (!err)
		err = prepare_rename(r->fs, &renaming);
	if (!err)
		err = rename_places(r, &renaming);
	if (!err) {
		note_rename(r->fs, &renaming);
		route_adopt(r->fs, new_parent, &renaming.new);
		reply_module_changed(r, r->inode, r->name, flags & RENAME_EXCHANGE);
		reply_module_changed(r, new_parent, new_name, true);
	}
	release_victim(r->fs, &renaming.moved, false);
	release_victim(r->fs, &renaming.replaced, err != 0);
	route_release(&renaming.old);
	route_release(&renaming.new);
	return err;
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name,
	       fuse_ino_t new_parent, const char *new_name, unsigned flags)
{
	BEGIN_REQUEST(r, req, FS_RENAME, parent, name);
	struct inode *target = inode_get(r.fs->inodes, new_parent);
	int err = target ? do_rename(&r, target, new_name, flags) : -ESTALE;

	inode_put(r.fs->inodes, target);
	reply_error(&r, err);
}
