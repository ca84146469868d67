/*
 * Containers as they are started for real, from the machine's own programs and
 * nothing else: no name of a user, no /etc, a root that holds no other file.
 *
 * crun runs bundles that container_bundle() has written; bwrap needs none.  Both are
 * started by a shell on a "host" of their own, which is a process and a mount
 * namespace: what they leave there is found by its end, and goes with it whatever
 * becomes of the test.
 */
#ifndef TESTS_CONTAINER_H
#define TESTS_CONTAINER_H

#include "run.h"

/* The user who is not root in a container; nothing there has a name for it. */
#define GUEST 1000

struct bundle {
	const char *name;
	const char *const *argv;	/* NULL-ended */
	/* Triples of a path, the place where it is bound, and the words for that,
	 * separated by commas; NULL-ended. */
	const char *const *binds;
	const char *directory;		/* where argv runs; NULL: /project */
	int uid;			/* and gid */
	const char *capability;		/* the only one; NULL: none at all */
	bool device;			/* has /dev/fuse */
	bool readonly;			/* the root filesystem is */
	bool shifted;			/* in a user namespace where 0 is another's */
	bool host_processes;		/* in the host's process namespace */
	bool no_proc;
	const char *forbidden;		/* a system call; NULL: none */
	int error;			/* and how it fails */
	const char *propagation;	/* of the root; NULL: the default */
};

/*
 * Prepares the whole program; main calls it first and returns what it returns when
 * that is not 0: 77 where the kernel refuses containers, or as cannot_run().
 */
int container_possible(void);

/* Whether a plain user may make a user namespace here and mount in it; says so if not. */
bool container_plain_users_may_mount(void);

/* Writes a bundle into the scratch directory, in the place of one of that name. */
void container_bundle(const struct cli *cli, const struct bundle *bundle);

/*
 * Runs a script by `sh -e` on a host of its own.  It finds
 *	box NAME	runs the container of that bundle
 *	bare WORD...	bwrap, with a bare root and these words
 *	$TOP $SOURCE $MNT $PYCACHEFS	the scratch place and the program
 * The status is the script's, or 99 when it has left a process or a mount, after
 * saying which.  For run_assert(), or command_free() the result.
 */
struct command container_host(const struct cli *cli, const char *script);

/*
 * A program that imports a package of the standard library from /project, where
 * container_project() has put it, and says how many modules it had to compile: "cold"
 * for all of them, "warm" for none, "lost" when bytecode is missing afterwards.
 */
extern const char container_import[];
void container_project(const char *source);

#endif
