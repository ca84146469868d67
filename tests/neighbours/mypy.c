/*
 * mypy with its cache in the store: fast the second time, and nothing of it in
 * the tree.
 *
 * How much mypy did is what it says itself (-v): "Build finished in 1.9 seconds
 * with 46 modules", or with 0 when all came from the cache.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "shell.h"
#include "tree.h"

static const struct fixture_options with_cache = {
	.in_place = true,
	.options = "also=.mypy_cache",
};

/* Checks two packages; returns how many modules mypy had to go through. */
static int check(const char *root, const char *flag, int status)
{
	static const char *const environment[] = { "MYPYPATH",
		"MYPY_CACHE_DIR", NULL };
	const struct command_options options = {
		.directory = root, .environment = environment,
	};
	const char *const argv[] = { "mypy", "-v", "--config-file=", flag,
		"app", "shop", NULL };
	struct command command = command_run(&options, argv);
	const char *built = strstr(command.err, "Build finished in ");
	int modules = -1;

	if (built)
		sscanf(built, "Build finished in %*f seconds with %d modules",
		       &modules);
	if (command.status != status || modules < 0) {
		print_error("mypy ended with %d, expected %d:\n%s%s\n",
			    command.status, status, command.out, command.err);
		command_free(&command);
		fail();
	}
	command_free(&command);
	return modules;
}

/* --no-sqlite-cache or --sqlite-cache: many small files, or a database. */
static void assert_warm_and_clean(struct project *project, const char *flag)
{
	const char *root;
	struct stat st;

	project_mount(project, &with_cache);
	root = project_root(project);
	set_git_environment(project->fixture->top);
	commit_all(root);

	assert_true(check(root, flag, 0) > 40);
	assert_int_equal(check(root, flag, 0), 0);
	assert_int_equal(stat(in(root, ".mypy_cache"), &st), 0);
	assert_true(stat(in(project_behind(project), ".mypy_cache"), &st));
	assert_says(root, "git status --porcelain --ignored", "");
	assert_says(root, "git clean -xdn", "");
	assert_says(root, "ls -A | grep cache || true", "");
	assert_caches_below(project_behind(project), false);

	tree_write(in(root, "app/core/m3.py"), "VALUE: int = 'text'\n", -1);
	assert_int_not_equal(check(root, flag, 1), 0);
}

static void files_are_kept(void **state)
{
	struct project *project = *state;
	const char *plain;

	assert_warm_and_clean(project, "--no-sqlite-cache");

	/* It would have been seen. */
	plain = project->fixture->plain;
	project_write(plain, project->python);
	commit_all(plain);
	check(plain, "--no-sqlite-cache", 0);
	assert_says(plain, "git status --porcelain --ignored",
		    "!! .mypy_cache/\n");
}

static void a_database_is_kept(void **state)
{
	assert_warm_and_clean(*state, "--sqlite-cache");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "mypy's cache is warm the second time and not in the tree",
		  files_are_kept, NULL },
		{ "so is the database that it keeps on demand",
		  a_database_is_kept, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	if (system("mypy --version >/dev/null 2>&1"))
		return cannot_run("mypy is not here");
	return pythons_run_newest("mypy", promises,
				  sizeof(promises) / sizeof(*promises));
}
