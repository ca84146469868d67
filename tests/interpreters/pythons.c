/*
 * Finds the Pythons of this machine and runs tests for each of them.
 *
 * A name says little: `python3` may be a shim, a link, or a second name of the
 * same program.  So each candidate is asked what it is and where it really lies,
 * and of those that give the same answer the first is kept.
 */
#include "pythons.h"

#include <ctype.h>
#include <dirent.h>
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

/* Free-threaded builds are another version: their bytecode has its own tag. */
static const char question[] =
	"import platform, sys\n"
	"print('%s %d.%d.%d%s' % ((platform.python_implementation(),)\n"
	"      + tuple(sys.version_info[:3])\n"
	"      + ('t' if 't' in getattr(sys, 'abiflags', '') else '',)))\n"
	"print(sys.executable)\n";

struct found {
	struct python *pythons;
	size_t count;
};

bool python_is(const struct python *python, int major, int minor)
{
	return python->major > major ||
		(python->major == major && python->minor >= minor);
}

/* python, python3, python3.13t, pypy3.10; not python3-config. */
static bool is_python_name(const char *name)
{
	if (!strncmp(name, "pypy3", 5))
		name += 5;
	else if (!strncmp(name, "python", 6))
		name += 6;
	else
		return false;
	while (isdigit((unsigned char)*name) || *name == '.')
		name++;
	return *name == '\0' || !strcmp(name, "t");
}

static bool is_known(const struct found *found, const char *label)
{
	for (size_t i = 0; i < found->count; i++)
		if (!strcmp(found->pythons[i].label, label))
			return true;
	return false;
}

/* Asks the program at @path what it is; adds it when it is a new answer. */
static void consider(struct found *found, const char *path)
{
	const struct command_options options = { .directory = "/",
		.seconds = 20 };
	const char *const argv[] = { path, "-c", question, NULL };
	struct command answer = command_run(&options, argv);
	struct python python = { 0 };
	char name[32], *label = answer.out, *where, *end;

	where = strchr(label, '\n');
	if (answer.status != 0 || !where)
		goto out;
	*where++ = '\0';
	end = strchr(where, '\n');
	if (!end || *where != '/' || is_known(found, label) ||
	    sscanf(label, "%31s %d.%d.%d", name, &python.major,
		   &python.minor, &python.micro) != 4)
		goto out;
	*end = '\0';
	python.cpython = !strcmp(name, "CPython");
	python.label = strdup(label);
	python.path = strdup(where);
	found->pythons = realloc(found->pythons, (found->count + 1) *
				 sizeof(*found->pythons));
	if (!python.label || !python.path || !found->pythons)
		abort();
	found->pythons[found->count++] = python;
out:
	command_free(&answer);
}

static void consider_directory(struct found *found, const char *path)
{
	DIR *dir = opendir(path);
	struct dirent *entry;

	while (dir && (entry = readdir(dir))) {
		char *program;

		if (!is_python_name(entry->d_name))
			continue;
		if (asprintf(&program, "%s/%s", path, entry->d_name) < 0)
			abort();
		if (access(program, X_OK) == 0)
			consider(found, program);
		free(program);
	}
	if (dir)
		closedir(dir);
}

static void consider_path(struct found *found)
{
	const char *path = getenv("PATH");
	const char *home = getenv("HOME");
	char *copy = strdup(path ? path : ""), *rest = copy, *dir, *shims;

	/* pyenv's shims take their time, and lead to what is asked below. */
	if (asprintf(&shims, "%s/.pyenv/shims", home ? home : "") < 0)
		abort();
	while ((dir = strsep(&rest, ":")))
		if (*dir == '/' && strcmp(dir, shims) != 0)
			consider_directory(found, dir);
	free(shims);
	free(copy);
}

static void consider_pyenv(struct found *found)
{
	const char *home = getenv("HOME");
	struct dirent *entry;
	char *versions, *bin;
	DIR *dir;

	if (asprintf(&versions, "%s/.pyenv/versions", home ? home : "") < 0)
		abort();
	dir = opendir(versions);
	while (dir && (entry = readdir(dir))) {
		if (entry->d_name[0] == '.')
			continue;
		if (asprintf(&bin, "%s/%s/bin", versions, entry->d_name) < 0)
			abort();
		consider_directory(found, bin);
		free(bin);
	}
	if (dir)
		closedir(dir);
	free(versions);
}

static int by_version(const void *a, const void *b)
{
	const struct python *left = a, *right = b;

	if (left->cpython != right->cpython)
		return left->cpython ? 1 : -1;
	if (left->major != right->major)
		return left->major - right->major;
	if (left->minor != right->minor)
		return left->minor - right->minor;
	if (left->micro != right->micro)
		return left->micro - right->micro;
	/* Free-threaded before plain, so that the newest is a plain one. */
	return (int)strlen(right->label) - (int)strlen(left->label);
}

size_t pythons_find(struct python **ret_pythons)
{
	struct found found = { 0 };

	consider_path(&found);
	consider_pyenv(&found);
	if (found.count > 0) {
		qsort(found.pythons, found.count, sizeof(*found.pythons),
		      by_version);
		found.pythons[found.count - 1].newest =
			found.pythons[found.count - 1].cpython;
	}
	*ret_pythons = found.pythons;
	return found.count;
}

void pythons_free(struct python *pythons, size_t count)
{
	for (size_t i = 0; i < count; i++) {
		free(pythons[i].path);
		free(pythons[i].label);
	}
	free(pythons);
}

static int tear_down(void **state)
{
	project_end(*state);
	return 0;
}

/* Adds a test to @tests, whose name and state the caller owns. */
static void add(struct CMUnitTest *tests, size_t *count,
		const struct python *python, const struct promise *promise)
{
	struct project *project = calloc(1, sizeof(*project));
	char *name;

	if (!project || asprintf(&name, "%s: %s", python->label,
				 promise->name) < 0)
		abort();
	project->python = python;
	tests[(*count)++] = (struct CMUnitTest){
		.name = name,
		.test_func = promise->test,
		.teardown_func = tear_down,
		.initial_state = project,
	};
}

static int run(const char *group, const struct promise *promises, size_t count,
	       const struct python *pythons, size_t found)
{
	struct CMUnitTest *tests = calloc(found * count, sizeof(*tests));
	size_t total = 0;
	int failed = 0;

	if (!tests)
		abort();
	for (size_t p = 0; p < count; p++) {
		size_t before = total;

		for (size_t i = 0; i < found; i++)
			if (!promises[p].applies ||
			    promises[p].applies(&pythons[i]))
				add(tests, &total, &pythons[i], &promises[p]);
		if (total == before)
			print_message("No Python here can show: %s\n",
				      promises[p].name);
	}
	if (total == 0 ||
	    _cmocka_run_group_tests(group, tests, total, NULL, NULL))
		failed = 1;
	for (size_t i = 0; i < total; i++) {
		free((char *)(uintptr_t)tests[i].name);
		free(tests[i].initial_state);
	}
	free(tests);
	return failed;
}

bool python_is_3(const struct python *python)
{
	return python->major >= 3;
}

/* Of Pythons in order, the oldest CPython, the oldest of 3, and the newest: as many of
 * these three as there are. */
static size_t choose_few(const struct python *pythons, size_t count,
			 struct python ret[3])
{
	size_t chosen = 0;

	for (size_t i = 0; i < count; i++)
		if (pythons[i].cpython &&
		    (!chosen || pythons[i].newest ||
		     (pythons[i].major == 3 && ret[chosen - 1].major < 3)))
			ret[chosen++] = pythons[i];
	return chosen;
}

int pythons_run(const char *group, const struct promise *promises,
		size_t count)
{
	struct python *pythons, three[3];
	size_t found = pythons_find(&pythons), few = 0;
	int failed = 1;

	if (getenv("PYCACHEFS_FEW_PYTHONS"))
		few = choose_few(pythons, found, three);
	if (found == 0)
		print_error("%s: no Python was found\n", group);
	else if (few > 0)
		failed = run(group, promises, count, three, few);
	else
		failed = run(group, promises, count, pythons, found);
	pythons_free(pythons, found);
	return failed;
}

int pythons_run_newest(const char *group, const struct promise *promises,
		       size_t count)
{
	struct python *pythons;
	size_t found = pythons_find(&pythons);
	int failed = 1;

	if (found == 0 || !pythons[found - 1].newest)
		print_error("%s: no CPython was found\n", group);
	else
		failed = run(group, promises, count, &pythons[found - 1], 1);
	pythons_free(pythons, found);
	return failed;
}

const struct python *pythons_having(const struct python *pythons, size_t count,
				    const char *modules)
{
	const struct python *having = NULL;
	char *code;

	if (asprintf(&code, "import %s", modules) < 0)
		abort();
	while (!having && count-- > 0) {
		const char *const argv[] = { pythons[count].path, "-c", code,
			NULL };
		struct command command = command_run(NULL, argv);

		if (command.status == 0)
			having = &pythons[count];
		command_free(&command);
	}
	free(code);
	return having;
}

int pythons_run_having(const char *modules, const char *group,
		       const struct promise *promises, size_t count)
{
	const struct python *having;
	struct python *pythons;
	size_t found = pythons_find(&pythons);
	int result = -1;

	having = pythons_having(pythons, found, modules);
	if (having)
		result = run(group, promises, count, having, 1);
	pythons_free(pythons, found);
	return result;
}

int cannot_run_optional(const char *why)
{
	fprintf(stderr, "%s\n", why);
	return 77;
}
