/*
 * A mount to test: scratch directories, a daemon in the foreground, its log.
 *
 * A fixture makes a scratch directory with three directories in it: `source`,
 * which is mounted; `plain`, a directory on the same filesystem to do the same
 * calls in; and `mnt`, unless the mount is in place.  The daemon runs with -f,
 * so its log goes to a file, and it says by NOTIFY_SOCKET that it is ready.
 *
 * Tear-down is where a test earns its trust: it unmounts, waits for the daemon,
 * and fails the test when the daemon exited with anything but 0, when its log
 * holds an error, a warning or a sanitizer's report, or when a mount is left.
 */
#ifndef TESTS_FIXTURE_H
#define TESTS_FIXTURE_H

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

/* A user with a name on every Debian and Ubuntu, and no other is served by fusermount3:
 * the first user of a machine, 1000, is missing in a container. */
enum { NAMED_USER = 1 };

struct fixture_options {
	/* Words for -o, separated by commas; NULL for none. */
	const char *options;
	/* Mount over the source itself. */
	bool in_place;
	/* Run the daemon as this user and group (0: stay as we are).  The three
	 * directories are then theirs, and /dev/fuse is open to all meanwhile.
	 * Only that user can look into such a mount: see as_user(). */
	uid_t uid;
	gid_t gid;
	/* RLIMIT_NOFILE of the daemon, soft and hard (0: leave it). */
	unsigned long descriptors;
	/* Prepares the source before it is mounted; NULL for an empty one. */
	int (*prepare)(const char *source, void *data);
	void *data;
	/* What is mounted, when it is not the scratch `source`; NULL: that. */
	const char *source;
	/* A line of the log may be an error when it holds this text, or one of
	 * several that '|' separates; NULL: no line may. */
	const char *expected_log;
	/* Where the scratch directory is made; NULL: $TMPDIR, else /tmp. */
	const char *scratch;
};

struct fixture {
	char top[256];		/* scratch directory */
	char source[300];	/* what is mounted, as the daemon was told */
	char mountpoint[300];	/* where: equals source when in place */
	char plain[300];	/* a plain directory on the source's filesystem */
	char log[300];		/* the daemon's log */
	int source_fd;		/* O_PATH of source, opened before mounting */
	int mount_fd;		/* O_PATH of the mount's root, -1 when unmounted */
	pid_t daemon;		/* -1 when it does not run */
	struct fixture_options options;
};

/*
 * Whether a mount is possible here.  Returns 0; else prints why and returns 77,
 * which meson takes as "skipped", or 1 where PYCACHEFS_MUST_RUN is set.  A main
 * function calls this first and returns what it returns when that is not 0.
 */
int fixture_possible(void);

/* What the mount at @mountpoint says of itself, which the caller drops; NULL when nothing
 * answers there. */
json_t *fixture_status(const char *mountpoint);

/*
 * For a main function that finds a program missing which its tests run: says so
 * and returns 77, which meson takes as "skipped", or 1 where PYCACHEFS_MUST_RUN
 * is set.
 */
int cannot_run(const char *why);

/*
 * Makes the directories, starts the daemon and waits until it is ready, at most
 * 10 s.  Fails the running test when that does not come about, after removing
 * all that it made.  @options may be NULL.  The caller owns the result and ends
 * it by fixture_destroy().
 */
struct fixture *fixture_create(const struct fixture_options *options);

/*
 * Unmounts and waits for the daemon; the directories stay.  Checks what the head
 * of this file lists.  fixture_mount() mounts again with the same options.
 */
void fixture_unmount(struct fixture *fixture);
void fixture_mount(struct fixture *fixture);

/*
 * Unmounts when that was not done, removes everything.  NULL is taken.  After a
 * failed test (called from a teardown function) it cleans up all the same.
 */
void fixture_destroy(struct fixture *fixture);

/* Writes "DIR/NAME" into a static ring of 16 buffers; for short-lived use. */
const char *in(const char *dir, const char *name);

/* Opens /dev/fuse to all users, for tests that mount as a plain user without a
 * fixture; the second undoes the first. */
void fixture_open_device(void);
void fixture_restore_device(void);

/* The daemon's program, from the environment's PYCACHEFS. */
const char *fixture_program(void);

#endif
