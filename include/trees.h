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
#include <stdbool.h>
#include <stdint.h>

/* What tells spare names apart; any thread. */
struct trees_serial {
	uint64_t tag;		/* random where several processes make names; or 0 */
	_Atomic uint64_t next;
};

#define TREES_PREFIX "x-"
/* A prefix of two bytes, the tag, a dot, and a number. */
enum { TREES_NAME_SIZE = 2 + 16 + 1 + 20 + 1 };

/* A name that @serial has not given before. */
void trees_spare_name(struct trees_serial *serial, const char *prefix,
		      char ret[TREES_NAME_SIZE]);

/*
 * Moves @name below @from into the directory @to of the same filesystem, under a
 * name that nothing has there: TREES_PREFIX and what @serial gives.  It is written
 * to @ret.  Returns 0 or negative errno.  Any thread.
 */
int trees_move_aside(struct trees_serial *serial, int from, const char *name,
		     int to, char ret[TREES_NAME_SIZE]);

/* Whether @name was given with this @serial, or with another one of its tag. */
bool trees_is_aside(const struct trees_serial *serial, const char *name);

/*
 * Removes the directory @name below @at with all below it.  Everything in it must be
 * ours to remove, but its modes don't matter.  More than one thread may do so at
 * once.  Returns 0, also when it is missing, or negative errno, upon which the rest
 * is still there: it may be tried again.
 */
int trees_remove(struct trees_serial *serial, int at, const char *name);

#endif
