/*
 * Bytecode beside its source: Python 2's X.pyc and X.pyo, what `compileall -b`
 * writes, Jython's X$py.class.  While X.py exists they belong to the store;
 * without it they are a program shipped as bytecode and belong to the source.
 */
#include "rules_common.h"

static const char *const legacy[] = {
	"x.pyc", "x.pyo", "x$py.class", "x.pyc.1", "x.pyc.139876543210",
};

#define FINISHED 3	/* how many of these are no temporaries */

/* What merely looks like it. */
static const char *const unlike[] = {
	"x.pyc.12a", "x.pyc.", "x.pyc.tmp", "x.pyc.1.2", "x.pyd", "x.pyc~",
	"xpyc", "x.py.pyc", ".pyc", "x.class", "x.pyc.-1",
};

#define EACH(name, of) \
	for (size_t i_ = 0; i_ < sizeof(of) / sizeof(*of) && \
	     (name = of[i_]); i_++)

static int make_source(const char *source, void *data)
{
	const char *name;

	(void)data;
	write_text(in(source, "pkg/x.py"), "x = 1\n");
	assert_works(mkdir(in(source, "shipped"), 0755));
	EACH(name, legacy)
		write_text(in(in(source, "shipped"), name), "a program");
	return 0;
}

static struct fixture_options project = { .prepare = make_source };
static struct fixture_options project_in_place = {
	.prepare = make_source, .in_place = true,
};

static void beside_its_source_it_goes_to_the_store(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);
	const char *name;

	EACH(name, legacy) {
		KEEP(path, in(on(f, "pkg"), name));
		assert_missing(path);
		assert_int_equal(outcome_open(open(path, O_WRONLY | O_CREAT |
						   O_EXCL, 0644)), 0);
		write_text(path, name);
		assert_holds(path, name);
		assert_lists(on(f, "pkg"), "x.py");
	}
	/* Each is a file of its own. */
	EACH(name, legacy) {
		KEEP(path, in(on(f, "pkg"), name));
		assert_holds(path, name);
		assert_works(unlink(path));
		assert_missing(path);
	}
	assert_source(f, before);
}

/* What compileall -b does: write a temporary, rename it. */
static void its_temporary_is_renamed_in_the_store(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);

	write_text(on(f, "pkg/x.pyc.4711"), "code");
	assert_works(rename(on(f, "pkg/x.pyc.4711"), on(f, "pkg/x.pyc")));
	assert_holds(on(f, "pkg/x.pyc"), "code");
	assert_missing(on(f, "pkg/x.pyc.4711"));
	assert_works(chmod(on(f, "pkg/x.pyc"), 0444));
	assert_works(link(on(f, "pkg/x.pyc"), on(f, "pkg/x.pyo")));
	assert_holds(on(f, "pkg/x.pyo"), "code");
	assert_lists(on(f, "pkg"), "x.py");
	assert_lists(on(f, "pkg/__pycache__"), "");
	assert_source(f, before);
}

static void without_its_source_it_is_a_real_file(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_lists(on(f, "shipped"), "x$py.class x.pyc x.pyc.1 "
		     "x.pyc.139876543210 x.pyo");
	EACH(name, legacy) {
		KEEP(path, in(on(f, "shipped"), name));
		KEEP(real, in(behind(f, "shipped"), name));
		assert_holds(path, "a program");
		write_text(path, "another program");
		assert_holds(real, "another program");
		assert_works(unlink(path));
		assert_missing(real);
		write_text(path, "new");
		assert_holds(real, "new");
	}
	assert_lists(on(f, "shipped"), "x$py.class x.pyc x.pyc.1 "
		     "x.pyc.139876543210 x.pyo");
}

static void another_name_is_a_real_file_always(void **state)
{
	struct fixture *f = *state;
	const char *name;

	write_text(on(f, "pkg/.py"), "");
	EACH(name, unlike) {
		KEEP(path, in(on(f, "pkg"), name));
		write_text(path, name);
		assert_holds(in(behind(f, "pkg"), name), name);
	}
	assert_lists(on(f, "pkg"), ".py .pyc x.class x.py x.py.pyc x.pyc. "
		     "x.pyc.-1 x.pyc.1.2 x.pyc.12a x.pyc.tmp x.pyc~ x.pyd "
		     "xpyc");
}

static void a_directory_called_like_the_source_does_not_count(void **state)
{
	struct fixture *f = *state;

	assert_works(mkdir(on(f, "x.py"), 0755));
	write_text(on(f, "x.pyc"), "real");
	assert_holds(behind(f, "x.pyc"), "real");
	assert_lists(f->mountpoint, "pkg shipped x.py x.pyc");
}

static void a_symlink_called_like_the_source_counts(void **state)
{
	struct fixture *f = *state;

	assert_works(symlink("pkg/x.py", on(f, "x.py")));
	write_text(on(f, "x.pyc"), "cached");
	assert_holds(on(f, "x.pyc"), "cached");
	assert_missing(behind(f, "x.pyc"));
	assert_lists(f->mountpoint, "pkg shipped x.py");
}

static int make_stale(const char *source, void *data)
{
	const char *name;

	make_source(source, data);
	EACH(name, legacy)
		write_text(in(in(source, "pkg"), name), "stale");
	return 0;
}

static struct fixture_options stale = { .prepare = make_stale };
static struct fixture_options stale_in_place = {
	.prepare = make_stale, .in_place = true,
};

static void what_the_source_holds_of_it_is_invisible(void **state)
{
	struct fixture *f = *state;
	char *before = describe_source(f);
	const char *name;

	assert_lists(on(f, "pkg"), "x.py");
	EACH(name, legacy) {
		KEEP(path, in(on(f, "pkg"), name));
		assert_missing(path);
		assert_fails(unlink(path), ENOENT);
		assert_int_equal(outcome_open(open(path, O_RDONLY)), ENOENT);
		assert_int_equal(outcome_open(open(path, O_WRONLY | O_CREAT |
						   O_EXCL, 0644)), 0);
		write_text(path, "fresh");
		assert_holds(path, "fresh");
		assert_works(unlink(path));
		assert_missing(path);
	}
	assert_source(f, before);
}

/* A source that appears beside shipped bytecode makes a cache entry of it. */
static void assert_shipped_is_hidden(struct fixture *f)
{
	KEEP(path, on(f, "shipped/x.pyc"));

	assert_true(eventually(DEADLINE, is_missing, path));
	assert_lists(on(f, "shipped"), "x.py");
	write_text(path, "cached");
	assert_holds(path, "cached");
	assert_lists(on(f, "shipped"), "x.py");
	assert_holds(behind(f, "shipped/x.pyc"), "a program");
}

static void making_the_source_hides_shipped_bytecode(void **state)
{
	struct fixture *f = *state;

	assert_holds(on(f, "shipped/x.pyc"), "a program");
	write_text(on(f, "shipped/x.py"), "x = 2\n");
	assert_lists(on(f, "shipped"), "x.py");
	assert_shipped_is_hidden(f);
}

static void renaming_to_the_source_hides_shipped_bytecode(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "shipped/y.py"), "x = 2\n");
	assert_holds(on(f, "shipped/x.pyc"), "a program");
	assert_works(rename(on(f, "shipped/y.py"), on(f, "shipped/x.py")));
	assert_lists(on(f, "shipped"), "x.py");
	assert_shipped_is_hidden(f);
}

static void linking_to_the_source_hides_shipped_bytecode(void **state)
{
	struct fixture *f = *state;

	assert_holds(on(f, "shipped/x.pyc"), "a program");
	assert_works(link(on(f, "pkg/x.py"), on(f, "shipped/x.py")));
	assert_lists(on(f, "shipped"), "x.py");
	assert_shipped_is_hidden(f);
}

static void a_source_made_behind_the_mount_hides_it_too(void **state)
{
	struct fixture *f = *state;

	assert_holds(on(f, "shipped/x.pyc"), "a program");
	write_text(behind(f, "shipped/x.py"), "x = 2\n");
	assert_shipped_is_hidden(f);
}

/* The same without what only a writer that was killed leaves behind. */
static int make_finished(const char *source, void *data)
{
	make_source(source, data);
	for (int i = 0; i < FINISHED; i++)
		write_text(in(in(source, "pkg"), legacy[i]), "stale");
	return 0;
}

static struct fixture_options finished = { .prepare = make_finished };
static struct fixture_options finished_in_place = {
	.prepare = make_finished, .in_place = true,
};

/* So that rm -rf, which goes by the listing, is not surprised. */
static void stale_bytecode_stays_hidden_when_its_source_goes(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_works(unlink(on(f, "pkg/x.py")));
	assert_lists(on(f, "pkg"), "");
	EACH(name, legacy)
		assert_missing(in(on(f, "pkg"), name));
	assert_works(rmdir(on(f, "pkg")));
	assert_missing(on(f, "pkg"));
	assert_missing(behind(f, "pkg"));
}

static void rm_removes_a_package_with_stale_bytecode(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "pkg/x.pyc"), "cached");
	write_text(on(f, "pkg/__pycache__/x.pyc"), "cached");
	free(command_output(f->mountpoint, "rm", "-r", "pkg", NULL));
	assert_missing(on(f, "pkg"));
	assert_missing(behind(f, "pkg"));
}

/* Which Python follows as well. */
static void a_link_to_stale_bytecode_stays_hidden_too(void **state)
{
	struct fixture *f = *state;

	assert_works(symlink("x.pyo", behind(f, "pkg/y.pyc")));
	write_text(on(f, "pkg/y.py"), "y = 1\n");
	assert_missing(on(f, "pkg/y.pyc"));
	assert_works(unlink(on(f, "pkg/y.py")));
	assert_missing(on(f, "pkg/y.pyc"));
	assert_lists(on(f, "pkg"), "x.py");
}

static void a_renamed_source_leaves_its_stale_bytecode_hidden(void **state)
{
	struct fixture *f = *state;

	assert_works(rename(on(f, "pkg/x.py"), on(f, "pkg/y.py")));
	assert_lists(on(f, "pkg"), "y.py");
	assert_missing(on(f, "pkg/x.pyc"));
	assert_works(unlink(on(f, "pkg/y.py")));
	assert_works(rmdir(on(f, "pkg")));
	assert_missing(behind(f, "pkg"));
}

static bool is_pkg_empty(void *data)
{
	char *names = tree_list(on(data, "pkg"));
	bool empty = !*names;

	free(names);
	return empty;
}

/* Nor does it show, but for a moment, when that is done behind the mount. */
static void stale_bytecode_stays_hidden_when_its_source_goes_behind(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_lists(on(f, "pkg"), "x.py");
	assert_works(unlink(behind(f, "pkg/x.py")));
	assert_true(eventually(DEADLINE, is_pkg_empty, f));
	EACH(name, legacy)
		assert_missing(in(on(f, "pkg"), name));
	/* What is put in its place is another file. */
	write_text(behind(f, "pkg/new"), "stale");
	assert_works(rename(behind(f, "pkg/new"), behind(f, "pkg/x.pyc")));
	KEEP(path, on(f, "pkg/x.pyc"));
	assert_true(eventually(DEADLINE, is_there, path));
	assert_lists(on(f, "pkg"), "x.pyc");
	assert_holds(path, "stale");
	assert_missing(on(f, "pkg/x.pyo"));
}

static void bytecode_put_behind_in_the_place_of_stale_one_shows(void **state)
{
	struct fixture *f = *state;

	assert_works(unlink(on(f, "pkg/x.py")));
	assert_missing(on(f, "pkg/x.pyc"));
	assert_missing(on(f, "pkg/x.pyo"));
	write_text(behind(f, "pkg/new"), "shipped");
	assert_works(rename(behind(f, "pkg/new"), behind(f, "pkg/x.pyc")));
	write_text(behind(f, "pkg/x.pyo"), "shipped too");
	assert_holds(on(f, "pkg/x.pyc"), "shipped");
	assert_holds(on(f, "pkg/x.pyo"), "shipped too");
	assert_lists(on(f, "pkg"), "x.pyc x.pyo");
}

static void so_do_temporaries_of_writers_that_were_killed(void **state)
{
	stale_bytecode_stays_hidden_when_its_source_goes(state);
}

static void bytecode_made_anew_without_a_source_is_real(void **state)
{
	struct fixture *f = *state;
	const char *name;

	assert_works(unlink(on(f, "pkg/x.py")));
	for (int i = 0; i < FINISHED; i++) {
		name = legacy[i];
		KEEP(path, in(on(f, "pkg"), name));
		assert_int_equal(outcome_open(open(path, O_WRONLY | O_CREAT |
						   O_EXCL, 0644)), 0);
		assert_holds(path, "");
		write_text(path, "program");
		assert_holds(path, "program");
		assert_holds(in(behind(f, "pkg"), name), "program");
	}
	assert_lists(on(f, "pkg"), "x$py.class x.pyc x.pyo");
	assert_fails(rmdir(on(f, "pkg")), ENOTEMPTY);
}

/* A name may come about by more than open(2). */
static void bytecode_put_in_its_place_without_a_source_is_real(void **state)
{
	struct fixture *f = *state;

	assert_works(unlink(on(f, "pkg/x.py")));
	write_text(on(f, "pkg/new"), "program");
	assert_works(link(on(f, "pkg/new"), on(f, "pkg/x.pyc")));
	assert_works(rename(on(f, "pkg/new"), on(f, "pkg/x.pyo")));
	assert_works(symlink("x.pyc", on(f, "pkg/x$py.class")));
	assert_holds(behind(f, "pkg/x.pyc"), "program");
	assert_lists(on(f, "pkg"), "x$py.class x.pyc x.pyo");
}

/* Until something is really made in its place. */
static void what_fails_leaves_stale_bytecode_where_it_is(void **state)
{
	struct fixture *f = *state;
	char *before;

	assert_works(unlink(on(f, "pkg/x.py")));
	write_text(on(f, "pkg/__pycache__/m"), "code");
	before = describe_source(f);
	/* Not between source and store, not with what is missing, not by a
	 * directory. */
	assert_fails(link(on(f, "pkg/__pycache__/m"), on(f, "pkg/x.pyc")), EXDEV);
	assert_fails(rename(on(f, "pkg/__pycache__/m"), on(f, "pkg/x.pyc")), EXDEV);
	assert_fails(rename(on(f, "pkg/missing"), on(f, "pkg/x.pyc")), ENOENT);
	assert_fails(rename(on(f, "shipped"), on(f, "pkg/x.pyc")), ENOTDIR);
	assert_int_equal(outcome_open(open(on(f, "pkg/x.pyc"), O_RDONLY)), ENOENT);
	assert_fails(unlink(on(f, "pkg/x.pyc")), ENOENT);
	assert_source(f, before);
	assert_holds(behind(f, "pkg/x.pyc"), "stale");
	assert_lists(on(f, "pkg"), "");
}

static void cached_bytecode_is_gone_with_its_source(void **state)
{
	struct fixture *f = *state;

	write_text(on(f, "pkg/x.pyc"), "cached");
	assert_works(unlink(on(f, "pkg/x.py")));
	KEEP(path, on(f, "pkg/x.pyc"));
	assert_true(eventually(DEADLINE, is_missing, path));
	assert_lists(on(f, "pkg"), "");
	write_text(path, "program");
	assert_holds(path, "program");
	assert_holds(behind(f, "pkg/x.pyc"), "program");
	assert_lists(on(f, "pkg"), "x.pyc");
}

#define PROJECT(test) BOTH(test, project)
#define STALE(test) BOTH(test, stale)
#define FINISHED_ONLY(test) BOTH(test, finished)

int main(void)
{
	int skip = fixture_possible();
	const struct CMUnitTest tests[] = {
		PROJECT(beside_its_source_it_goes_to_the_store),
		PROJECT(its_temporary_is_renamed_in_the_store),
		PROJECT(without_its_source_it_is_a_real_file),
		PROJECT(another_name_is_a_real_file_always),
		PROJECT(a_directory_called_like_the_source_does_not_count),
		PROJECT(a_symlink_called_like_the_source_counts),
		STALE(what_the_source_holds_of_it_is_invisible),
		PROJECT(making_the_source_hides_shipped_bytecode),
		PROJECT(renaming_to_the_source_hides_shipped_bytecode),
		PROJECT(linking_to_the_source_hides_shipped_bytecode),
		PROJECT(a_source_made_behind_the_mount_hides_it_too),
		FINISHED_ONLY(stale_bytecode_stays_hidden_when_its_source_goes),
		STALE(stale_bytecode_stays_hidden_when_its_source_goes_behind),
		FINISHED_ONLY(bytecode_put_behind_in_the_place_of_stale_one_shows),
		STALE(so_do_temporaries_of_writers_that_were_killed),
		FINISHED_ONLY(rm_removes_a_package_with_stale_bytecode),
		FINISHED_ONLY(a_link_to_stale_bytecode_stays_hidden_too),
		FINISHED_ONLY(a_renamed_source_leaves_its_stale_bytecode_hidden),
		FINISHED_ONLY(bytecode_made_anew_without_a_source_is_real),
		FINISHED_ONLY(bytecode_put_in_its_place_without_a_source_is_real),
		FINISHED_ONLY(what_fails_leaves_stale_bytecode_where_it_is),
		PROJECT(cached_bytecode_is_gone_with_its_source),
	};

	if (skip)
		return skip;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
