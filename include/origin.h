/*
 * Origins: a note with each shadow of a store that is kept, of where its directory of
 * the source was, so that a later daemon can tell whether that is gone.
 *
 * A shadow's name alone can't be looked for.  The note holds what can:
 * - the file handle, where this user can open such.  One that is stale is gone for good,
 *   as far as the daemon may open all handles: in a user namespace the kernel calls those
 *   stale as well that it does not let us have (fs/fhandle.c, 6.11).
 * - the path from the filesystem's root, which mounts and mount namespaces don't change.
 *   Where something else lies there, or nothing, the directory may have been renamed, so
 *   that is a hint and no more.
 * What can't be told counts as there: another filesystem's, one that is far away, or a
 * path above the mount by which the daemon reaches the source.
 *
 * No path of the mount's own is touched: none leads across a mount.
 */
#ifndef PYCACHEFS_ORIGIN_H
#define PYCACHEFS_ORIGIN_H

#include "identity.h"

struct origin;

/* A note, and its NUL: so long a symlink takes no page (SHORT_SYMLINK_LEN of
 * mm/shmem.c). */
enum { ORIGIN_NOTE_SIZE = 128 };

enum origin_fate {
	ORIGIN_THERE,		/* or it can't be told */
	ORIGIN_MISSING,		/* not where it was */
	ORIGIN_GONE,		/* for good */
};

/*
 * Begins with @source (borrowed, it must stay open), to be called before mounting.
 * Returns 0 or negative errno.  origin_destroy() takes NULL.
 */
int origin_create(struct origin **ret, int source);
void origin_destroy(struct origin *origin);

/* Writes the note for the directory @fd.  Returns 0, or negative errno: -ENODATA when
 * there is nothing to note.  Any thread. */
int origin_note(struct origin *origin, int fd, char ret[ORIGIN_NOTE_SIZE]);

/* What has become of the directory @id, of which @note was made.  Any thread. */
enum origin_fate origin_judge(struct origin *origin, const struct file_id *id,
			      const char *note);

#endif
