/*
 * The command line and the words of -o.
 *
 * One table says everything about an option: how it is spelt, what values it
 * takes, where the value goes, and what --help prints.  libfuse's parser cuts
 * the command line; words that belong to libfuse or to mount(8) are known too, so
 * that any other word is an error.
 */
#ifndef PYCACHEFS_OPTS_H
#define PYCACHEFS_OPTS_H

#include <fuse_opt.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "names.h"

struct opts {
	char *source;		/* owned; as given */
	char *mountpoint;	/* owned; NULL: over the source */
	char *words;		/* owned; the words of -o as they took effect */
	bool foreground;
	bool debug;
	bool help, version;
	bool read_only;
	bool seed;		/* existing=seed */
	bool allow_other;
	bool auto_unmount;
	bool fsname_given;
	uint64_t size;		/* of the store, in bytes */
	char *store;		/* owned; a directory to keep it in; NULL: a tmpfs */
	uint64_t inodes;	/* of the store; 0: derived from size */
	uint32_t max_threads;	/* 0: as many as CPUs */
	uint32_t max_read;	/* of one request, in bytes; 0: the kernel's limit */
	double timeout;		/* a time limit for caching; see opts_has_timeout() */
	struct names names;	/* also= */
	struct fuse_args fuse;	/* what is libfuse's */
};

/*
 * Parses @argv as `mount` takes it.  Returns 0; or -EINVAL after complaining, or
 * -ENOMEM.  opts_clear() in either case.
 */
int opts_parse(struct opts *ret, int argc, char **argv);
void opts_clear(struct opts *opts);

/* Whether timeout= was given: a time limit instead of watching. */
bool opts_has_timeout(const struct opts *opts);

/* A word of -o that means something here, for who completes words. */
struct opts_word {
	const char *word;	/* ends in "=" when it takes a value */
	const char *metavar;	/* of the value; '|' separates all that are possible */
	const char *help;	/* NULL: libfuse's or mount(8)'s own */
	bool directory;		/* the value is one */
};

/* Word number @i; false when there are no more. */
bool opts_word(size_t i, struct opts_word *ret);

/* Prints the options that -o takes, a line each, for --help. */
void opts_help(FILE *out);

/*
 * A number of bytes such as "64K", "256M", "1G" or "4096".  Returns 0, -EINVAL
 * when it is no number or zero, or -ERANGE when it does not fit.
 */
int opts_parse_size(const char *text, uint64_t *ret);

#endif
