/*
 * What the tests of `pycachefs run` share: running it as root and as a plain user.
 */
#ifndef TESTS_RUN_H
#define TESTS_RUN_H

#include "cli.h"

/* The plain user; /dev/fuse is open to them between run_setup() and run_teardown(). */
#define PLAIN 65534

/* Setup and teardown of a group. */
int run_setup(void **state);
int run_teardown(void **state);

/* Runs the body once for each user, the source being theirs. */
#define EACH_USER(cli, uid) \
	for (int uid = PLAIN; uid >= 0 && run_give(cli, (uid_t)uid); uid -= PLAIN)

/* Gives the source and all in it to a user; true. */
bool run_give(const struct cli *cli, uid_t uid);

/*
 * Runs `pycachefs run` in the source with these words, ended by NULL, as the user;
 * run_in() elsewhere.  command_free() the result.
 */
struct command run_as(const struct cli *cli, int uid, const char *word, ...)
	__attribute__((sentinel));
struct command run_in(const char *directory, int uid, const char *word, ...)
	__attribute__((sentinel));

/* Runs `sh -c SCRIPT PROGRAM SOURCE` there: "$0" is the program. */
struct command run_script(const struct cli *cli, int uid, const char *script);

/* Fails unless it ended with this status and said exactly this; frees it. */
void run_assert(struct command command, int status, const char *out, const char *err);

/* Fails unless it ended with this status after one line that mentions this. */
void run_assert_complaint(struct command command, int status, const char *mention);

#endif
