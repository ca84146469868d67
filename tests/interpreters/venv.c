/*
 * Virtual environments inside a mount: made, used, filled and emptied by pip, and
 * removed.  They are real files of the source, all but their bytecode.
 */
#include <errno.h>
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

static bool exists_behind(const struct project *project, const char *name)
{
	struct stat st;

	return lstat(in(project_behind(project), name), &st) == 0;
}

static void venv_works(void **state)
{
	struct project *project = *state, theirs;
	struct python python;
	const char *root;
	char *out, *program;

	project_mount(project, &in_place);
	root = project_root(project);
	project_import_cold(project, root, NULL);
	free(command_output(root, project->python->path, "-m", "venv",
			    "--without-pip", "env", NULL));
	program = strdup(in(root, "env/bin/python"));
	out = command_output("/", program, "-c",
			     "import sys; print(sys.prefix)", NULL);
	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, in(root, "env"));
	free(out);

	/* It is the same Python, so the bytecode that is kept is its own. */
	python = *project->python;
	python.path = program;
	theirs = *project;
	theirs.python = &python;
	project_import_warm(&theirs, root, NULL);
	free(program);

	assert_true(exists_behind(project, "env/pyvenv.cfg"));
	assert_true(exists_behind(project, "env/bin/python"));
	assert_caches_below(project_behind(project), false);

	free(command_output(root, "rm", "-r", "env", NULL));
	assert_false(exists_behind(project, "env"));
	project_assert_names(project);
}

/* Makes a wheel with a package and a package in it. */
static const char wheel_code[] =
	"import sys, zipfile\n"
	"wheel = zipfile.ZipFile(sys.argv[1], 'w')\n"
	"info = 'thing-1.0.dist-info/'\n"
	"names = {\n"
	"    'thing/__init__.py': 'X = 1\\n',\n"
	"    'thing/deep/__init__.py': 'from .. import X\\n',\n"
	"    'thing/deep/data.txt': 'data\\n',\n"
	"    info + 'METADATA':\n"
	"        'Metadata-Version: 2.1\\nName: thing\\nVersion: 1.0\\n',\n"
	"    info + 'WHEEL':\n"
	"        'Wheel-Version: 1.0\\nGenerator: test\\n'\n"
	"        'Root-Is-Purelib: true\\nTag: py3-none-any\\n',\n"
	"}\n"
	"names[info + 'RECORD'] = ''.join(\n"
	"    name + ',,\\n' for name in list(names) + [info + 'RECORD'])\n"
	"for name, text in names.items():\n"
	"    wheel.writestr(name, text)\n"
	"wheel.close()\n";

/* The path of the environment's packages, below the root. */
static char *site_packages(const char *program, const char *root)
{
	char *out = command_output("/", program, "-c",
				   "import sysconfig\n"
				   "print(sysconfig.get_path('purelib'))\n",
				   NULL);
	size_t length = strlen(root);
	char *path;

	out[strcspn(out, "\n")] = '\0';
	assert_int_equal(strncmp(out, root, length), 0);
	assert_int_equal(out[length], '/');
	path = strdup(out + length + 1);
	free(out);
	return path;
}

/* What pip compiled on installing is what the first import reads. */
static void assert_precompiled(const char *program)
{
	const char *const argv[] = { program, "-v", "-c", "import thing.deep",
		NULL };
	struct command command = command_run(NULL, argv);

	assert_int_equal(command.status, 0);
	assert_non_null(strstr(command.err, "thing/deep/__pycache__/"));
	assert_null(strstr(command.err, "thing/deep/__init__.py\n# wrote"));
	assert_null(strstr(command.err, "thing/deep/__init__.py\n# created"));
	assert_non_null(strstr(command.err, "thing/deep/__init__.py\n"
			       "# code object from '"));
	command_free(&command);
}

static void pip_works(void **state)
{
	struct project *project = *state;
	char *program, *site, *wheel, *package, *out, *before, *after;
	const char *root;

	setenv("PIP_CONFIG_FILE", "/dev/null", 1);
	setenv("PIP_NO_INDEX", "1", 1);
	setenv("PIP_NO_CACHE_DIR", "1", 1);
	setenv("PIP_DISABLE_PIP_VERSION_CHECK", "1", 1);
	setenv("PIP_ROOT_USER_ACTION", "ignore", 1);

	project_mount(project, &in_place);
	root = project_root(project);
	free(command_output(root, project->python->path, "-m", "venv", "env",
			    NULL));
	program = strdup(in(root, "env/bin/python"));
	site = site_packages(program, root);
	if (asprintf(&package, "%s/thing", site) < 0 ||
	    asprintf(&wheel, "%s/thing-1.0-py3-none-any.whl",
		     project->fixture->top) < 0)
		abort();
	before = tree_list(in(project_behind(project), site));
	free(project_python(project, wheel_code, wheel));

	free(command_output("/", program, "-m", "pip", "install", wheel, NULL));
	assert_true(exists_behind(project, package));
	assert_precompiled(program);
	out = command_output("/", program, "-m", "pip", "list", NULL);
	assert_non_null(strstr(out, "thing"));
	free(out);
	free(command_output("/", program, "-m", "pip", "check", NULL));
	assert_caches_below(project_behind(project), false);

	free(command_output("/", program, "-m", "pip", "uninstall", "--yes",
			    "thing", NULL));
	assert_false(exists_behind(project, package));
	after = tree_list(in(project_behind(project), site));
	assert_string_equal(after, before);
	assert_caches_below(project_behind(project), false);

	free(command_output(root, "rm", "-r", "env", NULL));
	assert_false(exists_behind(project, "env"));
	free(before);
	free(after);
	free(program);
	free(site);
	free(package);
	free(wheel);
}

static bool has_venv(const struct python *python)
{
	return python_is(python, 3, 4);
}

/* Distributions put what installs pip into a package of its own. */
static bool has_pip(const struct python *python)
{
	const char *const argv[] = { python->path, "-c", "import ensurepip",
		NULL };
	struct command command;
	bool has;

	if (!python->newest)
		return false;
	command = command_run(NULL, argv);
	has = command.status == 0;
	command_free(&command);
	return has;
}

int main(void)
{
	static const struct promise promises[] = {
		{ "a virtual environment works and is removed whole",
		  venv_works, has_venv },
		{ "pip installs into one, its bytecode is used, and nothing "
		  "is left when it uninstalls", pip_works, has_pip },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("venv", promises,
					 sizeof(promises) / sizeof(*promises));
}
