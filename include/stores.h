/*
 * The store that a mount asks for: a private one, or a depot (store=DIR).
 */
#ifndef PYCACHEFS_STORES_H
#define PYCACHEFS_STORES_H

#include "opts.h"
#include "store.h"

/*
 * Opens it; @source is the directory that will be mounted.  Must be called before
 * mounting and before threads start.  Returns 0, or negative errno after complaining.
 * store_destroy() ends it.
 */
int stores_open(struct store *ret, const struct opts *opts, int source);

#endif
