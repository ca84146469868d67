/*
 * `pip install --editable` of the mounted project into a virtual environment inside
 * it.  What it adds to the tree stays: just what it would add to a plain directory,
 * but for bytecode.
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
#include "shell.h"
#include "tree.h"

static const char setup_py[] =
	"from setuptools import setup\n\n"
	"setup(name='project', version='1.0', py_modules=['everything'],\n"
	"      packages=['app', 'app.core', 'app.util', 'app.util.deep',\n"
	"                'shop', 'shop.stock'])\n";

static const char pyproject_toml[] =
	"[build-system]\n"
	"requires = ['setuptools']\n"
	"build-backend = 'setuptools.build_meta'\n";

/* Installs the project of a directory, and imports it from elsewhere. */
static void install(const struct project *project, const char *root)
{
	tree_write(in(root, "setup.py"), setup_py, -1);
	tree_write(in(root, "pyproject.toml"), pyproject_toml, -1);
	free(command_output(root, project->python->path, "-m", "venv",
			    "--system-site-packages", "--without-pip", "env",
			    NULL));
	quietly(root, "env/bin/python -m pip install --no-build-isolation "
		"--no-index --no-deps --editable .");
	free(command_output("/", in(root, "env/bin/python"), "-c",
			    "import everything\n"
			    "import app, os, sys\n"
			    "assert os.path.samefile(app.__path__[0], sys.argv[1])\n",
			    in(root, "app"), NULL));
}

/* Names, kinds and modes of all that is no bytecode, where it was installed and
 * where it is to be compared with. */
static const char compare[] =
	"list() { find \"$1\" -name __pycache__ -prune -o -printf '%P %y %m\\n' | sort; }\n"
	"list \"$PLAIN\" >plain.list\n"
	"grep -q 'project-1.0.dist-info/RECORD f' plain.list\n"
	"for tree in \"$BEHIND\" \"$ROOT\"; do list \"$tree\" | diff plain.list -; done\n";

static void an_editable_install_works(void **state)
{
	static const char *const settings[][2] = {
		{ "PIP_CONFIG_FILE", "/dev/null" },
		{ "PIP_NO_CACHE_DIR", "1" },
		{ "PIP_DISABLE_PIP_VERSION_CHECK", "1" },
		{ "PIP_ROOT_USER_ACTION", "ignore" },
	};
	struct project *project = *state;
	const char *root, *plain;

	for (size_t i = 0; i < sizeof(settings) / sizeof(*settings); i++)
		setenv(settings[i][0], settings[i][1], 1);
	unsetenv("PIP_FIND_LINKS");
	/* Not in place: find(1) goes back by `..`, and that leads from behind a mount
	 * into it. */
	project_mount(project, NULL);
	root = project_root(project);
	plain = project->fixture->plain;
	project_write(plain, project->python);

	install(project, root);
	install(project, plain);
	assert_caches_below(project_behind(project), false);
	assert_caches_below(plain, true);
	setenv("ROOT", root, 1);
	setenv("BEHIND", project_behind(project), 1);
	setenv("PLAIN", plain, 1);
	quietly(project->fixture->top, compare);

	/* What it installed follows an edit, and goes again. */
	tree_write(in(root, "app/core/m3.py"), "VALUE = 500\n", -1);
	assert_says("/", in(root, "env/bin/python -c "
			    "'import app.core.m3 as m; print(m.VALUE)'"), "500\n");
	quietly(root, "env/bin/python -m pip uninstall --yes project");
	assert_mentions(root, "cd /; $OLDPWD/env/bin/python -c 'import app' 2>&1 || true",
			"No module named");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "an editable install works, and the tree is what it is anywhere",
		  an_editable_install_works, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	result = pythons_run_having("setuptools, pip, wheel", "editable", promises,
				    sizeof(promises) / sizeof(*promises));
	return result < 0 ? cannot_run("no Python here has pip, setuptools and wheel") : result;
}
