/*
 * Questions that may never be answered.
 *
 * Whoever asks a mount waits for as long as its daemon is stopped.  Only SIGKILL ends
 * that, and once the daemon has taken the request, not even that (fs/fuse/dev.c,
 * request_wait_answer()).  So each question is asked by a process of its own, which can
 * be left behind.  It holds nothing that is open in ours, so that nobody waits for it
 * to close that, and it is killed when ours has ended.
 *
 * For a process of one thread, which gives up what it has made of SIGCHLD.
 */
#ifndef PYCACHEFS_INQUIRY_H
#define PYCACHEFS_INQUIRY_H

#include <stdint.h>
#include <sys/types.h>

struct inquiry {
	pid_t child;
	int pipe;
};

/*
 * Has @ask(data, &text) called: it returns 0 with a text that is freed, or negative
 * errno, and finds no descriptor open.  Returns 0, and then inquiry_end() must follow,
 * or negative errno.
 */
int inquiry_begin(struct inquiry *ret, int (*ask)(const void *data, char **ret),
		  const void *data);

/*
 * Waits for the answer, but no longer than until @due, a time of milliseconds().
 * Returns what @ask did, with a text that the caller frees; -ETIMEDOUT when the time is
 * up, -EINTR when the process was killed, -ENOMEM, or another negative errno.
 */
int inquiry_end(struct inquiry *inquiry, uint64_t due, char **ret);

#endif
