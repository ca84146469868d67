/*
 * Word to the kernel that something it has cached is out of date.
 *
 * Never from a request's handler, nor under a lock that one may want: the kernel
 * takes locks of its own for it, which the request may hold (see libfuse's
 * fuse_lowlevel_notify_inval_entry()).  So the watcher's thread sends, and what
 * operations have to say goes through a queue to a thread of its own.
 *
 * For what may still be there, only expire_entry and inval_inode are sent:
 * inval_entry and delete unmount what is mounted on the name or below it (fs/fuse/
 * dir.c, fuse_reverse_inval_entry()).  So does any kernel when a directory is removed
 * in another mount namespace.
 */
#ifndef PYCACHEFS_NOTIFY_H
#define PYCACHEFS_NOTIFY_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define FUSE_USE_VERSION 317
#include <fuse_lowlevel.h>

#include "fs.h"

struct notifier;

/*
 * Makes a notifier for @session, starts its threads, and connects the hooks of @fs by
 * which operations speak, whose figures count what is sent.  Both are borrowed.  Returns
 * 0 or negative errno.  notifier_destroy() sends what is queued, ends the threads and
 * takes NULL.
 */
int notifier_create(struct notifier **ret, struct fuse_session *session,
		    struct fs *fs);
void notifier_destroy(struct notifier *notifier);

/*
 * At once, by a thread that serves no requests: the kernel is to ask again for
 * @name in the directory @parent, and to forget the directory's listing.
 */
void notify_name(struct notifier *notifier, uint64_t parent, const char *name);

/* As notify_name(), but of the name alone. */
void notify_expire(struct notifier *notifier, uint64_t parent, const char *name);

/*
 * At once, likewise: the file @number, which was @name in the directory @parent, has
 * no name any more.  The kernel forgets it as soon as nobody has it open.
 */
void notify_gone(struct notifier *notifier, uint64_t parent, uint64_t number,
		 const char *name);

/* At once, likewise: attributes, and with @content the pages too. */
void notify_inode(struct notifier *notifier, uint64_t number, bool content);

/* How many threads serve requests; until it is said, fs->words_sent() never waits:
 * see there. */
void notifier_set_readers(struct notifier *notifier, unsigned readers);

#endif
