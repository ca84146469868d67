/*
 * Orphans: bytecode of the source that stays hidden without its module.
 */
#include "orphan.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include "cred.h"
#include "log.h"
#include "names.h"
#include "room.h"
#include "shadow.h"
#include "util.h"

/* Before a mark that was made because a removal was heard of.  The file may be newer than
 * that, of which news then follow. */
enum { HEARD = '!' };

/* Writes what tells the file @name in @dirfd from others.  Returns 0 or negative errno:
 * -EISDIR for what is no bytecode. */
static int describe(struct fs *fs, int dirfd, const char *name, bool heard,
		    char ret[NOTE_SIZE])
{
	char state[STATE_SIZE];
	struct file_id id;
	struct statx stx;
	int err = identify_state(&fs->devices, dirfd, name, &stx, &id, state);

	if (!err)
		snprintf(ret, NOTE_SIZE, "%.1s%s",
			 heard ? (const char[]){ HEARD, 0 } : "", state);
	return err;
}

bool orphan_is(struct fs *fs, const struct file_id *directory, int dirfd,
	       const char *name)
{
	char mark[NOTE_SIZE], now[NOTE_SIZE];

	return shadow_get_mark(&fs->store, directory, name, mark) == 0 &&
		describe(fs, dirfd, name, *mark == HEARD, now) == 0 &&
		strcmp(mark, now) == 0;
}

/* A module of which bytecode is to be marked. */
struct removal {
	struct fs *fs;
	struct inode *directory;
	int dirfd;
	const char *module;
	bool heard;
};

/* Marks @bytecode if it lies there. */
static void mark(const struct removal *removal, const char *bytecode)
{
	struct fs *fs = removal->fs;
	char text[NOTE_SIZE];
	unsigned tries = 0;
	int err;

	if (describe(fs, removal->dirfd, bytecode, removal->heard, text) < 0)
		return;
	/* What was marked for certain stays so. */
	if (removal->heard &&
	    orphan_is(fs, inode_id(removal->directory), removal->dirfd, bytecode))
		return;
	do
		err = shadow_mark(&fs->store, inode_id(removal->directory),
				  removal->dirfd, bytecode, text);
	while (room_try_again(fs, err, &tries));
	if (err)
		log_warning("'%s' can't be kept hidden without its module: %s",
			    bytecode, strerror(-err));
}

/*
 * A writer that was killed leaves "x.pyc.123".  Which there are takes a listing, so
 * a directory is listed once, and again only where there were some.
 */
static void mark_temporaries(const struct removal *removal)
{
	_cleanup_dir_ DIR *dir = NULL;
	char needs[NAME_SIZE];
	struct dirent *entry;
	bool tidy = true;
	int fd;

	if (inode_is_tidy(removal->directory))
		return;
	fd = cred_reopen(removal->dirfd, O_RDONLY | O_DIRECTORY);
	dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir) {
		cleanup_close(&fd);
		return;
	}
	while ((entry = readdir(dir))) {
		if (entry->d_type == DT_DIR ||
		    !names_is_temporary(entry->d_name, needs))
			continue;
		tidy = false;
		if (strcmp(needs, removal->module) == 0)
			mark(removal, entry->d_name);
	}
	if (tidy)
		inode_set_tidy(removal->directory);
}

static void mark_all(const struct removal *removal)
{
	char bytecode[NAME_SIZE];

	for (int i = 0; i < NAMES_LEGACY; i++)
		if (names_legacy(removal->module, i, bytecode))
			mark(removal, bytecode);
	mark_temporaries(removal);
}

void orphan_before_removal(struct fs *fs, struct inode *directory, int dirfd,
			   const char *name)
{
	const struct removal removal = {
		.fs = fs, .directory = directory, .dirfd = dirfd, .module = name,
	};

	if (inode_kind(directory) == INODE_SOURCE && names_is_module(name) &&
	    source_has_module(dirfd, name))
		mark_all(&removal);
}

void orphan_name_heard(struct fs *fs, struct inode *directory, const char *name)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct removal removal = {
		.fs = fs, .directory = directory, .module = name, .heard = true,
	};

	if (!names_is_module(name) ||
	    inode_open(fs->inodes, directory, HANDLE_PATH, &handle) < 0)
		return;
	removal.dirfd = handle_fd(handle);
	/* It may have come and gone, or be another by now. */
	if (!source_has_module(removal.dirfd, name))
		mark_all(&removal);
}

void orphan_content_heard(struct fs *fs, struct inode *directory, const char *name)
{
	char module[NAME_SIZE], text[NOTE_SIZE];

	if (names_classify(&fs->opts->names, name, module) == NAME_BYTECODE &&
	    shadow_get_mark(&fs->store, inode_id(directory), name, text) == 0 &&
	    *text == HEARD)
		shadow_unmark(&fs->store, inode_id(directory), name);
}
