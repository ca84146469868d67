/*
 * numba's machine code, which it keeps in `__pycache__` beside the bytecode: in
 * the store, found again by the next process, and gone with its source.
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
#include "tree.h"

static const struct fixture_options in_place = { .in_place = true };

/* Of one length, so that numba, which looks at size and time, sees no change. */
static const char plus_41[] = "from numba import njit\n\n\n"
	"@njit(cache=True)\ndef answer(n):\n    return n + 41\n";
static const char plus_51[] = "from numba import njit\n\n\n"
	"@njit(cache=True)\ndef answer(n):\n    return n + 51\n";

/* Calls the function in a new process, which must say what it got, and how often
 * it found machine code and how often it did not. */
static void assert_call(const struct project *project, const char *root,
			const char *expected)
{
	char *said = project_python(project,
		"import sys\n"
		"sys.path.insert(0, sys.argv[1])\n"
		"from fast import answer\n"
		"print(answer(1), sum(answer.stats.cache_hits.values()),\n"
		"      sum(answer.stats.cache_misses.values()))\n", root);

	assert_string_equal(said, expected);
	free(said);
}

/* Replaces the function and gives the file the time that it had. */
static void write_fast(const char *root, const char *text)
{
	const char *path = in(root, "fast.py");

	tree_write(path, text, -1);
	free(command_output("/", "touch", "-d", "@1500000000", path, NULL));
}

static void machine_code_is_kept(void **state)
{
	struct project *project = *state;
	const char *root, *plain;
	char *names;

	unsetenv("NUMBA_CACHE_DIR");
	project_mount(project, &in_place);
	root = project_root(project);
	plain = project->fixture->plain;
	write_fast(root, plus_41);

	assert_call(project, root, "42 0 1\n");
	assert_call(project, root, "42 1 0\n");
	names = tree_list(in(root, "__pycache__"));
	assert_non_null(strstr(names, ".nbi"));
	assert_non_null(strstr(names, ".nbc"));
	free(names);
	assert_caches_below(project_behind(project), false);

	write_fast(root, plus_51);
	assert_call(project, root, "52 0 1\n");
	assert_caches_below(project_behind(project), false);

	/* What becomes of both on a plain directory. */
	write_fast(plain, plus_41);
	assert_call(project, plain, "42 0 1\n");
	assert_caches_below(plain, true);
	write_fast(plain, plus_51);
	assert_call(project, plain, "42 1 0\n");
}

int main(void)
{
	static const struct promise promises[] = {
		{ "numba's machine code is kept outside the tree, and goes "
		  "when its source changes", machine_code_is_kept, NULL },
	};
	int result = fixture_possible();

	if (result)
		return result;
	result = pythons_run_having("numba", "numba", promises,
				    sizeof(promises) / sizeof(*promises));
	return result < 0 ? cannot_run_optional("no Python here has numba") :
		result;
}
