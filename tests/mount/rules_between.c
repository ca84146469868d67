/*
 * Source and store are two filesystems to whoever moves or links between them:
 * EXDEV, upon which mv copies.  Within the store names move freely.
 */
#include "rules_common.h"

static int make_project(const char *source, void *data)
{
	(void)data;
	write_text(in(source, "a/m.py"), "m = 1\n");
	write_text(in(source, "a/data"), "of the source");
	write_text(in(source, "a/dir/inner"), "of the source");
	write_text(in(source, "b/n.py"), "n = 1\n");
	return 0;
}

static struct fixture_options project = {
	.prepare = make_project, .options = "also=.cache",
};
static struct fixture_options project_in_place = {
	.prepare = make_project, .options = "also=.cache", .in_place = true,
};

static void fill_store(const struct fixture *f)
{
	write_text(on(f, "a/__pycache__/m.pyc"), "of the store");
	write_text(on(f, "a/__pycache__/sub/n.pyc"), "of the store");
	write_text(on(f, "a/m.pyc"), "of the store");
	write_text(on(f, "a/.cache/x"), "of the store");
}

/* Pairs of which the first is in the store and the second in the source. */
static const struct {
	const char *store, *source;
	bool directory;		/* both are: link(2) says EPERM */
} pairs[] = {
	{ "a/__pycache__/m.pyc", "a/data", false },
	{ "a/__pycache__/m.pyc", "b/n.py", false },
	{ "a/__pycache__/sub/n.pyc", "a/m.py", false },
	{ "a/m.pyc", "a/data", false },
	{ "a/m.pyc", "b/n.py", false },
	{ "a/.cache/x", "a/data", false },
	{ "a/__pycache__/sub", "a/dir", true },
	{ "a/__pycache__", "a/dir", true },
	{ "a/.cache", "a/dir", true },
};

/* Names that do not exist yet on each side. */
static const char *const new_in_store = "a/__pycache__/new";
static const char *const new_in_source = "a/new";

static int move(const struct fixture *f, const char *from, const char *to,
		unsigned flags)
{
	return outcome(renameat2(AT_FDCWD, on(f, from), AT_FDCWD, on(f, to),
				 flags));
}

static void renaming_between_them_is_exdev(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	char *before = describe_source(f);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		const char *a = pairs[i].store, *b = pairs[i].source;

		assert_int_equal(move(f, a, b, 0), EXDEV);
		assert_int_equal(move(f, b, a, 0), EXDEV);
		assert_int_equal(move(f, a, b, RENAME_EXCHANGE), EXDEV);
		assert_int_equal(move(f, b, a, RENAME_EXCHANGE), EXDEV);
		assert_int_equal(move(f, a, new_in_source, 0), EXDEV);
		assert_int_equal(move(f, b, new_in_store, 0), EXDEV);
		assert_int_equal(move(f, a, new_in_source, RENAME_NOREPLACE),
				 EXDEV);
		assert_int_equal(move(f, b, new_in_store, RENAME_NOREPLACE),
				 EXDEV);
	}
	assert_holds(on(f, "a/__pycache__/m.pyc"), "of the store");
	assert_holds(on(f, "a/__pycache__/sub/n.pyc"), "of the store");
	assert_holds(on(f, "a/m.pyc"), "of the store");
	assert_holds(on(f, "a/.cache/x"), "of the store");
	assert_lists(on(f, "a/__pycache__"), "m.pyc sub");
	assert_source(f, before);
}

static void linking_between_them_is_exdev(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	char *before = describe_source(f);
	for (size_t i = 0; i < sizeof(pairs) / sizeof(*pairs); i++) {
		int expected = pairs[i].directory ? EPERM : EXDEV;
		KEEP(a, on(f, pairs[i].store));
		KEEP(b, on(f, pairs[i].source));

		assert_fails(link(a, on(f, new_in_source)), expected);
		assert_fails(link(b, on(f, new_in_store)), expected);
	}
	assert_missing(on(f, new_in_source));
	assert_missing(on(f, new_in_store));
	assert_source(f, before);
}

static void a_name_that_turns_legacy_crosses_too(void **state)
{
	struct fixture *f = *state;

	/* From a real name to a cache entry's, and back, in one directory. */
	assert_int_equal(move(f, "a/data", "a/m.pyc", 0), EXDEV);
	fill_store(f);
	assert_int_equal(move(f, "a/m.pyc", "a/unknown.pyc", 0), EXDEV);
	assert_int_equal(move(f, "a/m.pyc", "b/m.pyc", 0), EXDEV);
	assert_works(move(f, "a/m.pyc", "b/n.pyc", 0));
	assert_holds(on(f, "b/n.pyc"), "of the store");
	assert_missing(behind(f, "b/n.pyc"));
}

static void mv_works_by_copying(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	free(command_output(f->mountpoint, "mv", "a/__pycache__/m.pyc",
			    "a/kept.pyc", NULL));
	assert_holds(behind(f, "a/kept.pyc"), "of the store");
	assert_missing(on(f, "a/__pycache__/m.pyc"));
	free(command_output(f->mountpoint, "mv", "a/kept.pyc",
			    "b/__pycache__/back.pyc", NULL));
	assert_holds(on(f, "b/__pycache__/back.pyc"), "of the store");
	assert_missing(behind(f, "a/kept.pyc"));
	assert_missing(on(f, "a/kept.pyc"));
	free(command_output(f->mountpoint, "mv", "a/__pycache__/sub", "sub",
			    NULL));
	assert_holds(behind(f, "sub/n.pyc"), "of the store");
	assert_missing(on(f, "a/__pycache__/sub"));
}

static void mv_copies_a_whole_cache_out_and_leaves_an_empty_one(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	free(command_output(f->mountpoint, "mv", "a/__pycache__", "saved",
			    NULL));
	assert_holds(behind(f, "saved/m.pyc"), "of the store");
	assert_holds(behind(f, "saved/sub/n.pyc"), "of the store");
	assert_lists(on(f, "a/__pycache__"), "");
}

static void within_the_store_names_move_between_directories(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	char *before = describe_source(f);
	assert_works(move(f, "a/__pycache__/m.pyc", "b/__pycache__/m.pyc", 0));
	assert_missing(on(f, "a/__pycache__/m.pyc"));
	assert_holds(on(f, "b/__pycache__/m.pyc"), "of the store");
	assert_works(move(f, "a/__pycache__/sub", "b/__pycache__/moved", 0));
	assert_holds(on(f, "b/__pycache__/moved/n.pyc"), "of the store");
	assert_works(link(on(f, "b/__pycache__/m.pyc"),
			  on(f, "a/__pycache__/m.pyc")));
	assert_holds(on(f, "a/__pycache__/m.pyc"), "of the store");
	write_text(on(f, "a/__pycache__/other"), "another");
	assert_works(move(f, "a/__pycache__/other", "b/__pycache__/m.pyc",
			  RENAME_EXCHANGE));
	assert_holds(on(f, "a/__pycache__/other"), "of the store");
	assert_holds(on(f, "b/__pycache__/m.pyc"), "another");
	assert_works(move(f, "a/m.pyc", "a/__pycache__/legacy.pyc", 0));
	assert_holds(on(f, "a/__pycache__/legacy.pyc"), "of the store");
	assert_missing(on(f, "a/m.pyc"));
	assert_works(move(f, "a/__pycache__/legacy.pyc", "a/.cache/x", 0));
	assert_holds(on(f, "a/.cache/x"), "of the store");
	assert_source(f, before);
}

/* The two ends of one inode in the kernel: a copy_file_range is no rename. */
static void contents_copy_between_them(void **state)
{
	struct fixture *f = *state;

	fill_store(f);
	free(command_output(f->mountpoint, "cp", "-a", "a/__pycache__", "copy",
			    NULL));
	assert_holds(behind(f, "copy/sub/n.pyc"), "of the store");
	free(command_output(f->mountpoint, "cp", "-a", "a/data",
			    "b/__pycache__/data", NULL));
	assert_holds(on(f, "b/__pycache__/data"), "of the source");
}

#define PROJECT(test) BOTH(test, project)

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		PROJECT(renaming_between_them_is_exdev),
		PROJECT(linking_between_them_is_exdev),
		PROJECT(a_name_that_turns_legacy_crosses_too),
		PROJECT(mv_works_by_copying),
		PROJECT(mv_copies_a_whole_cache_out_and_leaves_an_empty_one),
		PROJECT(within_the_store_names_move_between_directories),
		PROJECT(contents_copy_between_them),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
