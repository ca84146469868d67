/*
 * The verbs of the command line and their switches.  See usage.h.
 */
#include "usage.h"

#include <getopt.h>
#include <string.h>

#include "log.h"
#include "util.h"

#define HELP { 'h', "-h", "--help", NULL, USAGE_NOTHING, "print this" }
#define OPTIONS { 'o', "-o", NULL, "OPT,...", USAGE_WORDS, \
		  "options, see pycachefs --help" }

const struct usage_verb usage_mount = {
	.name = "",
	.synopsis = "[-f] [-d] [-o OPT,...] SOURCE [MOUNTPOINT]",
	.summary = "mount SOURCE on MOUNTPOINT, or over itself",
	.more =
		"Mounts the directory SOURCE on MOUNTPOINT, or over itself, so that Python's\n"
		"bytecode goes to memory and SOURCE stays as it is.\n",
	.argument = USAGE_SOURCE,
	.switches = {
		{ 'f', "-f", NULL, NULL, USAGE_NOTHING, "stay in the foreground" },
		{ 'd', "-d", NULL, NULL, USAGE_NOTHING,
		  "the same, and log every request" },
		{ 'o', "-o", NULL, "OPT,...", USAGE_WORDS, "options, see below" },
		HELP,
		{ 'V', "-V", "--version", NULL, USAGE_NOTHING, "print the version" },
		/* As mount(8) gives them. */
		{ 'r', "-r", NULL, NULL, USAGE_NOTHING, NULL },
		{ 'w', "-w", NULL, NULL, USAGE_NOTHING, NULL },
	},
};

const struct usage_verb usage_run = {
	.name = "run",
	.synopsis = "[-v] [-o OPT,...] [--store DIR] [--source DIR]...\n"
		    "[--] COMMAND [ARG...]",
	.summary = "run a command in a mount that it alone sees",
	.more =
		"Runs COMMAND with the directory DIR (default: .) mounted over itself, which\n"
		"nobody but COMMAND and what it starts can see.  Needs no root.\n"
		"\n"
		"The exit status is COMMAND's; 1 when DIR could not be mounted, 2 for wrong\n"
		"usage, 126 when COMMAND could not be run, 127 when it was not found.\n",
	.argument = USAGE_COMMAND,
	.switches = {
		{ 's', NULL, "--source", "DIR", USAGE_DIRECTORY,
		  "what is mounted; may be repeated" },
		{ 'S', NULL, "--store", "DIR", USAGE_DIRECTORY,
		  "the same as -o store=DIR, also where DIR has a comma" },
		{ 'v', "-v", "--verbose", NULL, USAGE_NOTHING,
		  "say at the end what was redirected" },
		OPTIONS,
		HELP,
	},
};

const struct usage_verb usage_status = {
	.name = "status",
	.synopsis = "[--json] [MOUNTPOINT...]",
	.summary = "show what is mounted and what the store holds",
	.more =
		"Shows each mount of pycachefs, or those at MOUNTPOINT: how it is kept up to\n"
		"date, what its store holds and what was asked of it.  One that does not answer\n"
		"within 5 seconds is shown with that error.\n",
	.argument = USAGE_MOUNTS,
	.switches = {
		{ 'j', NULL, "--json", NULL, USAGE_NOTHING, "print it for programs" },
		HELP,
	},
};

const struct usage_verb usage_purge = {
	.name = "purge",
	.synopsis = "PATH...",
	.summary = "drop the bytecode kept for a path",
	.more =
		"Drops the bytecode that is kept for the directory PATH and all below it, or\n"
		"for the module PATH.\n",
	.argument = USAGE_PATHS,
	.switches = { HELP },
};

const struct usage_verb usage_unmount = {
	.name = "unmount",
	.synopsis = "[--lazy] MOUNTPOINT",
	.summary = "unmount",
	.more = "Unmounts what is mounted at MOUNTPOINT.\n",
	.argument = USAGE_MOUNTS,
	.switches = {
		{ 'l', "-l", "--lazy", NULL, USAGE_NOTHING,
		  "even while it is in use: it goes with its last user" },
		HELP,
	},
};

const struct usage_verb *const usage_verbs[] = {
	&usage_mount, &usage_run, &usage_status, &usage_purge, &usage_unmount, NULL,
};

/* ------------------------------------------------------------------- parsing */

int usage_next(const struct usage_verb *verb, int argc, char **argv)
{
	struct option words[USAGE_SWITCHES + 1] = { 0 };
	/* COMMAND's own switches are behind it. */
	char letters[2 * USAGE_SWITCHES + 3] = "+:", *letter = letters + 2;
	size_t count = 0;
	int key;

	if (verb->argument != USAGE_COMMAND)
		letter = stpcpy(letters, ":");
	for (const struct usage_switch *one = verb->switches; one->key; one++) {
		if (one->word)
			words[count++] = (struct option){
				one->word + 2, one->metavar ? required_argument :
				no_argument, NULL, one->key };
		if (one->brief)
			*letter++ = one->brief[1];
		if (one->brief && one->metavar)
			*letter++ = ':';
	}
	*letter = '\0';
	opterr = 0;
	key = getopt_long(argc, argv, letters, words, NULL);
	if (key != '?' && key != ':')
		return key;
	complain("option '%s': %s, see pycachefs %s --help", argv[optind - 1],
		 key == ':' ? "needs a value" : "not known", verb->name);
	return '?';
}

/* ------------------------------------------------------------------ printing */

/* How it is called, its lines one below the other. */
static void print_synopsis(FILE *out, const char *before, const struct usage_verb *verb)
{
	int indent = fprintf(out, "%spycachefs %s%s", before, verb->name,
			     *verb->name ? " " : "");

	for (const char *at = verb->synopsis; *at; at++) {
		putc(*at, out);
		if (*at == '\n')
			fprintf(out, "%*s", indent, "");
	}
	putc('\n', out);
}

static void print_switches(FILE *out, const struct usage_verb *verb)
{
	for (const struct usage_switch *one = verb->switches; one->key; one++) {
		const char *value = one->metavar ? one->metavar : "";
		char left[64];

		if (!one->help)
			continue;
		snprintf(left, sizeof(left), "%s%s%s%s%s",
			 one->brief ? one->brief : "",
			 one->brief && one->word ? ", " : "",
			 one->word ? one->word : "", *value ? " " : "", value);
		fprintf(out, "  %-20s %s\n", left, one->help);
	}
}

void usage_help(FILE *out, const struct usage_verb *verb)
{
	print_synopsis(out, "usage: ", verb);
	fprintf(out, "\n%s\n", verb->more);
	print_switches(out, verb);
}

void usage_help_all(FILE *out)
{
	const char *before = "usage: ";

	for (size_t i = 0; usage_verbs[i]; i++) {
		print_synopsis(out, before, usage_verbs[i]);
		before = "       ";
	}
	fprintf(out, "       pycachefs --help | --version\n\n%s\n", usage_mount.more);
	print_switches(out, &usage_mount);
	fputs("\nEach verb has a --help of its own.\n", out);
}

void usage_complain(const struct usage_verb *verb)
{
	complain("usage: pycachefs %s%s%s, see pycachefs %s%s--help", verb->name,
		 *verb->name ? " " : "", verb->synopsis, verb->name,
		 *verb->name ? " " : "");
}
