/*
 * Operations that take a name away: unlink, rmdir, rename.
 *
 * In sticky directories they act as their caller, so that the kernel of the tree
 * itself says what may go: ours has checked attributes that may be as old as the
 * time limit (fs/fuse/dir.c, fuse_permission(); fs/namei.c, may_delete()).
 * Elsewhere owners don't count, and acting as another takes some microseconds.
 *
 * Whatever the kernel knows by that name is held from before the name goes until
 * the table has heard of it: see inode_names.h.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>

#include "inode_names.h"
#include "inode_spoil.h"
#include "leftover.h"
#include "ops.h"
#include "orphan.h"
#include "reply.h"
#include "route.h"
#include "shadow.h"
#include "util.h"

/* A file as it was found by name, just before that name is taken away. */
struct victim {
	bool is_dir;
	struct file_id id;
	struct inode *inode;	/* held, and a reference; NULL: the kernel knows none */
};

/* @moves: it will not be without a name. */
static int find_victim(struct fs *fs, const struct place *place, bool moves,
		       struct victim *ret)
{
	struct victim victim = { 0 };
	struct stat st;
	int err = identify(&fs->devices, place->dirfd, place->name, &st, &victim.id);

	if (err)
		return err;
	victim.is_dir = S_ISDIR(st.st_mode);
	victim.inode = inode_find(fs->inodes, place->kind, &victim.id);
	err = victim.inode ? inode_hold(fs->inodes, victim.inode, !moves) : 0;
	if (err) {
		inode_put(fs->inodes, victim.inode);
		return err;
	}
	*ret = victim;
	return 0;
}

static void release_victim(struct fs *fs, struct victim *victim)
{
	if (victim->inode)
		inode_release(fs->inodes, victim->inode);
	inode_put(fs->inodes, victim->inode);
}

/* @victim is no longer to be found as @name in @parent. */
static void note_loss(struct fs *fs, const struct victim *victim,
		      const struct place *place, struct inode *parent)
{
	if (victim->inode) {
		inode_lost_name(fs->inodes, victim->inode, parent, place->name);
		inode_release_spoiled(fs->inodes, victim->inode);
	}
	/* A directory of the source takes with it what the store kept for it. */
	if (victim->is_dir && place->kind == INODE_SOURCE) {
		shadow_drop(&fs->store, &victim->id);
		inode_release_spoiled_below(fs->inodes, &victim->id);
	}
}

static bool may_be_sticky(int dirfd)
{
	struct stat st;

	return fstat(dirfd, &st) < 0 || st.st_mode & S_ISVTX;
}

/* Acts as the caller if either directory, which may be the same, is sticky.
 * cred_restore() ends it in any case. */
static int become_remover(struct request *r, int dirfd, int other)
{
	struct caller caller = request_caller(r, false);

	if (caller.uid == 0 || !cred_can_switch() ||
	    (!may_be_sticky(dirfd) && (other == dirfd || !may_be_sticky(other))))
		return 0;
	return cred_become(&caller, CRED_ALLOWED);
}

static int remove_name(struct request *r, const struct place *place, int flags)
{
	int err = become_remover(r, place->dirfd, place->dirfd);

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
	err = find_victim(r->fs, &place, false, &victim);
	if (err)
		return err;
	if (place.kind == INODE_SOURCE)
		orphan_before_removal(r->fs, r->inode, place.dirfd, r->name);
	err = remove_name(r, &place, 0);
	if (!err) {
		fs_note_change(r->fs, place.kind, FS_REMOVED);
		note_loss(r->fs, &victim, &place, r->inode);
		reply_module_changed(r, r->inode, r->name, false);
	}
	release_victim(r->fs, &victim);
	return err;
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
	BEGIN_REQUEST(r, req, FS_UNLINK, parent, name);
	reply_error(&r, do_unlink(&r));
}

/* `__pycache__` empties nothing; it goes on existing as every directory's does,
 * but as a new one, so that whoever stands in the old one sees it removed. */
static int remove_cache(struct fs *fs, struct inode *directory, uid_t user)
{
	struct inode *shadow;
	int err = shadow_remove_cache(&fs->store, inode_id(directory), user);

	if (err)
		return err;
	shadow = inode_find_shadow(fs->inodes, inode_id(directory), user);
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

	if (!err)
		err = request_whose(r, &place);
	if (err)
		return err;
	if (place.kind == INODE_SHADOW)
		return remove_cache(r->fs, r->inode, place.user);
	err = find_victim(r->fs, &place, false, &victim);
	if (err)
		return err;
	err = remove_directory(r, &place, &victim);
	if (!err) {
		fs_note_change(r->fs, place.kind, FS_REMOVED);
		note_loss(r->fs, &victim, &place, r->inode);
	}
	release_victim(r->fs, &victim);
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
	/* Made before, since nothing may fail after: where each is then.  NULL
	 * when it is not known, or moves nowhere. */
	struct inode_name *moved_to, *replaced_to;
	unsigned flags;
};

/* Where an orphan is replaced, the kernel saw no file, so it has checked nothing:
 * then all is refused that the caller could not do natively. */
static int become_renamer(struct request *r, const struct renaming *renaming)
{
	struct caller caller;

	if (!renaming->new.orphan)
		return become_remover(r, renaming->old.dirfd, renaming->new.dirfd);
	caller = request_caller(r, true);
	return cred_become(&caller, CRED_STRICT);
}

static int call_rename(struct request *r, const struct renaming *renaming)
{
	int err = become_renamer(r, renaming);

	if (err)
		return err;
	if (renameat2(renaming->old.dirfd, renaming->old.name,
		      renaming->new.dirfd, renaming->new.name,
		      renaming->flags) < 0)
		err = -errno;
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
	if (renaming->replaced_to) {
		inode_moved(fs->inodes, renaming->replaced.inode, renaming->new_parent,
			    renaming->new.name, renaming->replaced_to);
		renaming->replaced_to = NULL;
	} else if (!(renaming->flags & RENAME_EXCHANGE)) {
		note_loss(fs, &renaming->replaced, &renaming->new,
			  renaming->new_parent);
	}
	if (renaming->moved_to) {
		inode_moved(fs->inodes, renaming->moved.inode, renaming->parent,
			    renaming->old.name, renaming->moved_to);
		renaming->moved_to = NULL;
	}
}

/* Makes the names for those files that the kernel knows. */
static int make_names(struct renaming *renaming)
{
	bool exchange = renaming->flags & RENAME_EXCHANGE;

	if (renaming->moved.inode) {
		renaming->moved_to = inode_name_create(renaming->new_parent,
						       renaming->new.name);
		if (!renaming->moved_to)
			return -ENOMEM;
	}
	if (renaming->replaced.inode && exchange) {
		renaming->replaced_to = inode_name_create(renaming->parent,
							  renaming->old.name);
		if (!renaming->replaced_to)
			return -ENOMEM;
	}
	return 0;
}

static int prepare_rename(struct fs *fs, struct renaming *renaming)
{
	bool exchange = renaming->flags & RENAME_EXCHANGE;
	int err = find_victim(fs, &renaming->old, true, &renaming->moved);

	if (!err && renaming->moved.inode)
		err = inode_spoiled(renaming->moved.inode);
	if (err)
		return err;
	err = find_victim(fs, &renaming->new, exchange, &renaming->replaced);
	if (err && err != -ENOENT)
		return err;
	/* An exchange gives that one a name as well. */
	err = exchange && renaming->replaced.inode
		? inode_spoiled(renaming->replaced.inode) : 0;
	if (!err)
		err = make_names(renaming);
	if (!err && renaming->old.kind == INODE_SOURCE && !exchange)
		orphan_before_removal(fs, renaming->parent, renaming->old.dirfd,
				     renaming->old.name);
	return err;
}

static void release_renaming(struct fs *fs, struct renaming *renaming)
{
	inode_name_free(fs->inodes, renaming->moved_to);
	inode_name_free(fs->inodes, renaming->replaced_to);
	release_victim(fs, &renaming->moved);
	release_victim(fs, &renaming->replaced);
	route_release(&renaming->old);
	route_release(&renaming->new);
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
		fs_note_change(r->fs, renaming.new.kind, FS_RENAMED);
		note_rename(r->fs, &renaming);
		route_adopt(r->fs, new_parent, &renaming.new);
		reply_module_changed(r, r->inode, r->name, flags & RENAME_EXCHANGE);
		reply_module_changed(r, new_parent, new_name, true);
		if (renaming.new.kind == INODE_STORE)
			route_recheck(r->fs, new_parent, new_name);
	}
	release_renaming(r->fs, &renaming);
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
