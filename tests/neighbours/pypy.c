/*
 * PyPy in a mount: warm the second time, clean, and beside CPython.
 *
 * Where PyPy is installed, the tests of suite `interpreters` run it as any other
 * Python; here it has to be there.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "tree.h"

static const struct fixture_options in_place = { .in_place = true };

static struct python *pythons;
static size_t found;

static bool is_pypy(const struct python *python)
{
	return !strncmp(python->label, "PyPy ", 5);
}

static const struct python *newest_cpython(void)
{
	return found > 0 && pythons[found - 1].newest ? &pythons[found - 1] :
		NULL;
}

static void the_second_import_is_warm(void **state)
{
	struct project *project = *state;
	char *names;

	project_mount(project, &in_place);
	project_import_cold(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), NULL);
	names = tree_list(in(project_root(project), "app/__pycache__"));
	assert_non_null(strstr(names, "m0.pypy"));
	free(names);
	project_assert_untouched(project);
	project_assert_names(project);

	/* It would have been seen. */
	project_write(project->fixture->plain, project->python);
	project_import_cold(project, project->fixture->plain, NULL);
	assert_caches_below(project->fixture->plain, true);
}

static void both_keep_their_bytecode(void **state)
{
	struct project *project = *state, theirs;
	struct python cpython = *newest_cpython();
	struct imports imports;
	const char *root;

	project_mount(project, &in_place);
	root = project_root(project);
	/* Each would stumble over the other's module that is bytecode only. */
	free(command_output(root, "rm", "app/only.pyc", NULL));
	free(command_output(root, "sed", "-i", "/app.only/d", "everything.py",
			    NULL));
	theirs = *project;
	theirs.python = &cpython;

	assert_int_equal(project_import(project, root, NULL).loaded, 0);
	assert_int_equal(project_import(&theirs, root, NULL).loaded, 0);
	assert_int_equal(project_import(project, root, NULL).compiled, 0);
	assert_int_equal(project_import(&theirs, root, NULL).compiled, 0);

	/* An edit takes the bytecode of both. */
	free(command_output(root, "touch", "-d", "@1400000000",
			    "app/util/m4.py", NULL));
	imports = project_import(project, root, NULL);
	assert_int_equal(imports.compiled, 1);
	imports = project_import(&theirs, root, NULL);
	assert_int_equal(imports.compiled, 1);
	assert_caches_below(project_behind(project), false);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "the second import is warm, and the tree is clean",
		  the_second_import_is_warm, is_pypy },
		{ "it and CPython keep their bytecode side by side",
		  both_keep_their_bytecode, is_pypy },
	};
	int result = fixture_possible();
	bool any = false;

	if (result)
		return result;
	found = pythons_find(&pythons);
	for (size_t i = 0; i < found; i++)
		any = any || is_pypy(&pythons[i]);
	if (!any)
		result = cannot_run_optional("PyPy is not here");
	else if (!newest_cpython())
		result = cannot_run("no CPython is here");
	else
		result = pythons_run("pypy", promises,
				     sizeof(promises) / sizeof(*promises));
	pythons_free(pythons, found);
	return result;
}
