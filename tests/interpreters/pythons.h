/*
 * Every Python on this machine, and tests that run once for each of them.
 */
#ifndef TESTS_PYTHONS_H
#define TESTS_PYTHONS_H

#include <stdbool.h>
#include <stddef.h>

struct python {
	char *path;		/* absolute: what sys.executable says */
	char *label;		/* "CPython 3.12.1" */
	int major, minor, micro;
	bool cpython;
	bool newest;		/* no other CPython here is newer */
};

/* Whether a Python is at least of version @major.@minor. */
bool python_is(const struct python *python, int major, int minor);

/*
 * Finds python, python2*, python3* and pypy3* in PATH and in the versions that
 * pyenv keeps in the home directory, one of each version, oldest first.  What
 * does not run (a shim that leads nowhere) and what is none (python3-config) is
 * passed over.  Returns how many there are; pythons_free() takes the array.
 */
size_t pythons_find(struct python **ret_pythons);
void pythons_free(struct python *pythons, size_t count);

/* A promise that is to hold for each Python that @applies accepts (NULL: all). */
struct promise {
	const char *name;
	void (*test)(void **state);
	bool (*applies)(const struct python *python);
};

/* One of those: Python 3. */
bool python_is_3(const struct python *python);

/*
 * Runs a test of its own, "PYTHON: PROMISE", for each Python and each promise.
 * The state is a struct project (project.h) whose python is set; it is torn down
 * after the test, whatever came of it.  Returns what a main function returns:
 * not 0 when a test failed and when there was nothing to run.  A promise that no
 * Python here can show is named in the output.  With PYCACHEFS_FEW_PYTHONS in the
 * environment only the oldest CPython, the oldest one of 3 and the newest are run.
 */
int pythons_run(const char *group, const struct promise *promises,
		size_t count);

/* The same for the newest CPython only. */
int pythons_run_newest(const char *group, const struct promise *promises,
		       size_t count);

/* The newest of these Pythons that can import @modules ("a, b"), or NULL. */
const struct python *pythons_having(const struct python *pythons, size_t count,
				    const char *modules);

/* Like pythons_run(), for that Python only; -1 where there is none. */
int pythons_run_having(const char *modules, const char *group,
		       const struct promise *promises, size_t count);

/* Like cannot_run(), for a package that not every distribution has, and that
 * scripts/lib.sh calls optional: it is always 77. */
int cannot_run_optional(const char *why);

#endif
