/*
 * A session: one mount from the first descriptor to the last.
 */
#ifndef PYCACHEFS_SESSION_H
#define PYCACHEFS_SESSION_H

#include "opts.h"

/*
 * Mounts what @opts says, whose source and mountpoint are absolute and resolved,
 * and serves it until it is unmounted or a signal ends it (INT, TERM, HUP).  Calls
 * @ready once when the mount is usable, and ends when that fails.  Complains of what
 * goes wrong before.  Returns 0, or negative errno, also when a signal came before
 * the mount was usable.  The process must have no other threads.
 */
int session_run(const struct opts *opts, int (*ready)(void *data), void *data);

#endif
