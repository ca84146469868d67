/*
 * What the tests of `pycachefs run` share.  See run.h.
 */
#include "run.h"

enum { WORDS_MAX = 24 };

int run_setup(void **state)
{
	(void)state;
	fixture_open_device();
	return 0;
}

int run_teardown(void **state)
{
	(void)state;
	fixture_restore_device();
	return 0;
}

bool run_give(const struct cli *cli, uid_t uid)
{
	char owner[32];

	snprintf(owner, sizeof(owner), "%u:%u", uid, uid);
	free(command_output(NULL, "chown", "-R", owner, cli->source, NULL));
	return true;
}

static struct command run(const char *directory, int uid, const char *const *argv)
{
	struct command_options options = {
		.directory = directory, .seconds = DEADLINE,
		.uid = (uid_t)uid, .gid = (gid_t)uid,
	};

	return command_run(&options, argv);
}

static void gather(const char **argv, const char *word, va_list words)
{
	int n = 0;

	argv[n++] = fixture_program();
	argv[n++] = "run";
	for (; word; word = va_arg(words, const char *)) {
		assert_true(n < WORDS_MAX);
		argv[n++] = word;
	}
	argv[n] = NULL;
}

struct command run_as(const struct cli *cli, int uid, const char *word, ...)
{
	const char *argv[WORDS_MAX + 1];
	va_list words;

	va_start(words, word);
	gather(argv, word, words);
	va_end(words);
	return run(cli->source, uid, argv);
}

struct command run_in(const char *directory, int uid, const char *word, ...)
{
	const char *argv[WORDS_MAX + 1];
	va_list words;

	va_start(words, word);
	gather(argv, word, words);
	va_end(words);
	return run(directory, uid, argv);
}

struct command run_script(const struct cli *cli, int uid, const char *script)
{
	const char *argv[] = { "sh", "-c", script, fixture_program(), cli->source, NULL };

	return run(cli->source, uid, argv);
}

void run_assert(struct command command, int status, const char *out, const char *err)
{
	if (command.status != status)
		print_error("said \"%s\" and \"%s\"\n", command.out, command.err);
	assert_int_equal(command.status, status);
	assert_string_equal(command.err, err);
	assert_string_equal(command.out, out);
	command_free(&command);
}

void run_assert_complaint(struct command command, int status, const char *mention)
{
	if (command.status != status)
		print_error("said \"%s\" and \"%s\"\n", command.out, command.err);
	assert_int_equal(command.status, status);
	assert_string_equal(command.out, "");
	cli_assert_complaint(command.err, mention);
	command_free(&command);
}
