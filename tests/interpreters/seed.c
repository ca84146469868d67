/*
 * A source that ships bytecode, mounted with existing=seed: what is up to date is
 * run from the first import on, and nothing else.
 */
#include <fcntl.h>
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

/* As an image is built: where nothing is mounted. */
static int compile_all(const char *source, void *data)
{
	const struct project *project = *(struct project **)data;

	free(command_output("/", project->python->path, "-m", "compileall", "-q",
			    source, NULL));
	return 0;
}

static int compile_checked(const char *source, void *data)
{
	const struct project *project = *(struct project **)data;

	free(command_output("/", project->python->path, "-m", "compileall", "-q",
			    "--invalidation-mode", "checked-hash", source, NULL));
	return 0;
}

static struct project *current;

static struct fixture_options seeded = {
	.in_place = true, .options = "existing=seed",
	.prepare = compile_all, .data = &current,
};
static struct fixture_options checked = {
	.in_place = true, .options = "existing=seed",
	.prepare = compile_checked, .data = &current,
};
static struct fixture_options hidden = {
	.in_place = true, .prepare = compile_all, .data = &current,
};

static void the_first_import_compiles_nothing(void **state)
{
	struct project *project = current = *state;

	project_mount(project, &seeded);
	project_import_warm(project, project_root(project), NULL);
	/* Other levels were not shipped. */
	project_import_cold(project, project_root(project), "-O");
	project_import_warm(project, project_root(project), "-O");
	project_assert_names(project);
	project_assert_untouched(project);
}

static void bytecode_with_checked_hashes_is_taken(void **state)
{
	struct project *project = current = *state;

	project_mount(project, &checked);
	project_import_warm(project, project_root(project), NULL);
	project_assert_untouched(project);
}

static void without_seed_it_compiles_all(void **state)
{
	struct project *project = current = *state;

	project_mount(project, &hidden);
	project_import_cold(project, project_root(project), NULL);
	project_import_warm(project, project_root(project), NULL);
	project_assert_untouched(project);
}

/*
 * Modules whose bytecode is spoiled in one way each.  All would say "shipped" were
 * it run, and say "source" when they are compiled; only those are in order whose names
 * begin with "good".
 */
static const char spoil_code[] =
	"import importlib.util, marshal, os, struct, sys\n"
	"root = sys.argv[1]\n"
	"os.makedirs(root + '/__pycache__', exist_ok=True)\n"
	"new = sys.version_info >= (3, 7)\n"
	"def head(st, flags=0, time=0, size=0):\n"
	"    result = importlib.util.MAGIC_NUMBER\n"
	"    if new:\n"
	"        result += struct.pack('<I', flags)\n"
	"    return result + struct.pack('<II', int(st.st_mtime) + time,\n"
	"                                st.st_size + size)\n"
	"def ship(name, change=lambda data, st: data):\n"
	"    source = root + '/' + name + '.py'\n"
	"    with open(source, 'w') as file:\n"
	"        file.write('SAYS = \"source\"\\n')\n"
	"    os.utime(source, (1500000000, 1500000000))\n"
	"    st = os.stat(source)\n"
	"    body = marshal.dumps(compile('SAYS = \"shipped\"', source, 'exec'))\n"
	"    cached = importlib.util.cache_from_source(source)\n"
	"    with open(cached, 'wb') as file:\n"
	"        file.write(change(head(st) + body, st))\n"
	"    return cached, source\n"
	"ship('good')\n"
	"ship('bad_time', lambda data, st: head(st, time=1) + data[len(head(st)):])\n"
	"ship('bad_size', lambda data, st: head(st, size=1) + data[len(head(st)):])\n"
	"ship('bad_cut', lambda data, st: data[:len(head(st)) - 1])\n"
	"ship('bad_bare', lambda data, st: head(st))\n"
	"ship('bad_empty', lambda data, st: b'')\n"
	"ship('bad_half', lambda data, st: data[:-5])\n"
	"if new:\n"
	"    def hashed(flags, data, change=b''):\n"
	"        with open(source_of, 'rb') as file:\n"
	"            code = file.read() + change\n"
	"        return (data[:4] + struct.pack('<I', flags) +\n"
	"                importlib.util.source_hash(code) + data[16:])\n"
	"    source_of = root + '/good.py'\n"
	"    ship('good_checked', lambda data, st: hashed(3, data))\n"
	"    ship('bad_hash', lambda data, st: hashed(3, data, b'x'))\n"
	"    ship('bad_unchecked_hash', lambda data, st: hashed(1, data))\n"
	"    ship('bad_unknown_flag', lambda data, st: hashed(7, data))\n"
	"    ship('bad_cut_hash', lambda data, st: hashed(3, data)[:-3])\n"
	"    cached, source = ship('bad_linked_hash', lambda data, st: hashed(3, data))\n"
	"    os.rename(source, root + '/elsewhere')\n"
	"    os.chown(root + '/elsewhere', 1000, 1000)\n"
	"    os.symlink('elsewhere', source)\n"
	"    ship('bad_unchecked', lambda data, st:\n"
	"         head(st, flags=1) + data[len(head(st)):])\n"
	"    ship('bad_checked', lambda data, st:\n"
	"         head(st, flags=3) + data[len(head(st)):])\n"
	"cached, source = ship('bad_edited')\n"
	"with open(source, 'a') as file:\n"
	"    file.write('\\n')\n"
	"cached, source = ship('bad_link')\n"
	"os.rename(cached, root + '/aside')\n"
	"os.symlink('../aside', cached)\n"
	"cached, source = ship('bad_foreign')\n"
	"os.chown(cached, 1000, 1000)\n"
	"cached, source = ship('bad_open')\n"
	"os.chmod(cached, 0o666)\n"
	"cached, source = ship('bad_directory')\n"
	"os.unlink(cached)\n"
	"os.mkdir(cached)\n";

static const char import_code[] =
	"import os, sys\n"
	"root = sys.argv[1]\n"
	"sys.path.insert(0, root)\n"
	"wrong = []\n"
	"for name in sorted(os.listdir(root)):\n"
	"    if not name.endswith('.py'):\n"
	"        continue\n"
	"    says = __import__(name[:-3]).SAYS\n"
	"    if says != ('shipped' if name.startswith('good') else 'source'):\n"
	"        wrong.append(name)\n"
	"print(' '.join(wrong) or 'right')\n";

static int spoil(const char *source, void *data)
{
	const struct project *project = data;

	free(project_python(project, spoil_code, source));
	return 0;
}

static void assert_says(const struct project *project, const char *code,
			const char *argument, const char *expected)
{
	char *out = project_python(project, code, argument);

	out[strcspn(out, "\n")] = '\0';
	assert_string_equal(out, expected);
	free(out);
}

/* A fixture of our own: the project's times would be set anew. */
static void mount_spoiled(struct project *project, const char *options)
{
	const struct fixture_options mine = {
		.in_place = true, .options = options,
		.prepare = spoil, .data = project,
	};

	project->fixture = fixture_create(&mine);
}

static void only_what_is_in_order_is_taken(void **state)
{
	struct project *project = *state;

	mount_spoiled(project, "existing=seed");
	assert_says(project, import_code, project->fixture->mountpoint, "right");
	assert_says(project, import_code, project->fixture->mountpoint, "right");
}

static const char remove_code[] =
	"import importlib.util, os, sys\n"
	"os.unlink(importlib.util.cache_from_source(sys.argv[1] + '/good.py'))\n"
	"print('removed')\n";
static const char good_code[] =
	"import sys\n"
	"sys.path.insert(0, sys.argv[1])\n"
	"import good\n"
	"print(good.SAYS)\n";

static void what_was_removed_does_not_come_back(void **state)
{
	struct project *project = *state;
	const char *root;

	mount_spoiled(project, "existing=seed");
	root = project->fixture->mountpoint;
	assert_says(project, good_code, root, "shipped");
	assert_says(project, remove_code, root, "removed");
	/* Also when the kernel asks anew. */
	tree_write("/proc/sys/vm/drop_caches", "2", -1);
	assert_says(project, good_code, root, "source");
}

static void an_edit_drops_what_was_taken(void **state)
{
	struct project *project = *state;
	const struct timespec times[2] = {
		{ .tv_sec = 1500000000 }, { .tv_sec = 1500000000 },
	};

	mount_spoiled(project, "existing=seed");
	const char *root = project->fixture->mountpoint;
	assert_says(project, good_code, root, "shipped");
	/* As long and as old as before. */
	tree_write(in(root, "good.py"), "SAYS = \"edited\"\n", -1);
	assert_int_equal(utimensat(AT_FDCWD, in(root, "good.py"), times, 0), 0);
	assert_says(project, good_code, root, "edited");
}

static bool is_newest(const struct python *python)
{
	return python->newest;
}

static bool has_hashes(const struct python *python)
{
	return python->cpython && python_is(python, 3, 7);
}

static bool has_sized_headers(const struct python *python)
{
	return python->cpython && python_is(python, 3, 4);
}

int main(void)
{
	static const struct promise promises[] = {
		{ "an image that ships bytecode starts warm",
		  the_first_import_compiles_nothing, has_sized_headers },
		{ "so does one whose bytecode goes by checked hashes",
		  bytecode_with_checked_hashes_is_taken, has_hashes },
		{ "without existing=seed it is hidden",
		  without_seed_it_compiles_all, is_newest },
		{ "only what is in order is taken",
		  only_what_is_in_order_is_taken, has_sized_headers },
		{ "what was removed does not come back",
		  what_was_removed_does_not_come_back, has_sized_headers },
		{ "an edit drops what was taken",
		  an_edit_drops_what_was_taken, has_sized_headers },
	};
	int skip = fixture_possible();

	if (skip)
		return skip;
	if (geteuid() != 0)
		return cannot_run("only root can give files away");
	return pythons_run("seed", promises,
			   sizeof(promises) / sizeof(*promises));
}
