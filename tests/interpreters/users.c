/*
 * Several users import from one mount, and one of them plants bytecode: valid to
 * the interpreter, for a module that they may not write.  Nobody else ever runs it,
 * and each is served what they have compiled themselves.
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
#include "tree.h"

/* Interpreters may lie where only root can enter, so they become the user
 * themselves, as soon as they have all that they need. */
#define BECOME \
	"import importlib.util, marshal, os, struct, sys\n" \
	"try:\n" \
	"    import _frozen_importlib_external as machinery\n" \
	"except ImportError:\n" \
	"    import _frozen_importlib as machinery\n" \
	"root, user = sys.argv[1].rsplit(' ', 1)\n" \
	"if int(user):\n" \
	"    os.setgroups([])\n" \
	"    os.setresgid(*[int(user)] * 3)\n" \
	"    os.setresuid(*[int(user)] * 3)\n"

static const char import_code[] = BECOME
	"compiled = []\n"
	"real = machinery.SourceLoader.source_to_code\n"
	"def count(self, data, path, **more):\n"
	"    compiled.append(path)\n"
	"    return real(self, data, path, **more)\n"
	"machinery.SourceLoader.source_to_code = count\n"
	"sys.path.insert(0, root)\n"
	"import victim\n"
	"print('%s %d' % (victim.VALUE, len(compiled)))\n";

static const char plant_code[] = BECOME
	"source = root + '/victim.py'\n"
	"cached = importlib.util.cache_from_source(source)\n"
	"st = os.stat(source)\n"
	"head = importlib.util.MAGIC_NUMBER\n"
	"if sys.version_info >= (3, 7):\n"
	"    head += struct.pack('<I', 0)\n"
	"head += struct.pack('<II', int(st.st_mtime) & 0xffffffff, st.st_size)\n"
	"code = compile('VALUE = \"planted\"', source, 'exec')\n"
	"with open(cached, 'wb') as file:\n"
	"    file.write(head + marshal.dumps(code))\n"
	"print('planted')\n";

enum { ROOT = 0, ALICE = 1000, BOB = 1001 };

static void assert_says(const struct project *project, unsigned user,
			const char *code, const char *expected)
{
	char argument[400], *out;

	snprintf(argument, sizeof(argument), "%s %u", project_root(project), user);
	out = project_python(project, code, argument);
	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, expected);
	free(out);
}

static int add_victim(const char *source, void *data)
{
	(void)data;
	tree_write(in(source, "victim.py"), "VALUE = 'sound'\n", -1);
	return chmod(source, 0755);
}

static const struct fixture_options options = {
	.in_place = true, .prepare = add_victim,
};

static void mount_for_all(struct project *project)
{
	project_mount(project, &options);
	assert_int_equal(chmod(project->fixture->top, 0755), 0);
}

static void planted_bytecode_is_its_planters_alone(void **state)
{
	struct project *project = *state;

	mount_for_all(project);
	assert_says(project, ALICE, plant_code, "planted");
	for (int i = 1; i >= 0; i--) {
		char sound[16];

		/* Compiled the first time, and then not any more. */
		snprintf(sound, sizeof(sound), "sound %d", i);
		assert_says(project, BOB, import_code, sound);
		assert_says(project, ROOT, import_code, sound);
		/* It is valid: else nothing would have been shown. */
		assert_says(project, ALICE, import_code, "planted 0");
	}
	assert_caches_below(project_behind(project), false);
}

static void each_is_served_their_own(void **state)
{
	struct project *project = *state;

	mount_for_all(project);
	assert_says(project, ROOT, import_code, "sound 1");
	assert_says(project, ALICE, import_code, "sound 1");
	assert_says(project, BOB, import_code, "sound 1");
	assert_says(project, ALICE, import_code, "sound 0");
	assert_says(project, BOB, import_code, "sound 0");
	assert_says(project, ROOT, import_code, "sound 0");
	assert_caches_below(project_behind(project), false);
}

static bool has_finders(const struct python *python)
{
	return python->cpython && python_is(python, 3, 4);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "planted bytecode is run by nobody but its planter",
		  planted_bytecode_is_its_planters_alone, has_finders },
		{ "each user is served what they have compiled",
		  each_is_served_their_own, has_finders },
	};
	int skip = fixture_possible();

	if (skip)
		return skip;
	if (geteuid() != 0)
		return cannot_run("only root can become other users");
	return pythons_run("users", promises,
			   sizeof(promises) / sizeof(*promises));
}
