/*
 * Acting as the caller: whose file is made, and under which umask.
 *
 * The kernel checks permissions before it asks the daemon (default_permissions).
 * What is left is that files belong to their maker and that the source's kernel
 * strips setuid, setgid and capabilities as it would natively.  Both hang on the
 * thread's filesystem uid and gid, its umask and its capabilities; a thread that
 * serves requests keeps all of them for itself (unshare(CLONE_FS), and raw system
 * calls, which glibc does not spread to the other threads).
 */
#ifndef PYCACHEFS_CRED_H
#define PYCACHEFS_CRED_H

#include <stdbool.h>
#include <sys/types.h>

struct caller {
	uid_t uid;
	gid_t gid;
	mode_t umask;
	const gid_t *groups;	/* supplementary; NULL: not needed */
	int group_count;
};

enum cred_power {
	/* Whatever the kernel let the caller do: ownership, the stripping of
	 * privileges, sticky directories, reserved room and quotas are theirs. */
	CRED_ALLOWED,
	/* Nothing that the caller could not do natively. */
	CRED_STRICT,
};

/*
 * Notes what this process may do, before threads start, and opens /proc/self/fd,
 * which cred_thread_init() makes each thread's working directory.  So a name "7"
 * is descriptor 7 to calls that take no descriptor.  Returns 0 or negative errno.
 */
int cred_init(void);

/* O_PATH of /proc/self/fd, for as long as the process lives. */
int cred_proc_fd(void);

/* The name of @fd in /proc/self/fd, for calls that follow it relative to
 * cred_proc_fd().  Returns @ret. */
enum { FD_NAME_SIZE = 16 };
const char *fd_name(int fd, char ret[FD_NAME_SIZE]);

/* Opens the file behind @fd, which may be an O_PATH descriptor, anew with @flags
 * and O_CLOEXEC.  Returns a descriptor that the caller owns, or negative errno. */
int cred_reopen(int fd, int flags);

/* Whether the daemon can act as other users (else every caller is its own). */
bool cred_can_switch(void);

/* The uid that stands for owners who have none in this user namespace: it may be the
 * uid of somebody else as well. */
uid_t cred_overflow_uid(void);

/*
 * Makes the calling thread fit to serve; cheap when it is already.  Returns 0, or
 * negative errno: then umask and working directory are shared with other threads,
 * and the thread must make nothing.  It may be tried again.
 */
int cred_thread_init(void);

/*
 * Whether threads can be made fit to serve, found out by one that ends at once: a
 * sandbox may forbid it.  Call after cred_init(), before there is anything to
 * undo.  Returns 0 or negative errno.
 */
int cred_check_threads(void);

/*
 * Acts as @caller until cred_restore().  Not nested.  Returns 0 or negative errno,
 * in which case nothing was changed.
 */
int cred_become(const struct caller *caller, enum cred_power power);
void cred_restore(void);

#endif
