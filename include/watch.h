/*
 * The watcher: hears of changes made behind the mount, and makes the kernel forget
 * exactly what has changed.
 *
 * This is what makes caching without a time limit honest.  Each source directory
 * that the kernel knows carries a fanotify mark, placed before the kernel's lookup
 * of it is answered.  What the daemon does itself is told from what others do by
 * the process id that comes with an event.
 *
 * What can't be watched is cached for a time limit instead: network filesystems,
 * whose changes are made elsewhere, and directories beyond the kernel's limit of
 * marks.
 */
#ifndef PYCACHEFS_WATCH_H
#define PYCACHEFS_WATCH_H

#include "fs.h"
#include "notify.h"

struct watcher;

/*
 * Makes a watcher and, with @marks, marks the root.  Call before mounting.  Where
 * nothing can be watched, @fs tells why; mounts that come or go below the source are
 * heard of in any case.  Returns 0 or negative errno.
 */
int watcher_create(struct watcher **ret, struct fs *fs, bool marks);

/* Starts to hear; what was marked since watcher_create() is not lost. */
int watcher_start(struct watcher *watcher, struct notifier *notifier);

/* Ends its thread, when no requests are served any more.  Both take NULL. */
void watcher_stop(struct watcher *watcher);
void watcher_destroy(struct watcher *watcher);

#endif
