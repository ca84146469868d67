/*
 * A Python project to mount: made, imported, and looked at from behind.
 *
 * The project has six packages, nested ones among them, with relative imports
 * within and across, 60 modules, a module that is a symbolic link, a namespace
 * package where Python knows them, data files, links of both kinds, an empty
 * directory, and a module shipped as bytecode only.  Module `everything` imports
 * them all, and its total() counts them.  All times lie in the past, a second
 * apart at least from what a test writes, since Python 2 tells sources apart by
 * nothing else.
 */
#ifndef TESTS_PROJECT_H
#define TESTS_PROJECT_H

#include <stdbool.h>

#include "fixture.h"
#include "pythons.h"

struct project {
	const struct python *python;	/* borrowed */
	struct fixture *fixture;	/* NULL before project_mount() */
	char *before;			/* what project_mount() saw behind */
	char *names;			/* and what os.walk() listed then */
	struct fixture_options options;	/* as given to project_mount() */
	void (*stop)(void);		/* ends what a test runs there, or NULL */
};

/* The project's root as the mount shows it. */
const char *project_root(const struct project *project);

/* The same directory behind the mount; also for other programs. */
const char *project_behind(const struct project *project);

/*
 * Makes the project below @dir, which must exist and be empty, for @python, and
 * then sets all times in it.  project_stamp() sets them again.
 */
void project_write(const char *dir, const struct python *python);
void project_stamp(const char *dir);

/*
 * Makes what earlier days and ill will leave in a project: caches of both kinds
 * full of nonsense, in each directory that holds a module.  The word "NONSENSE"
 * is in each.
 */
void project_plant_caches(const char *dir);

/*
 * Mounts a new project.  Of @options (NULL: none) `prepare` is called when the
 * project has been made; then its times are set once more and it is mounted.
 */
void project_mount(struct project *project,
		   const struct fixture_options *options);

/* Calls stop(), ends the fixture and frees what the project holds; NULL members are
 * taken. */
void project_end(struct project *project);

/* What an interpreter did to import, as its -v tells. */
struct imports {
	int compiled;		/* modules compiled from their source */
	int loaded;		/* modules read from bytecode */
	long total;		/* what everything.total() said */
};

/*
 * Imports all of the project at @root in a new process, with @flag ("-O", or
 * NULL).  Fails the test when that fails.  Counts modules below @root only.
 */
struct imports project_import(const struct project *project, const char *root,
			      const char *flag);

/* How many modules have a source, and how many are bytecode only. */
int project_sources(const struct project *project);
int project_sourceless(const struct project *project);

/* Imports and fails unless every source was compiled; unless none was. */
void project_import_cold(const struct project *project, const char *root,
			 const char *flag);
void project_import_warm(const struct project *project, const char *root,
			 const char *flag);

/*
 * Fails unless the directory behind is in names, contents, times and link counts
 * what it was, itself included; unless os.walk() through the mount lists exactly
 * the names that it listed before mounting.
 */
void project_assert_untouched(const struct project *project);
void project_assert_names(const struct project *project);

/* Everything below @dir and @dir itself, as tree_describe() with times. */
char *project_describe(const char *dir);

/* Runs a Python program's @code with @argument as its only one; its output. */
char *project_python(const struct project *project, const char *code,
		     const char *argument);

/* Fails unless a cache entry of any kind is, or is not, below @dir. */
void assert_caches_below(const char *dir, bool expected);

#endif
