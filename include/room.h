/*
 * Room in the store: when it is full, bytecode goes that was not used for the
 * longest time.
 *
 * What stands for use.  The kernel answers most of what Python does, so the daemon
 * sees less than every use: the first read of a file's pages, and one ioctl for each
 * time that CPython 3.8 to 3.13 opens it (isatty()).  Each sets the file's atime, to
 * the second.  What other interpreters use again and again
 * may look old.  That is good enough: evicting it costs compiling it once more, and
 * never correctness.
 *
 * What is kept for directories that are gone goes first: all of it, when that is certain
 * (origin.h).  Else only bytecode goes, since only bytecode is made anew by itself; other
 * files that programs keep in `__pycache__` stay.  Unfinished files stay too, until they have
 * not been written to for a minute: then their writer was killed.
 *
 * What is open when it goes can be read on, and takes its room until it is closed.  That
 * takes a kernel that tells at once what is not open, which then gives its room (Linux
 * 6.18, see forgetter.h); with older ones its reader finds it gone (-ESTALE).
 */
#ifndef PYCACHEFS_ROOM_H
#define PYCACHEFS_ROOM_H

#include "fs.h"

/*
 * Makes room for @bytes more and for a file.  @keep is written just now, so it stays;
 * NULL: nothing.  Returns 0 when there may be room now, -ENOSPC when nothing can go,
 * or another negative errno.  Any thread, not while acting as a caller.
 */
int room_make(struct fs *fs, uint64_t bytes, const struct file_id *keep);

/*
 * Whether to try again what has failed with @err in the store: after -ENOSPC, when
 * room could be made for a file, and a few times when it could not, since a file that
 * was just unlinked gives its room back when the kernel forgets it, which takes it a
 * moment.  @tries counts, from 0.  Not while acting as a caller.
 */
bool room_try_again(struct fs *fs, int err, unsigned *tries);

/*
 * In a depot (depot.h), whose limits no kernel keeps, room is claimed before a file is
 * written, and settled afterwards, whatever came of it; elsewhere both do nothing.
 * @offset may be ROOM_AT_END.  Returns 0 or negative errno: -ENOSPC when the limit does
 * not allow it, upon which nothing must be written.  Any thread.
 */
struct room_claim {
	struct ledger *ledger;	/* NULL: nothing was claimed */
	uint64_t bytes;
	uint64_t before;	/* what the file took */
};
#define ROOM_AT_END (-1)
int room_claim(struct fs *fs, const struct inode *inode, int fd, off_t offset,
	       uint64_t size, struct room_claim *ret);
void room_settle(const struct room_claim *claim, int fd);

/* A file was used, which @fd is open for reading.  Other files than the store's are passed
 * over.  Any thread. */
void room_note_use(struct fs *fs, struct inode *inode, int fd);

#endif
