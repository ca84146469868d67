/*
 * Purging.  How single files of the store go is told in discard.c.
 */
#include "purge.h"

#include <dirent.h>
#include <string.h>

#include "bytecode.h"
#include "discard.h"
#include "names.h"
#include "shadow.h"
#include "util.h"

/* Each level costs a descriptor. */
enum { MAX_DEPTH = 1000 };

static void note(int *err, int result)
{
	if (!*err && result != -ENOENT)
		*err = result;
}

/* Empties @part, whose names @shows shows; NULL: nobody does. */
static int purge_part(struct fs *fs, const struct part *part, struct inode *shows)
{
	_cleanup_close_ int fd = -1;
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int result = part_open(fs, part, &fd), err = 0;

	if (!result)
		result = dir_reopen(fd, &dir);
	note(&err, result);
	while (!result && (entry = readdir(dir))) {
		if (is_dot(entry->d_name))
			continue;
		note(&err, discard_tree(fs, fd, entry->d_name));
		if (shows)
			fs->name_gone(fs->notifier, inode_number(shows), entry->d_name);
	}
	return err;
}

/* A `__pycache__` of the directory @id: @user's own, or with 0 the shared one. */
static int purge_cache(struct fs *fs, const struct file_id *id, uid_t user)
{
	const struct part part = { *id, SHADOW_CACHE, user };
	struct inode *shadow = inode_find_shadow(fs->inodes, id, user);
	int err = purge_part(fs, &part, shadow);

	(void)shadow_remove_cache(&fs->store, id, user);
	if (shadow) {
		/* It shows its directory's owner and mode from now on. */
		inode_close(fs->inodes, shadow);
		fs->content_changed(fs->notifier, inode_number(shadow));
	}
	inode_put(fs->inodes, shadow);
	return err;
}

struct purging {
	struct fs *fs;
	const struct file_id *id;
	int err;
};

static void purge_own(void *data, uid_t user)
{
	struct purging *purging = data;

	note(&purging->err, purge_cache(purging->fs, purging->id, user));
}

/* All that is kept for the directory @id, whoever it is for, but the marks. */
static int purge_shadow(struct fs *fs, const struct file_id *id)
{
	const struct part beside = { *id, SHADOW_BESIDE, 0 };
	const struct part stamps = { *id, SHADOW_STAMPS, 0 };
	struct inode *directory = inode_find(fs->inodes, INODE_SOURCE, id);
	struct purging purging = { .fs = fs, .id = id };

	note(&purging.err, purge_part(fs, &beside, directory));
	inode_put(fs->inodes, directory);
	purge_own(&purging, 0);
	shadow_each_user(&fs->store, id, purge_own, &purging);
	/* Last: see bytecode_drop(). */
	note(&purging.err, purge_part(fs, &stamps, NULL));
	(void)shadow_tidy(&fs->store, id, false);
	return purging.err;
}

static int purge_level(struct fs *fs, int fd, int depth);

/* @name in the source directory @at, if it is a directory. */
static int purge_child(struct fs *fs, int at, const char *name, int depth)
{
	_cleanup_close_ int fd = -1;
	struct file_id id;
	struct stat st;
	int err = source_open_child(&fs->source, at, name, &fd);

	/* Our own mount, by a bind mount: what lies there is met elsewhere. */
	if (err == -ELOOP)
		return 0;
	if (!err)
		err = identify(&fs->devices, fd, "", &st, &id);
	if (err || !S_ISDIR(st.st_mode))
		return err;
	err = purge_shadow(fs, &id);
	note(&err, depth < MAX_DEPTH ? purge_level(fs, fd, depth + 1) : -ELOOP);
	return err;
}

/* Goes through the directories below the source directory @fd. */
static int purge_level(struct fs *fs, int fd, int depth)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	int err = dir_reopen(fd, &dir);

	while (dir && (entry = readdir(dir)))
		if ((entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN) &&
		    !is_dot(entry->d_name))
			note(&err, purge_child(fs, dirfd(dir), entry->d_name, depth));
	return err;
}

/* Also of directories that no path leads to any more. */
static int purge_store(struct fs *fs)
{
	_cleanup_dir_ DIR *dir = NULL;
	struct dirent *entry;
	struct file_id id;
	int err = open_dir_at(fs->store.root, ".", &dir);

	while (dir && (entry = readdir(dir)))
		if (shadow_parse(entry->d_name, &id))
			note(&err, purge_shadow(fs, &id));
	return err;
}

int purge_tree(struct fs *fs, struct inode *directory)
{
	_cleanup_handle_ struct handle *handle = NULL;
	int err;

	if (inode_type(directory) != S_IFDIR || inode_kind(directory) == INODE_STORE)
		return -ENOTDIR;
	if (inode_number(directory) == INODE_ROOT && !store_is_shared(&fs->store))
		return purge_store(fs);
	/* A shadow has the identity of its directory. */
	if (inode_kind(directory) == INODE_SHADOW)
		return purge_cache(fs, inode_id(directory), inode_user(directory));
	err = purge_shadow(fs, inode_id(directory));
	note(&err, inode_open(fs->inodes, directory, HANDLE_PATH, &handle));
	if (handle)
		note(&err, purge_level(fs, handle_fd(handle), 0));
	return err;
}

int purge_module(struct fs *fs, struct inode *directory, const char *module,
		 size_t length)
{
	char name[NAME_SIZE];

	if (inode_kind(directory) != INODE_SOURCE ||
	    inode_type(directory) != S_IFDIR)
		return -ENOTDIR;
	if (length >= sizeof(name) || memchr(module, '\0', length))
		return -EINVAL;
	memcpy(name, module, length);
	name[length] = '\0';
	if (!names_is_module(name) || strchr(name, '/'))
		return -EINVAL;
	bytecode_drop(fs, inode_id(directory), name);
	return 0;
}
