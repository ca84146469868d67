/*
 * Makes Python projects, imports them, and checks what that left behind.
 *
 * Whether a module was compiled is said by the interpreter itself (-v):
 *
 *	Python 3	# code object from /DIR/m.py		compiled
 *			# code object from '/DIR/...m.pyc'	read
 *	Python 2	import m # from /DIR/m.py		compiled
 *			import m # precompiled from /DIR/m.pyc	read
 *
 * So that a change of that wording can't make a check pass, each count must come
 * out exactly: a module is told of once, as the one or as the other.
 */
#include "project.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
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
#include "tree.h"

#define COUNT(array) (sizeof(array) / sizeof(*(array)))
#define MODULES 9		/* in each package, beside its __init__ */
#define STAMP 1500000000	/* the time of all files, in the past */

/* Each package, and from where its first module takes what it builds on. */
static const struct package {
	const char *name, *base;
} packages[] = {
	{ "app", "from .core.m8 import VALUE as BASE" },
	{ "app/core", "from ..util.m8 import VALUE as BASE" },
	{ "app/util", "from .deep.m8 import VALUE as BASE" },
	{ "app/util/deep", "BASE = 0" },
	{ "shop", "from app.m8 import VALUE as BASE" },
	{ "shop/stock", "from ..m8 import VALUE as BASE" },
};

const char *project_root(const struct project *project)
{
	return project->fixture->mountpoint;
}

const char *project_behind(const struct project *project)
{
	char dir[64];

	/* By number, not as "self": other programs are told this name too. */
	snprintf(dir, sizeof(dir), "/proc/%d/fd/%d", (int)getpid(),
		 project->fixture->source_fd);
	return in(dir, ".");
}

/* ------------------------------------------------------------------- making */

static void write_module(const char *dir, const char *package, int number,
			 const char *base)
{
	char *path, *text;

	if (asprintf(&path, "%s/%s/m%d.py", dir, package, number) < 0 ||
	    asprintf(&text,
		     "\"\"\"Module %d of package %s.\"\"\"\n"
		     "%s\n"
		     "assert BASE >= 0, 'nothing to build on'\n"
		     "VALUE = BASE + 1\n"
		     "COUNTED = 1\n\n\n"
		     "class Thing(object):\n"
		     "    \"\"\"A thing.\"\"\"\n\n"
		     "    def __init__(self, name):\n"
		     "        self.name = name\n\n"
		     "    def describe(self):\n"
		     "        \"\"\"Says what it is.\"\"\"\n"
		     "        return '%%s of %s' %% self.name\n",
		     number, package, base, package) < 0)
		abort();
	tree_write(path, text, -1);
	free(path);
	free(text);
}

static void write_package(const char *dir, const struct package *package)
{
	char base[64];

	tree_write(in(in(dir, package->name), "__init__.py"),
		   "\"\"\"A package.\"\"\"\nCOUNTED = 1\n", -1);
	write_module(dir, package->name, 0, package->base);
	for (int i = 1; i < MODULES; i++) {
		snprintf(base, sizeof(base), "from .m%d import VALUE as BASE",
			 i - 1);
		write_module(dir, package->name, i, base);
	}
}

/* Whether packages without __init__.py can be imported. */
static bool has_namespaces(const struct python *python)
{
	return python_is(python, 3, 3);
}

static void write_everything(const char *dir, const struct python *python)
{
	FILE *file = fopen(in(dir, "everything.py"), "we");

	assert_non_null(file);
	fprintf(file, "\"\"\"Imports all modules.\"\"\"\n"
		"import importlib\nimport pkgutil\n\nNAMES = [\n");
	for (size_t i = 0; i < COUNT(packages); i++) {
		char name[64];

		snprintf(name, sizeof(name), "%s", packages[i].name);
		for (char *slash = name; (slash = strchr(slash, '/'));)
			*slash = '.';
		fprintf(file, "    '%s',\n", name);
		for (int m = 0; m < MODULES; m++)
			fprintf(file, "    '%s.m%d',\n", name, m);
	}
	fprintf(file, "    'app.link',\n    'app.only',\n");
	if (has_namespaces(python))
		fprintf(file, "    'space.part.mod',\n");
	fprintf(file, "]\n\n\ndef total():\n"
		"    data = pkgutil.get_data('app', 'data/table.txt')\n"
		"    assert data == b'1 2 3\\n', data\n"
		"    return 1 + sum(importlib.import_module(name).COUNTED\n"
		"                   for name in NAMES)\n");
	assert_int_equal(fclose(file), 0);
}

/* Makes app/only.pyc (and .pyo, which Python 2 wants under -O) sourceless. */
static void write_sourceless(const char *dir, const struct python *python)
{
	static const char code[] =
		"import os, py_compile, shutil, sys, tempfile\n"
		"scratch = tempfile.mkdtemp()\n"
		"source = os.path.join(scratch, 'only.py')\n"
		"with open(source, 'w') as file:\n"
		"    file.write('COUNTED = 1\\n')\n"
		"py_compile.compile(source, sys.argv[1], doraise=True)\n"
		"shutil.rmtree(scratch)\n";

	free(command_output("/", python->path, "-c", code,
			    in(dir, "app/only.pyc"), NULL));
	if (python->major == 2)
		free(command_output("/", python->path, "-O", "-c", code,
				    in(dir, "app/only.pyo"), NULL));
}

void project_write(const char *path, const struct python *python)
{
	/* Out of the ring of in(), whose room is used up below. */
	char *dir = strdup(path);

	assert_non_null(dir);
	for (size_t i = 0; i < COUNT(packages); i++)
		write_package(dir, &packages[i]);
	write_everything(dir, python);
	tree_write(in(dir, "space/part/mod.py"), "COUNTED = 1\n", -1);
	tree_write(in(dir, "app/data/table.txt"), "1 2 3\n", -1);
	tree_write(in(dir, "app/data/run.sh"), "#!/bin/sh\nexit 0\n", -1);
	tree_write(in(dir, "README"), "A project.\n", -1);
	assert_int_equal(chmod(in(dir, "app/data/run.sh"), 0755), 0);
	assert_int_equal(mkdir(in(dir, "app/data/empty"), 0755), 0);
	assert_int_equal(link(in(dir, "app/data/table.txt"),
			      in(dir, "app/data/linked.txt")), 0);
	/* As a module its relative import finds what lies beside the link. */
	assert_int_equal(symlink("core/m8.py", in(dir, "app/link.py")), 0);
	assert_int_equal(symlink("app/util", in(dir, "tools")), 0);
	write_sourceless(dir, python);
	project_stamp(dir);
	free(dir);
}

static int stamp(const char *path, const struct stat *st, int type,
		 struct FTW *walk)
{
	const struct timespec time = { .tv_sec = STAMP, .tv_nsec = 123456789 };
	const struct timespec times[2] = { time, time };

	(void)st;
	(void)type;
	(void)walk;
	return utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW);
}

void project_stamp(const char *dir)
{
	assert_int_equal(nftw(dir, stamp, 32, FTW_DEPTH | FTW_PHYS), 0);
}

void project_plant_caches(const char *dir)
{
	static const char *const names[] = {
		"m0.pyc", "m0.pyo", "m0$py.class", "m1.pyc.12345",
		"__pycache__/m0.cpython-311.pyc",
		"__pycache__/gone.cpython-36.opt-1.pyc",
		"__pycache__/m0.f-1.py311.nbi",
		"__pycache__/build/ext.o",
	};
	char path[512];

	for (size_t i = 0; i < COUNT(packages); i++) {
		for (size_t n = 0; n < COUNT(names); n++) {
			snprintf(path, sizeof(path), "%s/%s/%s", dir,
				 packages[i].name, names[n]);
			tree_write(path, "NONSENSE", -1);
		}
	}
}

/* ------------------------------------------------------ mounting and its end */

/* What can be listed, one name a line, as Python sees it. */
static const char walk_code[] =
	"import os, sys\n"
	"top = sys.argv[1]\n"
	"names = []\n"
	"for where, dirs, files in os.walk(top):\n"
	"    names += [os.path.relpath(os.path.join(where, name), top)\n"
	"              for name in dirs + files]\n"
	"print('\\n'.join(sorted(names)))\n";

char *project_python(const struct project *project, const char *code,
		     const char *argument)
{
	return command_output("/", project->python->path, "-c", code, argument,
			      NULL);
}

static int prepare(const char *source, void *data)
{
	struct project *project = data;
	char *names;

	project_write(source, project->python);
	names = project_python(project, walk_code, source);
	if (project->options.prepare) {
		int error = project->options.prepare(source,
						     project->options.data);

		if (error) {
			free(names);
			return error;
		}
	}
	project->names = names;
	return 0;
}

void project_mount(struct project *project,
		   const struct fixture_options *options)
{
	struct fixture_options mine = { 0 };

	if (options)
		mine = project->options = *options;
	mine.prepare = prepare;
	mine.data = project;
	project->fixture = fixture_create(&mine);
	project->before = project_describe(project_behind(project));
}

void project_end(struct project *project)
{
	struct fixture *fixture = project->fixture;

	if (project->stop)
		project->stop();
	free(project->before);
	free(project->names);
	project->fixture = NULL;
	project->before = project->names = NULL;
	/* Last: it fails the test when the daemon has misbehaved. */
	fixture_destroy(fixture);
}

/* ---------------------------------------------------------------- importing */

int project_sources(const struct project *project)
{
	/* `everything` and `link` beside the packages. */
	return (int)COUNT(packages) * (MODULES + 1) + 2 +
		has_namespaces(project->python);
}

int project_sourceless(const struct project *project)
{
	(void)project;
	return 1;
}

static bool ends_in(const char *text, const char *end)
{
	size_t length = strlen(text), tail = strlen(end);

	return length >= tail && !strcmp(text + length - tail, end);
}

/* Counts one line of what -v says; @line is written to. */
static void count_line(struct imports *imports, const struct python *python,
		       const char *root, char *line)
{
	static const char three[] = "# code object from ";
	static const char read[] = " # precompiled from ";
	static const char compiled[] = " # from ";
	bool is_source;
	char *path;

	if (python->major >= 3) {
		if (strncmp(line, three, strlen(three)))
			return;
		path = line + strlen(three);
		if (*path == '\'')
			path++;
		path[strcspn(path, "'")] = '\0';
		is_source = ends_in(path, ".py");
		if (!is_source && !ends_in(path, ".pyc"))
			return;
	} else {
		if (strncmp(line, "import ", 7))
			return;
		path = strstr(line, compiled);
		is_source = path;
		if (path)
			path += strlen(compiled);
		else if ((path = strstr(line, read)))
			path += strlen(read);
		else
			return;
	}
	if (strncmp(path, root, strlen(root)) || path[strlen(root)] != '/')
		return;
	if (is_source)
		imports->compiled++;
	else
		imports->loaded++;
}

struct imports project_import(const struct project *project, const char *root,
			      const char *flag)
{
	static const char code[] =
		"import sys\n"
		"sys.path.insert(0, sys.argv[1])\n"
		"import everything\n"
		"print(everything.total())\n";
	const struct command_options options = { .directory = "/" };
	const char *const argv[] = {
		project->python->path, "-v", flag ? flag : "-s", "-c", code,
		root, NULL,
	};
	struct command command = command_run(&options, argv);
	struct imports imports = { 0 };
	char *rest = command.err, *line;

	if (command.status != 0) {
		print_error("importing '%s' with %s ended with %d:\n%s%s\n",
			    root, project->python->path, command.status,
			    command.out, command.err);
		command_free(&command);
		fail();
	}
	imports.total = atol(command.out);
	while ((line = strsep(&rest, "\n")))
		count_line(&imports, project->python, root, line);
	command_free(&command);
	return imports;
}

static void assert_imports(const struct project *project, struct imports found,
			   int compiled, int loaded)
{
	int all = project_sources(project) + project_sourceless(project);

	if (found.compiled != compiled || found.loaded != loaded ||
	    found.total != all)
		fail_msg("of %d modules %ld answered, %d were compiled and %d "
			 "read; expected: %d compiled and %d read", all,
			 found.total, found.compiled, found.loaded, compiled,
			 loaded);
}

void project_import_cold(const struct project *project, const char *root,
			 const char *flag)
{
	assert_imports(project, project_import(project, root, flag),
		       project_sources(project), project_sourceless(project));
}

void project_import_warm(const struct project *project, const char *root,
			 const char *flag)
{
	assert_imports(project, project_import(project, root, flag), 0,
		       project_sources(project) + project_sourceless(project));
}

/* ----------------------------------------------------------------- checking */

char *project_describe(const char *dir)
{
	char *below = tree_describe(dir, true), *all;
	struct stat st;

	assert_int_equal(stat(dir, &st), 0);
	if (asprintf(&all, ". %o %u:%u links=%ju mtime=%jd.%09ld "
		     "ctime=%jd.%09ld\n%s", st.st_mode, st.st_uid, st.st_gid,
		     (uintmax_t)st.st_nlink, (intmax_t)st.st_mtim.tv_sec,
		     st.st_mtim.tv_nsec, (intmax_t)st.st_ctim.tv_sec,
		     st.st_ctim.tv_nsec, below) < 0)
		abort();
	free(below);
	return all;
}

/* Prints the lines that only one of two texts has, and fails if there are. */
static void assert_same_lines(const char *what, const char *before,
			      const char *after)
{
	char *left_text = strdup(before), *right_text = strdup(after);
	char *left_rest = left_text, *right_rest = right_text;
	char *left, *right;
	int printed = 0;

	if (!left_text || !right_text)
		abort();
	if (strcmp(before, after)) {
		print_error("%s, from the first line that differs:\n", what);
		while (printed < 10) {
			left = strsep(&left_rest, "\n");
			right = strsep(&right_rest, "\n");
			if (!left && !right)
				break;
			if (left && right && !strcmp(left, right))
				continue;
			print_error("before: %s\nafter:  %s\n",
				    left ? left : "", right ? right : "");
			printed++;
		}
	}
	free(left_text);
	free(right_text);
	if (printed)
		fail();
}

void project_assert_untouched(const struct project *project)
{
	char *after = project_describe(project_behind(project));

	assert_same_lines("the source has changed", project->before, after);
	free(after);
}

void project_assert_names(const struct project *project)
{
	char *names = project_python(project, walk_code, project_root(project));

	assert_same_lines("other names are listed", project->names, names);
	free(names);
}

static const char *cache_found;

static int look_for_cache(const char *path, const struct stat *st, int type,
			  struct FTW *walk)
{
	static char found[4096];
	const char *name = path + walk->base;

	(void)st;
	(void)type;
	if (!strcmp(name, "__pycache__") || ends_in(name, "$py.class") ||
	    ((strstr(name, ".pyc") || ends_in(name, ".pyo")) &&
	     strncmp(name, "only.", 5))) {
		snprintf(found, sizeof(found), "%s", path);
		cache_found = found;
		return 1;
	}
	return 0;
}

void assert_caches_below(const char *dir, bool expected)
{
	cache_found = NULL;
	assert_true(nftw(dir, look_for_cache, 32, FTW_PHYS) >= 0);
	if (cache_found && !expected)
		fail_msg("a cache entry is there: '%s'", cache_found);
	if (!cache_found && expected)
		fail_msg("no cache entry is below '%s'", dir);
}
