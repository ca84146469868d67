/*
 * Wrong words on the command line: one line that says what and why, an exit
 * status of 2 for wrong usage and 1 for what could not be done, and nothing left.
 */
#include "cli.h"

/*
 * A word may begin with a place: %S the source, %M the mountpoint, %N a path that
 * is not there, %F a file, %L a link to nothing, %R a link to itself.
 */
struct row {
	const char *name;
	int status;
	const char *mention;	/* what the line has to speak of; NULL: any */
	const char *words[8];
};

/* Beyond NAME_MAX, and beyond PATH_MAX. */
static char long_name[300], long_path[6000];

static const struct row usage[] = {
	{ "no arguments", 2, NULL, { NULL } },
	{ "three paths", 2, "%N", { "%S", "%M", "%N" } },
	{ "unknown long flag", 2, "--frobnicate", { "--frobnicate" } },
	{ "unknown long flag before paths", 2, "--frobnicate",
	  { "--frobnicate", "%S", "%M" } },
	{ "unknown long flag after paths", 2, "--frobnicate",
	  { "%S", "%M", "--frobnicate" } },
	{ "unknown short flag", 2, "-Z", { "-Z", "%S", "%M" } },
	{ "-o without a word", 2, "-o", { "%S", "%M", "-o" } },
	{ "-f alone", 2, NULL, { "-f" } },
	{ "an option alone", 2, NULL, { "-o", "size=8M" } },
	{ "an empty source", 1, NULL, { "" } },
	{ "an empty mountpoint", 1, NULL, { "%S", "" } },

	{ "unmount nothing", 2, "unmount", { "unmount" } },
	{ "unmount two", 2, "unmount", { "unmount", "%M", "%S" } },
	{ "unmount with an unknown flag", 2, "--frobnicate",
	  { "unmount", "--frobnicate", "%M" } },
	{ "unmount what is not mounted", 1, "%M", { "unmount", "%M" } },
	{ "unmount lazily what is not mounted", 1, "%M",
	  { "unmount", "--lazy", "%M" } },
	{ "unmount what is missing", 1, "%N", { "unmount", "%N" } },
	{ "unmount what is not ours", 1, "/proc", { "unmount", "/proc" } },
	{ "purge nothing", 2, "purge", { "purge" } },
	{ "purge with an unknown flag", 2, "--frobnicate",
	  { "purge", "--frobnicate", "%S" } },
	{ "purge what is missing", 1, "%N", { "purge", "%N" } },
	{ "purge what is not mounted", 1, "%S", { "purge", "%S" } },
	{ "status with an unknown flag", 2, "--frobnicate",
	  { "status", "--frobnicate" } },
	{ "status with a short flag", 2, "-j", { "status", "-j" } },
	{ "a misspelt command", 1, "umnount", { "umnount", "%M" } },
};

static const struct row options[] = {
	{ "unknown", 2, "frobnicate", { "-o", "frobnicate", "%S", "%M" } },
	{ "unknown with a value", 2, "frobnicate",
	  { "-o", "frobnicate=1", "%S", "%M" } },
	{ "unknown among known", 2, "frobnicate",
	  { "-o", "size=8M,frobnicate,ro", "%S", "%M" } },
	{ "unknown after the paths", 2, "frobnicate",
	  { "%S", "%M", "-o", "frobnicate" } },
	{ "half a word", 2, "siz", { "-o", "siz=8M", "%S", "%M" } },
	{ "more than a word", 2, "sizes", { "-o", "sizes=8M", "%S", "%M" } },
	{ "wrong case", 2, "SIZE", { "-o", "SIZE=8M", "%S", "%M" } },
	{ "flag with a value", 2, "ro=", { "-o", "ro=1", "%S", "%M" } },

	{ "size without a value", 2, "size", { "-o", "size", "%S", "%M" } },
	{ "size empty", 2, "size=", { "-o", "size=", "%S", "%M" } },
	{ "size no number", 2, "size=abc", { "-o", "size=abc", "%S", "%M" } },
	{ "size negative", 2, "size=-1", { "-o", "size=-1", "%S", "%M" } },
	{ "size zero", 2, "size=0", { "-o", "size=0", "%S", "%M" } },
	{ "size zero with unit", 2, "size=0M", { "-o", "size=0M", "%S", "%M" } },
	{ "size wrong unit", 2, "size=8X", { "-o", "size=8X", "%S", "%M" } },
	{ "size two units", 2, "size=8MM", { "-o", "size=8MM", "%S", "%M" } },
	{ "size only a unit", 2, "size=M", { "-o", "size=M", "%S", "%M" } },
	{ "size with a blank", 2, "size= 8M", { "-o", "size= 8M", "%S", "%M" } },
	{ "size with a sign", 2, "size=+8M", { "-o", "size=+8M", "%S", "%M" } },
	{ "size hexadecimal", 2, "size=0x8", { "-o", "size=0x8", "%S", "%M" } },
	{ "size beyond 64 bits", 2, "size=",
	  { "-o", "size=99999999999999999999", "%S", "%M" } },
	{ "size beyond 64 bits by its unit", 2, "size=",
	  { "-o", "size=18014398509481985K", "%S", "%M" } },
	{ "size beyond 64 bits by a large unit", 2, "size=",
	  { "-o", "size=99999999999T", "%S", "%M" } },

	{ "inodes empty", 2, "inodes=", { "-o", "inodes=", "%S", "%M" } },
	{ "inodes zero", 2, "inodes=0", { "-o", "inodes=0", "%S", "%M" } },
	{ "inodes with a unit", 2, "inodes=1K",
	  { "-o", "inodes=1K", "%S", "%M" } },
	{ "inodes no number", 2, "inodes=x", { "-o", "inodes=x", "%S", "%M" } },
	{ "inodes negative", 2, "inodes=-5",
	  { "-o", "inodes=-5", "%S", "%M" } },
	{ "inodes too large", 2, "inodes=",
	  { "-o", "inodes=99999999999999999999", "%S", "%M" } },
	{ "inodes with rubbish", 2, "inodes=5x",
	  { "-o", "inodes=5x", "%S", "%M" } },
	{ "max_threads empty", 2, "max_threads=",
	  { "-o", "max_threads=", "%S", "%M" } },
	{ "max_threads no number", 2, "max_threads=many",
	  { "-o", "max_threads=many", "%S", "%M" } },
	{ "max_threads negative", 2, "max_threads=-1",
	  { "-o", "max_threads=-1", "%S", "%M" } },
	{ "max_threads too large", 2, "max_threads=",
	  { "-o", "max_threads=99999999999999999999", "%S", "%M" } },
	{ "max_threads zero", 2, "max_threads=0",
	  { "-o", "max_threads=0", "%S", "%M" } },
	{ "max_threads beyond 32 bits", 2, "max_threads=4294967296",
	  { "-o", "max_threads=4294967296", "%S", "%M" } },
	{ "max_read zero", 2, "max_read=0", { "-o", "max_read=0", "%S", "%M" } },
	{ "max_read no number", 2, "max_read=x",
	  { "-o", "max_read=x", "%S", "%M" } },
	{ "a bad value after a good one", 2, "size=0",
	  { "-o", "size=8M", "-o", "size=0", "%S", "%M" } },
	{ "a bad value before a good one", 2, "size=0",
	  { "-o", "size=0,size=8M", "%S", "%M" } },
	{ "an escaped comma makes one word", 2, "ro,rw",
	  { "-o", "ro\\,rw", "%S", "%M" } },
	{ "an empty word", 2, "''", { "-o", "ro,,nosuid", "%S", "%M" } },
	{ "no word", 2, "''", { "-o", "", "%S", "%M" } },
	{ "not text", 2, "bog\xff", { "-o", "bog\xff", "%S", "%M" } },

	{ "timeout empty", 2, "timeout=", { "-o", "timeout=", "%S", "%M" } },
	{ "timeout no number", 2, "timeout=soon",
	  { "-o", "timeout=soon", "%S", "%M" } },
	{ "timeout negative", 2, "timeout=-1",
	  { "-o", "timeout=-1", "%S", "%M" } },
	{ "timeout not a number", 2, "timeout=nan",
	  { "-o", "timeout=nan", "%S", "%M" } },
	{ "timeout with rubbish", 2, "timeout=1s",
	  { "-o", "timeout=1s", "%S", "%M" } },

	{ "also empty", 2, "also=", { "-o", "also=", "%S", "%M" } },
	{ "also a path", 2, "also=a/b", { "-o", "also=a/b", "%S", "%M" } },
	{ "also the directory", 2, "also=.", { "-o", "also=.", "%S", "%M" } },
	{ "also its parent", 2, "also=..", { "-o", "also=..", "%S", "%M" } },
};

static const struct row places[] = {
	{ "missing source", 1, "%N", { "%N" } },
	{ "missing source for a mountpoint", 1, "%N", { "%N", "%M" } },
	{ "missing source in the foreground", 1, "%N", { "-f", "%N", "%M" } },
	{ "source below nothing", 1, "%N/x", { "%N/x", "%M" } },
	{ "missing source with a slash", 1, "%N", { "%N/" } },
	{ "missing source with a comma", 1, "%N/a,b", { "%N/a,b" } },
	{ "missing source with a line break", 1, "a b", { "%N/a\nb" } },
	{ "missing source that is no text", 1, "\xff\xfe", { "%N/\xff\xfe" } },
	{ "missing source with a format in it", 1, "%%s%n", { "%N/%%s%n" } },
	{ "source a link to nothing", 1, "%L", { "%L" } },
	{ "mountpoint a link to nothing", 1, "%L", { "%S", "%L" } },
	{ "source a link to itself", 1, "%R", { "%R" } },
	{ "mountpoint a link to itself", 1, "%R", { "%S", "%R" } },
	{ "source with a name too long", 1, "too long", { long_name } },
	{ "mountpoint with a name too long", 1, "too long",
	  { "%S", long_name } },
	{ "source with a path too long", 1, NULL, { long_path } },
	{ "mountpoint with a path too long", 1, NULL, { "%S", long_path } },
	{ "all there is", 1, "%M", { "/", "%M" } },
	{ "source a file with a slash", 1, "%F", { "%F/" } },
	{ "source a device", 1, "/dev/null", { "/dev/null" } },
	{ "source a file", 1, "%F", { "%F" } },
	{ "source a file for a mountpoint", 1, "%F", { "%F", "%M" } },
	{ "source below a file", 1, "%F/x", { "%F/x", "%M" } },
	{ "missing mountpoint", 1, "%N", { "%S", "%N" } },
	{ "mountpoint a file", 1, "%F", { "%S", "%F" } },
	{ "mountpoint below a file", 1, "%F/x", { "%S", "%F/x" } },
	{ "mountpoint a file in the foreground", 1, "%F",
	  { "-f", "%S", "%F" } },
	{ "mountpoint inside the source", 1, "%S/pkg", { "%S", "%S/pkg" } },
	{ "mountpoint inside the source by a detour", 1, "/pkg",
	  { "%S", "%M/../source/pkg" } },
	{ "wrong usage before a missing source", 2, "frobnicate",
	  { "-o", "frobnicate", "%N", "%N" } },
};

static int links_begin(void **state)
{
	struct cli *cli;

	cli_begin(state);
	cli = *state;
	assert_int_equal(symlink("nothing", in(cli->top, "dangling")), 0);
	assert_int_equal(symlink("round", in(cli->top, "round")), 0);
	memset(long_name, 'x', sizeof(long_name) - 1);
	for (size_t i = 0; i + 1 < sizeof(long_path); i++)
		long_path[i] = i % 200 ? 'x' : '/';
	return 0;
}

/* Replaces the place at the beginning of a word. */
static const char *expand(const struct cli *cli, const char *word)
{
	const char *place;

	if (!word || word[0] != '%')
		return word;
	switch (word[1]) {
	case 'S':
		place = cli->source;
		break;
	case 'M':
		place = cli->mnt;
		break;
	case 'N':
		place = cli->missing;
		break;
	case 'L':
		place = in(cli->top, "dangling");
		break;
	case 'R':
		place = in(cli->top, "round");
		break;
	case 'F':
		place = cli->file;
		break;
	default:
		return word;
	}
	return word[2] ? in(place, word + 3) : place;
}

static void try_row(const struct cli *cli, const struct row *row)
{
	struct command_options limits = { .seconds = DEADLINE };
	const char *argv[16] = { fixture_program() };
	struct command command;

	for (int i = 0; row->words[i]; i++)
		argv[i + 1] = expand(cli, row->words[i]);
	command = command_run(&limits, argv);
	/* The name of the row is the first that a failure has to tell. */
	if (command.status != row->status || *command.out)
		print_error("'%s': status %d, said \"%s\" and \"%s\"\n",
			    row->name, command.status, command.out,
			    command.err);
	assert_int_equal(command.status, row->status);
	assert_string_equal(command.out, "");
	cli_assert_complaint(command.err, expand(cli, row->mention));
	command_free(&command);
	assert_int_equal(cli_processes(NULL), 0);
	assert_true(cli_mounts_are(cli->mounts));
}

#define TRY(rows) \
	for (size_t i_ = 0; i_ < sizeof(rows) / sizeof(*rows); i_++) \
		try_row(*state, &rows[i_])

static void wrong_usage_is_told_and_leaves_nothing(void **state)
{
	TRY(usage);
}

static void wrong_options_are_told_and_leave_nothing(void **state)
{
	TRY(options);
}

static void wrong_places_are_told_and_leave_nothing(void **state)
{
	TRY(places);
}

/* No directory is made, no file written, whatever was wrong. */
static void nothing_is_made_on_the_way(void **state)
{
	struct cli *cli = *state;
	char *before = tree_describe(cli->top, true), *after;

	TRY(places);
	after = tree_describe(cli->top, true);
	assert_string_equal(after, before);
	free(before);
	free(after);
}

#define LINKS(test) \
	{ #test, test, links_begin, cli_end, NULL }

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(wrong_usage_is_told_and_leaves_nothing),
		CLI(wrong_options_are_told_and_leave_nothing),
		LINKS(wrong_places_are_told_and_leave_nothing),
		LINKS(nothing_is_made_on_the_way),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
