/*
 * What bash, zsh and fish offer after what has been typed, each asked itself.
 *
 * The files are those that the build has made (PYCACHEFS_COMPLETIONS).
 */
#include "cli.h"

struct row {
	const char *line;	/* what was typed; '^' is an empty word, '@' the top */
	const char *some;	/* words that must be offered */
	const char *none;	/* and one that must not; NULL: any */
};

/* bash cuts words at '='. */
static const struct row rows_of_bash[] = {
	{ "^", "run status purge unmount", "-f" },
	{ "sta", "status", "run" },
	{ "-", "-f -d -o --help --version", "-r" },
	{ "@/so", "@/source", "@/file" },
	{ "-o ^", "size= store= existing= ro nosuid", "hide" },
	{ "-o ro @/so", "@/source", "ro" },
	{ "-o exi", "existing=", "exec" },
	{ "-o existing =", "hide seed", "existing=" },
	{ "-o existing = s", "seed", "hide" },
	{ "-o size = 64M,exi", "64M,existing=", "existing=" },
	{ "-o size = 64M,existing = h", "hide", "seed" },
	{ "-o store = @/so", "@/source", "@/file" },
	{ "run --", "--source --store --verbose", "--json" },
	{ "run --source @/so", "@/source", "@/file" },
	{ "run --store = @/so", "@/source", "@/file" },
	{ "run -o ro -- shel", "shellcheck", "--source" },
	{ "run --source @ shel", "shellcheck", "--source" },
	{ "run cat @/fi", "@/file", "@/source" },
	{ "run cat --so", "", "--source" },
	{ "purge @/", "@/source @/file", "--lazy" },
	{ "status --", "--json --help", "--lazy" },
	{ "status ^", "@/mnt", "@/source" },
	{ "unmount --l", "--lazy", "--json" },
	{ "unmount @/m", "@/mnt", "@/source" },
};

static const struct row rows_of_fish[] = {
	{ "^", "run status purge unmount", "-f" },
	{ "-", "-f -d -o --help --version", "-r" },
	{ "-o ^", "size= store= existing= existing=hide ro nosuid", "run" },
	{ "-o size=64M,exi", "size=64M,existing= size=64M,existing=seed", "existing=" },
	{ "-o ro,store=@/so", "ro,store=@/source/", NULL },
	{ "run --", "--source --store --verbose", "--json" },
	{ "run --source @/so", "@/source/", NULL },
	{ "run -o ro -- shel", "shellcheck", "--source" },
	{ "run cat --so", "", "--source" },
	{ "purge @/fi", "@/file", NULL },
	{ "status ^", "@/mnt", "@/source" },
	{ "unmount --l", "--lazy", "--json" },
};

/* Skips the group where a shell is missing, before its first test. */
static int need(const char *shell)
{
	const char *argv[] = { shell, "-c", "true", NULL };
	struct command command = command_run(NULL, argv);
	int status = command.status;

	command_free(&command);
	if (!status)
		return 0;
	print_message("%s is not installed\n", shell);
	return getenv("PYCACHEFS_MUST_RUN") ? 1 : 77;
}

static const char *file_of(const char *name)
{
	return in(getenv("PYCACHEFS_COMPLETIONS"), name);
}

/* Puts the scratch directory where @text says '@', and nothing where it says '^'. */
static char *expand(const struct cli *cli, const char *text)
{
	char *result;
	size_t size;
	FILE *out = open_memstream(&result, &size);

	assert_non_null(out);
	for (; *text; text++)
		if (*text == '@')
			fputs(cli->top, out);
		else if (*text != '^')
			fputc(*text, out);
	assert_int_equal(fclose(out), 0);
	return result;
}

static bool has_line(const char *lines, const char *line)
{
	size_t length = strlen(line);

	for (const char *at = lines; (at = strstr(at, line)); at++)
		if ((at == lines || at[-1] == '\n') &&
		    (at[length] == '\n' || at[length] == '\t'))
			return true;
	return false;
}

static void check(const struct cli *cli, const struct row *row, const char *offered)
{
	char *some = expand(cli, row->some), *rest = some, *word;
	char *none = expand(cli, row->none ? row->none : "");

	while ((word = strsep(&rest, " ")))
		if (*word && !has_line(offered, word))
			fail_msg("'%s': no '%s' in:\n%s", row->line, word, offered);
	if (*none && has_line(offered, none))
		fail_msg("'%s': '%s' is offered", row->line, none);
	free(some);
	free(none);
}

static char *ask_bash(const struct cli *cli, const char *line)
{
	static const char script[] =
		"set -u; source \"$1\"; shift; COMP_WORDS=(pycachefs \"$@\") COMP_CWORD=$#;"
		"_pycachefs; printf '%s\\n' \"${COMPREPLY[@]-}\"";
	const char *argv[32] = {
		"bash", "--norc", "-c", script, "bash", file_of("pycachefs"),
	};
	char *copy = strdup(line), *rest = copy, *words[24], *word;
	struct command command;
	size_t count = 0;

	assert_non_null(copy);
	while ((word = strsep(&rest, " "))) {
		assert_true(count < 24);
		words[count] = expand(cli, word);
		argv[6 + count] = words[count];
		count++;
	}
	command = command_run(NULL, argv);
	if (command.status || *command.err)
		fail_msg("'%s': bash ended with %d: %s", line, command.status,
			 command.err);
	while (count-- > 0)
		free(words[count]);
	free(copy);
	free(command.err);
	return command.out;
}

static void bash_offers_what_fits(void **state)
{
	struct cli *cli = *state;

	cli_mount(cli, NULL);
	for (size_t i = 0; i < sizeof(rows_of_bash) / sizeof(*rows_of_bash); i++) {
		char *offered = ask_bash(cli, rows_of_bash[i].line);

		check(cli, &rows_of_bash[i], offered);
		free(offered);
	}
	cli_quietly("unmount", cli->mnt, NULL);
}

/* The kernel writes a blank as \040, and a shell would see two words. */
static void mounts_with_a_blank_are_offered_whole(void **state)
{
	static const struct row row = { "status ^", "@/a", NULL };
	static const char script[] = "source $argv[1]; complete -C 'pycachefs status '";
	struct cli *cli = *state;
	const char *argv[] = {
		"fish", "--no-config", "-c", script, file_of("pycachefs.fish"), NULL,
	};
	const char *point = in(cli->top, "a b");
	struct command command;
	char *offered;

	assert_int_equal(mkdir(point, 0755), 0);
	cli_quietly(cli->source, point, NULL);
	offered = ask_bash(cli, row.line);
	assert_true(has_line(offered, point));
	free(offered);
	command = command_run(NULL, argv);
	if (!has_line(command.out, point))
		fail_msg("no '%s' in: %s%s", point, command.out, command.err);
	command_free(&command);
	cli_quietly("unmount", point, NULL);
}

/* Every word that --help lists is offered: one table makes both. */
static void all_words_of_the_help_are_offered(void **state)
{
	struct cli *cli = *state;
	struct command help = cli_run("--help", NULL);
	char *offered = ask_bash(cli, "-o ^"), *rest, *line;
	int found = 0;

	rest = strstr(help.out, "Options for -o");
	assert_non_null(rest);
	while ((line = strsep(&rest, "\n"))) {
		char word[64];

		if (sscanf(line, "  %60[a-z_=]", word) != 1 || line[0] != ' ')
			continue;
		/* What stands behind "=" is a value's name, or the values. */
		if (strchr(word, '='))
			strchr(word, '=')[1] = '\0';
		if (!has_line(offered, word))
			fail_msg("no '%s' in:\n%s", word, offered);
		found++;
	}
	assert_true(found >= 12);
	free(offered);
	command_free(&help);
}

/* fish starts slowly, so it is asked for all lines at once. */
static void fish_offers_what_fits(void **state)
{
	static const char script[] =
		"source $argv[1]; for line in $argv[2..-1]; complete -C \"pycachefs $line\";"
		"echo; echo ==; end";
	enum { ROWS = sizeof(rows_of_fish) / sizeof(*rows_of_fish) };
	struct cli *cli = *state;
	const char *argv[5 + ROWS + 1] = {
		"fish", "--no-config", "-c", script, file_of("pycachefs.fish"),
	};
	struct command command;
	char *rest, *lines[ROWS];

	cli_mount(cli, NULL);
	for (size_t i = 0; i < ROWS; i++)
		argv[5 + i] = lines[i] = expand(cli, rows_of_fish[i].line);
	command = command_run(NULL, argv);
	assert_string_equal(command.err, "");
	rest = command.out;
	for (size_t i = 0; i < ROWS; i++) {
		char *end = strstr(rest, "\n==\n");

		assert_non_null(end);
		*end = '\0';
		check(cli, &rows_of_fish[i], rest);
		rest = end + 4;
		free(lines[i]);
	}
	command_free(&command);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void zsh_and_fish_read_theirs(void **state)
{
	(void)state;
	free(command_output(NULL, "zsh", "-f", "-n", file_of("_pycachefs"), NULL));
	free(command_output(NULL, "fish", "-n", file_of("pycachefs.fish"), NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLI(bash_offers_what_fits),
		CLI(mounts_with_a_blank_are_offered_whole),
		CLI(all_words_of_the_help_are_offered),
		CLI(fish_offers_what_fits),
		CLI(zsh_and_fish_read_theirs),
	};
	int skip = cli_possible();

	for (size_t i = 0; !skip && i < 3; i++)
		skip = need((const char *[]){ "bash", "zsh", "fish" }[i]);
	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
