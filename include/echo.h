/*
 * Echoes: what was said to the kernel about a name is said once more, a moment later.
 *
 * A kernel that asks again for a name that it holds does so without the directory's
 * lock (fs/fuse/dir.c, fuse_dentry_revalidate()).  So the old answer can be on its way
 * to the asking thread while the name is expired, and make the name valid again, for
 * good.  (Everything else is safe: a first lookup and a listing hold the lock, which
 * expiring waits for; attributes carry a version.)  An answer that is on its way is
 * taken by a thread that has been woken already, so a moment is enough: the first
 * echo is for those that read on, the second for a machine that is short of CPUs.
 *
 * Only names in directories that the kernel has just asked about can be concerned.
 *
 * For one thread.
 */
#ifndef PYCACHEFS_ECHO_H
#define PYCACHEFS_ECHO_H

#include <stdbool.h>
#include <stdint.h>

#include "inode.h"
#include "notify.h"

struct echo;

enum {
	/* The echoes' distance from the word, in milliseconds. */
	ECHO_FIRST = 25,
	ECHO_SECOND = 1000,
	/* A directory in which a name was asked for that long ago is at rest. */
	ECHO_REST = 5000,
};

/* Makes it without any; @notifier is borrowed.  Returns NULL when memory is short.
 * echo_destroy() takes NULL. */
struct echo *echo_create(struct notifier *notifier);
void echo_destroy(struct echo *echo);

/* The kernel was just told to ask for @name in @directory again.  Returns false when
 * there are too many to remember: then echo the names of all directories. */
bool echo_add(struct echo *echo, const struct inode *directory, const char *name);

/* Sends what is due.  Returns in how many milliseconds there is more, or -1. */
int echo_send(struct echo *echo);

/* Whether answers about names in @directory may be on their way. */
bool echo_is_needed(const struct inode *directory);

#endif
