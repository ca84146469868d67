/*
 * Tending a store that other daemons use too: what they remove is let go of here, since
 * a descriptor that is cached holds its memory.
 */
#ifndef PYCACHEFS_TEND_H
#define PYCACHEFS_TEND_H

#include "fs.h"

struct tender;

/*
 * Starts a thread that looks once a second, and does nothing while no daemon writes to
 * the store.  Returns 0 or negative errno.  tender_destroy() ends it and takes NULL.
 */
int tender_create(struct tender **ret, struct fs *fs);
void tender_destroy(struct tender *tender);

#endif
