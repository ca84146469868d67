/*
 * The verbs of the command line and their switches.
 *
 * One table says how each is spelt, what it takes and what is told of it: it parses,
 * prints --help, and is what shells' completions are made from.  The words of -o have
 * a table of their own: see opts.h.
 */
#ifndef PYCACHEFS_USAGE_H
#define PYCACHEFS_USAGE_H

#include <stdio.h>

enum { USAGE_SWITCHES = 8 };

/* What stands behind a switch. */
enum usage_value { USAGE_NOTHING, USAGE_DIRECTORY, USAGE_WORDS };

/* What stands behind all switches. */
enum usage_argument {
	USAGE_SOURCE,		/* directories */
	USAGE_COMMAND,		/* a command with its own arguments */
	USAGE_MOUNTS,		/* mounts of ours */
	USAGE_PATHS,		/* files and directories */
};

struct usage_switch {
	int key;		/* a letter; what usage_next() returns; 0 ends a list */
	const char *brief;	/* "-v"; NULL: none */
	const char *word;	/* "--verbose"; NULL: none */
	const char *metavar;	/* NULL: takes no value */
	enum usage_value value;
	const char *help;	/* NULL: taken in silence, for mount(8) */
};

struct usage_verb {
	const char *name;	/* "": mounting, which has none */
	const char *synopsis;	/* what follows; may have a line break */
	const char *summary;	/* a line */
	const char *more;	/* lines for --help; NULL: none */
	enum usage_argument argument;
	struct usage_switch switches[USAGE_SWITCHES + 1];
};

extern const struct usage_verb usage_mount, usage_run, usage_status, usage_purge,
	usage_unmount;

/* All of them, in the order of --help, ended by NULL. */
extern const struct usage_verb *const usage_verbs[];

/*
 * As getopt_long(3) for the switches of @verb: the key of the next one, with optarg;
 * -1 at the end, with optind; or '?' after complaining.  One thread, one command line.
 */
int usage_next(const struct usage_verb *verb, int argc, char **argv);

/* Prints the manual of one verb. */
void usage_help(FILE *out, const struct usage_verb *verb);

/* Prints how all verbs are called, and then the switches of mounting. */
void usage_help_all(FILE *out);

/* Complains, in one line, that @verb is called otherwise. */
void usage_complain(const struct usage_verb *verb);

#endif
