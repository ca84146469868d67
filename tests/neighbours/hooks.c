/*
 * git's hooks, stashes and branches where old bytecode would do harm: what runs is
 * always what lies in the tree.
 *
 * Natively Python takes bytecode for current when the size and the time of its
 * source are what they were.  Here both are kept the same on purpose: each session
 * is held on a plain directory too, where it goes wrong.
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
#include "shell.h"
#include "tree.h"

static const struct fixture_options in_place = { .in_place = true };

/* Makes a repository in the mount and one in a plain directory. */
static void begin(struct project *project)
{
	project_mount(project, &in_place);
	set_git_environment(project->fixture->top);
	project_write(project->fixture->plain, project->python);
	commit_all(project_root(project));
	commit_all(project->fixture->plain);
	setenv("PYTHON", project->python->path, 1);
}

/* Accepts a commit while all modules count. */
static void write_hook(const struct project *project, const char *root)
{
	const char *path = in(root, ".git/hooks/pre-commit");
	char *text;

	if (asprintf(&text, "#!%s\n"
		     "import os\n"
		     "import sys\n"
		     "sys.path.insert(0, os.getcwd())\n"
		     "import app.core.m3\n"
		     "print('counted', app.core.m3.COUNTED)\n"
		     "sys.exit(app.core.m3.COUNTED != 1)\n",
		     project->python->path) < 0)
		abort();
	tree_write(path, text, -1);
	free(text);
	assert_int_equal(chmod(path, 0755), 0);
}

/* Commits a module that the hook accepts, and tries to commit one that it must
 * refuse; says how each ended. */
static const char commits[] =
	"module=app/core/m3.py\n"
	"try() { touch -d @1500000000 $module; git add $module\n"
	"	git commit -m 'Try' 2>&1 | grep counted\n"
	"	git diff --cached --quiet && echo committed || echo refused; }\n"
	"sed -i 's/A thing/a thing/' $module; try\n"
	"sed -i 's/COUNTED = 1/COUNTED = 0/' $module; try\n"
	"git reset -q --hard\n";

static void a_hook_runs_what_it_checks(void **state)
{
	struct project *project = *state;
	const char *root, *plain;

	begin(project);
	root = project_root(project);
	plain = project->fixture->plain;
	write_hook(project, root);
	write_hook(project, plain);

	assert_says(root, commits, "counted 1\ncommitted\ncounted 0\nrefused\n");
	assert_says(root, "git status --porcelain --ignored", "");
	assert_says(root, "git clean -xdn", "");
	assert_caches_below(project_behind(project), false);

	assert_says(plain, commits,
		    "counted 1\ncommitted\ncounted 1\ncommitted\n");
	assert_mentions(plain, "git clean -xdn", "Would remove app/__pycache__/\n");
}

/* What a module says in three branches and a stash. */
static const char branches[] =
	"module=app/core/m3.py\n"
	"ask() { touch -d @1500000000 $module\n"
	"	\"$PYTHON\" -c 'import app.core.m3 as m; print(m.COUNTED)'; }\n"
	"set_to() { sed -i \"s/COUNTED = ./COUNTED = $1/\" $module; }\n"
	"git switch -q -c two; set_to 2; git commit -q -a -m Two\n"
	"git switch -q -c three; set_to 3; git commit -q -a -m Three\n"
	"for branch in main two three two main; do\n"
	"	git switch -q $branch; ask\n"
	"done\n"
	"set_to 4; ask; git stash -q; ask; git stash pop -q; ask\n"
	"git stash -q --include-untracked; git stash drop -q\n"
	"git reset -q --hard three; ask; git reset -q --hard ORIG_HEAD; ask\n";

static void branches_run_their_own_code(void **state)
{
	struct project *project = *state;
	const char *root, *plain;

	begin(project);
	root = project_root(project);
	plain = project->fixture->plain;

	assert_says(root, branches, "1\n2\n3\n2\n1\n" "4\n1\n4\n" "3\n1\n");
	assert_says(root, "git status --porcelain --ignored", "");
	assert_says(root, "git clean -xdn", "");
	assert_caches_below(project_behind(project), false);

	/* The untracked caches went into the stash, and with them the trap. */
	assert_says(plain, branches, "1\n1\n1\n1\n1\n" "1\n1\n1\n" "3\n3\n");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "a hook in Python judges what is to be committed",
		  a_hook_runs_what_it_checks, NULL },
		{ "branches and stashes run no stale bytecode",
		  branches_run_their_own_code, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	if (system("git --version >/dev/null 2>&1"))
		return cannot_run("git is not here");
	return pythons_run_newest("hooks", promises,
				  sizeof(promises) / sizeof(*promises));
}
