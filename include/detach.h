/*
 * Into the background, and the word that the mount is usable.
 */
#ifndef PYCACHEFS_DETACH_H
#define PYCACHEFS_DETACH_H

#include <stdbool.h>

/* The pipe on which the command waits for its daemon; -1: in the foreground. */
struct detach {
	int pipe;
	int null;	/* /dev/null, opened before anything is mounted */
};

/*
 * In the background: closes all descriptors but 0 to 2, and forks.  In the parent it
 * returns 1, when the child is ready, or has ended, with its exit status in
 * @ret_status; in the child it returns 0, in a session of its own.  In the foreground
 * it returns 0 at once.  Negative errno when it can't fork.
 *
 * A signal that would end the parent (INT, TERM, HUP) while it waits is handed on to
 * the child, and ends the parent when the child has ended: so nothing is left.
 */
int detach_start(struct detach *ret, bool foreground, int *ret_status);

/*
 * The mount is usable: lets go of the terminal and lets the command end with
 * status 0.  Also tells systemd, or who else set NOTIFY_SOCKET (sd_notify(3)).
 * Returns 0, or negative errno when the command was killed: then nobody knows that
 * there is a mount, and it should not stay.
 */
int detach_ready(struct detach *detach);

/* Lets go of the terminal alone: standard streams to @null, a descriptor of /dev/null,
 * and the log to syslog. */
void detach_streams(int null);

#endif
