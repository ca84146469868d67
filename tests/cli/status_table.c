/*
 * What `status` looks like to people: never wider than 80 columns, in colours on a
 * terminal that wants them, and the same words everywhere else.
 */
#include "cli.h"

#include <ctype.h>
#include <limits.h>
#include <sys/wait.h>

/* Runs `status` with a terminal for its output, and these settings; what it wrote. */
static char *on_terminal(const char *term, const char *no_color)
{
	int master = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC), slave;
	size_t length = 0, room = 1 << 16;
	char *said = calloc(1, room);
	ssize_t got;
	pid_t child;

	assert_non_null(said);
	assert_true(master >= 0);
	assert_int_equal(grantpt(master), 0);
	assert_int_equal(unlockpt(master), 0);
	slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC);
	assert_true(slave >= 0);
	child = fork();
	assert_true(child >= 0);
	if (child == 0) {
		setsid();
		dup2(slave, STDOUT_FILENO);
		unsetenv("TERM");
		unsetenv("NO_COLOR");
		if (term)
			setenv("TERM", term, 1);
		if (no_color)
			setenv("NO_COLOR", no_color, 1);
		execl(fixture_program(), fixture_program(), "status", NULL);
		_exit(127);
	}
	close(slave);
	/* EIO when the other end has gone. */
	while ((got = read(master, said + length, room - length - 1)) > 0)
		length += (size_t)got;
	close(master);
	assert_int_equal(cli_wait(child), 0);
	return said;
}

static char *on_pipe(void)
{
	struct command command = cli_run("status", NULL);

	assert_int_equal(command.status, 0);
	assert_string_equal(command.err, "");
	free(command.err);
	return command.out;
}

/* Takes colours and carriage returns out; a number becomes one '#', since figures
 * grow by being asked for. */
static char *words_of(const char *text)
{
	char *result = malloc(strlen(text) + 1), *at = result;

	assert_non_null(result);
	while (*text) {
		if (*text == '\033') {
			text += strcspn(text, "m") + 1;
		} else if (isdigit((unsigned char)*text)) {
			text += strspn(text, "0123456789.");
			*at++ = '#';
		} else {
			if (!isspace((unsigned char)*text))
				*at++ = *text;
			text++;
		}
	}
	*at = '\0';
	return result;
}

static void colours_are_for_terminals_that_want_them(void **state)
{
	static const struct {
		const char *term, *no_color;
		bool colours;
	} rows[] = {
		{ "xterm", NULL, true }, { "xterm", "", true },
		{ "xterm", "1", false }, { "dumb", NULL, false },
		{ "", NULL, false }, { NULL, NULL, false },
	};
	struct cli *cli = *state;
	char *plain, *piped;

	cli_mount(cli, "size=8M");
	piped = on_pipe();
	assert_null(strchr(piped, '\033'));
	plain = words_of(piped);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *said = on_terminal(rows[i].term, rows[i].no_color);
		char *words = words_of(said);

		assert_int_equal(strchr(said, '\033') != NULL, rows[i].colours);
		assert_string_equal(words, plain);
		free(words);
		free(said);
	}
	free(plain);
	free(piped);
	cli_quietly("unmount", cli->mnt, NULL);
}

/* Whatever the program says, in a pipe or on a terminal. */
static void assert_narrow(const char *text)
{
	int column = 0;

	for (; *text; text++) {
		if (*text == '\033')
			text += strcspn(text, "m");
		else if (*text == '\n')
			column = 0;
		/* A byte that goes on with a character of UTF-8 takes no column. */
		else if (*text != '\r' && ((unsigned char)*text & 0xc0) != 0x80)
			column++;
		if (column > 80)
			fail_msg("wider than 80 columns: %.100s", text - 80);
	}
}

static void assert_no_blank_at_line_ends(const char *text)
{
	assert_null(strstr(text, " \n"));
}

/* Makes a directory of @parts parts of @size bytes each below @top. */
static void make_deep(const char *top, int parts, size_t size, const char *character,
		      char ret[PATH_MAX])
{
	size_t length = (size_t)snprintf(ret, PATH_MAX, "%s", top);

	for (int i = 0; i < parts; i++) {
		ret[length++] = '/';
		for (size_t n = 0; n < size; n += strlen(character))
			length += (size_t)snprintf(ret + length, PATH_MAX - length, "%s",
						   character);
		assert_int_equal(mkdir(ret, 0755), 0);
	}
}

static void long_paths_and_options_go_on_in_further_lines(void **state)
{
	static const struct {
		int parts;
		size_t size;
		const char *character;
	} rows[] = {
		{ 1, 255, "x" }, { 12, 60, "y" }, { 40, 1, "z" }, { 3, 252, "\xc3\xa9" },
		{ 2, 68, "w" },
	};
	struct cli *cli = *state;
	char source[PATH_MAX], mnt[PATH_MAX], options[2048] = "size=8M";

	for (int i = 0; i < 60; i++)
		snprintf(options + strlen(options), sizeof(options) - strlen(options),
			 ",also=.cache%02d", i);
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++) {
		char *said, *terminal, *words, *path;

		make_deep(cli->source, rows[i].parts, rows[i].size, rows[i].character,
			  source);
		make_deep(cli->mnt, rows[i].parts, rows[i].size, rows[i].character, mnt);
		cli_quietly("-o", options, source, mnt, NULL);
		said = on_pipe();
		terminal = on_terminal("xterm", NULL);
		assert_narrow(said);
		assert_narrow(terminal);
		assert_no_blank_at_line_ends(said);
		/* Nothing of them is lost. */
		words = words_of(said);
		for (size_t n = 0; n < 3; n++) {
			path = words_of((const char *[]){ source, mnt, options }[n]);
			if (!strstr(words, path))
				fail_msg("no '%s' in:\n%s", path, said);
			free(path);
		}
		free(words);
		free(said);
		free(terminal);
		cli_quietly("unmount", mnt, NULL);
	}
}

static void each_mount_is_a_part_of_its_own(void **state)
{
	struct cli *cli = *state;
	const char *other = in(cli->top, "other");
	char *said, title[256];

	assert_int_equal(mkdir(other, 0755), 0);
	cli_quietly(cli->source, cli->mnt, NULL);
	cli_quietly(other, NULL);
	said = on_pipe();
	snprintf(title, sizeof(title), "%s\n  mounted on  %s\n", cli->source, cli->mnt);
	assert_memory_equal(said, title, strlen(title));
	snprintf(title, sizeof(title), "\n\n%s\n  mounted     over itself\n", other);
	assert_non_null(strstr(said, title));
	free(said);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_quietly("unmount", other, NULL);
}

/* Whoever mounts chooses the path, and the terminal is somebody else's. */
static void a_terminal_gets_no_commands_from_paths(void **state)
{
	struct cli *cli = *state;
	const char *odd = in(cli->top, "odd\033]0;title\007\xff\u00e9");
	char *said;

	assert_int_equal(mkdir(odd, 0755), 0);
	cli_quietly(odd, NULL);
	said = on_terminal("xterm", "1");
	assert_null(strpbrk(said, "\033\007\xff"));
	assert_non_null(strstr(said, "odd\\x1b]0;title\\x07\\xff\u00e9"));
	free(said);
	said = on_pipe();
	assert_non_null(strstr(said, odd));
	free(said);
	cli_quietly("unmount", odd, NULL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(colours_are_for_terminals_that_want_them),
		CLI(long_paths_and_options_go_on_in_further_lines),
		CLI(each_mount_is_a_part_of_its_own),
		CLI(a_terminal_gets_no_commands_from_paths),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
