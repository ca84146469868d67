/*
 * Handles: the bounded cache of descriptors behind the inode table.
 *
 * A handle is a descriptor with a count of those who use it, so that dropping it
 * from the cache never closes it under a request.  An inode has at most one in the
 * cache, good for whatever was asked of it last.
 *
 * Dropping follows second chance: descriptors stand in a row in the order in
 * which they were opened; each use sets a mark.  When there are too many, the
 * first in the row goes, unless it has the mark, which it then loses on going to
 * the row's end.  One call looks at no more than 64; when all of them had the mark,
 * the last of them goes.
 *
 * Lock: handles->lock guards, in every inode, its handle, pin, marks and place in
 * the row.  No system call is made under it.
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
	HANDLE_WRITE,	/* writing, and reading where permitted */
};

/*
 * What the table asks of the layer that knows both trees: open, as O_PATH, the
 * file called @name whose parent is @parent.  Called without locks.  Returns 0
 * with a descriptor that the caller owns, or negative errno.
 */
typedef int inode_opener(void *data, struct inode *parent, enum inode_kind kind,
			 const char *name, int *ret_fd);

/* Used by the inode table alone; their contracts are told there. */
int handles_create(struct handles **ret, struct inode_table *table, unsigned limit,
		   struct devices *devices, inode_opener *opener, void *data);
void handles_destroy(struct handles *handles);
void handles_figures(struct handles *handles, uint64_t *ret_open,
		     uint64_t *ret_limit);
int handles_open(struct handles *handles, struct inode *inode,
		 enum handle_use use, struct handle **ret);
int handles_pin(struct handles *handles, struct inode *inode);
void handles_unpin(struct handles *handles, struct inode *inode);
/* Takes the cached handle, if any, out of the cache: a reference, or NULL. */
struct handle *handles_take(struct handles *handles, struct inode *inode);
/* Puts @fd, which it takes, into the cache if it is better than what is there. */
void handles_offer(struct handles *handles, struct inode *inode, int fd,
		   enum handle_use open_for);

/*
 * Turns descriptors of source files that are open for writing, and were not
 * written to since the last call, into O_PATH ones: a file that someone holds open
 * for writing can't be executed (ETXTBSY), nor its filesystem be remounted.  Keeps
 * those that could not be opened for writing again.
 */
void handles_settle(struct handles *handles);

/*
 * For the thread that settles: waits until a source file is open for writing, and
 * then @seconds more.  Returns false as soon as handles_settle_stop() was called.
 */
bool handles_settle_wait(struct handles *handles, unsigned seconds);
void handles_settle_stop(struct handles *handles);

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
