/*
 * Tools that handle whole trees: cp, tar, rsync, mv, rm, find and grep.
 *
 * The source holds caches from earlier days, full of nonsense, and the store
 * holds living ones.  No copy has either, and nothing of them stands in the way
 * when a directory is moved or removed.
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

static int plant(const char *source, void *data)
{
	(void)data;
	project_plant_caches(source);
	project_stamp(source);
	return 0;
}

static const struct fixture_options planted = {
	.in_place = true,
	.prepare = plant,
};

static const struct fixture_options elsewhere = { .prepare = plant };

/* Commands that must all succeed and that print nothing to standard error. */
static char *shell(const struct project *project, const char *script)
{
	const struct command_options options = {
		.directory = project_root(project),
	};
	/* $1 is the root, $2 a plain directory, $3 what is behind. */
	const char *const argv[] = { "sh", "-ec", script, "sh",
		project_root(project), project->fixture->plain,
		project_behind(project), NULL };
	struct command command = command_run(&options, argv);

	if (command.status != 0 || *command.err) {
		print_error("ended with %d:\n%s\n%s%s\n", command.status,
			    script, command.out, command.err);
		command_free(&command);
		fail();
	}
	free(command.err);
	return command.out;
}

static void quietly(const struct project *project, const char *script)
{
	free(shell(project, script));
}

static void assert_says(const struct project *project, const char *script,
			const char *expected)
{
	char *said = shell(project, script);

	assert_string_equal(said, expected);
	free(said);
}

static bool exists(const char *dir, const char *name)
{
	struct stat st;

	return lstat(in(dir, name), &st) == 0;
}

/* Mounts a project with caches of both kinds: planted ones, and living ones. */
static void begin(struct project *project, const struct fixture_options *options)
{
	project_mount(project, options);
	assert_caches_below(project_behind(project), true);
	project_import_cold(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), NULL);
}

/*
 * Fails unless @copy, below the plain directory, is the project as it was made:
 * names, modes, sizes, times, links and contents.
 */
static void assert_pristine(const struct project *project, const char *copy)
{
	static const char describe[] =
		"cd \"$1\"\n"
		"find . ! -type d -printf '%P %y %m %s %T@ %n %l\\n' | sort\n"
		"find . -type d -printf '%P %m %T@\\n' | sort\n"
		"find . -type f ! -name 'only.*' | sort | xargs cksum\n";
	const char *plain = project->fixture->plain;
	char *expected, *found;

	assert_caches_below(in(plain, copy), false);
	if (!exists(plain, "pristine")) {
		assert_int_equal(mkdir(in(plain, "pristine"), 0755), 0);
		project_write(in(plain, "pristine"), project->python);
	}
	expected = command_output(plain, "sh", "-ec", describe, "sh",
				  "pristine", NULL);
	found = command_output(plain, "sh", "-ec", describe, "sh", copy, NULL);
	assert_string_equal(found, expected);
	free(expected);
	free(found);
}

static void cp_copies_no_caches(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	quietly(project, "cp -a \"$1\" \"$2/copy\"");
	assert_pristine(project, "copy");
	project_assert_untouched(project);
}

static void tar_packs_no_caches(void **state)
{
	struct project *project = *state;

	begin(project, &elsewhere);
	quietly(project, "mkdir \"$2/copy\"\n"
		"tar --format=posix -cf - -C \"$1\" . |\n"
		"tar -xf - -C \"$2/copy\"\n");
	assert_pristine(project, "copy");
	project_assert_untouched(project);
}

static void rsync_copies_no_caches(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	quietly(project, "rsync -aH \"$1/\" \"$2/copy/\"");
	assert_pristine(project, "copy");
	assert_says(project, "rsync -aH --delete -i \"$1/\" \"$2/copy/\"", "");
	/* What the receiver doesn't list, it doesn't delete. */
	assert_says(project, "rsync -aH --delete -i \"$2/copy/\" \"$1/\"", "");
	project_import_warm(project, project_root(project), NULL);
	project_assert_untouched(project);
}

static void hard_links_leave_caches_out(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	quietly(project, "mkdir linked; cp -al app shop linked");
	assert_false(exists(project_root(project),
			    "linked/app/core/m0.pyc"));
	assert_false(exists(project_behind(project),
			    "linked/app/core/__pycache__"));
	assert_caches_below(in(project_behind(project), "linked"), false);
	assert_says(project, "stat -c %h app/core/m0.py linked/app/core/m0.py",
		    "2\n2\n");
	project_import_warm(project, project_root(project), NULL);
}

#define SEARCH \
	"grep -rl NONSENSE . | wc -l\n" \
	"find . -name __pycache__ | wc -l\n" \
	"ls -aR | grep -c 'pyc.*[0-9]$' || :\n" \
	"find . -name '*.py[co]*' ! -name 'only.*' | wc -l\n" \
	"find . -name '*$py.class' | wc -l\n"

static void searches_meet_no_cache(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	assert_says(project, SEARCH, "0\n0\n0\n0\n0\n");
}

/*
 * The same searches find them where they are.  Not behind a mount that is in place:
 * there find and grep, which come back by "..", are led into the mount when they
 * come to what it covers (fs/namei.c, handle_mounts()), and stop with ENOENT.
 */
static void searches_behind_the_mount_meet_them(void **state)
{
	struct project *project = *state;
	char *said, *rest, *line;

	begin(project, &elsewhere);
	said = rest = shell(project, "cd \"$3\"\n" SEARCH);
	for (int i = 0; i < 5; i++) {
		line = strsep(&rest, "\n");
		assert_non_null(line);
		assert_int_not_equal(atoi(line), 0);
	}
	free(said);
}

/* A tree that was used elsewhere brings its caches, which belong to the store. */
static void copies_in_leave_caches_in_the_store(void **state)
{
	static const char *const ways[] = {
		"mkdir in; tar -cf - -C \"$2/used\" . | tar -xf - -C in",
		"if command -v rsync >/dev/null; then rsync -a \"$2/used/\" in\n"
		"else mkdir in; tar -cf - -C \"$2/used\" . | tar -xf - -C in; fi",
		/* cp takes a directory to be empty that it has just made, and says
		 * that it can't make `__pycache__` there; all else has arrived, and
		 * into directories that are there it merges. */
		"LC_ALL=C cp -a \"$2/used\" in 2>\"$2/err\" || :\n"
		"if grep -v \"cannot create directory.*__pycache__.*File exists\" \"$2/err\"\n"
		"then exit 1; fi\n"
		"(cd \"$2/used\"; find . -type f ! -path '*/__pycache__/*') |\n"
		"(cd in; xargs stat -c %n) >/dev/null\n"
		"cp -aT \"$2/used\" in",
	};
	struct project *project = *state;
	const char *plain;

	begin(project, &planted);
	plain = project->fixture->plain;
	assert_int_equal(mkdir(in(plain, "used"), 0755), 0);
	project_write(in(plain, "used"), project->python);
	project_import_cold(project, in(plain, "used"), NULL);
	assert_caches_below(in(plain, "used"), true);
	for (size_t i = 0; i < sizeof(ways) / sizeof(*ways); i++) {
		char root[320];

		quietly(project, ways[i]);
		assert_caches_below(in(project_behind(project), "in"), false);
		stpcpy(stpcpy(root, project_root(project)), "/in");
		project_import(project, root, NULL);
		project_import_warm(project, root, NULL);
		quietly(project, "rm -r in");
		assert_false(exists(project_behind(project), "in"));
	}
}

static void moves_keep_bytecode(void **state)
{
	struct project *project = *state;
	char root[320];

	begin(project, &planted);
	/* A directory that holds packages, under another name and deeper. */
	stpcpy(stpcpy(root, project_root(project)), "/first");
	assert_int_equal(mkdir(root, 0755), 0);
	project_write(root, project->python);
	project_import_cold(project, root, NULL);
	quietly(project, "mv first second");
	stpcpy(stpcpy(root, project_root(project)), "/second");
	project_import_warm(project, root, NULL);
	quietly(project, "mkdir deep; mv second deep/third");
	stpcpy(stpcpy(root, project_root(project)), "/deep/third");
	project_import_warm(project, root, NULL);

	/* A package that lies in packages, away and back. */
	quietly(project, "mv app/util/deep away; mv away app/util/deep");
	project_import_warm(project, project_root(project), NULL);
	/* One that takes the name of another brings its own. */
	quietly(project, "mv app/util/deep away; cp -a app/core app/util/deep\n"
		"rm -r app/util/deep; mv away app/util/deep");
	project_import_warm(project, project_root(project), NULL);
}

static void rm_takes_caches_along(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	quietly(project, "rm -rf app");
	assert_false(exists(project_behind(project), "app"));
	assert_false(exists(project_root(project), "app"));
	quietly(project, "rm -r shop");
	assert_false(exists(project_behind(project), "shop"));
	free(project_python(project, "import shutil, sys\n"
			    "shutil.rmtree(sys.argv[1])\n",
			    in(project_root(project), "space")));
	assert_false(exists(project_behind(project), "space"));
	assert_says(project, "ls -A", "README\neverything.py\ntools\n");
}

/* A name that comes back is another directory, and starts with nothing. */
static void nothing_comes_back(void **state)
{
	struct project *project = *state;
	struct stat st;

	begin(project, &planted);
	quietly(project, "rm -rf app; mkdir app; touch app/m0.py");
	assert_says(project, "ls -A app; ls -A app/__pycache__", "m0.py\n");
	assert_int_equal(stat(in(project_root(project), "app/m0.pyc"), &st),
			 -1);
	assert_int_equal(errno, ENOENT);
	assert_caches_below(in(project_behind(project), "app"), false);
}

static void a_move_out_leaves_nothing(void **state)
{
	struct project *project = *state;

	begin(project, &planted);
	quietly(project, "mkdir \"$2/copy\"; mv * \"$2/copy\"");
	assert_caches_below(in(project->fixture->plain, "copy"), false);
	assert_says(project, "ls -A", "");
	/* The root stays mounted, and may keep what earlier days left in it. */
	assert_says(project, "cd \"$3\"; find . -mindepth 1", "");
	/* Only the time of the copy's own root differs, which mkdir made. */
	quietly(project, "touch -r \"$2/copy/app\" \"$2/copy\"");
	assert_pristine(project, "copy");
}

static bool is_newest(const struct python *python)
{
	return python->newest;
}

static bool has_rsync(const struct python *python)
{
	return python->newest && !system("rsync --version >/dev/null 2>&1");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "cp -a copies no caches", cp_copies_no_caches, is_newest },
		{ "tar packs no caches", tar_packs_no_caches, is_newest },
		{ "rsync copies no caches, and deletes none",
		  rsync_copies_no_caches, has_rsync },
		{ "cp -al links no caches", hard_links_leave_caches_out,
		  is_newest },
		{ "find, grep -r and ls -R meet no cache",
		  searches_meet_no_cache, is_newest },
		{ "find, grep -r and ls -R meet caches behind the mount",
		  searches_behind_the_mount_meet_them, is_newest },
		{ "caches of a tree that is copied in go to the store",
		  copies_in_leave_caches_in_the_store, is_newest },
		{ "a directory that is moved keeps its bytecode",
		  moves_keep_bytecode, NULL },
		{ "rm -rf removes a package with caches of every kind",
		  rm_takes_caches_along, NULL },
		{ "a removed directory's caches never come back",
		  nothing_comes_back, is_newest },
		{ "a tree that is moved out leaves nothing behind",
		  a_move_out_leaves_nothing, is_newest },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("trees", promises,
					 sizeof(promises) / sizeof(*promises));
}
