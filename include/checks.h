/*
 * What a command checks, and clears away, before anything is mounted.
 */
#ifndef PYCACHEFS_CHECKS_H
#define PYCACHEFS_CHECKS_H

#include <stdbool.h>

/* Whether /dev/fuse can be used.  Returns 0, or negative errno after complaining. */
int check_device(void);

/* Whether /proc is there, without which nothing works.  Returns as check_device(). */
int check_proc(void);

/* Whether @path is a directory.  Returns 0, or negative errno after complaining. */
int check_directory(const char *path);

/* Whether @path, which is there, lies in a mount of ours. */
bool check_is_served(const char *path);

/*
 * Puts the absolute path without symlinks in the place of the one given, which it
 * frees, and takes away mounts of ours there whose daemons are gone.  Returns 0, or
 * negative errno after complaining.
 */
int check_resolve(char **path);

/*
 * The same for the directory that keeps the store, but the last name stays as it is,
 * since what lies there is for others to judge.  NULL in @path is taken.
 */
int check_resolve_store(char **path);

#endif
