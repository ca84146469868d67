/*
 * The inode table: what the kernel knows by number, and how we reach it.
 *
 * An inode stands for one file as long as the kernel remembers it.  Its number is
 * handed out once and never again while mounted, so an old number can't name a
 * new file.  A request brings a number; inode_get() gives the inode.
 *
 * Handles carry nothing: a descriptor is a cache.  It can be dropped and opened
 * anew from the inode's place (parent and name), and what is found there counts
 * only if it has the same identity; otherwise -ESTALE, upon which the kernel looks
 * the name up again.  So the table may grow with the tree while the number of
 * descriptors stays under a limit.  An inode that has no name any more (deleted
 * while open, O_TMPFILE) is pinned: its descriptor is kept.  See inode_names.h.
 *
 * References: the kernel's (its lookups count as one), one of each child, and
 * those of requests in progress.  An inode is freed with its last.
 *
 * Locks, in the order in which they may be taken:
 *   table->lock    numbers, identities, names, parents, lookups
 *   handles->lock  see handle.h
 * Neither is held over a system call.
 */
#ifndef PYCACHEFS_INODE_H
#define PYCACHEFS_INODE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "handle.h"
#include "identity.h"
#include "util.h"

struct inode;
struct inode_table;

/* FUSE_ROOT_ID: the root's number. */
#define INODE_ROOT UINT64_C(1)

/*
 * Makes a table whose root is the directory @root_fd (borrowed, it must stay
 * open).  At most @limit descriptors are kept open.
 * Returns 0 or negative errno.  inode_table_destroy() wants no request in
 * progress; NULL is taken.
 */
int inode_table_create(struct inode_table **ret, int root_fd, unsigned limit,
		       struct devices *devices, inode_opener *opener, void *data);
void inode_table_destroy(struct inode_table *table);

struct inode_figures {
	uint64_t known;		/* inodes */
	uint64_t descriptors;	/* open for them */
	uint64_t limit;
};
void inode_table_figures(struct inode_table *table, struct inode_figures *ret);

/* Finds an inode by its number.  Returns a reference, or NULL: not known. */
struct inode *inode_get(struct inode_table *table, uint64_t number);
struct inode *inode_ref(struct inode *inode);
/* Gives a reference back.  NULL is taken. */
void inode_put(struct inode_table *table, struct inode *inode);

/*
 * How often an inode has lost or changed a name.  Whoever looks a file up takes this
 * before opening its name: see struct sighting.
 */
uint64_t inode_events(struct inode_table *table);

/* A file as it was found just now. */
struct sighting {
	enum inode_kind kind;
	uid_t user;		/* of INODE_SHADOW: see inode_user() */
	struct file_id id;
	mode_t mode;
	nlink_t links;		/* names that it has */
	/* Where; borrowed.  NULL: it has no name (O_TMPFILE), and is pinned. */
	struct inode *parent;
	const char *name;
	/* inode_events() from before it was opened there.  If it has lost a name
	 * since, that may be the one, and what was seen of its place is ignored. */
	uint64_t since;
	int fd;			/* taken: of the file; -1: none */
	enum handle_use open_for;	/* what fd is good for */
};

/*
 * Finds or adds the inode of a file and counts a lookup of the kernel's.  Atomic:
 * racing lookups of one file get one inode.  Returns 0 with a reference, -ENOMEM,
 * or for what has no name -EMFILE: too many are pinned.
 */
int inode_lookup(struct inode_table *table, const struct sighting *seen,
		 struct inode **ret);

/* The kernel forgets @count lookups. */
void inode_forget(struct inode_table *table, uint64_t number, uint64_t count);

/* Finds a known inode by its identity.  Returns a reference, or NULL. */
struct inode *inode_find(struct inode_table *table, enum inode_kind kind,
			 const struct file_id *id);

/* The same for a `__pycache__` of the source directory of identity @directory. */
struct inode *inode_find_shadow(struct inode_table *table,
				const struct file_id *directory, uid_t user);

/* No later lookup finds this inode; the kernel may go on using its number. */
void inode_retire(struct inode_table *table, struct inode *inode);

uint64_t inode_number(const struct inode *inode);
enum inode_kind inode_kind(const struct inode *inode);
/* Of an INODE_SHADOW: the user whose own it is, 0 when it is shared. */
uid_t inode_user(const struct inode *inode);
/* Of such a user's own: their group, as it was noted last. */
gid_t inode_group(const struct inode *inode);
void inode_note_group(struct inode *inode, gid_t group);
/* The file's type, as S_IFMT of its mode. */
mode_t inode_type(const struct inode *inode);
const struct file_id *inode_id(const struct inode *inode);

/*
 * Where it was last seen: returns a reference to the directory and copies the name.
 * NULL for the root, and for what has no name any more.
 */
struct inode *inode_place(struct inode_table *table, struct inode *inode,
			  char ret_name[NAME_SIZE]);

/* The same without the name. */
struct inode *inode_parent(struct inode_table *table, struct inode *inode);

/*
 * A handle for @use: a cached descriptor or one that is opened now.  Returns 0 with
 * a reference to be given back by handle_put(), or negative errno.
 */
int inode_open(struct inode_table *table, struct inode *inode,
	       enum handle_use use, struct handle **ret);

/* Drops the cached descriptor, if any: what it names was replaced.  A pinned one
 * stays. */
void inode_close(struct inode_table *table, struct inode *inode);

/*
 * Opens the file for writing, as far as that is permitted, and keeps that
 * descriptor before others: it can't be opened so again, as far as is known, until
 * inode_unkeep_writer().  Returns 0 or negative errno.
 */
int inode_keep_writer(struct inode_table *table, struct inode *inode);
void inode_unkeep_writer(struct inode_table *table, struct inode *inode);

/* A reference to the cached handle of an inode that is not pinned, or NULL.  Opens
 * nothing, and does not count as a use. */
struct handle *inode_peek(struct inode_table *table, struct inode *inode);

/* Drops the cached descriptor of a regular file if it is good for reading alone. */
void inode_drop_reader(struct inode_table *table, struct inode *inode);

/* Drops the cached descriptors of all source directories that are not pinned: other
 * mounts may be found on the way to them. */
void inode_drop_directories(struct inode_table *table);

/* When the kernel last asked for a name in the directory, in milliseconds of
 * CLOCK_MONOTONIC; starts as 0.  See echo.h. */
void inode_note_asked(struct inode *directory, uint64_t milliseconds);
uint64_t inode_asked(const struct inode *directory);

/* Whether a directory's changes behind the mount are heard; starts as false. */
bool inode_is_watched(const struct inode *inode);
void inode_set_watched(struct inode *inode);

/*
 * Whether a directory was found to hold no temporaries of writers of bytecode;
 * starts as false.  None comes into the source through the mount.
 */
bool inode_is_tidy(const struct inode *inode);
void inode_set_tidy(struct inode *inode);

/* Whether a directory's shared `__pycache__` was seeded, or the one of some user's own
 * that @inode is; or need not be.  Starts as false. */
bool inode_is_seeded(const struct inode *inode);
void inode_set_seeded(struct inode *inode);

/*
 * Notes in which state a file was shown: digests of what tells the kernel that its
 * content has changed (mtime and size), and of its ctime.  Returns whether the ctime
 * has changed since, and nothing else has.
 */
bool inode_note_shown(struct inode *inode, uint32_t content, uint32_t ctime);

/* Notes that a file was used at @second.  Returns whether that is news. */
bool inode_note_used(struct inode *inode, uint32_t second);

/*
 * How many milliseconds ago inode_lookup() found the inode last, give or take a tick of
 * the kernel's (10 ms at most); what is longer ago than a minute may look shorter.
 */
unsigned inode_told_ago(const struct inode *inode);

/* Notes that the file's capabilities were just removed; taking the note ends it.
 * See op_attr.c, change_nothing(). */
void inode_set_capability_removed(struct inode *inode);
bool inode_take_capability_removed(struct inode *inode);

/* Whether @inode's parent is watched.  The root has none. */
bool inode_parent_watched(struct inode_table *table, const struct inode *inode);

/*
 * @on_free is called when a watched inode goes, with its descriptor, or -1.  Set
 * before there are requests.
 */
void inode_table_on_free(struct inode_table *table,
			 void (*on_free)(void *data, struct inode *inode, int fd),
			 void *data);

/*
 * Goes through the table: returns a reference to the next inode after @cursor,
 * which begins as 0, or NULL at the end.  Every inode that is known from before the
 * first call until its turn is met, once; those that come meanwhile may be.
 */
struct inode *inode_next(struct inode_table *table, uint32_t *cursor);

/* For settling: see settle.h. */
struct handles *inode_handles(struct inode_table *table);

#endif
