/*
 * Runs a program to its end and keeps what it said.
 */
#ifndef TESTS_COMMAND_H
#define TESTS_COMMAND_H

#include <stdbool.h>
#include <sys/types.h>

struct command {
	int status;		/* exit status, 128+signal, or -1: over its time */
	char *out, *err;	/* NUL-terminated, never NULL */
};

struct command_options {
	const char *directory;	/* where it runs; NULL: here */
	const char *const *environment;	/* "NAME=VALUE" to set or "NAME" to unset, NULL-ended */
	uid_t uid;		/* 0: as we are */
	gid_t gid;
	int seconds;		/* its time, after which it is killed; 0: 120 */
};

/*
 * Runs @argv (NULL-ended, argv[0] searched in PATH) with standard input from
 * /dev/null.  PYTHONDONTWRITEBYTECODE and PYTHONPYCACHEPREFIX are always unset.
 * command_free() frees what the result holds.  Must not leave a process behind:
 * the program gets a process group, which is killed when it is over its time.
 */
struct command command_run(const struct command_options *options,
			   const char *const *argv);
void command_free(struct command *command);

/* The same for words given one by one, ended by NULL, failing the test unless
 * the exit status is 0; returns its standard output, which the caller frees. */
char *command_output(const char *directory, const char *word, ...)
	__attribute__((sentinel));

/*
 * Calls @call(data) in a child process that is user @uid and group @gid, with
 * the @count supplementary groups of @groups.  Returns what the call returned,
 * which must lie in 0 to 255, or 128+signal when it was killed.  The call must
 * not assert: a failed assertion would jump into the parent's frames.
 */
int as_user(uid_t uid, gid_t gid, const gid_t *groups, size_t count,
	    int (*call)(void *data), void *data);

/* Forbids unshare(2) to this process and its children for good, as a sandbox may:
 * call it in as_user().  Returns 0 or negative errno. */
int forbid_unshare(void);

/* Of CLOCK_MONOTONIC. */
double seconds_now(void);

/* Calls @done(data) every millisecond until it is true; false after @seconds. */
bool eventually(double seconds, bool (*done)(void *data), void *data);

#endif
