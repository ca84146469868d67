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
 * while open, O_TMPFILE) is pinned: its descriptor is kept.
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
 * open).  At most @limit descriptors are kept open, the pinned ones on top.
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
 * Finds or adds the inode of a file, found as @name in @parent, and counts a
 * lookup of the kernel's.  Atomic: racing lookups of one file get one inode.
 * Takes @fd, an O_PATH or open descriptor of the file, or -1; @open_for says what
 * it is good for.  Returns 0 with a reference, or -ENOMEM.
 */
int inode_lookup(struct inode_table *table, enum inode_kind kind,
		 const struct file_id *id, mode_t mode, struct inode *parent,
		 const char *name, int fd, enum handle_use open_for,
		 struct inode **ret);

/* The kernel forgets @count lookups. */
void inode_forget(struct inode_table *table, uint64_t number, uint64_t count);

/* Finds a known inode by its identity.  Returns a reference, or NULL. */
struct inode *inode_find(struct inode_table *table, enum inode_kind kind,
			 const struct file_id *id);

/* No later lookup finds this inode; the kernel may go on using its number. */
void inode_retire(struct inode_table *table, struct inode *inode);

/* The file has moved: it is now @name in @parent.  Ends a pin. */
void inode_move(struct inode_table *table, struct inode *inode,
		struct inode *parent, const char *name);

/*
 * Keeps a descriptor of the inode until it is looked up or moved again: its name
 * is about to go.  Returns 0, or negative errno when none can be opened.
 */
int inode_pin(struct inode_table *table, struct inode *inode);
void inode_unpin(struct inode_table *table, struct inode *inode);

uint64_t inode_number(const struct inode *inode);
enum inode_kind inode_kind(const struct inode *inode);
/* The file's type, as S_IFMT of its mode. */
mode_t inode_type(const struct inode *inode);
const struct file_id *inode_id(const struct inode *inode);

/*
 * Where it was last seen: returns a reference to the directory, NULL for the root,
 * and copies the name.
 */
struct inode *inode_place(struct inode_table *table, struct inode *inode,
			  char ret_name[NAME_SIZE]);

/* The directory in which it was last seen, as a reference; NULL for the root. */
struct inode *inode_parent(struct inode_table *table, struct inode *inode);

/*
 * A handle for @use: a cached descriptor or one that is opened now.  Returns 0 with
 * a reference to be given back by handle_put(), or negative errno.
 */
int inode_open(struct inode_table *table, struct inode *inode,
	       enum handle_use use, struct handle **ret);

/*
 * Drops the cached descriptor, if any: what it names was replaced.
 */
void inode_close(struct inode_table *table, struct inode *inode);

/* Whether a directory's changes behind the mount are heard; starts as false. */
bool inode_is_watched(const struct inode *inode);
void inode_set_watched(struct inode *inode);

/*
 * A file of the store to which a write has failed, or came up short, is spoiled
 * until it is truncated to 0: it must not get the name that its writer has in mind
 * for it.  The value is the negative errno of that write, 0 for a sound file.  A
 * spoiled inode is kept until it is sound again or has lost its name.
 */
int inode_spoiled(const struct inode *inode);
void inode_spoil(struct inode *inode, int err);
void inode_unspoil(struct inode_table *table, struct inode *inode);

/*
 * Whether a directory was found to hold no temporaries of writers of bytecode;
 * starts as false.  None comes into the source through the mount.
 */
bool inode_is_tidy(const struct inode *inode);
void inode_set_tidy(struct inode *inode);

/*
 * Notes in which state a file was shown: digests of what tells the kernel that its
 * content has changed (mtime and size), and of its ctime.  Returns whether the ctime
 * has changed since, and nothing else has.
 */
bool inode_note_shown(struct inode *inode, uint32_t content, uint32_t ctime);

/* Notes that a file was used at @second.  Returns whether that is news. */
bool inode_note_used(struct inode *inode, uint32_t second);

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

/* The numbers of all inodes, which the caller frees.  Returns 0 or -ENOMEM. */
int inode_numbers(struct inode_table *table, uint64_t **ret, size_t *ret_count);

/* Descriptors that are open for writing: see handles_settle() in handle.h. */
struct handles *inode_handles(struct inode_table *table);

#endif
