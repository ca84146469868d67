/*
 * A place to run the commands in, where nothing that they leave behind goes
 * unnoticed: mounts, processes, words on the terminal.
 *
 * The test program gets a mount namespace of its own, so that the table of mounts
 * changes by what it runs alone, and adopts what its children leave behind, so
 * that every daemon is its child: it can be counted, and its exit status read.
 */
#ifndef TESTS_CLI_H
#define TESTS_CLI_H

#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "fixture.h"
#include "tree.h"

/* How long anything may take that is not instant, in seconds. */
#define DEADLINE 20

struct cli {
	char top[64];		/* scratch directory, open to all */
	char source[80];	/* holds pkg/mod.py */
	char mnt[80];		/* an empty directory */
	char missing[80];	/* is not there */
	char file[80];		/* a file */
	char log[80];		/* output of cli_foreground() */
	char *mounts;		/* the table of mounts at the beginning */
};

/*
 * Prepares the whole program; main calls it first and returns what it returns when
 * that is not 0 (see fixture_possible()).
 */
int cli_possible(void);

/* Setup and teardown of one test.  Teardown fails it when a mount or a process
 * is left, after ending both. */
int cli_begin(void **state);
int cli_end(void **state);

#define CLI(test) \
	{ #test, test, cli_begin, cli_end, NULL }

/*
 * The same with an empty /dev, in our own mount namespace, for the length of a test.
 * cli_device() makes a device there; cli_devices_for_all() those that a mount needs,
 * so that a plain user can make one.
 */
int cli_dev_begin(void **state);
int cli_dev_end(void **state);
void cli_device(const char *path, mode_t mode, unsigned major, unsigned minor);
void cli_devices_for_all(void);

#define CLI_DEV(test) \
	{ #test, test, cli_dev_begin, cli_dev_end, NULL }

/* A copy of the program that other users can reach, in a static buffer. */
const char *cli_program_for_all(const struct cli *cli);

/* Runs the program with these words, ended by NULL; command_free() the result. */
struct command cli_run(const char *word, ...) __attribute__((sentinel));

/* The same, failing the test unless it succeeds and says nothing. */
void cli_quietly(const char *word, ...) __attribute__((sentinel));

/* Mounts source on mnt, with -o @options unless NULL; returns the daemon's pid. */
pid_t cli_mount(const struct cli *cli, const char *options);

/* Mounts source on a directory whose parent is renamed then, so that it is at the
 * place that @ret names.  Another such directory lies where it was. */
pid_t cli_mount_and_rename(const struct cli *cli, const char *options,
			   char ret[160]);

/*
 * Starts the program with these words after -f, its output going to cli->log, and
 * waits until @mountpoint is mounted.  Returns its pid, which is a child.
 */
pid_t cli_foreground(const struct cli *cli, const char *mountpoint,
		     const char *const *words);

/* How many mounts lie at exactly @path. */
int cli_mounts_at(const char *path);

/* All mounts there are, as text. */
char *cli_mount_table(void);

/*
 * Whether the mounts are those of the table @before.  A mount that went away together
 * with its directory was another test's: removing that, wherever the mount can't be
 * seen, unmounts our copy (Linux 3.18).
 */
bool cli_mounts_are(const char *before);

/* How many living processes we are the parent of; @ret_last: one of them. */
int cli_processes(pid_t *ret_last);

/* A living process that we are the parent of and that is not @pid, or -1. */
pid_t cli_process_beside(pid_t pid);

/*
 * From here to the test's end no process looks for leaks.  LeakSanitizer does that in a
 * process of its own (exit status 4, or SIGKILL, when who started it is gone), which
 * would become our child when the one that it looks at is killed.
 */
void cli_leave_leaks(void);

/* Whether all processes that we are the parent of end in time. */
bool cli_ends(void);

/* Buries the dead.  Returns whether just @count of our processes live. */
bool cli_are_left(int count);

/* Waits until that is so; fails the test when it takes too long. */
void cli_wait_left(int count);

/* Waits for child @pid; returns its exit status as a shell says it. */
int cli_wait(pid_t pid);

/* Fails the test unless @path is the root of a mount that works. */
void cli_assert_usable(const char *path);

/* Fails unless child @pid ends in time with status 0, its mount gone. */
void cli_assert_ended(pid_t pid, const char *mountpoint);

/* Fails unless @text is one line "pycachefs: WHAT: WHY" with @mention in it. */
void cli_assert_complaint(const char *text, const char *mention);

#endif
