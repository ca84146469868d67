/*
 * Further names given by also=, and cache entries that lie in the source from
 * earlier days or were planted there: invisible and never touched.
 */
#include "rules_common.h"

static struct fixture_options also = {
	.options = "also=.pytest_cache,also=*.nbi,also=.mypy*",
};
static struct fixture_options also_in_place = {
	.options = "also=.pytest_cache,also=*.nbi,also=.mypy*",
	.in_place = true,
};

static const char *const matching[] = {
	".pytest_cache", "mod.f-1.py311.nbi", ".nbi", ".mypy_cache", ".mypy",
};

#define EACH(name, of) \
	for (size_t i_ = 0; i_ < sizeof(of) / sizeof(*of) && \
	     (name = of[i_]); i_++)

static void also_names_exist_from_their_creation_on(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_works(mkdir(on(f, "pkg"), 0755));
	char *before = describe_source(f);
	EACH(name, matching) {
		KEEP(path, in(on(f, "pkg"), name));
		assert_missing(path);
		assert_works(mkdir(path, 0755));
		assert_fails(mkdir(path, 0755), EEXIST);
		assert_lists(path, "");
		assert_works(rmdir(path));
		assert_missing(path);
		write_text(path, name);
		assert_holds(path, name);
	}
	assert_lists(on(f, "pkg"), "");
	EACH(name, matching) {
		assert_holds(in(on(f, "pkg"), name), name);
		assert_works(unlink(in(on(f, "pkg"), name)));
	}
	assert_source(f, before);
}

static void also_directories_hold_any_tree(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);
	struct stat then, now;

	assert_works(stat(f->mountpoint, &then));
	assert_works(mkdir(on(f, ".pytest_cache"), 0755));
	write_text(on(f, ".pytest_cache/v/cache/nodeids"), "[]");
	write_text(on(f, ".pytest_cache/README.md"), "text");
	assert_lists(on(f, ".pytest_cache"), "README.md v");
	assert_holds(on(f, ".pytest_cache/v/cache/nodeids"), "[]");
	/* Inside the store the rules name nothing. */
	write_text(on(f, ".pytest_cache/m.nbi"), "listed");
	assert_missing(on(f, ".pytest_cache/__pycache__"));
	assert_lists(on(f, ".pytest_cache"), "README.md m.nbi v");
	assert_fails(rmdir(on(f, ".pytest_cache")), ENOTEMPTY);
	assert_lists(f->mountpoint, "");
	assert_works(stat(f->mountpoint, &now));
	assert_memory_equal(&then.st_mtim, &now.st_mtim, sizeof(now.st_mtim));
	assert_memory_equal(&then.st_ctim, &now.st_ctim, sizeof(now.st_ctim));
	assert_int_equal(then.st_nlink, now.st_nlink);
	assert_source(f, before);
}

static void names_that_no_rule_gives_pass_through(void **state)
{
	static const char *const others[] = {
		"pytest_cache", ".pytest_cache2", "m.nbc", "x.mypy",
		"__pycache", "__PYCACHE__", "m.nbi.bak",
	};
	struct fixture *f = *state;
	const char *name;

	EACH(name, others) {
		write_text(on(f, name), name);
		assert_holds(behind(f, name), name);
	}
	assert_lists(f->mountpoint, ".pytest_cache2 __PYCACHE__ __pycache "
		     "m.nbc m.nbi.bak pytest_cache x.mypy");
}

static void also_does_not_replace_the_other_rules(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "m.py"), "m = 1\n");
	write_text(on(f, "m.pyc"), "cached");
	write_text(on(f, "__pycache__/m.pyc"), "cached");
	assert_lists(f->mountpoint, "m.py");
	assert_lists(behind(f, "."), "m.py");
}

/* Whatever lies under such a name in the source, of whatever type. */
static int make_planted(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "a/m.py"), "m = 1\n");
	write_text(in(source, "a/__pycache__/m.cpython-311.pyc"), "planted");
	write_text(in(source, "a/__pycache__/sub/x"), "planted");
	write_text(in(source, "a/m.pyc"), "planted");
	write_text(in(source, "a/.pytest_cache/v"), "planted");
	write_text(in(source, "a/x.nbi"), "planted");
	write_text(in(source, "file/__pycache__"), "a file");
	assert_works(mkdir(in(source, "link"), 0755));
	assert_works(symlink("../a", in(source, "link/__pycache__")));
	assert_works(symlink("m.py", in(source, "a/.mypy_cache")));
	write_text(in(source, "dir/m.py"), "m = 1\n");
	write_text(in(source, "dir/m.pyc/inner"), "planted");
	return 0;
}

static struct fixture_options planted = {
	.options = "also=.pytest_cache,also=*.nbi,also=.mypy*",
	.prepare = make_planted,
};
static struct fixture_options planted_in_place = {
	.options = "also=.pytest_cache,also=*.nbi,also=.mypy*",
	.prepare = make_planted, .in_place = true,
};

static void what_the_source_holds_is_invisible(void **state)
{
	static const char *const gone[] = {
		"a/__pycache__/m.cpython-311.pyc", "a/__pycache__/sub",
		"a/m.pyc", "a/.pytest_cache", "a/x.nbi", "a/.mypy_cache",
		"link/__pycache__/m.py", "dir/m.pyc",
	};
	struct fixture *f = *state;
	const char *name;

	assert_lists(f->mountpoint, "a dir file link");
	assert_lists(on(f, "a"), "m.py");
	assert_lists(on(f, "a/__pycache__"), "");
	assert_lists(on(f, "file"), "");
	assert_lists(on(f, "file/__pycache__"), "");
	assert_lists(on(f, "link"), "");
	assert_lists(on(f, "link/__pycache__"), "");
	assert_lists(on(f, "dir"), "m.py");
	EACH(name, gone)
		assert_missing(on(f, name));
}

static void what_the_source_holds_is_untouched(void **state)
{
	static const char *const written[] = {
		"a/__pycache__/m.cpython-311.pyc", "a/__pycache__/sub",
		"a/m.pyc", "a/.pytest_cache", "a/x.nbi", "a/.mypy_cache",
		"file/__pycache__/m", "link/__pycache__/m.py", "dir/m.pyc",
	};
	struct fixture *f = *state;
	char *before = describe_source(f);
	const char *name;

	EACH(name, written) {
		KEEP(path, on(f, name));
		assert_fails(unlink(path), ENOENT);
		assert_fails(rmdir(path), ENOENT);
		assert_fails(rename(path, on(f, "a/other")), ENOENT);
		assert_fails(chmod(path, 0600), ENOENT);
		write_text(path, "ours");
		assert_holds(path, "ours");
		assert_works(chmod(path, 0600));
		assert_works(unlink(path));
		assert_missing(path);
	}
	assert_works(rmdir(on(f, "a/__pycache__")));
	assert_works(rmdir(on(f, "file/__pycache__")));
	assert_works(rmdir(on(f, "link/__pycache__")));
	assert_source(f, before);
}

static void after_unmounting_it_is_all_there(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "a/__pycache__/m.cpython-311.pyc"), "ours");
	assert_holds(on(f, "a/__pycache__/m.cpython-311.pyc"), "ours");
	fixture_unmount(f);
	assert_holds(in(f->source, "a/__pycache__/m.cpython-311.pyc"),
		     "planted");
	assert_lists(in(f->source, "a"),
		     ".mypy_cache .pytest_cache __pycache__ m.py m.pyc x.nbi");
	/* The private store went with its daemon. */
	fixture_mount(f);
	assert_lists(on(f, "a/__pycache__"), "");
}

#define ALSO(test) BOTH(test, also)
#define PLANTED(test) BOTH(test, planted)

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		ALSO(also_names_exist_from_their_creation_on),
		ALSO(also_directories_hold_any_tree),
		ALSO(names_that_no_rule_gives_pass_through),
		ALSO(also_does_not_replace_the_other_rules),
		PLANTED(what_the_source_holds_is_invisible),
		PLANTED(what_the_source_holds_is_untouched),
		PLANTED(after_unmounting_it_is_all_there),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
