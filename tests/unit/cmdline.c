/*
 * The command line: source, mountpoint, switches, and where -o may stand.
 */
#include "unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "opts.h"

/* Parses words split at spaces, after the program's name. */
static int parse(struct opts *ret, const char *line)
{
	static char buffer[4096];
	char *argv[64] = { (char *)(uintptr_t)"pycachefs" }, *rest = buffer, *word;
	int argc = 1;

	snprintf(buffer, sizeof(buffer), "%s", line);
	while ((word = strsep(&rest, " ")))
		if (*word)
			argv[argc++] = word;
	return opts_parse(ret, argc, argv);
}

static void arguments_are_source_and_mountpoint(void **state)
{
	static const struct {
		const char *line, *source, *mountpoint;
	} cases[] = {
		{ "", NULL, NULL },
		{ "a", "a", NULL },
		{ "a b", "a", "b" },
		{ "-f a -d b", "a", "b" },
		{ "a -o ro b", "a", "b" },
		{ "-- a b", "a", "b" },
		{ "-- -a -b", "-a", "-b" },
		{ "a -- -o", "a", "-o" },
		{ "a --", "a", NULL },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opts opts;

		assert_int_equal(parse(&opts, cases[i].line), 0);
		assert_int_equal(!opts.source, !cases[i].source);
		assert_int_equal(!opts.mountpoint, !cases[i].mountpoint);
		if (opts.source)
			assert_string_equal(opts.source, cases[i].source);
		if (opts.mountpoint)
			assert_string_equal(opts.mountpoint,
					    cases[i].mountpoint);
		opts_clear(&opts);
	}
}

static void switches_are_set(void **state)
{
	static const struct {
		const char *line;
		bool foreground, debug, help, version, read_only;
	} cases[] = {
		{ "-f a", true, false, false, false, false },
		{ "-d a", true, true, false, false, false },
		{ "a -h", false, false, true, false, false },
		{ "--help", false, false, true, false, false },
		{ "-V", false, false, false, true, false },
		{ "--version a b", false, false, false, true, false },
		{ "-r a", false, false, false, false, true },
		{ "-w a", false, false, false, false, false },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opts opts;

		assert_int_equal(parse(&opts, cases[i].line), 0);
		assert_int_equal(opts.foreground, cases[i].foreground);
		assert_int_equal(opts.debug, cases[i].debug);
		assert_int_equal(opts.help, cases[i].help);
		assert_int_equal(opts.version, cases[i].version);
		assert_int_equal(opts.read_only, cases[i].read_only);
		/* -r is as good as the word. */
		assert_int_equal(opts.words && strcmp(opts.words, "ro") == 0,
				 cases[i].read_only);
		opts_clear(&opts);
	}
}

static void a_bad_line_is_refused_in_one_line(void **state)
{
	static const struct {
		const char *line, *said;
	} cases[] = {
		{ "a b c", "'c': one argument too many" },
		{ "a b c d", "'c': one argument too many" },
		{ "-x a", "'-x': not known" },
		{ "a --size=1M", "'--size=1M': not known" },
		{ "--ro", "'--ro': not known" },
		{ "-", "'-': not known" },
		{ "-s a", "'-s': not known" },
		{ "a -o size=1,bogus,size=0", "'bogus': not known" },
		{ "a -o ro,", "'': not known" },
		/* Whoever finds it, the line is ours. */
		{ "a -o", "-o" },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		struct opts opts;

		unit_listen();
		int err = parse(&opts, cases[i].line);
		char *said = unit_said();

		opts_clear(&opts);
		unit_assert_line(said, cases[i].said);
		assert_int_equal(err, -EINVAL);
	}
}

static void a_comma_after_a_backslash_is_part_of_a_word(void **state)
{
	struct opts opts;

	(void)state;
	assert_int_equal(parse(&opts, "a -o also=x\\,y,fsname=p\\,q"), 0);
	assert_int_equal(opts.names.also_count, 1);
	assert_string_equal(opts.names.also[0], "x,y");
	/* Libfuse will take it apart again. */
	assert_int_equal(opts.fuse.argc, 3);
	assert_string_equal(opts.fuse.argv[2], "fsname=p\\,q");
	opts_clear(&opts);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(arguments_are_source_and_mountpoint),
		cmocka_unit_test(switches_are_set),
		cmocka_unit_test(a_bad_line_is_refused_in_one_line),
		cmocka_unit_test(a_comma_after_a_backslash_is_part_of_a_word),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
