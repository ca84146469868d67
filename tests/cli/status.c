/*
 * What `status` tells: of no mounts, of one, of several, for people and as JSON,
 * and that the figures in it count what was done.
 */
#include "cli.h"

#include <jansson.h>
#include <sys/mount.h>
#include <sys/xattr.h>

#define NAME "user.pycachefs.status"

/* `status --json` of these mounts (NULL: all), which must succeed. */
static json_t *status_json(const char *first, const char *second)
{
	struct command command = cli_run("status", "--json", first, second,
					 NULL);
	json_error_t error;
	json_t *all = json_loads(command.out, 0, &error);

	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	if (!all)
		fail_msg("%s in: %s", error.text, command.out);
	assert_true(json_is_array(all));
	command_free(&command);
	return all;
}

static const char *text(const json_t *mount, const char *key)
{
	const char *value = json_string_value(json_object_get(mount, key));

	if (!value)
		fail_msg("no text '%s'", key);
	return value;
}

static json_int_t number(const json_t *mount, const char *group,
			 const char *key)
{
	const json_t *value = json_object_get(json_object_get(mount, group),
					      key);

	if (!json_is_integer(value))
		fail_msg("no number '%s' in '%s'", key, group);
	return json_integer_value(value);
}

static json_int_t all_requests(const json_t *mount)
{
	json_t *requests = json_object_get(mount, "requests"), *value;
	json_int_t sum = 0;
	const char *key;

	assert_true(json_is_object(requests));
	json_object_foreach(requests, key, value) {
		assert_true(json_is_integer(value));
		assert_true(json_integer_value(value) >= 0);
		sum += json_integer_value(value);
	}
	return sum;
}

static void without_mounts_there_is_nothing_to_show(void **state)
{
	json_t *all = status_json(NULL, NULL);
	struct command command = cli_run("status", NULL);

	(void)state;
	assert_int_equal(json_array_size(all), 0);
	json_decref(all);
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	command_free(&command);
}

static void json_holds_what_it_promises(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, "size=8M,inodes=1000,also=.x");
	json_t *all = status_json(NULL, NULL), *mount;
	struct command command = cli_run("--version", NULL);
	const char *kind;

	assert_int_equal(json_array_size(all), 1);
	mount = json_array_get(all, 0);
	assert_string_equal(text(mount, "source"), cli->source);
	assert_string_equal(text(mount, "mountpoint"), cli->mnt);
	assert_int_equal(json_integer_value(json_object_get(mount, "pid")),
			 daemon);
	assert_non_null(strstr(command.out, text(mount, "version")));
	assert_string_not_equal(text(mount, "version"), "");
	assert_non_null(strstr(text(mount, "options"), "size=8M"));
	assert_non_null(strstr(text(mount, "options"), "inodes=1000"));
	assert_non_null(strstr(text(mount, "options"), "also=.x"));
	kind = text(json_object_get(mount, "coherence"), "kind");
	assert_true(strcmp(kind, "watch") == 0 || strcmp(kind, "timeout") == 0);
	assert_string_not_equal(text(json_object_get(mount, "store"), "kind"),
				"");
	assert_int_equal(number(mount, "store", "size"), 8 << 20);
	assert_int_equal(number(mount, "store", "inodes"), 1000);
	assert_in_range(number(mount, "store", "inodes_used"), 0, 999);
	assert_in_range(number(mount, "store", "used"), 0, 1 << 20);
	assert_int_equal(number(mount, "store", "files"), 0);
	assert_in_range(number(mount, "inodes", "known"), 1, 1000);
	assert_in_range(number(mount, "inodes", "descriptors"), 0,
			number(mount, "inodes", "limit"));
	assert_true(number(mount, "inodes", "limit") > 0);
	assert_true(all_requests(mount) > 0);
	assert_int_equal(number(mount, "redirected", "files"), 0);
	assert_int_equal(number(mount, "redirected", "bytes"), 0);
	command_free(&command);
	json_decref(all);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_assert_ended(daemon, cli->mnt);
}

/* An absolute path, however the mount's was given. */
static void options_are_empty_when_none_were_given(void **state)
{
	struct cli *cli = *state;

	cli_mount(cli, NULL);
	json_t *all = status_json(cli->mnt, NULL);
	assert_int_equal(json_array_size(all), 1);
	assert_string_equal(text(json_array_get(all, 0), "options"), "");
	json_decref(all);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void the_figures_count_what_is_done(void **state)
{
	struct cli *cli = *state;
	char block[100000], name[64];
	json_t *then, *now, *before, *after;

	memset(block, 'x', sizeof(block));
	cli_mount(cli, NULL);
	then = status_json(cli->mnt, NULL);
	for (int i = 0; i < 3; i++) {
		snprintf(name, sizeof(name), "pkg/__pycache__/m%d.pyc", i);
		tree_write(in(cli->mnt, name), block, sizeof(block));
	}
	/* What goes to the source is not redirected. */
	tree_write(in(cli->mnt, "pkg/data"), block, sizeof(block));
	now = status_json(cli->mnt, NULL);
	before = json_array_get(then, 0);
	after = json_array_get(now, 0);
	assert_int_equal(number(after, "redirected", "files") -
			 number(before, "redirected", "files"), 3);
	assert_int_equal(number(after, "redirected", "bytes") -
			 number(before, "redirected", "bytes"), 300000);
	assert_int_equal(number(after, "store", "files") -
			 number(before, "store", "files"), 3);
	assert_in_range(number(after, "store", "used") -
			number(before, "store", "used"), 300000, 400000);
	assert_in_range(number(after, "store", "inodes_used") -
			number(before, "store", "inodes_used"), 3, 6);
	assert_true(number(after, "inodes", "known") >
		    number(before, "inodes", "known"));
	/* Four files: a lookup, a create and a write of each. */
	assert_true(all_requests(after) - all_requests(before) >= 12);
	json_decref(then);

	assert_int_equal(unlink(in(cli->mnt, "pkg/__pycache__/m0.pyc")), 0);
	then = status_json(cli->mnt, NULL);
	assert_int_equal(number(json_array_get(then, 0), "store", "files"), 2);
	assert_true(number(json_array_get(then, 0), "store", "used") <
		    number(after, "store", "used"));
	json_decref(then);
	json_decref(now);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void all_mounts_are_shown_or_those_that_are_named(void **state)
{
	struct cli *cli = *state;
	char other[128];
	json_t *all;

	snprintf(other, sizeof(other), "%s/other", cli->top);
	tree_write(in(other, "pkg/mod.py"), "mod = 1\n", -1);
	cli_quietly(cli->source, cli->mnt, NULL);
	cli_quietly(other, NULL);
	all = status_json(NULL, NULL);
	assert_int_equal(json_array_size(all), 2);
	assert_string_equal(text(json_array_get(all, 0), "mountpoint"),
			    cli->mnt);
	assert_string_equal(text(json_array_get(all, 1), "mountpoint"), other);
	assert_string_equal(text(json_array_get(all, 1), "source"), other);
	json_decref(all);
	all = status_json(other, NULL);
	assert_int_equal(json_array_size(all), 1);
	assert_string_equal(text(json_array_get(all, 0), "mountpoint"), other);
	json_decref(all);
	all = status_json(other, cli->mnt);
	assert_int_equal(json_array_size(all), 2);
	json_decref(all);
	cli_quietly("unmount", cli->mnt, NULL);
	cli_quietly("unmount", other, NULL);
}

static void people_read_source_mountpoint_and_store(void **state)
{
	struct cli *cli = *state;
	struct command command;

	cli_mount(cli, "size=8M");
	for (int named = 0; named < 2; named++) {
		command = cli_run("status", named ? cli->mnt : NULL, NULL);
		assert_string_equal(command.err, "");
		assert_int_equal(command.status, 0);
		assert_non_null(strstr(command.out, cli->source));
		assert_non_null(strstr(command.out, cli->mnt));
		assert_non_null(strstr(command.out, "8.0 MiB"));
		assert_non_null(strstr(command.out, "size=8M"));
		command_free(&command);
	}
	cli_quietly("unmount", cli->mnt, NULL);
}

/* As what starts programs may leave it: their exit status is then told to nobody. */
static void whoever_ignores_children_is_shown_as_much(void **state)
{
	struct cli *cli = *state;
	const struct command_options options = { .seconds = 60 };
	const char *const argv[] = {
		"env", "--ignore-signal=CHLD", fixture_program(), "status", NULL,
	};
	struct command command;

	cli_mount(cli, "size=8M");
	command = command_run(&options, argv);
	assert_string_equal(command.err, "");
	assert_int_equal(command.status, 0);
	assert_non_null(strstr(command.out, "8.0 MiB"));
	command_free(&command);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void the_xattr_of_the_root_holds_it(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	char value[65536];
	ssize_t size = getxattr(cli->mnt, NAME, NULL, 0), got;
	json_t *mount;

	assert_true(size > 0);
	got = getxattr(cli->mnt, NAME, value, sizeof(value));
	assert_true(got > 0);
	mount = json_loadb(value, (size_t)got, 0, NULL);
	assert_true(json_is_object(mount));
	assert_string_equal(text(mount, "source"), cli->source);
	assert_int_equal(json_integer_value(json_object_get(mount, "pid")),
			 daemon);
	json_decref(mount);
	assert_int_equal(getxattr(cli->mnt, NAME, value, 4), -1);
	assert_int_equal(errno, ERANGE);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void the_xattr_is_on_no_list_and_nowhere_else(void **state)
{
	struct cli *cli = *state;
	static const char *const others[] = {
		"pkg", "pkg/mod.py", "__pycache__", "pkg/__pycache__",
	};
	char list[4096], value[4096];
	ssize_t size;

	cli_mount(cli, NULL);
	assert_int_equal(setxattr(cli->mnt, "user.other", "v", 1, 0), 0);
	size = listxattr(cli->mnt, list, sizeof(list));
	assert_int_equal(size, sizeof("user.other"));
	assert_memory_equal(list, "user.other", (size_t)size);
	for (size_t i = 0; i < sizeof(others) / sizeof(*others); i++) {
		size = getxattr(in(cli->mnt, others[i]), NAME, value,
				sizeof(value));
		assert_int_equal(size, -1);
		assert_int_equal(errno, ENODATA);
	}
	cli_quietly("unmount", cli->mnt, NULL);
	assert_int_equal(getxattr(cli->source, NAME, value, sizeof(value)), -1);
	assert_int_equal(removexattr(cli->source, "user.other"), 0);
}

static void what_is_no_mount_of_ours_is_refused(void **state)
{
	struct cli *cli = *state;
	const char *paths[] = {
		cli->mnt, cli->missing, cli->file, "/proc", cli->source,
	};

	for (size_t i = 0; i < sizeof(paths) / sizeof(*paths); i++) {
		for (int json = 0; json < 2; json++) {
			struct command command = json ?
				cli_run("status", "--json", paths[i], NULL) :
				cli_run("status", paths[i], NULL);

			cli_assert_complaint(command.err, paths[i]);
			assert_string_equal(command.out, "");
			assert_int_equal(command.status, 1);
			command_free(&command);
		}
	}
}

/* JSON is UTF-8 and a path is any bytes: an escape gives them back. */
static void paths_that_are_no_text_are_shown(void **state)
{
	static const struct {
		const char *name, *escaped;
	} names[] = {
		{ "caf\xe9", "caf\\xe9" },
		{ "\xff\xfe", "\\xff\\xfe" },
		{ "a\\b", "a\\x5cb" },
		{ "\\xff", "\\x5cxff" },
		{ "caf\xc3\xa9", "caf\xc3\xa9" },
		{ "\xed\xa0\x80", "\\xed\\xa0\\x80" },
		{ "\xc3", "\\xc3" },
		{ "new\nline\xc0\x80", "new\nline\\xc0\\x80" },
	};
	struct cli *cli = *state;
	char source[128], mnt[128], options[128], escaped[160];

	for (size_t i = 0; i < sizeof(names) / sizeof(*names); i++) {
		const char *name = names[i].name;

		snprintf(source, sizeof(source), "%s/%s", cli->top, name);
		snprintf(mnt, sizeof(mnt), "%s/mnt/%s", cli->top, name);
		snprintf(options, sizeof(options), "also=.%s",
			 strchr(name, '\\') ? "plain" : name);
		assert_int_equal(rename(cli->source, source), 0);
		assert_int_equal(mkdir(mnt, 0755), 0);
		cli_quietly("-o", options, source, mnt, NULL);

		json_t *all = status_json(NULL, NULL), *mount;
		assert_int_equal(json_array_size(all), 1);
		mount = json_array_get(all, 0);
		snprintf(escaped, sizeof(escaped), "%s/%s", cli->top,
			 names[i].escaped);
		assert_string_equal(text(mount, "source"), escaped);
		snprintf(escaped, sizeof(escaped), "%s/mnt/%s", cli->top,
			 names[i].escaped);
		assert_string_equal(text(mount, "mountpoint"), escaped);
		if (!strchr(name, '\\'))
			assert_non_null(strstr(text(mount, "options"),
					       names[i].escaped));
		json_decref(all);

		/* People see the bytes. */
		struct command command = cli_run("status", mnt, NULL);
		assert_string_equal(command.err, "");
		assert_int_equal(command.status, 0);
		assert_non_null(strstr(command.out, source));
		assert_non_null(strstr(command.out, mnt));
		assert_non_null(strstr(command.out, options));
		command_free(&command);

		cli_quietly("unmount", mnt, NULL);
		assert_int_equal(rename(source, cli->source), 0);
		assert_int_equal(rmdir(mnt), 0);
	}
}

static bool is_dead(void *path)
{
	char value[16];

	return getxattr(path, NAME, value, sizeof(value)) < 0 && errno == ENOTCONN;
}

static void a_mount_that_does_not_answer_is_shown_with_the_reason(void **state)
{
	struct cli *cli = *state;
	pid_t daemon = cli_mount(cli, NULL);
	json_t *all;

	assert_int_equal(mount("none", cli->mnt, "tmpfs", 0, "size=64k"), 0);
	all = status_json(NULL, NULL);
	assert_int_equal(json_array_size(all), 1);
	assert_string_equal(text(json_array_get(all, 0), "source"), cli->source);
	assert_non_null(strstr(text(json_array_get(all, 0), "error"), "on top"));
	json_decref(all);
	/* What is named is what one gets there. */
	struct command command = cli_run("status", cli->mnt, NULL);
	cli_assert_complaint(command.err, "not a pycachefs mount");
	assert_int_equal(command.status, 1);
	command_free(&command);
	assert_int_equal(umount2(cli->mnt, 0), 0);

	assert_int_equal(kill(daemon, SIGKILL), 0);
	assert_true(eventually(DEADLINE, is_dead, cli->mnt));
	for (int named = 0; named < 2; named++) {
		all = status_json(named ? cli->mnt : NULL, NULL);
		assert_int_equal(json_array_size(all), 1);
		assert_string_equal(text(json_array_get(all, 0), "source"),
				    cli->source);
		assert_string_equal(text(json_array_get(all, 0), "mountpoint"),
				    cli->mnt);
		assert_string_equal(text(json_array_get(all, 0), "error"),
				    strerror(ENOTCONN));
		json_decref(all);
	}
	cli_quietly("unmount", cli->mnt, NULL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(without_mounts_there_is_nothing_to_show),
		CLI(json_holds_what_it_promises),
		CLI(options_are_empty_when_none_were_given),
		CLI(the_figures_count_what_is_done),
		CLI(all_mounts_are_shown_or_those_that_are_named),
		CLI(people_read_source_mountpoint_and_store),
		CLI(whoever_ignores_children_is_shown_as_much),
		CLI(the_xattr_of_the_root_holds_it),
		CLI(the_xattr_is_on_no_list_and_nowhere_else),
		CLI(what_is_no_mount_of_ours_is_refused),
		CLI(paths_that_are_no_text_are_shown),
		CLI(a_mount_that_does_not_answer_is_shown_with_the_reason),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
