/*
 * Discarding files of the store.  What is to go is for others to say: bytecode.c,
 * room.c and purge.c.
 */
#include "discard.h"

#include "inode_spoil.h"
#include "util.h"

/* As remove_tree_at() has it. */
enum { MAX_DEPTH = 1000 };

/* Its descriptor, if one is cached, holds memory of the store. */
static void let_go(struct fs *fs, const struct file_id *id)
{
	struct inode *inode = inode_find(fs->inodes, INODE_STORE, id);

	if (!inode)
		return;
	inode_retire(fs->inodes, inode);
	inode_unspoil(fs->inodes, inode);
	inode_close(fs->inodes, inode);
	inode_put(fs->inodes, inode);
}

int part_open(const struct fs *fs, const struct part *part, int *ret_fd)
{
	if (part->part == SHADOW_CACHE)
		return shadow_open_cache(&fs->store, &part->directory, part->user,
					 ret_fd);
	return shadow_open(&fs->store, part->part, &part->directory, ret_fd);
}

int discard_file(struct fs *fs, const struct part *part, int fd, const char *name)
{
	struct inode *shadow;
	struct file_id id;
	struct stat st;
	int err = identify(&fs->devices, fd, name, &st, &id);

	if (err)
		return err;
	if (S_ISDIR(st.st_mode))
		return -EISDIR;
	if (unlinkat(fd, name, 0) < 0)
		return -errno;
	/* Further names of it stay what they are. */
	if (st.st_nlink <= 1)
		let_go(fs, &id);
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
	if (!err && unlinkat(at, name, S_ISDIR(st.st_mode) ? AT_REMOVEDIR : 0) < 0)
		err = -errno;
	if (!err && (S_ISDIR(st.st_mode) || st.st_nlink <= 1))
		let_go(fs, &id);
	return err == -ENOENT ? 0 : err;
}

int discard_tree(struct fs *fs, int fd, const char *name)
{
	return discard_level(fs, fd, name, 0);
}
