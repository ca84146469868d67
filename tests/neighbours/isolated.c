/*
 * Where PYTHONPYCACHEPREFIX is lost: `python -I` takes no environment, and sudo
 * passes none on.  The mount needs none.
 *
 * Each way of running Python is a program of one line, so that what imports a
 * project can take it for a Python.
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

static const struct fixture_options in_place = { .in_place = true };

/*
 * Imports the project in the mount and in a plain directory by `WORDS PYTHON FLAG`,
 * with the variable set.  The mount stays clean and gets warm whatever comes of the
 * variable; the plain directory shows whether it was @heeded.
 */
static void assert_clean(struct project *project, const char *words,
			 const char *flag, bool heeded)
{
	struct python python = *project->python;
	struct project plain = *project;
	const char *root, *dir;
	char program[320], *text;

	project_mount(project, &in_place);
	root = project_root(project);
	dir = project->fixture->plain;
	project_write(dir, project->python);
	assert_caches_below(dir, false);

	stpcpy(stpcpy(program, project->fixture->top), "/by");
	if (asprintf(&text, "#!/bin/sh\n"
		     "PYTHONPYCACHEPREFIX='%s/prefix' exec %s '%s' %s \"$@\"\n",
		     project->fixture->top, words, python.path, flag) < 0)
		abort();
	tree_write(program, text, -1);
	free(text);
	assert_int_equal(chmod(program, 0755), 0);
	python.path = program;
	plain.python = &python;

	project_import_cold(&plain, dir, NULL);
	assert_caches_below(dir, !heeded);

	project_import_cold(&plain, root, NULL);
	/* What lies below the prefix doesn't count as read. */
	if (!heeded)
		project_import_warm(&plain, root, NULL);
	assert_caches_below(project_behind(project), false);
	project_assert_untouched(project);
	project_assert_names(project);
}

static void the_variable_works(void **state)
{
	assert_clean(*state, "", "", true);
}

static void isolated_python_is_clean(void **state)
{
	assert_clean(*state, "", "-I", false);
}

static void sudo_is_clean(void **state)
{
	assert_clean(*state, "sudo -n", "", false);
}

static bool knows_the_variable(const struct python *python)
{
	return python_is(python, 3, 8);
}

static bool can_sudo(const struct python *python)
{
	return knows_the_variable(python) &&
		system("sudo -n true >/dev/null 2>&1") == 0;
}

int main(void)
{
	static const struct promise promises[] = {
		{ "PYTHONPYCACHEPREFIX keeps a directory clean",
		  the_variable_works, knows_the_variable },
		{ "python -I loses it, and a mount is clean and warm",
		  isolated_python_is_clean, knows_the_variable },
		{ "sudo loses it, and a mount is clean and warm",
		  sudo_is_clean, can_sudo },
	};
	int result = fixture_possible();

	if (result)
		return result;
	if (system("sudo -V >/dev/null 2>&1"))
		return cannot_run("sudo is not here");
	return pythons_run_newest("isolated", promises,
				  sizeof(promises) / sizeof(*promises));
}
