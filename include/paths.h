/*
 * Paths as users give them, and the mounts that they lead to.
 */
#ifndef PYCACHEFS_PATHS_H
#define PYCACHEFS_PATHS_H

#include <stdbool.h>

#include "mounts.h"

/*
 * The absolute path of @path without symlinks, as realpath(3), but also where it
 * leads to a dead FUSE mount.  The caller frees it; NULL with errno set on error.
 */
char *path_resolve(const char *path);

/* The same, but with the last name as it is given, even if nothing has it. */
char *path_resolve_parent(const char *path);

/* Whether @path, resolved, lies in the directory @directory or is it. */
bool path_is_within(const char *path, const char *directory);

/*
 * Unmounts the topmost mount at @path, a resolved path: by umount2(2), and where
 * that is not permitted by fusermount3.  Returns 0, or negative errno after
 * complaining.
 */
int path_unmount(const char *path, bool lazy);

/*
 * Unmounts @mount, wherever it is, lazily and no other: when something else is
 * mounted on top of it, both stay.  Returns 0, also when it is gone already, or
 * negative errno after complaining (-EBUSY: covered).
 */
int path_unmount_only(const struct mount_id *mount);

#endif
