/*
 * `purge` drops the bytecode kept for what it is given, by path.
 */
#include "cli.h"

#include <jansson.h>
#include <sys/xattr.h>

static const char *pyc(const struct cli *cli, const char *name)
{
	char path[128];

	snprintf(path, sizeof(path), "pkg/__pycache__/%s.cpython-311.pyc", name);
	return in(cli->mnt, path);
}

static void keep(const struct cli *cli)
{
	static const char content[100000];

	tree_write(pyc(cli, "mod"), content, sizeof(content));
	tree_write(pyc(cli, "other"), content, sizeof(content));
}

static json_int_t store_number(const struct cli *cli, const char *key)
{
	struct command command = cli_run("status", "--json", cli->mnt, NULL);
	json_t *all = json_loads(command.out, 0, NULL);
	json_t *store = json_object_get(json_array_get(all, 0), "store");
	json_int_t value = json_integer_value(json_object_get(store, key));

	assert_true(json_is_integer(json_object_get(store, key)));
	json_decref(all);
	command_free(&command);
	return value;
}

static void assert_refused(const char *path, const char *why)
{
	struct command command = cli_run("purge", path, NULL);

	assert_int_equal(command.status, 1);
	assert_string_equal(command.out, "");
	cli_assert_complaint(command.err, path);
	cli_assert_complaint(command.err, why);
	command_free(&command);
}

static void a_directory_is_purged_and_its_memory_is_free(void **state)
{
	struct cli *cli = *state;

	cli_mount(cli, NULL);
	keep(cli);
	assert_int_equal(store_number(cli, "files"), 2);
	cli_quietly("purge", in(cli->mnt, "pkg"), NULL);
	assert_int_equal(store_number(cli, "files"), 0);
	assert_int_equal(store_number(cli, "used"), 0);
	assert_int_equal(store_number(cli, "inodes_used"), 0);
	assert_int_equal(access(pyc(cli, "mod"), F_OK), -1);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void a_module_is_purged_alone(void **state)
{
	struct cli *cli = *state;

	cli_mount(cli, NULL);
	keep(cli);
	tree_write(in(cli->mnt, "pkg/other.py"), "other = 1\n", -1);
	keep(cli);
	cli_quietly("purge", in(cli->mnt, "pkg/mod.py"), NULL);
	assert_int_equal(access(pyc(cli, "mod"), F_OK), -1);
	assert_int_equal(access(pyc(cli, "other"), F_OK), 0);
	/* Its link's name counts, since bytecode is kept by that. */
	assert_int_equal(symlink("mod.py", in(cli->mnt, "pkg/link.py")), 0);
	keep(cli);
	cli_quietly("purge", in(cli->mnt, "pkg/link.py"), NULL);
	assert_int_equal(access(pyc(cli, "mod"), F_OK), 0);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void several_paths_are_purged(void **state)
{
	struct cli *cli = *state;

	cli_mount(cli, NULL);
	tree_write(in(cli->mnt, "pkg/other.py"), "other = 1\n", -1);
	keep(cli);
	cli_quietly("purge", in(cli->mnt, "pkg/mod.py"), in(cli->mnt, "pkg/other.py"),
		    NULL);
	assert_int_equal(store_number(cli, "files"), 0);
	keep(cli);
	cli_quietly("purge", cli->mnt, NULL);
	assert_int_equal(store_number(cli, "files"), 0);
	cli_quietly("unmount", cli->mnt, NULL);
}

static void what_cannot_be_purged_is_told(void **state)
{
	struct cli *cli = *state;
	char list[64];

	cli_mount(cli, NULL);
	tree_write(in(cli->mnt, "pkg/data.txt"), "text", -1);
	tree_write(in(cli->mnt, "pkg/__pycache__/build/lib.c"), "text", -1);
	assert_refused(in(cli->mnt, "pkg/data.txt"), "neither");
	assert_refused(in(cli->mnt, "pkg/__pycache__/build"), "not a directory of");
	assert_refused(in(cli->mnt, "pkg/none.py"), "No such file");
	assert_refused(cli->missing, "No such file");
	assert_refused(cli->top, "not in a pycachefs mount");
	assert_refused(in(cli->source, "pkg/mod.py"), "not in a pycachefs mount");
	/* No directory but the mount's has got an xattr. */
	assert_int_equal(listxattr(cli->top, list, sizeof(list)), 0);
	assert_int_equal(listxattr(in(cli->source, "pkg"), list, sizeof(list)), 0);
	cli_quietly("unmount", cli->mnt, NULL);
}

/* One that fails keeps the others from nothing. */
static void all_paths_are_tried(void **state)
{
	struct cli *cli = *state;
	struct command command;

	cli_mount(cli, NULL);
	keep(cli);
	command = cli_run("purge", cli->missing, cli->mnt, NULL);
	assert_int_equal(command.status, 1);
	cli_assert_complaint(command.err, cli->missing);
	command_free(&command);
	assert_int_equal(store_number(cli, "files"), 0);
	cli_quietly("unmount", cli->mnt, NULL);
}

int main(void)
{
	int skip = cli_possible();
	const struct CMUnitTest tests[] = {
		CLI(a_directory_is_purged_and_its_memory_is_free),
		CLI(a_module_is_purged_alone),
		CLI(several_paths_are_purged),
		CLI(what_cannot_be_purged_is_told),
		CLI(all_paths_are_tried),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
