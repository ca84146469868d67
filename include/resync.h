/*
 * Making the kernel ask again for everything, where it is not known what has changed.
 *
 * For a thread that serves no requests.
 */
#ifndef PYCACHEFS_RESYNC_H
#define PYCACHEFS_RESYNC_H

#include <stdbool.h>

#include "fs.h"
#include "notify.h"

/*
 * All that the kernel holds is to be asked for again.  Returns false when something
 * was left out that can be done later: short of memory or descriptors.
 */
bool resync_all(struct fs *fs, struct notifier *notifier);

/* The same for names alone that answers may be on their way for: see echo.h. */
void resync_echo(struct fs *fs, struct notifier *notifier);

#endif
