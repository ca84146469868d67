/*
 * The names of an inode, and what happens to it when one of them goes.
 *
 * A file that loses its name may still be open, and no message tells us so.  Its
 * descriptor then is all that leads to it, and is kept until the kernel forgets it
 * or finds it by another name.  No moment may pass between the name's going and
 * the descriptor's being kept, so whoever takes a name away does this:
 *
 *     inode_hold()                      can fail, nothing has happened yet
 *     unlink(2), rename(2) and so on
 *     inode_lost_name() or inode_moved()   only if it went; can't fail
 *     inode_release()
 *
 * A lookup may have opened the name before it went, and reach the table after: what
 * it saw is older than the event (see inode_events()), and does not count.
 */
#ifndef PYCACHEFS_INODE_NAMES_H
#define PYCACHEFS_INODE_NAMES_H

#include "inode.h"

struct inode_name;

/*
 * Keeps @inode's descriptor open until inode_release(), whatever becomes of its
 * names; @loses_name: it may have to be pinned.  Returns 0 or negative errno:
 * -EMFILE when too many are pinned, or no descriptor is to be had; -ESTALE when it
 * is not where it was seen last (the kernel looks it up again and repeats the call).
 */
int inode_hold(struct inode_table *table, struct inode *inode, bool loses_name);
/* As inode_hold() for who loses a name, without waiting for others to go. */
int inode_hold_at_once(struct inode_table *table, struct inode *inode);
void inode_release(struct inode_table *table, struct inode *inode);

/*
 * @name in @parent has gone, or is another file by now.  @inode must be held.  When
 * no other name is known that leads to it, its descriptor is pinned.
 */
void inode_lost_name(struct inode_table *table, struct inode *inode,
		     struct inode *parent, const char *name);

/* The same when the file has lost its last name, whichever names are known. */
void inode_lost_names(struct inode_table *table, struct inode *inode);

/* The kernel is known to have forgotten @inode, which has no name, though its word may
 * be on the way still: drops its descriptor. */
void inode_forgotten(struct inode_table *table, struct inode *inode);

/* A name to move to, made before the move, which then can't fail.  Returns NULL
 * when memory is short.  inode_moved() takes it, inode_name_free() frees it;
 * NULL is taken. */
struct inode_name *inode_name_create(struct inode *parent, const char *text);
void inode_name_free(struct inode_table *table, struct inode_name *name);

/* The file has moved from @name in @parent to @to, which is taken. */
void inode_moved(struct inode_table *table, struct inode *inode,
		 struct inode *parent, const char *name, struct inode_name *to);

/*
 * Calls @each for every name that is known to lead to @inode, without locks; @parent is
 * borrowed for the call.  Names that come or go meanwhile may be left out.
 */
void inode_each_name(struct inode_table *table, struct inode *inode,
		     void (*each)(void *data, struct inode *parent, const char *name),
		     void *data);

#endif
