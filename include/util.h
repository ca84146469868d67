/*
 * Small helpers that every layer uses: scoped clean-up, directory reading,
 * removal of whole trees.
 */
#ifndef PYCACHEFS_UTIL_H
#define PYCACHEFS_UTIL_H

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#define ARRAY_SIZE(array) (sizeof(array) / sizeof((array)[0]))

/* The largest name that a Linux filesystem holds, with its NUL. */
#define NAME_SIZE 256

static inline void cleanup_close(int *fd)
{
	if (*fd >= 0)
		close(*fd);
}

static inline void cleanup_free(void *pointer)
{
	free(*(void **)pointer);
}

static inline void cleanup_dir(DIR **dir)
{
	if (*dir)
		closedir(*dir);
}

/* Close, free or closedir when the variable goes out of scope. */
#define _cleanup_close_ __attribute__((cleanup(cleanup_close)))
#define _cleanup_free_ __attribute__((cleanup(cleanup_free)))
#define _cleanup_dir_ __attribute__((cleanup(cleanup_dir)))

/* Hands an owned descriptor on: the variable no longer owns it. */
static inline int steal_fd(int *fd)
{
	int value = *fd;

	*fd = -1;
	return value;
}

bool starts_with(const char *text, const char *prefix);
bool ends_with(const char *text, const char *suffix);

/* Whether @name is "." or "..". */
bool is_dot(const char *name);

/*
 * Opens @name below @dirfd as a directory stream.  The caller owns the result.
 * Returns 0 or negative errno; symlinks are not followed (-ELOOP or -ENOTDIR).
 */
int open_dir_at(int dirfd, const char *name, DIR **ret);

/* The same for the directory that @fd is open for, which may be O_PATH. */
int dir_reopen(int fd, DIR **ret);

/*
 * Removes @name below @dirfd, whatever it is, with all below it.  Stops at the
 * first error.  Trees deeper than 100 levels give -ELOOP, since each level costs
 * a descriptor.  Returns 0 or negative errno; a missing name is 0.
 */
int remove_tree_at(int dirfd, const char *name);

/* A path to what @fd is open for, which may be O_PATH, for calls that take no such
 * descriptor.  Returns @ret. */
enum { PROC_NAME_SIZE = 32 };
const char *proc_name(int fd, char ret[PROC_NAME_SIZE]);

/* Copies the xattr @name between two descriptors, which may be O_PATH.  Returns 0,
 * also when there is none to copy, or negative errno. */
int copy_xattr(int from, int to, const char *name);

/* Milliseconds of CLOCK_MONOTONIC. */
uint64_t milliseconds(void);

/* The time of CLOCK_MONOTONIC in so many milliseconds from now. */
struct timespec monotonic_in(uint64_t milliseconds);

/* Makes a condition that can be waited for by that clock. */
void cond_init_monotonic(pthread_cond_t *cond);

/* As pthread_cond_wait(), but no longer than @until: false when that has come. */
bool cond_wait(pthread_cond_t *cond, pthread_mutex_t *lock, const struct timespec *until);

/* Starts a thread that no signal is delivered to: signals are the main thread's.
 * Returns 0 or negative errno. */
int thread_start(pthread_t *ret, void *(*run)(void *data), void *data);

#endif
