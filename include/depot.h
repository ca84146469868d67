/*
 * Depots: stores that are kept in a directory of a tmpfs (store=DIR), so that the next
 * mount starts warm.
 *
 * In DIR lie the shadows, as in a private store, the ledger, and for a moment things in
 * the making.  Several daemons may use one at once:
 * - Each change is one system call, and things in the making have names of their own
 *   (store_spare_name()).
 * - Nothing tells one daemon's kernel what another daemon has changed, and a name that
 *   is gone may be stale bytecode; so the kernel caches no name of a depot (fresh.c).
 * - What another daemon removes may be open here: tend.c lets go of it.
 * - A lock on DIR is shared by all who use it.  Whoever gets it alone, at the start or
 *   at the end, sweeps away what was left half-made.
 * - What a daemon has moved aside to remove is its own to remove (trees_is_aside()), or
 *   is swept away by who is alone.
 *
 * What is kept for directories that were removed meanwhile is not swept, but goes first
 * when room is needed: see origin.h.
 *
 * What a daemon that is killed leaves behind is never served as whole bytecode, since
 * every writer sees to that as it does on any filesystem, where it may be killed too:
 * - CPython 3.3 and newer, PyPy 3, compileall, pytest and numba write a temporary and
 *   rename it.  The rename reaches us after the writes were answered, in order.  The
 *   temporary is swept away.
 * - CPython 2.7 and PyPy 2 write X.pyc under its own name, with a time of 0 until the
 *   rest was written without an error, and take a file for stale whose time is not
 *   the module's.  Such a file is swept away too.
 * - Jython writes X$py.class under its own name, and nothing tells whether it is whole.
 *   So whoever sweeps keeps none.  (While another daemon lives nobody sweeps.)
 * - Stamps come before the bytecode; bytecode without one is never served.
 * Files of other kinds are as whole as their writers have made them.
 */
#ifndef PYCACHEFS_DEPOT_H
#define PYCACHEFS_DEPOT_H

#include <stddef.h>

#include "store.h"

/*
 * Opens the directory @path as a store that holds @size bytes and @inodes files at
 * most (0: as for store_create()).  It must be a directory on tmpfs or ramfs, no
 * symlink, the user's own and closed to others, and not lie in any of the @count
 * directories @outside.  Must be called before mounting.  Returns 0, or negative errno
 * with a text for the user, static: why, and what to do.  store_destroy() ends it.
 */
int depot_open(struct store *ret, const char *path, uint64_t size, uint64_t inodes,
	       const int *outside, size_t count, const char **ret_why);

#endif
