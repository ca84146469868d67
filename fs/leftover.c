/*
 * What hides in a directory of the source that looks empty: bytecode from the time
 * before it was mounted.  It must not keep the directory from going.
 */
#include "leftover.h"

#include <dirent.h>
#include <string.h>

#include "log.h"
#include "route.h"
#include "util.h"

/* Whether all entries of @dir are hidden ones; leaves it rewound. */
static bool holds_only_hidden(struct fs *fs, const struct file_id *id,
			      DIR *dir)
{
	struct dirent *entry;
	bool only = true;

	while (only && (errno = 0, entry = readdir(dir)))
		only = is_dot(entry->d_name) ||
			route_hides(fs, id, dirfd(dir), entry->d_name);
	if (errno)
		only = false;
	rewinddir(dir);
	return only;
}

static int remove_hidden(struct fs *fs, const struct file_id *id, DIR *dir)
{
	struct dirent *entry;
	int err = 0;

	while (!err && (errno = 0, entry = readdir(dir)))
		if (!is_dot(entry->d_name) &&
		    route_hides(fs, id, dirfd(dir), entry->d_name))
			err = remove_tree_at(dirfd(dir), entry->d_name);
	return err ? err : -errno;
}

int leftover_clear(struct fs *fs, int at, const char *name,
		   const struct file_id *id, const struct caller *caller)
{
	_cleanup_dir_ DIR *dir = NULL;
	int err = open_dir_at(at, name, &dir);

	if (err || !holds_only_hidden(fs, id, dir))
		return -ENOTEMPTY;
	err = cred_become(caller, CRED_STRICT);
	if (!err) {
		err = remove_hidden(fs, id, dir);
		cred_restore();
	}
	if (!err)
		return 0;
	/* Part of it may have gone; when all has, the directory goes too and counts. */
	fs_note_change(fs, INODE_SOURCE, FS_REMOVED);
	log_info("'%s' can't be removed: hidden bytecode in it won't go: %s", name,
		 strerror(-err));
	return -ENOTEMPTY;
}
