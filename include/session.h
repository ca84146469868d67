/*
 * A session: one mount from the first descriptor to the last.
 */
#ifndef PYCACHEFS_SESSION_H
#define PYCACHEFS_SESSION_H

#include "fs.h"
#include "opts.h"

struct fuse_session;

struct session_hooks {
	/* A mount that session_mount() made, perhaps in another process and another
	 * mount namespace; taken.  -1: the session mounts itself. */
	int device;
	/* That mount was made in a user namespace which has our uid and gid alone. */
	bool one_id;
	/* The mount is usable; called once.  Negative errno: the session is to end. */
	int (*ready)(void *data);
	/* Nothing is served any more; only after ready, NULL: not told. */
	void (*ended)(const struct fs_figures *figures, void *data);
	void *data;
};

/*
 * Mounts what @opts says, whose source and mountpoint are absolute and resolved,
 * and serves it until it is unmounted or a signal ends it (INT, TERM, HUP, unless
 * ignored).  Complains of what goes wrong before it is usable.  Returns 0, or negative
 * errno, also when a signal came before the mount was usable.  The process must have
 * no other threads.
 */
int session_run(const struct opts *opts, const struct session_hooks *hooks);

/*
 * Mounts as session_run() would, for a process elsewhere to serve @ret_device, which is
 * borrowed from @ret.  The source is not opened.  The caller owns @ret and ends it by
 * session_unmount(), which takes NULL.  Returns 0, or negative errno after complaining.
 */
int session_mount(const struct opts *opts, struct fuse_session **ret,
		  int *ret_device);
void session_unmount(struct fuse_session *fuse);

#endif
