/*
 * The mounts below the source, told apart from those on top of our own mount.
 */
#ifndef PYCACHEFS_BELOW_H
#define PYCACHEFS_BELOW_H

#include <stdint.h>

#include "source.h"

/*
 * A digest of the mounts below the source, as the list open as @mounts tells them
 * (see mounts_open()): another one means that some came or went.  Mounts on top of
 * ours do not count.  Returns 0 or negative errno.
 */
int below_digest(const struct source *source, int mounts, uint64_t *ret);

#endif
