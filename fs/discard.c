/*
 * Discarding files of the store.  What is to go is for others to say: bytecode.c,
 * room.c and purge.c.
 */
#include "discard.h"

#include <fcntl.h>

#include "inode_names.h"
#include "inode_spoil.h"
#include "util.h"

/* As remove_tree_at() has it. */
enum { MAX_DEPTH = 1000 };

/* A file that is about to go, as far as the kernel knows it. */
struct victim {
	struct inode *inode;	/* a reference; NULL: it does not */
	bool held;		/* whoever has it open may go on */
};

static struct victim find_victim(struct fs *fs, const struct file_id *id, bool stays_open)
{
	struct victim victim = { .inode = inode_find(fs->inodes, INODE_STORE, id) };

	victim.held = victim.inode && stays_open &&
		inode_hold_at_once(fs->inodes, victim.inode) == 0;
	return victim;
}

/* It has no name any more.  Its descriptor holds memory of the store. */
static void let_go(struct fs *fs, const struct victim *victim)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(fs->inodes, victim->inode, name);

	inode_retire(fs->inodes, victim->inode);
	inode_unspoil(fs->inodes, victim->inode);
	if (!victim->held) {
		inode_close(fs->inodes, victim->inode);
	} else {
		inode_lost_names(fs->inodes, victim->inode);
		/* Else it was let go before. */
		if (parent)
			fs->file_gone(fs->notifier, inode_number(victim->inode),
				      inode_number(parent), name);
	}
	inode_put(fs->inodes, parent);
}

static void release_victim(struct fs *fs, const struct victim *victim)
{
	if (victim->held)
		inode_release(fs->inodes, victim->inode);
	inode_put(fs->inodes, victim->inode);
}

int part_open(const struct fs *fs, const struct part *part, int *ret_fd)
{
	if (part->part == SHADOW_CACHE)
		return shadow_open_cache(&fs->store, &part->directory, part->user,
					 ret_fd);
	return shadow_open(&fs->store, part->part, &part->directory, ret_fd);
}

/* Removes what is called @name in the directory @at, and was just found to be this. */
static int discard_name(struct fs *fs, int at, const char *name, const struct stat *st,
			const struct file_id *id, bool stays_open)
{
	struct victim victim = find_victim(fs, id, stays_open);
	bool is_dir = S_ISDIR(st->st_mode);
	int err = unlinkat(at, name, is_dir ? AT_REMOVEDIR : 0) < 0 ? -errno : 0;

	/* Further names of it stay what they are. */
	if (!err && victim.inode && (is_dir || st->st_nlink <= 1))
		let_go(fs, &victim);
	release_victim(fs, &victim);
	return err;
}

int discard_file(struct fs *fs, const struct part *part, int fd, const char *name,
		 bool stays_open)
{
	struct inode *shadow;
	struct file_id id;
	struct stat st;
	int err = identify(&fs->devices, fd, name, &st, &id);

	if (!err && S_ISDIR(st.st_mode))
		err = -EISDIR;
	if (!err)
		err = discard_name(fs, fd, name, &st, &id, stays_open);
	if (err)
		return err;
	/* Names beside the source are not cached: see fresh_name(). */
	shadow = part->part == SHADOW_CACHE
		? inode_find_shadow(fs->inodes, &part->directory, part->user) : NULL;
	if (shadow)
		fs->name_gone(fs->notifier, inode_number(shadow), name);
	inode_put(fs->inodes, shadow);
	return 0;
}

static int discard_level(struct fs *fs, int at, const char *name, int depth);

static int discard_below(struct fs *fs, int at, const char *name, int depth)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = depth < MAX_DEPTH ? open_dir_at(at, name, &dir) : -ELOOP;

	while (!err && (entry = readdir(dir)))
		if (!is_dot(entry->d_name))
			err = discard_level(fs, dirfd(dir), entry->d_name, depth + 1);
	return err == -ENOENT ? 0 : err;
}

static int discard_level(struct fs *fs, int at, const char *name, int depth)
{
	struct file_id id;
	struct stat st;
	int err = identify(&fs->devices, at, name, &st, &id);

	if (!err && S_ISDIR(st.st_mode))
		err = discard_below(fs, at, name, depth);
	if (!err)
		err = discard_name(fs, at, name, &st, &id, true);
	return err == -ENOENT ? 0 : err;
}

int discard_tree(struct fs *fs, int fd, const char *name)
{
	return discard_level(fs, fd, name, 0);
}

void discard_removed(struct fs *fs, struct inode *inode)
{
	_cleanup_handle_ struct handle *handle = inode_peek(fs->inodes, inode);
	struct victim victim = { .inode = inode };
	struct stat st;

	if (!handle || fstat(handle_fd(handle), &st) < 0 || st.st_nlink > 0)
		return;
	/* It may be made anew, as the same inode. */
	if (inode_kind(inode) == INODE_SHADOW) {
		inode_close(fs->inodes, inode);
		return;
	}
	victim.held = inode_hold_at_once(fs->inodes, inode) == 0;
	let_go(fs, &victim);
	if (victim.held)
		inode_release(fs->inodes, inode);
}
