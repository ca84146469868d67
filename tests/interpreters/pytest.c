/*
 * pytest on a mount: it keeps the test modules that it rewrote as bytecode of its
 * own kind, and a directory of results that the mount is told to hide.
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
#include "tree.h"

static struct python *pythons;
static size_t found;
static const struct python *python;	/* the one that has pytest */

static int add_tests(const char *source, void *data)
{
	(void)data;
	tree_write(in(source, "tests/__init__.py"), "", -1);
	tree_write(in(source, "tests/conftest.py"),
		   "import pytest\n\n\n"
		   "@pytest.fixture\n"
		   "def seven():\n"
		   "    return 7\n", -1);
	tree_write(in(source, "tests/test_good.py"),
		   "import app.core.m3\n\n\n"
		   "def test_module():\n"
		   "    assert app.core.m3.COUNTED == 1\n\n\n"
		   "def test_fixture(seven):\n"
		   "    assert seven == 7\n", -1);
	tree_write(in(source, "tests/test_bad.py"),
		   "def test_sum(seven):\n"
		   "    assert seven + 1 == 9\n", -1);
	project_stamp(source);
	return 0;
}

static const struct fixture_options with_tests = {
	.in_place = true,
	/* Since 8.2 pytest makes its cache under another name. */
	.options = "also=.pytest_cache,also=pytest-cache-files-*",
	.prepare = add_tests,
};

static int set_up(void **state)
{
	struct project *project = calloc(1, sizeof(*project));

	if (!project)
		abort();
	project->python = python;
	*state = project;
	project_mount(project, &with_tests);
	return 0;
}

static int tear_down(void **state)
{
	struct project *project = *state;
	struct project copy = *project;

	free(project);
	project_end(&copy);
	return 0;
}

/* Runs pytest in the mount; fails unless it ends with @status and says @words. */
static void run(const struct project *project, const char *flag, int status,
		const char *words)
{
	static const char *const environment[] = { "PYTEST_ADDOPTS",
		"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1", "PYTHONUNBUFFERED", NULL };
	const struct command_options options = {
		.directory = project_root(project),
		.environment = environment,
	};
	const char *const argv[] = { python->path, "-m", "pytest", "--color=no",
		flag ? flag : "--quiet", NULL };
	struct command command = command_run(&options, argv);

	if (command.status != status || !strstr(command.out, words)) {
		print_error("pytest ended with %d, expected %d and '%s':\n"
			    "%s%s\n", command.status, status, words,
			    command.out, command.err);
		command_free(&command);
		fail();
	}
	command_free(&command);
}

static void the_source_stays(void **state)
{
	const struct project *project = *state;

	run(project, NULL, 1, "1 failed, 2 passed");
	run(project, NULL, 1, "1 failed, 2 passed");
	project_assert_untouched(project);
	assert_caches_below(project_behind(project), false);
}

/* Listed is what the project is made of, and nothing else. */
static void nothing_is_listed(void **state)
{
	const struct project *project = *state;
	char *before = tree_list(project_root(project)), *after;

	run(project, NULL, 1, "1 failed, 2 passed");
	after = tree_list(project_root(project));
	assert_string_equal(after, before);
	free(after);
	after = tree_list(in(project_root(project), "tests"));
	assert_string_equal(after, "__init__.py conftest.py test_bad.py "
			    "test_good.py");
	free(after);
	free(before);
}

static void results_are_kept(void **state)
{
	const struct project *project = *state;
	struct stat st;

	run(project, NULL, 1, "1 failed, 2 passed");
	assert_int_equal(stat(in(project_root(project), ".pytest_cache/v"),
			      &st), 0);
	assert_true(stat(in(project_behind(project), ".pytest_cache"), &st));
	run(project, "--last-failed", 1, "1 failed in");
	run(project, "--cache-show", 0, "test_bad.py::test_sum");
	project_assert_untouched(project);
}

/* The bytecode of a rewritten test module, or NULL. */
static char *rewritten(const struct project *project, const char *module)
{
	const char *dir = in(project_root(project), "tests/__pycache__");
	char *names = tree_list(dir), *rest = names, *name, *path = NULL;

	while (!path && (name = strsep(&rest, " ")))
		if (!strncmp(name, module, strlen(module)) &&
		    strstr(name, "-pytest-") &&
		    asprintf(&path, "%s/%s", dir, name) < 0)
			abort();
	free(names);
	return path;
}

static void rewritten_tests_are_kept(void **state)
{
	const struct project *project = *state;
	struct stat first, second, third;
	char *path;

	assert_null(rewritten(project, "test_bad"));
	run(project, NULL, 1, "1 failed, 2 passed");
	path = rewritten(project, "test_bad");
	assert_non_null(path);
	assert_int_equal(stat(path, &first), 0);
	/* A rewrite makes a new file and renames it. */
	run(project, NULL, 1, "1 failed, 2 passed");
	assert_int_equal(stat(path, &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(first.st_mtim.tv_nsec, second.st_mtim.tv_nsec);

	tree_write(in(project_root(project), "tests/test_bad.py"),
		   "def test_sum(seven):\n"
		   "    assert seven + 10 == 17\n", -1);
	run(project, NULL, 0, "3 passed");
	assert_int_equal(stat(path, &third), 0);
	assert_true(third.st_ino != first.st_ino ||
		    third.st_mtim.tv_nsec != first.st_mtim.tv_nsec);
	free(path);
	assert_caches_below(project_behind(project), false);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_source_stays, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(nothing_is_listed, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(results_are_kept, set_up,
						tear_down),
		cmocka_unit_test_setup_teardown(rewritten_tests_are_kept,
						set_up, tear_down),
	};
	int result = fixture_possible();

	if (result)
		return result;
	found = pythons_find(&pythons);
	python = pythons_having(pythons, found, "pytest");
	if (python)
		result = cmocka_run_group_tests_name("pytest", tests, NULL,
						     NULL);
	else
		result = cannot_run("no Python here has pytest");
	pythons_free(pythons, found);
	return result;
}
