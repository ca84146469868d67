/*
 * Every Python imports a project from a mount: its bytecode is kept, and the
 * source is left as it was.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "tree.h"

static const struct fixture_options in_place = { .in_place = true };

static void import_twice(struct project *project,
			 const struct fixture_options *options,
			 const char *flag)
{
	project_mount(project, options);
	project_import_cold(project, project_root(project), flag);
	project_import_warm(project, project_root(project), flag);
	project_assert_names(project);
	project_assert_untouched(project);
	fixture_unmount(project->fixture);
	project_assert_untouched(project);
}

static void imports_in_place(void **state)
{
	import_twice(*state, &in_place, NULL);
}

static void imports_elsewhere(void **state)
{
	import_twice(*state, NULL, NULL);
}

static void imports_optimised(void **state)
{
	import_twice(*state, &in_place, "-O");
}

static void imports_without_docstrings(void **state)
{
	import_twice(*state, &in_place, "-OO");
}

/* Each tag is a file of its own: none may push another out. */
static void levels_are_kept_apart(void **state)
{
	struct project *project = *state;

	project_mount(project, &in_place);
	project_import_cold(project, project_root(project), NULL);
	project_import_cold(project, project_root(project), "-O");
	project_import_warm(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), "-O");
	project_assert_untouched(project);
}

static void bytecode_ends_with_the_mount(void **state)
{
	struct project *project = *state;

	project_mount(project, NULL);
	project_import_cold(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), NULL);
	fixture_unmount(project->fixture);
	fixture_mount(project->fixture);
	project_import_cold(project, project_root(project), NULL);
	project_assert_untouched(project);
}

/* Replaces "COUNTED = 1" of a module, so that its size changes too. */
static char *edited(const struct project *project, const char *name,
		    const char *counted)
{
	char *text = tree_read(in(project_root(project), name), NULL);
	char *at = strstr(text, "COUNTED = "), *after, *result;

	assert_non_null(at);
	*at = '\0';
	after = strchr(at + 1, '\n');
	assert_non_null(after);
	if (asprintf(&result, "%s%s%s", text, counted, after) < 0)
		abort();
	free(text);
	return result;
}

static void assert_one_recompiled(const struct project *project, long more)
{
	struct imports imports =
		project_import(project, project_root(project), NULL);
	int all = project_sources(project) + project_sourceless(project);

	assert_int_equal(imports.total, all + more);
	assert_int_equal(imports.compiled, 1);
	assert_int_equal(imports.loaded, all - 1);
	imports = project_import(project, project_root(project), NULL);
	assert_int_equal(imports.total, all + more);
	assert_int_equal(imports.compiled, 0);
}

static void an_edit_is_imported(void **state)
{
	const struct timespec later[2] = { { .tv_sec = 1600000000 },
		{ .tv_sec = 1600000000 } };
	struct project *project = *state;
	const char *name = "app/core/m3.py";
	char *text, *behind, *temporary;

	project_mount(project, &in_place);
	project_import_cold(project, project_root(project), NULL);

	text = edited(project, name, "COUNTED = 1001");
	tree_write(in(project_root(project), name), text, -1);
	assert_one_recompiled(project, 1000);
	behind = tree_read(in(project_behind(project), name), NULL);
	assert_string_equal(behind, text);
	free(behind);
	free(text);

	/* As editors do.  Python 2 knows an edit by its second alone. */
	text = edited(project, name, "COUNTED = 2000001");
	temporary = strdup(in(project_root(project), "app/core/.m3.py.swp"));
	tree_write(temporary, text, -1);
	assert_int_equal(utimensat(AT_FDCWD, temporary, later, 0), 0);
	assert_int_equal(rename(temporary, in(project_root(project), name)), 0);
	assert_one_recompiled(project, 2000000);
	behind = tree_read(in(project_behind(project), name), NULL);
	assert_string_equal(behind, text);
	free(behind);
	free(text);
	free(temporary);
	assert_caches_below(project_behind(project), false);
}

/* A new module and a new package are found by a process that comes later. */
static void additions_are_imported(void **state)
{
	static const char code[] =
		"import sys\n"
		"sys.path.insert(0, sys.argv[1])\n"
		"import app.added, added.deep.m\n"
		"print(app.added.X + added.deep.m.X)\n";
	struct project *project = *state;
	const char *root;

	project_mount(project, &in_place);
	root = project_root(project);
	project_import_cold(project, root, NULL);
	tree_write(in(root, "app/added.py"), "X = 1\n", -1);
	tree_write(in(root, "added/__init__.py"), "", -1);
	tree_write(in(root, "added/deep/__init__.py"), "", -1);
	tree_write(in(root, "added/deep/m.py"), "X = 2\n", -1);
	for (int i = 0; i < 2; i++) {
		char *out = project_python(project, code, root);

		assert_string_equal(out, "3\n");
		free(out);
	}
	project_import_warm(project, root, NULL);
	assert_caches_below(project_behind(project), false);
}

static void many_import_at_once(void **state)
{
	static const char script[] =
		"for i in 1 2 3 4 5 6; do\n"
		"	\"$1\" -c 'import sys; sys.path.insert(0, sys.argv[1])\n"
		"import everything\n"
		"sys.stdout.write(\"%d\\n\" % everything.total())' \"$2\" &\n"
		"	all=\"$all $!\"\n"
		"done\n"
		"for one in $all; do wait $one || exit 1; done\n";
	struct project *project = *state;
	char *out, line[32], *rest;
	int answers = 0;

	project_mount(project, NULL);
	out = command_output("/", "sh", "-c", script, "sh",
			     project->python->path, project_root(project),
			     NULL);
	snprintf(line, sizeof(line), "%d\n", project_sources(project) +
		 project_sourceless(project));
	for (rest = out; (rest = strstr(rest, line)); rest += strlen(line))
		answers++;
	assert_int_equal(answers, 6);
	free(out);
	project_import_warm(project, project_root(project), NULL);
	project_assert_untouched(project);
}

/* ----------------------------------------------------------- file watchers */

static int watcher;

static int watch(const char *path, const struct stat *st, int type,
		 struct FTW *walk)
{
	(void)st;
	(void)walk;
	if (type != FTW_D)
		return 0;
	return inotify_add_watch(watcher, path, IN_CREATE | IN_DELETE |
				 IN_MODIFY | IN_ATTRIB | IN_MOVE | IN_MOVE_SELF |
				 IN_DELETE_SELF | IN_CLOSE_WRITE) < 0;
}

/* The first event that waits, as "MASK NAME", or "". */
static const char *heard(void)
{
	static char text[NAME_MAX + 32];
	union {
		struct inotify_event event;
		char room[4096];
	} buffer;
	ssize_t got = read(watcher, &buffer, sizeof(buffer));

	if (got < 0) {
		assert_int_equal(errno, EAGAIN);
		return "";
	}
	snprintf(text, sizeof(text), "%#x %.*s", buffer.event.mask, NAME_MAX,
		 buffer.event.len ? buffer.event.name : ".");
	return text;
}

static void no_watcher_wakes(void **state)
{
	struct project *project = *state;

	project_mount(project, &in_place);
	watcher = inotify_init1(IN_CLOEXEC | IN_NONBLOCK);
	assert_true(watcher >= 0);
	assert_int_equal(nftw(project_root(project), watch, 32, FTW_PHYS), 0);
	project_import_cold(project, project_root(project), NULL);
	assert_string_equal(heard(), "");
	/* It would have been heard. */
	tree_write(in(project_root(project), "app/core/new.py"), "", -1);
	assert_string_not_equal(heard(), "");
	close(watcher);
}

/* Where bytecode has a directory of its own. */
static bool has_pycache(const struct python *python)
{
	return python_is(python, 3, 2);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "two imports in place leave the source as it was, "
		  "the second compiles nothing", imports_in_place, NULL },
		{ "so do two imports of a mount elsewhere",
		  imports_elsewhere, NULL },
		{ "so do two imports with -O", imports_optimised, NULL },
		{ "so do two imports with -OO", imports_without_docstrings,
		  NULL },
		{ "bytecode of -O and bytecode without lie side by side",
		  levels_are_kept_apart, NULL },
		{ "bytecode is gone when the mount is",
		  bytecode_ends_with_the_mount, NULL },
		{ "an edit through the mount is seen by the next import",
		  an_edit_is_imported, NULL },
		{ "new modules and packages are imported",
		  additions_are_imported, NULL },
		{ "six processes import a cold project at once",
		  many_import_at_once, NULL },
		{ "a cold import wakes no file watcher", no_watcher_wakes,
		  has_pycache },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("imports", promises,
					 sizeof(promises) / sizeof(*promises));
}
