/*
 * Removing trees that are all our own, however deep they are.
 *
 * Each directory that holds something is moved up to the top of the tree, a level
 * at a time, and emptied there.  So nothing recurses, and two descriptors are
 * enough for any depth (three where modes bind us).  Others may still make files
 * in a directory that they have open, hence it is gone through until it is empty.
 */
#ifndef PYCACHEFS_TREES_H
#define PYCACHEFS_TREES_H

#include <stdatomic.h>
#include <stdint.h>

/* "x-" and a number. */
enum { TREES_NAME_SIZE = 24 };

/*
 * Moves @name below @from into the directory @to of the same filesystem, under a
 * name that nothing has there: "x-" and a number that @serial gives.  It is written
 * to @ret.  Returns 0 or negative errno.  Any thread.
 */
int trees_move_aside(_Atomic uint64_t *serial, int from, const char *name,
		     int to, char ret[TREES_NAME_SIZE]);

/*
 * Removes the directory @name below @at with all below it.  Everything in it must be
 * ours to remove, but its modes don't matter.  More than one thread may do so at
 * once.  Returns 0, also when it is missing, or negative errno, upon which the rest
 * is still there: it may be tried again.
 */
int trees_remove(_Atomic uint64_t *serial, int at, const char *name);

#endif
