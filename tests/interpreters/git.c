/*
 * git in a mount does what it does anywhere, and never meets a cache.
 *
 * Each session is held twice, in a clone in the mount and in one in a plain
 * directory, and must say the same: dates and names are fixed, so even the ids
 * of commits have to be equal.
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
#include "shell.h"
#include "tree.h"

static const struct fixture_options in_place = { .in_place = true };

/* Where git works: a clone in the mount, and one outside. */
struct clones {
	char mount[320], plain[320];
};

/* Holds a session in both clones, which must say the same. */
static void both(const struct clones *clones, const char *script)
{
	char *mount = shell(clones->mount, script);
	char *plain = shell(clones->plain, script);

	assert_string_equal(mount, plain);
	free(mount);
	free(plain);
}

/* All that the two clones have in common when they are equal. */
static void assert_same(const struct clones *clones)
{
	both(clones, "git log --all --format='%H %D'; git ls-files --stage\n"
	     "git status --porcelain; git stash list\n"
	     "find . -name .git -prune -o -printf '%P %y %m %l\\n' | sort\n"
	     "cat $(git ls-files '*.py') | cksum\n");
}

static void make_origin(const char *dir, const struct python *python)
{
	assert_int_equal(mkdir(dir, 0755), 0);
	project_write(dir, python);
	quietly(dir, "git init; git add --all; git commit -m 'One'\n"
		"git switch -c without-shop\n"
		"git rm -r shop; sed -i '/shop/d' everything.py\n"
		"git commit -a -m 'Without shop'\n"
		"git switch main\n"
		"git switch -c renamed; git mv README READ.ME\n"
		"git commit -m 'Renamed'\n"
		"git switch main\n");
}

/* Mounts, and clones into the mount and beside it. */
static struct clones begin(struct project *project)
{
	struct clones clones;
	const char *plain;
	char origin[320];

	project_mount(project, &in_place);
	plain = project->fixture->plain;
	stpcpy(stpcpy(origin, plain), "/origin");
	set_git_environment(project->fixture->top);
	make_origin(origin, project->python);
	free(command_output(project_root(project), "git", "clone", origin,
			    "clone", NULL));
	free(command_output(plain, "git", "clone", origin, "clone", NULL));
	stpcpy(stpcpy(clones.mount, project_root(project)), "/clone");
	stpcpy(stpcpy(clones.plain, plain), "/clone");
	return clones;
}

static void a_clone_is_clean(void **state)
{
	struct clones clones = begin(*state);

	/* Without a refresh: what stat says must be what it said. */
	quietly(clones.mount, "git diff-files --quiet");
	assert_says(clones.mount, "git status --porcelain --ignored", "");
	quietly(clones.mount, "git fsck --full --strict");
	assert_same(&clones);
}

static void status_is_clean_after_an_import(void **state)
{
	struct project *project = *state;
	struct clones clones = begin(project);

	project_import_cold(project, clones.mount, NULL);
	project_import_cold(project, clones.plain, NULL);
	assert_says(clones.mount, "git status --porcelain --ignored", "");
	assert_says(clones.mount, "git add --all --dry-run", "");
	/* It would have been seen. */
	assert_mentions(clones.plain, "git status --porcelain",
			"?? __pycache__/\n");
	assert_caches_below(in(project_behind(project), "clone"), false);
}

static void a_switch_removes_packages(void **state)
{
	struct project *project = *state;
	struct clones clones = begin(project);
	struct imports imports;
	struct stat st;

	project_import_cold(project, clones.mount, NULL);
	project_import_cold(project, clones.plain, NULL);
	quietly(clones.mount, "git switch without-shop");
	quietly(clones.plain, "git switch without-shop");
	assert_int_equal(stat(in(project_behind(project), "clone/shop"), &st),
			 -1);
	assert_int_equal(errno, ENOENT);
	assert_says(clones.mount, "git status --porcelain --ignored", "");
	/* Where a cache is a file like any other, it keeps its directory. */
	assert_int_equal(stat(in(clones.plain, "shop"), &st), 0);

	imports = project_import(project, clones.mount, NULL);
	assert_int_equal(imports.total, project_sources(project) +
			 project_sourceless(project) - 20);
	/* Nothing but the list of modules has changed. */
	assert_int_equal(imports.compiled, 1);

	quietly(clones.mount, "git switch -");
	imports = project_import(project, clones.mount, NULL);
	assert_int_equal(imports.total, project_sources(project) +
			 project_sourceless(project));
	project_import_warm(project, clones.mount, NULL);
	assert_says(clones.mount, "git status --porcelain --ignored", "");
}

static void history_is_the_same(void **state)
{
	struct project *project = *state;
	struct clones clones = begin(project);

	project_import_cold(project, clones.mount, NULL);
	both(&clones, "echo 'NEW = 1' >>app/core/m3.py\n"
	     "git commit --quiet -a -m 'Edited'\n"
	     "git mv app/util/deep app/deeper\n"
	     "git rm --quiet --cached README\n"
	     "echo 'x = 1' >new.py; git add new.py\n"
	     "git commit --quiet -m 'Moved and added'; git status --short\n");
	assert_same(&clones);
	both(&clones, "git checkout README 2>/dev/null || git add README\n"
	     "git commit --quiet -m 'Back again'\n"
	     "git merge --quiet -m 'Merged' origin/renamed\n"
	     "git tag -m 'A tag' v1\n");
	assert_same(&clones);
	both(&clones, "echo '# more' >>new.py\n"
	     "git stash --quiet; cat new.py; git stash pop --quiet; cat new.py\n"
	     "git stash --quiet\n");
	assert_same(&clones);
	both(&clones, "git switch --quiet --detach HEAD~2\n"
	     "git cherry-pick v1~1 >/dev/null\n"
	     "git rebase --quiet origin/without-shop\n"
	     "git log -3 --format='%H %s'; git ls-tree -r HEAD | cksum\n"
	     "git reset --quiet --hard; git switch --quiet main\n");
	assert_same(&clones);
	assert_caches_below(in(project_behind(project), "clone"), false);
}

static void gc_keeps_all(void **state)
{
	struct project *project = *state;
	struct clones clones = begin(project);

	project_import_cold(project, clones.mount, NULL);
	both(&clones, "for i in 1 2 3 4 5 6 7 8; do\n"
	     "	echo $i >>README; git commit --quiet -a -m $i\n"
	     "done\n"
	     "git reset --quiet --hard HEAD~3\n"
	     "git reflog expire --expire=now --all\n"
	     "git gc --quiet --aggressive --prune=now\n"
	     "git fsck --full --strict --no-progress\n"
	     "git count-objects -v | grep -v size; git pack-refs --all\n"
	     "git repack -a -d -q; git fsck --full; git worktree prune\n");
	assert_same(&clones);
	project_import_warm(project, clones.mount, NULL);
}

static void clean_takes_what_is_untracked(void **state)
{
	static const char untracked[] =
		"echo '*.log' >.git/info/exclude\n"
		"mkdir -p built/deep app/core/extra\n"
		"touch a.log built/b.log built/deep/c app/core/extra/d.txt\n"
		"touch app/core/new.py\n"
		"git status --porcelain --ignored\n"
		"git clean -ndx; git clean -fdx\n";
	struct project *project = *state;
	struct clones clones = begin(project);

	project_import_cold(project, clones.mount, NULL);
	both(&clones, untracked);
	assert_same(&clones);
	project_import_warm(project, clones.mount, NULL);

	/* An untracked package goes, whatever bytecode it has. */
	tree_write(in(clones.mount, "loose/__init__.py"), "", -1);
	free(project_python(project, "import sys\n"
			    "sys.path.insert(0, sys.argv[1])\n"
			    "import loose\n", clones.mount));
	assert_says(clones.mount, "git clean -fdx", "Removing loose/\n");
	both(&clones, "ls");
	assert_caches_below(in(project_behind(project), "clone"), false);
}

static void worktrees_and_pushes_work(void **state)
{
	struct project *project = *state;
	struct clones clones = begin(project);

	both(&clones, "git worktree add ../tree origin/renamed 2>/dev/null\n"
	     "git -C ../tree status --porcelain; git -C ../tree log --oneline\n"
	     "git init --quiet --bare ../bare.git\n"
	     "git push --quiet ../bare.git main\n"
	     "git -C ../bare.git log --oneline main\n"
	     "git -C ../bare.git fsck --full\n"
	     "git pull --quiet --no-rebase ../bare.git main\n"
	     "git worktree list | wc -l; git archive HEAD | tar -t | sort\n"
	     "git bundle create --quiet ../all.bundle --all\n"
	     "git bundle verify --quiet ../all.bundle\n");
	assert_same(&clones);
	project_import_cold(project, in(project_root(project), "tree"), NULL);
	quietly(clones.mount, "git worktree remove ../tree");
	assert_int_equal(access(in(project_behind(project), "tree"), F_OK), -1);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "a clone is clean and equals one made anywhere",
		  a_clone_is_clean, NULL },
		{ "status shows nothing after an import",
		  status_is_clean_after_an_import, NULL },
		{ "a switch removes packages in spite of their bytecode",
		  a_switch_removes_packages, NULL },
		{ "commits have the ids that they have anywhere",
		  history_is_the_same, NULL },
		{ "gc and repack keep all that is reachable, and the bytecode",
		  gc_keeps_all, NULL },
		{ "clean -fdx takes what is untracked and leaves the bytecode",
		  clean_takes_what_is_untracked, NULL },
		{ "worktrees, pushes and archives work",
		  worktrees_and_pushes_work, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	if (system("git --version >/dev/null 2>&1"))
		return cannot_run("git is not here");
	return pythons_run_newest("git", promises,
				  sizeof(promises) / sizeof(*promises));
}
