/*
 * Handles: the bounded cache of descriptors behind the inode table.
 *
 * A handle is a descriptor with a count of those who use it, so that dropping it
 * from the cache never closes it under a request.  An inode has at most one in the
 * cache, good for whatever was asked of it last.  Which one is dropped when there
 * are too many is told in row.c.
 *
 * Two kinds must not be dropped.  An inode is *held* while an operation needs its
 * descriptor to stay, and *pinned* when it has no name by which the descriptor
 * could be opened again.  Pins may take three quarters of the cache: with them
 * used up, what would make another one fails with -EMFILE.
 *
 * Lock: handles->lock guards, in every inode, its handle, pin, holds, marks and row.
 * No system call is made under it.
 */
#ifndef PYCACHEFS_HANDLE_H
#define PYCACHEFS_HANDLE_H

#include <stdbool.h>
#include <stdint.h>

#include "identity.h"

struct handle;
struct handles;
struct inode;
struct inode_table;

enum inode_kind {
	INODE_SOURCE,	/* a file of the source */
	INODE_SHADOW,	/* `__pycache__` of a source directory, its parent */
	INODE_STORE,	/* a file of the store */
};

/* What a descriptor must be good for. */
enum handle_use {
	HANDLE_PATH,	/* the place: fstat, *at() calls */
	HANDLE_READ,
	HANDLE_WRITE,	/* writing anywhere, and reading where permitted */
	HANDLE_APPEND,	/* writing at the end at least: chattr +a permits no more */
};

/*
 * What the table asks of the layer that knows both trees: open, as O_PATH, the
 * file @inode, called @name, whose parent is @parent.  Called without locks.
 * Returns 0 with a descriptor that the caller owns, or negative errno.
 */
typedef int inode_opener(void *data, struct inode *parent, const struct inode *inode,
			 const char *name, int *ret_fd);

/* Used by the inode table alone; their contracts are told there. */
int handles_create(struct handles **ret, struct inode_table *table, unsigned limit,
		   struct devices *devices, inode_opener *opener, void *data);
void handles_destroy(struct handles *handles);
void handles_figures(struct handles *handles, uint64_t *ret_open,
		     uint64_t *ret_limit);
int handles_open(struct handles *handles, struct inode *inode,
		 enum handle_use use, struct handle **ret);
/* Whether @name in @parent leads to @inode: 0, -ESTALE, or another errno. */
int handles_check_place(struct handles *handles, struct inode *inode,
			struct inode *parent, const char *name);

/* Holds the inode, with a descriptor, until handles_unhold().  Returns 0 or
 * negative errno. */
int handles_hold(struct handles *handles, struct inode *inode);
void handles_unhold(struct handles *handles, struct inode *inode);
/* Whether there is room for one more pin: 0 or -EMFILE; @waits: after a moment's wait. */
int handles_may_pin(struct handles *handles, bool waits);
/* The inode must have a handle by then, or be about to get one. */
void handles_set_pinned(struct handles *handles, struct inode *inode, bool pinned);

/* See inode_keep_writer(). */
int handles_keep_writer(struct handles *handles, struct inode *inode);
void handles_unkeep_writer(struct handles *handles, struct inode *inode);

/* The cached handle of an inode that is not pinned: a reference, or NULL. */
struct handle *handles_peek(struct handles *handles, struct inode *inode);
/* Takes the handles of source directories that are not held out of the cache, all at
 * one time, so that none of them opens another. */
void handles_drop_directories(struct handles *handles);
/* Drops the cached handle of a regular file if it is good for reading alone. */
void handles_drop_reader(struct handles *handles, struct inode *inode);
/* Takes the cached handle, if any, out of the cache: a reference, or NULL. */
struct handle *handles_take(struct handles *handles, struct inode *inode);
/* The same unless it is pinned. */
struct handle *handles_take_unpinned(struct handles *handles, struct inode *inode);
/* Puts @fd, which it takes, into the cache if it is better than what is there;
 * @keep: as a writer it can't be opened again.  Returns 0 or -ENOMEM. */
int handles_offer(struct handles *handles, struct inode *inode, int fd,
		  enum handle_use open_for, bool keep);

/* A handle of the caller's own, which takes @fd.  Returns NULL when memory is
 * short; then @fd is closed. */
struct handle *handle_create(int fd);
struct handle *handle_ref(struct handle *handle);
/* NULL is taken. */
void handle_put(struct handle *handle);
int handle_fd(const struct handle *handle);

static inline void cleanup_handle(struct handle **handle)
{
	handle_put(*handle);
}
#define _cleanup_handle_ __attribute__((cleanup(cleanup_handle)))

#endif
