/*
 * What the unit tests share: scratch directories, descriptors that are counted,
 * threads that start at once, and a filesystem built by hand, without FUSE.
 */
#ifndef TESTS_UNIT_H
#define TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

#include "command.h"
#include "fixture.h"
#include "fs.h"
#include "route.h"
#include "tree.h"
#include "util.h"

/* A user and group that own nothing here. */
enum { NOBODY = 65534, SOMEBODY = 12345, SOME_GROUP = 23456 };

/*
 * Whether a program may go on that needs root (or a right that only root has).
 * Returns 0; else prints why and returns 77, which meson takes as "skipped", or 1
 * where PYCACHEFS_MUST_RUN is set.
 */
int unit_needs_root(void);
/* The same for a program that needs a store; see store_create(). */
int unit_needs_store(void);
/* The same for a program that mounts FUSE. */
int unit_needs_fuse(void);

/* From here on mounts are this process's own, and gone when it is. */
void unit_own_mounts(void);

/* How many descriptors this process has open. */
int unit_descriptors(void);

/* A scratch directory; the caller removes it by unit_remove(), which frees the
 * name. */
char *unit_scratch(void);
void unit_remove(char *path);

/* Makes a chain of @depth directories called "d" below @at, each with a file. */
void unit_chain(int at, int depth);

/* Runs @count threads (at most 16) that call @run(data, index), all at once. */
void unit_threads(int count, void (*run)(void *data, int index), void *data);

/* Redirects standard error until unit_said(), which returns what was written, to
 * be freed. */
void unit_listen(void);
char *unit_said(void);
/* Asserts that @said, which it frees, is one line of the command's that holds
 * @words (NULL: whatever it says). */
void unit_assert_line(char *said, const char *words);

/*
 * A source directory, a store and an inode table, put together as a session does.
 * No handle, inode or descriptor may be left when it is destroyed.
 */
struct world_options {
	unsigned limit;		/* of descriptors; 0: 1,000 */
	bool read_only;
	bool without_store;	/* nothing of the store may then be asked for */
	const char *also;	/* one name or glob; NULL: none */
	uint64_t size, inodes;	/* of the store; 0: 1 MiB and its default */
};

struct world {
	struct fs fs;
	struct opts opts;
	char *source;		/* its path */
	struct inode *root;	/* a reference */
	unsigned words;		/* that a kernel would have heard */
	unsigned files_gone;	/* of which it would have heard */
	int descriptors;	/* open before it was made */
};

struct world *world_create(const struct world_options *options);
void world_destroy(struct world *world);

/* The path of @name in the source, in the ring of in(). */
const char *world_path(const struct world *world, const char *name);

/*
 * Looks @name up in @parent as the kernel's lookup does: routes, opens, adds to the
 * table.  Returns 0 with a reference that counts as one lookup, or negative errno.
 */
int world_lookup(struct world *world, struct inode *parent, const char *name,
		 struct inode **ret);
/* The same, where it must be there; the reference is given back already. */
struct inode *world_find(struct world *world, struct inode *parent,
			 const char *name);
/* The kernel forgets one lookup. */
void world_forget(struct world *world, struct inode *inode);

/* Makes a file by routing it, with @text in it.  Returns 0 or negative errno. */
int world_make(struct world *world, struct inode *parent, const char *name,
	       const char *text);

struct inode_figures world_figures(struct world *world);

/* Opens @inode and gives the handle back.  Returns 0 or negative errno. */
int world_open(struct world *world, struct inode *inode, enum handle_use use);
/* Opens so many files of its own, below "others" in the source, that every
 * descriptor is dropped that need not stay; forgets them again. */
void world_push_out(struct world *world);

#endif
