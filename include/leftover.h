/*
 * What hides in a directory of the source that looks empty.
 */
#ifndef PYCACHEFS_LEFTOVER_H
#define PYCACHEFS_LEFTOVER_H

#include "cred.h"
#include "fs.h"

/*
 * Removes the hidden cache entries that the source holds in the directory @name of
 * @at, whose identity is @id, if there is nothing else in it.  Removes as
 * @caller, with their groups: nothing that they could not remove natively.
 * Returns 0, or -ENOTEMPTY: something else is in it, or something would not go.
 */
int leftover_clear(struct fs *fs, int at, const char *name,
		   const struct file_id *id, const struct caller *caller);

#endif
