/*
 * Seeding: bytecode that a source ships is copied into the store, with
 * existing=seed.
 */
#ifndef PYCACHEFS_SEED_H
#define PYCACHEFS_SEED_H

#include "fs.h"

/*
 * To be called before the shared `__pycache__` of @directory becomes known to the
 * kernel.  Once for each directory and store it copies what the source's own
 * `__pycache__` holds, as far as that is in order and there is room without evicting
 * anything; what is removed later does not come back.  Any thread, not while acting
 * as a caller.
 */
void seed_directory(struct fs *fs, struct inode *directory);

#endif
