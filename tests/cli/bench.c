/*
 * scripts/bench: a run on a tiny tree ends well, measures or explains each row, and
 * leaves nothing behind.  How fast anything is is not asked here.
 */
#include "cli.h"

#include <jansson.h>
#include <sys/wait.h>

static const char *const rows[] = {
	"import-first", "walk", "read-all", "open-close", "stat", "miss",
	"git-status", "pytest", "create", "create-memory", "append", "read-cold", "read-warm",
	"write-cold", "write-warm", "readers-2", "readers-8", "mount", "run",
	"memory", "memory-many", NULL,
};

static struct command run_bench(const struct cli *cli, const char *output,
				const char *only)
{
	const char *const argv[] = {
		getenv("PYCACHEFS_BENCH"), "--quick", "--files=40", "--rounds=1",
		"--program", fixture_program(), "--scratch", cli->top,
		"--output", output, only, NULL,
	};

	/* Without the interpreters of a home: those on PATH will do. */
	const char *const environment[] = { "HOME=/nonexistent", NULL };
	const struct command_options options = { .environment = environment };

	assert_non_null(argv[0]);
	return command_run(&options, argv);
}

static const char *text_of(json_t *object, const char *name)
{
	return json_string_value(json_object_get(object, name));
}

/* A row was measured through the mount.  Without pytest, or root to drop caches, it
 * says why not. */
static void assert_row(json_t *row)
{
	const char *name = text_of(row, "name"), *reason = text_of(row, "reason");
	json_t *results = json_object_get(row, "results");
	json_t *ours = json_object_get(results, "pycachefs");

	if (!reason)
		reason = text_of(ours ? ours : json_object_get(results, "native"), "reason");
	if (reason && strcmp(name, "pytest") != 0 && geteuid() == 0)
		fail_msg("%s: %s", name, reason);
	if (reason)
		return;
	if (json_object_get(ours, "resident_mib"))
		assert_true(json_is_integer(json_object_get(ours, "descriptors")));
	else
		assert_int_equal(json_array_size(json_object_get(ours, "seconds")), 1);
}

static bool is_row(json_t *row, const char *name)
{
	return strcmp(text_of(row, "name"), name) == 0;
}

static void a_quick_run_accounts_for_every_row(void **state)
{
	struct cli *cli = *state;
	char *output = strdup(in(cli->top, "output"));
	struct command command = run_bench(cli, output, NULL);
	json_error_t error;
	json_t *document, *all, *row;
	size_t i, imports = 0, others = 0;

	if (command.status)
		print_error("%s%s", command.out, command.err);
	assert_int_equal(command.status, 0);
	assert_non_null(strstr(command.out, "| walk + lstat |"));
	command_free(&command);

	document = json_load_file(in(output, "results.json"), 0, &error);
	assert_non_null(document);
	all = json_object_get(document, "rows");
	json_array_foreach(all, i, row) {
		assert_row(row);
		imports += strncmp(text_of(row, "name"), "import-3.", 9) == 0;
	}
	assert_true(imports > 0);
	for (; rows[others]; others++) {
		bool found = false;

		json_array_foreach(all, i, row)
			found |= is_row(row, rows[others]);
		if (!found)
			fail_msg("no row '%s'", rows[others]);
	}
	assert_int_equal(json_array_size(all), others + imports);
	json_decref(document);
	assert_int_equal(access(in(output, "table.md"), F_OK), 0);
	assert_int_equal(access(in(output, "chart.svg"), F_OK), 0);
	free(output);
}

static void an_unknown_row_is_refused_and_leaves_nothing(void **state)
{
	struct cli *cli = *state;
	struct command command = run_bench(cli, in(cli->top, "output"),
					   "--only=walk,no-such-row");

	assert_int_equal(command.status, 1);
	assert_non_null(strstr(command.err, "no-such-row"));
	command_free(&command);
}

static bool is_mounted(void *data)
{
	char *table = cli_mount_table();
	bool found = strstr(table, "fuse.pycachefs") != NULL;

	(void)data;
	free(table);
	return found;
}

/* cli_end() looks for mounts, processes and files that were left. */
static void a_run_that_is_stopped_unmounts(void **state)
{
	struct cli *cli = *state;
	pid_t child = fork();
	int status;

	assert_true(child >= 0);
	if (child == 0) {
		execl(getenv("PYCACHEFS_BENCH"), "bench", "--quick", "--files=40",
		      "--only=walk", "--rounds=100000", "--program",
		      fixture_program(), "--scratch", cli->top, "--output",
		      in(cli->top, "output"), NULL);
		_exit(127);
	}
	assert_true(eventually(3 * DEADLINE, is_mounted, NULL));
	assert_int_equal(kill(child, SIGTERM), 0);
	assert_int_equal(waitpid(child, &status, 0), child);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 128 + SIGTERM);
	assert_false(is_mounted(NULL));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		CLI(a_quick_run_accounts_for_every_row),
		CLI(an_unknown_row_is_refused_and_leaves_nothing),
		CLI(a_run_that_is_stopped_unmounts),
	};
	int skip = cli_possible();

	return skip ? skip : cmocka_run_group_tests_name("bench", tests, NULL, NULL);
}
