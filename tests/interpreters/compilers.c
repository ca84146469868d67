/*
 * The standard library's own compilers on a mount: compileall in its modes, and
 * py_compile.
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

/* Where @module of package @package has its bytecode, seen from the root. */
static char *bytecode_of(const struct project *project, const char *module,
			 const char *level)
{
	static const char code[] =
		"import importlib.util, sys\n"
		"source, level = sys.argv[1].split(':')\n"
		"print(importlib.util.cache_from_source(source,\n"
		"                                       optimization=level))\n";
	char *argument, *path;

	if (asprintf(&argument, "%s:%s", in(project_root(project), module),
		     level) < 0)
		abort();
	path = project_python(project, code, argument);
	path[strcspn(path, "\n")] = '\0';
	free(argument);
	return path;
}

/* Fails unless neither the source nor any listing has changed. */
static void assert_hidden(const struct project *project)
{
	project_assert_names(project);
	project_assert_untouched(project);
	assert_caches_below(project_behind(project), false);
}

static void compileall_warms(void **state)
{
	struct project *project = *state;

	project_mount(project, &in_place);
	free(command_output("/", project->python->path, "-m", "compileall",
			    "-q", project_root(project), NULL));
	project_import_warm(project, project_root(project), NULL);
	assert_hidden(project);
}

/* The names in the bytecode are relative then, which is no reason to recompile. */
static void compileall_here_warms(void **state)
{
	struct project *project = *state;

	project_mount(project, &in_place);
	free(command_output(project_root(project), project->python->path, "-O",
			    "-m", "compileall", "-q", ".", NULL));
	project_import_warm(project, project_root(project), "-O");
	assert_hidden(project);
}

static void compileall_workers_warm(void **state)
{
	struct project *project = *state;

	project_mount(project, NULL);
	free(command_output("/", project->python->path, "-m", "compileall",
			    "-q", "-j", "3", project_root(project), NULL));
	project_import_warm(project, project_root(project), NULL);
	assert_hidden(project);
}

static void compileall_hash_warms(void **state)
{
	struct project *project = *state;

	project_mount(project, &in_place);
	free(command_output("/", project->python->path, "-m", "compileall",
			    "-q", "--invalidation-mode", "checked-hash",
			    project_root(project), NULL));
	project_import_warm(project, project_root(project), NULL);
	assert_hidden(project);
}

static void legacy_is_hidden_and_runs(void **state)
{
	static const char code[] =
		"import importlib.machinery, os, sys\n"
		"sys.path.insert(0, os.path.dirname(sys.argv[1]))\n"
		"kind = importlib.machinery.SourcelessFileLoader\n"
		"names = {'__name__': 'own'}\n"
		"exec(kind('own', sys.argv[1]).get_code('own'), names)\n"
		"print(names['total']())\n";
	struct project *project = *state;
	struct stat st;
	char *out;

	project_mount(project, &in_place);
	/* The second run replaces what the first one made (-f). */
	for (int i = 0; i < 2; i++)
		free(command_output("/", project->python->path, "-m",
				    "compileall", "-q", "-f", "-b",
				    project_root(project), NULL));
	assert_hidden(project);
	assert_int_equal(stat(in(project_root(project), "app/core/m1.pyc"),
			      &st), 0);
	assert_true(S_ISREG(st.st_mode) && st.st_size > 16);

	out = project_python(project, code, in(project_root(project),
					       "everything.pyc"));
	assert_int_equal(atol(out), project_sources(project) +
			 project_sourceless(project));
	free(out);
	assert_hidden(project);
}

static void dupes_are_linked(void **state)
{
	struct project *project = *state;
	char *plain, *optimised;
	struct stat first, second;

	project_mount(project, &in_place);
	free(command_output("/", project->python->path, "-m", "compileall",
			    "-q", "-o", "0", "-o", "1", "-o", "2",
			    "--hardlink-dupes", project_root(project), NULL));
	/* Nothing in it that -O would leave out: two levels, one content. */
	plain = bytecode_of(project, "space/part/mod.py", "");
	optimised = bytecode_of(project, "space/part/mod.py", "1");
	assert_int_equal(stat(plain, &first), 0);
	assert_int_equal(stat(optimised, &second), 0);
	assert_int_equal(first.st_ino, second.st_ino);
	assert_int_equal(first.st_nlink, 3);
	free(plain);
	free(optimised);

	project_import_warm(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), "-O");
	project_import_warm(project, project_root(project), "-OO");
	assert_hidden(project);
}

static void py_compile_warms_one(void **state)
{
	struct project *project = *state;
	struct imports imports;
	int all;

	project_mount(project, &in_place);
	free(command_output("/", project->python->path, "-m", "py_compile",
			    in(project_root(project), "app/core/m3.py"),
			    NULL));
	assert_hidden(project);
	all = project_sources(project) + project_sourceless(project);
	imports = project_import(project, project_root(project), NULL);
	assert_int_equal(imports.total, all);
	assert_int_equal(imports.loaded, 1 + project_sourceless(project));
	assert_int_equal(imports.compiled, project_sources(project) - 1);
	project_import_warm(project, project_root(project), NULL);
	assert_hidden(project);
}

/* A syntax error fails as it does anywhere, and leaves nothing behind. */
static void errors_are_told(void **state)
{
	struct project *project = *state;
	struct command command;

	project_mount(project, &in_place);
	tree_write(in(project_root(project), "broken.py"), "def (:\n", -1);
	command = command_run(NULL, (const char *const[]){
		project->python->path, "-m", "compileall", "-q",
		project_root(project), NULL });
	assert_int_equal(command.status, 1);
	assert_non_null(strstr(command.out, "SyntaxError"));
	command_free(&command);
	assert_caches_below(project_behind(project), false);
	project_import_warm(project, project_root(project), NULL);
}

static bool has_workers(const struct python *python)
{
	return python_is(python, 3, 5);
}

static bool has_hashes(const struct python *python)
{
	return python_is(python, 3, 7);
}

static bool has_dupes(const struct python *python)
{
	return python_is(python, 3, 9);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "compileall leaves the source as it was and warms the import",
		  compileall_warms, NULL },
		{ "so does compileall in the directory itself, with -O",
		  compileall_here_warms, NULL },
		{ "so does compileall with several workers",
		  compileall_workers_warm, has_workers },
		{ "so does compileall with hashes instead of times",
		  compileall_hash_warms, has_hashes },
		{ "bytecode of compileall -b is hidden beside its source "
		  "and works", legacy_is_hidden_and_runs, python_is_3 },
		{ "--hardlink-dupes links what is equal", dupes_are_linked,
		  has_dupes },
		{ "py_compile warms the one module it is given",
		  py_compile_warms_one, NULL },
		{ "compileall tells of a syntax error and compiles the rest",
		  errors_are_told, NULL },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("compilers", promises,
					 sizeof(promises) / sizeof(*promises));
}
