/*
 * Routing: does `name` in `directory` belong to the source or to the store?
 *
 * This is the one question that every operation on a name asks, once.  The answer
 * is a place: a directory's descriptor and a name below it.  Past that both are
 * plain directory trees, and the same code serves them.
 *
 * All functions may be called by any thread, without locks.
 */
#ifndef PYCACHEFS_ROUTE_H
#define PYCACHEFS_ROUTE_H

#include <stdbool.h>

#include "fs.h"
#include "handle.h"

enum route_intent {
	ROUTE_FIND,	/* look only */
	ROUTE_MAKE,	/* the name is about to be made */
	ROUTE_REPLACE,	/* or to be made or replaced by a rename */
	ROUTE_REMOVE,	/* or removed */
	ROUTE_MOVE,	/* or taken away by a rename */
};

struct place {
	enum inode_kind kind;	/* what kind of inode bears the name */
	struct handle *dir;	/* of the directory in its tree; a reference */
	int dirfd;		/* its descriptor */
	const char *name;	/* borrowed from the caller */
	/* Of an INODE_SHADOW, set by request_whose(): whose own it is, 0 when it is
	 * shared, and the group of whoever asks. */
	uid_t user;
	gid_t group;
	bool depends;		/* on a module beside it: see NAME_BYTECODE */
	bool orphan;		/* a hidden file of the source has the name */
};

/*
 * Answers for @name in the directory @parent.  Returns 0 with a place to be given
 * back by route_release(), or negative errno: -ENOENT where nothing can be found,
 * -EROFS where the source may not change, -ENOSPC where the store is full,
 * -EEXIST for ROUTE_MAKE of `__pycache__`, which every directory has.
 */
int route(struct fs *fs, struct inode *parent, const char *name,
	  enum route_intent intent, struct place *ret);

static inline void route_release(struct place *place)
{
	handle_put(place->dir);
	place->dir = NULL;
}
#define _cleanup_place_ __attribute__((cleanup(route_release)))

/*
 * For a place whose orphan is to make way for what is created there.  The kernel
 * saw no file of that name, so it has not checked whether the caller may remove it:
 * call while acting as the caller, with CRED_STRICT, after all else that can fail.
 * Returns 0 or negative errno.
 */
int route_remove_orphan(const struct place *place);

/* The name was taken by a new file: it is no orphan's any more. */
void route_adopt(struct fs *fs, struct inode *parent, const struct place *place);

/*
 * Bytecode has got the name @name in @parent.  Its module may have changed after the
 * answer for it was given, and what was then dropped may not have had that name yet: if
 * so, it goes now.
 */
void route_recheck(struct fs *fs, struct inode *parent, const char *name);

/*
 * A descriptor of @inode itself for @use.  A `__pycache__` that nothing was ever
 * written to is served by an empty directory.  Changing the source's files when
 * the mount is read-only is -EROFS.
 */
int route_open(struct fs *fs, struct inode *inode, enum handle_use use,
	       struct handle **ret);

/* The same for an inode that is about to be changed in its attributes or, as a
 * directory, in what it holds: a `__pycache__` is then made in the store, which makes
 * room where it is full.  Not while acting as a caller. */
int route_open_to_change(struct fs *fs, struct inode *inode,
			 struct handle **ret);

/*
 * Whether @name in the source directory of identity @directory, which @dirfd is
 * open for, is a cache entry, so that no listing shows it.
 */
bool route_hides(struct fs *fs, const struct file_id *directory, int dirfd,
		 const char *name);

/* The table's way to open what it has dropped: see inode_opener. */
int route_reopen(void *data, struct inode *parent, const struct inode *inode,
		 const char *name, int *ret_fd);

#endif
