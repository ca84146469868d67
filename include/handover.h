/*
 * A daemon that is nobody's child, and how it is handed the mount that it serves.
 *
 * Who forks it goes on as another program, or makes the mount in a namespace where
 * the daemon must not live.  Both ends notice when the other is gone.
 */
#ifndef PYCACHEFS_HANDOVER_H
#define PYCACHEFS_HANDOVER_H

#include <stdbool.h>

struct handover {
	int socket;	/* to the other end; owned; -1: none */
	int null;	/* the daemon's: /dev/null; owned; -1: none */
};

/*
 * Forks the daemon, through a process that ends at once, so that it is no child of
 * the caller.  Returns 1 in the caller and 0 in the daemon: that is in a session of
 * its own, has no descriptors but 0 to 2 and these, and ignores the signals by which
 * users and service managers end programs.  Negative errno when it can't fork.
 * handover_close() ends either side.
 */
int handover_fork(struct handover *ret);
void handover_close(struct handover *handover);

/* The caller's: hands @device over, which stays the caller's too, and whether its
 * mount was made in a user namespace. */
int handover_give(struct handover *handover, int device, bool as_user);

/* The caller's: waits until the daemon is ready.  Returns 0; 1 when it has failed,
 * which it has complained of; negative errno. */
int handover_wait(struct handover *handover);

/* The daemon's: waits for the device, which it owns.  -EPIPE: the caller has gone. */
int handover_take(struct handover *handover, int *ret_device, bool *ret_as_user);

/* The daemon's: tells the caller whether it is ready.  Returns 0, or negative errno
 * when the caller has gone. */
int handover_tell(struct handover *handover, bool ready);

#endif
