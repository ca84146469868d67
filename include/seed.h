/*
 * Seeding: bytecode that a source ships is copied into the store, with
 * existing=seed.
 */
#ifndef PYCACHEFS_SEED_H
#define PYCACHEFS_SEED_H

#include "cred.h"
#include "fs.h"

/* Whether seed_directory() may have something to do for the `__pycache__` of @directory
 * that is @user's own, or with 0 shared. */
bool seed_is_due(struct fs *fs, struct inode *directory, uid_t user);

/*
 * To be called before that `__pycache__` becomes known to the kernel.  Once for each
 * and for each store it copies what the source's own `__pycache__` holds, as far as
 * that is in order, @caller could read it there (who shares can), and there is room
 * without evicting anything; what is removed later does not come back.  @caller is the
 * one who asks, with groups unless @user is 0.  Any thread, not while acting as a
 * caller.
 */
void seed_directory(struct fs *fs, struct inode *directory,
		    const struct caller *caller, uid_t user);

#endif
