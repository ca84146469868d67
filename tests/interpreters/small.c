/*
 * Every Python imports more bytecode than the store holds: without an error, and
 * without the store growing beyond its size.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <cmocka.h>

#include "command.h"
#include "project.h"
#include "tree.h"

enum { MODULES = 500, FEW_MODULES = 60, ROUNDS = 50 };

/* Modules m0 to m499, whose bytecode takes a page or two each, and `large`, whose
 * bytecode is larger than either store. */
static int add_modules(const char *source, void *data)
{
	const size_t size = 2 << 20;
	char path[400], *large = malloc(size + 100);

	(void)data;
	for (int i = 0; i < MODULES; i++) {
		char text[200];

		snprintf(path, sizeof(path), "%s/many/m%d.py", source, i);
		snprintf(text, sizeof(text), "def f(a, b=%d):\n    return a + b\n"
			 "VALUE = f(%d)\n", i, i);
		tree_write(path, text, -1);
	}
	tree_write(in(source, "many/__init__.py"), "", -1);
	if (!large)
		return -1;
	strcpy(large, "VALUE = 0\nTEXT = '");
	memset(large + strlen(large), 'x', size);
	strcpy(large + strlen("VALUE = 0\nTEXT = '") + size, "'\n");
	tree_write(in(source, "many/large.py"), large, -1);
	free(large);
	return 0;
}

static const struct fixture_options mebibyte = {
	.prepare = add_modules, .options = "size=1M", .in_place = true,
};
static const struct fixture_options kibibytes = {
	.prepare = add_modules, .options = "size=64K", .in_place = true,
};

static const char import_code[] =
	"import sys\n"
	"root, count = sys.argv[1].split('*')\n"
	"sys.path.insert(0, root)\n"
	"total = 0\n"
	"for i in range(int(count)):\n"
	"    name = 'many.m%d' % i\n"
	"    __import__(name)\n"
	"    total += sys.modules[name].VALUE\n"
	"    if i == int(count) // 2:\n"
	"        import many.large\n"
	"        assert len(many.large.TEXT) == 2 << 20\n"
	"print(total)\n";

static void assert_within(const struct project *project, uint64_t size)
{
	struct statvfs fs;

	assert_int_equal(statvfs(in(project_root(project), "many/__pycache__"), &fs),
			 0);
	assert_true((fs.f_blocks - fs.f_bfree) * fs.f_frsize <= size);
}

/* The sum of twice 0 to @count - 1, as f() makes it. */
static int expected(int count)
{
	return count * (count - 1);
}

static void import_twice(struct project *project,
			 const struct fixture_options *options, uint64_t size)
{
	char argument[400];

	project_mount(project, options);
	snprintf(argument, sizeof(argument), "%s*%d", project_root(project), MODULES);
	for (int i = 0; i < 2; i++) {
		char *out = project_python(project, import_code, argument);

		assert_int_equal(atoi(out), expected(MODULES));
		free(out);
		assert_within(project, size);
	}
	assert_caches_below(project_behind(project), false);
}

static void imports_with_a_mebibyte(void **state)
{
	import_twice(*state, &mebibyte, 1 << 20);
}

static void imports_with_64_kibibytes(void **state)
{
	import_twice(*state, &kibibytes, 64 << 10);
}

/* Two at once, each pushing the other's bytecode out. */
static void two_import_at_once(void **state)
{
	static const char script[] =
		"for i in 1 2; do\n"
		"	\"$1\" -c \"$2\" \"$3\" >\"$4.$i\" & all=\"$all $!\"\n"
		"done\n"
		"for one in $all; do wait $one || exit 1; done\n"
		"cat \"$4.1\" \"$4.2\"\n";
	struct project *project = *state;
	char argument[400], wanted[64], answers[300];

	project_mount(project, &kibibytes);
	snprintf(argument, sizeof(argument), "%s*%d", project_root(project),
		 FEW_MODULES);
	snprintf(wanted, sizeof(wanted), "%d\n%d\n", expected(FEW_MODULES),
		 expected(FEW_MODULES));
	snprintf(answers, sizeof(answers), "%s/answer", project->fixture->top);
	for (int i = 0; i < ROUNDS; i++) {
		char *out = command_output("/", "sh", "-c", script, "sh",
					   project->python->path, import_code,
					   argument, answers, NULL);

		assert_string_equal(out, wanted);
		free(out);
		assert_within(project, 64 << 10);
	}
}

static bool is_newest(const struct python *python)
{
	return python->newest;
}

int main(void)
{
	static const struct promise promises[] = {
		{ "500 modules and a large one are imported with a store of 1 MiB",
		  imports_with_a_mebibyte, NULL },
		{ "and with a store of 64 KiB", imports_with_64_kibibytes, NULL },
		{ "50 times by two processes at once", two_import_at_once,
		  is_newest },
	};
	int skip = fixture_possible();

	return skip ? skip : pythons_run("small", promises,
					 sizeof(promises) / sizeof(*promises));
}
