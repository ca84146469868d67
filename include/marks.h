/*
 * Marks: the fanotify marks of source directories, and which inode each belongs to.
 *
 * An event names a directory by its file handle; a table leads from there to our
 * inode.
 */
#ifndef PYCACHEFS_MARKS_H
#define PYCACHEFS_MARKS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/fanotify.h>

#include "fs.h"

struct marks;

/* Names that came, went or moved. */
#define MARKS_NAME_EVENTS (FAN_CREATE | FAN_DELETE | FAN_MOVED_FROM | FAN_MOVED_TO)
/* Content; closing counts, since stores through a mapping are heard of by that alone
 * (the mapping holds the file open, so it comes after them). */
#define MARKS_CONTENT_EVENTS (FAN_MODIFY | FAN_CLOSE_WRITE)

/* Makes an empty set for the table of @fs.  Returns 0 or negative errno.  The table
 * must outlive the marks' last use, but not marks_destroy(), which takes NULL. */
int marks_create(struct marks **ret, struct fs *fs);
void marks_destroy(struct marks *marks);

/* Where events come, non-blocking. */
int marks_fd(const struct marks *marks);

/*
 * Marks @directory, which @fd is open for: what changes in it from now on makes an
 * event.  Any thread.  Returns 0 or negative errno, -EREMOTE for a filesystem that
 * may be changed elsewhere.
 */
int marks_place(struct marks *marks, const struct inode *directory, int fd);

/*
 * Takes the mark of @directory away, which is about to be freed; @fd is open for it,
 * or -1.  Without a descriptor its place must still be known.
 */
void marks_remove(struct marks *marks, struct inode *directory, int fd);

/* Takes all marks away. */
void marks_flush(struct marks *marks);

/* The directory that the event record @info is about, as a reference; NULL: one that
 * is forgotten. */
struct inode *marks_find(struct marks *marks,
			 const struct fanotify_event_info_fid *info);

/* The directory that @info is about was removed, and its mark with it.  Returns whether
 * it had one; then which directory it was, as the kernel may have forgotten it before. */
bool marks_forget(struct marks *marks, const struct fanotify_event_info_fid *info,
		  struct file_id *ret);

#endif
