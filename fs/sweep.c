/*
 * Letting go of files that were removed behind the mount.
 *
 * A sweep goes through the table a piece at a time, since the same thread hears of
 * changes, and rests for long enough that it costs little: a second, and twenty times
 * what it took.  Somebody may have the file open through the mount, so it is pinned
 * first; the kernel then forgets it at its last close.
 */
#include "sweep.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "inode_names.h"
#include "inode_spoil.h"
#include "shadow.h"
#include "util.h"

enum {
	PIECE = 1024,		/* inodes at a time */
	REST = 1000,		/* milliseconds from one sweep to the next */
	REST_SHARE = 20,
};

struct sweep {
	struct fs *fs;		/* borrowed, as below */
	struct notifier *notifier;
	bool wanted, running;
	uint32_t cursor;
	uint64_t next;		/* when one may begin, in milliseconds */
	uint64_t took;
};

struct sweep *sweep_create(struct fs *fs, struct notifier *notifier)
{
	struct sweep *sweep = calloc(1, sizeof(*sweep));

	if (sweep) {
		sweep->fs = fs;
		sweep->notifier = notifier;
	}
	return sweep;
}

void sweep_destroy(struct sweep *sweep)
{
	free(sweep);
}

void sweep_want(struct sweep *sweep)
{
	/* What is removed as one change after another is gathered first. */
	if (!sweep->wanted && !sweep->running && sweep->next < milliseconds())
		sweep->next = milliseconds() + REST / 10;
	sweep->wanted = true;
}

/* Whether @name in @parent is by now a file that the kernel has looked up: then it has
 * dropped the old one, and the new one may have a mount on it. */
static bool is_known(struct fs *fs, struct inode *parent, const char *name)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct inode *inode;
	struct file_id id;
	struct stat st;

	if (inode_open(fs->inodes, parent, HANDLE_PATH, &handle) < 0 ||
	    identify(&fs->devices, handle_fd(handle), name, &st, &id) < 0)
		return false;
	inode = inode_find(fs->inodes, INODE_SOURCE, &id);
	inode_put(fs->inodes, inode);
	return inode != NULL;
}

/* @inode, which was @name in @parent, is no more. */
static void bury(struct sweep *sweep, struct inode *inode, struct inode *parent,
		 const char *name)
{
	struct fs *fs = sweep->fs;

	inode_retire(fs->inodes, inode);
	if (inode_type(inode) == S_IFDIR) {
		shadow_drop(&fs->store, inode_id(inode));
		inode_release_spoiled_below(fs->inodes, inode_id(inode));
	}
	notify_inode(sweep->notifier, inode_number(inode), false);
	if (!is_known(fs, parent, name))
		notify_gone(sweep->notifier, inode_number(parent),
			    inode_number(inode), name);
}

void sweep_removed(struct sweep *sweep, struct inode *inode)
{
	char name[NAME_SIZE];
	struct inode *parent = inode_place(sweep->fs->inodes, inode, name);

	if (parent)
		bury(sweep, inode, parent, name);
	inode_put(sweep->fs->inodes, parent);
}

/* Lets a removed file go, at the latest when nobody has it open any more. */
static void let_go(struct sweep *sweep, struct inode *inode)
{
	struct inode_table *inodes = sweep->fs->inodes;
	char name[NAME_SIZE];
	struct inode *parent = inode_place(inodes, inode, name);
	int err = parent ? inode_hold(inodes, inode, true) : 0;

	if (parent && !err) {
		inode_lost_name(inodes, inode, parent, name);
		inode_release(inodes, inode);
		bury(sweep, inode, parent, name);
	}
	/* As many are on their way out as may be. */
	if (err == -EMFILE)
		sweep->wanted = true;
	inode_put(inodes, parent);
}

/*
 * Whether @inode has a descriptor and no name.  Only of filesystems that are watched:
 * others may take long to answer, or count no links.
 */
static bool is_removed(struct fs *fs, struct inode *inode)
{
	_cleanup_handle_ struct handle *handle = NULL;
	struct statx stx;

	if (inode_kind(inode) != INODE_SOURCE ||
	    (inode_type(inode) == S_IFDIR ? !inode_is_watched(inode)
					  : !inode_parent_watched(fs->inodes, inode)))
		return false;
	/* A pinned one was let go before, or was removed through the mount. */
	handle = inode_peek(fs->inodes, inode);
	return handle && statx(handle_fd(handle), "", AT_EMPTY_PATH |
			       AT_STATX_DONT_SYNC, STATX_NLINK, &stx) == 0 &&
		(stx.stx_mask & STATX_NLINK) && stx.stx_nlink == 0;
}

static void sweep_piece(struct sweep *sweep)
{
	struct fs *fs = sweep->fs;
	struct inode *inode;

	for (int i = 0; sweep->running && i < PIECE; i++) {
		inode = inode_next(fs->inodes, &sweep->cursor);
		if (!inode)
			sweep->running = false;
		else if (is_removed(fs, inode))
			let_go(sweep, inode);
		inode_put(fs->inodes, inode);
	}
}

int sweep_step(struct sweep *sweep)
{
	uint64_t now = milliseconds();

	if (!sweep->running && !sweep->wanted)
		return -1;
	if (!sweep->running && now < sweep->next)
		return (int)(sweep->next - now);
	if (!sweep->running) {
		sweep->running = true;
		sweep->wanted = false;
		sweep->cursor = 0;
		sweep->took = 0;
	}
	sweep_piece(sweep);
	sweep->took += milliseconds() - now;
	if (sweep->running)
		return 0;
	sweep->next = now + REST + sweep->took * REST_SHARE;
	return sweep->wanted ? (int)(sweep->next - now) : -1;
}
