/*
 * No Python ever runs bytecode of code that is gone: edits that leave size and
 * times as they were, and modules that were deleted, through the mount and behind
 * it.
 */
#include <fcntl.h>
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

enum { EDITS = 10 };

static const struct fixture_options watched = { .in_place = true };
/* Nothing is heard, and nothing is cached. */
static const struct fixture_options unwatched = {
	.in_place = true, .options = "timeout=0",
};

/* What a new process says of the module; -1 when it can't import it. */
static int import(const struct project *project)
{
	static const char code[] =
		"import sys\n"
		"sys.path.insert(0, sys.argv[1])\n"
		"try:\n"
		"    import edited\n"
		"    print(edited.VALUE)\n"
		"except ImportError:\n"
		"    print(-1)\n";
	char *out = project_python(project, code, project_root(project));
	int value = atoi(out);

	free(out);
	return value;
}

/* Writes the module anew: always as long, always with the same mtime. */
static void edit(const char *dir, int value)
{
	const struct timespec times[2] = {
		{ .tv_sec = 1500000000 }, { .tv_sec = 1500000000 },
	};
	char text[32], path[400];

	snprintf(path, sizeof(path), "%s/edited.py", dir);
	snprintf(text, sizeof(text), "VALUE = %04d\n", 1000 + value);
	tree_write(path, text, -1);
	assert_int_equal(utimensat(AT_FDCWD, path, times, 0), 0);
}

struct expected {
	const struct project *project;
	int value;
};

static bool imports_as(void *data)
{
	const struct expected *expected = data;

	return import(expected->project) == expected->value;
}

/* Heard of within 200 ms, while starting a Python takes about 20. */
static void expect_soon(const struct project *project, int value)
{
	struct expected expected = { project, value };

	assert_true(eventually(5, imports_as, &expected));
}

static void edit_through_the_mount(struct project *project,
				   const struct fixture_options *options)
{
	project_mount(project, options);
	for (int i = 0; i < EDITS; i++) {
		edit(project_root(project), i);
		/* The second import runs the bytecode of the first. */
		assert_int_equal(import(project), 1000 + i);
		assert_int_equal(import(project), 1000 + i);
	}
	assert_caches_below(project_behind(project), false);
}

static void edits_through_the_mount_are_run(void **state)
{
	edit_through_the_mount(*state, &watched);
}

static void edits_through_an_unwatched_mount_are_run(void **state)
{
	edit_through_the_mount(*state, &unwatched);
}

static void edits_behind_the_mount_are_run(void **state)
{
	struct project *project = *state;

	project_mount(project, &watched);
	for (int i = 0; i < EDITS; i++) {
		edit(project_behind(project), i);
		expect_soon(project, 1000 + i);
		/* And once it was seen it stays. */
		assert_int_equal(import(project), 1000 + i);
	}
	assert_caches_below(project_behind(project), false);
}

/* By what is compared when bytecode is looked up: no waiting. */
static void edits_behind_an_unwatched_mount_are_run(void **state)
{
	struct project *project = *state;

	project_mount(project, &unwatched);
	for (int i = 0; i < EDITS; i++) {
		edit(project_behind(project), i);
		assert_int_equal(import(project), 1000 + i);
		assert_int_equal(import(project), 1000 + i);
	}
}

/* As long as it was, with the same times, when it has been read to be compiled. */
static void an_edit_while_it_is_compiled_is_run(void **state)
{
	static const char code[] =
		"import importlib.machinery, os, sys\n"
		"loader = importlib.machinery.SourceFileLoader\n"
		"get_data = loader.get_data\n"
		"def get_and_edit(self, path):\n"
		"    data = get_data(self, path)\n"
		"    if path.endswith('edited.py'):\n"
		"        state = os.stat(path)\n"
		"        with open(path, 'r+') as module:\n"
		"            module.write('VALUE = 1002')\n"
		"        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))\n"
		"    return data\n"
		"loader.get_data = get_and_edit\n"
		"sys.path.insert(0, sys.argv[1])\n"
		"import edited\n"
		"print(edited.VALUE)\n";
	struct project *project = *state;
	char *out;

	project_mount(project, &watched);
	edit(project_root(project), 1);
	out = project_python(project, code, project_root(project));
	assert_int_equal(atoi(out), 1001);
	free(out);
	assert_int_equal(import(project), 1002);
	assert_int_equal(import(project), 1002);
}

static void delete(const char *dir)
{
	char path[400];

	snprintf(path, sizeof(path), "%s/edited.py", dir);
	assert_int_equal(unlink(path), 0);
}

static void deleted_modules_are_gone(void **state)
{
	struct project *project = *state;

	project_mount(project, &watched);
	edit(project_root(project), 1);
	assert_int_equal(import(project), 1001);
	delete(project_root(project));
	assert_int_equal(import(project), -1);
	edit(project_root(project), 2);
	assert_int_equal(import(project), 1002);
	delete(project_behind(project));
	expect_soon(project, -1);
	edit(project_behind(project), 3);
	expect_soon(project, 1003);
}

static int compile_beside(const char *source, void *data)
{
	const struct project *project = data;
	static const char code[] =
		"import py_compile, sys\n"
		"py_compile.compile(sys.argv[1], cfile=sys.argv[1] + 'c')\n";
	char path[400];

	edit(source, 1);
	snprintf(path, sizeof(path), "%s/edited.py", source);
	free(project_python(project, code, path));
	return 0;
}

/* What lies beside it in the source, and could run without it, does not. */
static void deleted_modules_are_gone_in_spite_of_old_bytecode(void **state)
{
	struct project *project = *state;
	struct fixture_options old = watched;
	char path[400];

	old.prepare = compile_beside;
	old.data = project;
	for (int through_it = 0; through_it < 2; through_it++) {
		project_mount(project, &old);
		assert_int_equal(import(project), 1001);
		delete(through_it ? project_root(project) : project_behind(project));
		expect_soon(project, -1);
		snprintf(path, sizeof(path), "%s/edited.pyc", project_behind(project));
		assert_int_equal(access(path, F_OK), 0);
		project_end(project);
	}
}

static void deleted_modules_are_gone_unwatched(void **state)
{
	struct project *project = *state;

	project_mount(project, &unwatched);
	for (int i = 0; i < 2; i++) {
		edit(project_behind(project), i);
		assert_int_equal(import(project), 1000 + i);
		delete(i ? project_root(project) : project_behind(project));
		assert_int_equal(import(project), -1);
	}
}

int main(void)
{
	static const struct promise promises[] = {
		{ "ten edits through the mount are run",
		  edits_through_the_mount_are_run, NULL },
		{ "ten edits through a mount that is not watched are run",
		  edits_through_an_unwatched_mount_are_run, NULL },
		{ "ten edits behind the mount are run",
		  edits_behind_the_mount_are_run, NULL },
		{ "ten edits behind a mount that is not watched are run",
		  edits_behind_an_unwatched_mount_are_run, NULL },
		{ "an edit while it is compiled is run",
		  an_edit_while_it_is_compiled_is_run, python_is_3 },
		{ "a module that was deleted is gone",
		  deleted_modules_are_gone, NULL },
		{ "so it is with old bytecode beside it",
		  deleted_modules_are_gone_in_spite_of_old_bytecode, NULL },
		{ "so it is when nothing is watched",
		  deleted_modules_are_gone_unwatched, NULL },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("stale", promises,
					 sizeof(promises) / sizeof(*promises));
}
