/*
 * The words of -o: what each takes and refuses, and that --help lists them.
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

/* The same for one word of -o, which may hold spaces; "" for none. */
static int parse_word(struct opts *ret, const char *word)
{
	char *argv[] = {
		(char *)(uintptr_t)"pycachefs", (char *)(uintptr_t)"source",
		(char *)(uintptr_t)"-o", (char *)(uintptr_t)word, NULL,
	};

	return opts_parse(ret, *word ? 4 : 2, argv);
}

static void sizes_are_read(void **state)
{
	static const struct {
		const char *text;
		int err;
		uint64_t value;
	} cases[] = {
		{ "1", 0, 1 },
		{ "4096", 0, 4096 },
		{ "0064", 0, 64 },
		{ "1K", 0, 1024 },
		{ "1k", 0, 1024 },
		{ "256M", 0, UINT64_C(256) << 20 },
		{ "3g", 0, UINT64_C(3) << 30 },
		{ "2T", 0, UINT64_C(2) << 40 },
		/* What tmpfs takes at most, and one more. */
		{ "9223372036854775807", 0, INT64_MAX },
		{ "9223372036854775808", -ERANGE, 0 },
		{ "8388607T", 0, UINT64_C(8388607) << 40 },
		{ "8388608T", -ERANGE, 0 },
		{ "18446744073709551615", -ERANGE, 0 },
		{ "18446744073709551616", -ERANGE, 0 },
		{ "99999999999999999999999999K", -ERANGE, 0 },
		{ "", -EINVAL, 0 },
		{ "0", -EINVAL, 0 },
		{ "0K", -EINVAL, 0 },
		{ "K", -EINVAL, 0 },
		{ "-1", -EINVAL, 0 },
		{ "+1", -EINVAL, 0 },
		{ " 1", -EINVAL, 0 },
		{ "1 ", -EINVAL, 0 },
		{ "1 K", -EINVAL, 0 },
		{ "1.5M", -EINVAL, 0 },
		{ "1KB", -EINVAL, 0 },
		{ "1KiB", -EINVAL, 0 },
		{ "1P", -EINVAL, 0 },
		{ "1%", -EINVAL, 0 },
		{ "0x10", -EINVAL, 0 },
		{ "many", -EINVAL, 0 },
	};

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
		uint64_t value = 77;
		int err = opts_parse_size(cases[i].text, &value);

		if (err != cases[i].err)
			print_error("'%s' gives %d\n", cases[i].text, err);
		assert_int_equal(err, cases[i].err);
		/* Set on success only. */
		assert_true(value == (err ? 77 : cases[i].value));
	}
}

static void defaults_hold_when_nothing_is_said(void **state)
{
	struct opts opts;

	(void)state;
	assert_int_equal(parse(&opts, "source"), 0);
	assert_string_equal(opts.source, "source");
	assert_null(opts.mountpoint);
	assert_null(opts.words);
	assert_true(opts.size == UINT64_C(256) << 20);
	assert_int_equal(opts.inodes, 0);
	assert_int_equal(opts.max_threads, 0);
	assert_null(opts.store);
	assert_int_equal(opts.names.also_count, 0);
	assert_false(opts.foreground || opts.debug || opts.help || opts.version);
	assert_false(opts.read_only || opts.allow_other || opts.fsname_given);
	assert_false(opts_has_timeout(&opts));
	assert_int_equal(opts.fuse.argc, 1);
	opts_clear(&opts);
	/* Clear twice is as good as once. */
	opts_clear(&opts);
}

/* What a word of -o does beyond being noted. */
static bool is_size(const struct opts *o) { return o->size == 64 << 20; }
static bool is_inodes(const struct opts *o) { return o->inodes == 5000; }
static bool is_threads(const struct opts *o) { return o->max_threads == 3; }
static bool is_seed(const struct opts *o) { return o->seed; }
static bool is_hide(const struct opts *o) { return !o->seed; }
static bool is_ro(const struct opts *o) { return o->read_only; }
static bool is_other(const struct opts *o) { return o->allow_other; }
static bool is_store(const struct opts *o) { return !strcmp(o->store, "/dev/shm/mine"); }
static bool is_fsname(const struct opts *o) { return o->fsname_given; }

static bool is_guarded(const struct opts *o) { return o->auto_unmount; }
static bool is_max_read(const struct opts *o) { return o->max_read == 65536; }

static bool is_half_second(const struct opts *o)
{
	return opts_has_timeout(o) && o->timeout > 0.49 && o->timeout < 0.51;
}

static bool is_no_time(const struct opts *o)
{
	return opts_has_timeout(o) && o->timeout < 1e-9;
}

static bool is_also(const struct opts *o)
{
	return o->names.also_count == 1 &&
		strcmp(o->names.also[0], ".pytest_cache") == 0;
}

/* Words that take effect: ours, then libfuse's, which go on to it. */
static const struct {
	const char *word;
	bool (*took)(const struct opts *opts);
	bool passed;		/* to libfuse */
} effective[] = {
	{ "size=64M", is_size, false },
	{ "inodes=5000", is_inodes, false },
	{ "store=/dev/shm/mine", is_store, false },
	{ "also=.pytest_cache", is_also, false },
	{ "ro", is_ro, false },
	{ "existing=seed", is_seed, false },
	{ "existing=hide", is_hide, false },
	{ "existing=seed,existing=hide", is_hide, false },
	{ "timeout=0.5", is_half_second, false },
	{ "timeout=.5", is_half_second, false },
	{ "timeout=5e-1", is_half_second, false },
	{ "timeout=0", is_no_time, false },
	{ "max_threads=3", is_threads, false },
	{ "allow_other", is_other, false },
	{ "fsname=project", is_fsname, true },
	{ "auto_unmount", is_guarded, false },
	{ "max_read=65536", is_max_read, true },
	{ "suid", NULL, true }, { "nosuid", NULL, true },
	{ "dev", NULL, true }, { "nodev", NULL, true },
	{ "exec", NULL, true }, { "noexec", NULL, true },
	{ "sync", NULL, true }, { "async", NULL, true },
	{ "dirsync", NULL, true },
	{ "noatime", NULL, true },
	{ "nodiratime", NULL, true },
	{ "context=a:b:c", NULL, true },
	{ "fscontext=a:b:c", NULL, true },
	{ "defcontext=a:b:c", NULL, true },
	{ "rootcontext=a:b:c", NULL, true },
};

static void a_word_takes_effect_and_is_noted(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(effective); i++) {
		const char *word = effective[i].word;
		struct opts opts;

		assert_int_equal(parse_word(&opts, word), 0);
		assert_non_null(opts.words);
		assert_string_equal(opts.words, word);
		if (effective[i].took && !effective[i].took(&opts)) {
			print_error("'%s' took no effect\n", word);
			fail();
		}
		/* Libfuse gets its own and no other. */
		if (effective[i].passed) {
			assert_int_equal(opts.fuse.argc, 3);
			assert_string_equal(opts.fuse.argv[1], "-o");
			assert_string_equal(opts.fuse.argv[2], word);
		} else {
			assert_int_equal(opts.fuse.argc, 1);
		}
		opts_clear(&opts);
	}
}

static void words_come_together_and_the_last_counts(void **state)
{
	struct opts opts;

	(void)state;
	assert_int_equal(parse(&opts, "-o size=1K,also=a,ro source -o nosuid "
			       "-osize=2K,also=b*,noexec mnt"), 0);
	assert_true(opts.size == 2048);
	assert_int_equal(opts.names.also_count, 2);
	assert_string_equal(opts.names.also[0], "a");
	assert_string_equal(opts.names.also[1], "b*");
	assert_string_equal(opts.words,
			    "size=1K,also=a,ro,nosuid,size=2K,also=b*,noexec");
	assert_int_equal(opts.fuse.argc, 3);
	assert_string_equal(opts.fuse.argv[2], "nosuid,noexec");
	opts_clear(&opts);
}

static void what_mount_hands_on_has_no_effect(void **state)
{
	static const char *const words[] = {
		"rw", "defaults", "auto", "noauto", "atime", "diratime", "relatime",
		"strictatime", "lazytime", "silent", "user", "nouser", "users",
		"owner", "group", "_netdev", "nofail", "user=fred",
		"default_permissions", "x-systemd.automount",
		"x-systemd.requires=/srv",
	};
	struct opts opts;

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(words); i++) {
		unit_listen();
		int err = parse_word(&opts, words[i]);
		char *said = unit_said();

		assert_int_equal(err, 0);
		assert_string_equal(said, "");
		free(said);
		assert_null(opts.words);
		assert_int_equal(opts.fuse.argc, 1);
		assert_false(opts.read_only);
		opts_clear(&opts);
	}
}

/* A line with words in it that say what is wrong with which option. */
static const struct {
	const char *word, *said;
} refused[] = {
	{ "size=", "'size='" },
	{ "size=0", "'size=0': not valid, it takes a number of bytes" },
	{ "size=x", "'size=x'" },
	{ "size=-1", "'size=-1'" },
	{ "size=1KB", "'size=1KB'" },
	{ "size=9223372036854775808", "too large" },
	{ "size", "'size': needs a value, as in size=SIZE" },
	{ "inodes=0", "'inodes=0': not valid, it takes a number above 0" },
	{ "inodes=1K", "'inodes=1K'" },
	{ "inodes=-5", "'inodes=-5'" },
	{ "inodes=99999999999999999999", "too large" },
	{ "inodes=", "'inodes='" },
	{ "inodes", "needs a value" },
	{ "timeout=", "'timeout=': not valid, it takes a number of seconds" },
	{ "timeout=-1", "'timeout=-1'" },
	{ "timeout=x", "'timeout=x'" },
	{ "timeout=.", "'timeout=.'" },
	{ "timeout=1s", "'timeout=1s'" },
	{ "timeout=inf", "'timeout=inf'" },
	{ "timeout=nan", "'timeout=nan'" },
	{ "timeout=1e999", "'timeout=1e999'" },
	{ "timeout= 1", "'timeout= 1'" },
	{ "timeout", "needs a value" },
	{ "existing=", "'existing=': not valid, it takes hide or seed" },
	{ "existing=show", "'existing=show': not valid, it takes hide or seed" },
	{ "existing", "'existing': needs a value, as in existing=hide|seed" },
	{ "store=", "'store=': not valid, it takes a directory" },
	{ "also=", "'also=': not valid, it takes a name or glob" },
	{ "also=a/b", "'also=a/b'" },
	{ "also=..", "'also=..'" },
	{ "also", "needs a value" },
	{ "max_threads=0", "'max_threads=0'" },
	{ "max_threads=1.5", "'max_threads=1.5'" },
	{ "max_threads=1M", "'max_threads=1M'" },
	{ "max_threads", "needs a value" },
	{ "fsname", "needs a value, as in fsname=NAME" },
	{ "max_read", "needs a value" },
	{ "max_read=", "'max_read=': not valid, it takes a number of bytes" },
	{ "max_read=0", "'max_read=0'" },
	{ "max_read=-1", "'max_read=-1'" },
	{ "max_read=64K", "'max_read=64K'" },
	{ "max_read=4294967296", "'max_read=4294967296': too large" },
	{ "max_threads=4294967297", "'max_threads=4294967297': too large" },
	{ "context", "needs a value" },
	{ "ro=1", "'ro=1': not known, see pycachefs --help" },
	{ "allow_other=1", "'allow_other=1': not known" },
	{ "auto_unmount=1", "not known" },
	{ "nosuid=1", "not known" },
	{ "bogus", "'bogus': not known, see pycachefs --help" },
	{ "bogus=1", "'bogus=1': not known" },
	{ "sizes=1", "'sizes=1': not known" },
	{ "Size=1", "'Size=1': not known" },
	{ "RO", "'RO': not known" },
	{ "roo", "'roo': not known" },
	{ "ro\nrw", "'ro rw': not known" },
};

static void a_bad_word_is_refused_in_one_line(void **state)
{
	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
		struct opts opts;

		unit_listen();
		int err = parse_word(&opts, refused[i].word);
		char *said = unit_said();

		opts_clear(&opts);
		unit_assert_line(said, refused[i].said);
		assert_int_equal(err, -EINVAL);
	}
}

/* Known, but others' to explain. */
static bool is_foreign(const char *name)
{
	static const char *const names[] = {
		"suid", "nosuid", "dev", "nodev", "exec", "noexec", "sync", "async",
		"dirsync", "atime", "noatime", "nodiratime", "context=",
		"fscontext=", "defcontext=", "rootcontext=",
	};

	for (size_t i = 0; i < ARRAY_SIZE(names); i++)
		if (strcmp(names[i], name) == 0)
			return true;
	return false;
}

/* "size=64M" as "size=". */
static void name_of(const char *word, char ret[64])
{
	size_t length = strcspn(word, "=");

	snprintf(ret, 64, "%.*s%s", (int)length, word, word[length] ? "=" : "");
}

static char *help(void)
{
	char *text;
	size_t size;
	FILE *out = open_memstream(&text, &size);

	assert_non_null(out);
	opts_help(out);
	fclose(out);
	return text;
}

static void help_lists_every_option_of_ours(void **state)
{
	char *text = help(), name[64], line[80];

	(void)state;
	for (size_t i = 0; i < ARRAY_SIZE(effective); i++) {
		name_of(effective[i].word, name);
		snprintf(line, sizeof(line), "\n  %s", name);
		bool listed = strstr(text, line) ||
			strncmp(text, line + 1, strlen(line + 1)) == 0;

		if (listed == is_foreign(name))
			print_error("'%s': listed: %d\n", name, listed);
		assert_true(listed != is_foreign(name));
	}
	free(text);
}

/* An option that is new in the table has to be tried here too. */
static void help_lists_no_option_that_is_not_tried_here(void **state)
{
	char *text = help(), *rest = text, *line, name[64];
	int lines = 0;

	(void)state;
	while ((line = strsep(&rest, "\n")) && *line) {
		bool tried = false;

		assert_true(starts_with(line, "  "));
		line += 2;
		line[strcspn(line, " ")] = '\0';
		for (size_t i = 0; i < ARRAY_SIZE(effective); i++) {
			name_of(effective[i].word, name);
			tried = tried || (ends_with(name, "=")
				? starts_with(line, name)
				: strcmp(line, name) == 0);
		}
		if (!tried)
			print_error("'%s' is not tried\n", line);
		assert_true(tried);
		lines++;
	}
	assert_in_range(lines, 8, 100);
	free(text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_are_read),
		cmocka_unit_test(defaults_hold_when_nothing_is_said),
		cmocka_unit_test(a_word_takes_effect_and_is_noted),
		cmocka_unit_test(words_come_together_and_the_last_counts),
		cmocka_unit_test(what_mount_hands_on_has_no_effect),
		cmocka_unit_test(a_bad_word_is_refused_in_one_line),
		cmocka_unit_test(help_lists_every_option_of_ours),
		cmocka_unit_test(help_lists_no_option_that_is_not_tried_here),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
